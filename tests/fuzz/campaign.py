"""Sends requests made by hypothesis to a running service, and checks every reply against the OpenAPI document.

Those that mean harm (:mod:`tests.fuzz.hostile`) are measured too: :mod:`tests.fuzz.cost`.
"""

import json
import math
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import attrs
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.strategies import SearchStrategy
from yarl import URL

from app.openapi.document import document
from tests.fuzz.cost import TRIES, Cost, Limits, Meter, Worst
from tests.fuzz.hostile import kinds
from tests.fuzz.known import KNOWN
from tests.fuzz.made import Made
from tests.fuzz.shapes import Scale
from tests.fuzz.strategies import KNOWN_MATCH, requests
from tests.fuzz.wire import NoReplyError, Sent, Wire
from tests.http.documented import assert_documented, validate
from tests.http.service import Reply

POSTS_WEIGHT = 3
"""Of requests that carry bodies so many are sent for one of each other kind."""

_ROUND = 400
"""Requests that hypothesis plans together; it grows slow over many more."""

KEPT_MAX_MB = 100.0
"""Resident memory that may be more after requests of a kind than before: what is worth keeping is kept."""

GIVEN_BACK_S = 60.0
"""Seconds within which memory is given back."""

_SHRINK_S = 30.0
"""Seconds for which a smaller request is looked for that shows the same."""

_FIGURES = re.compile(r"[\d.]+")
_NEXT = Sent(method="GET", template="/health", target=b"/health")
_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


@attrs.frozen
class Finding:
    """A promise that was broken: the smallest request that shows it, how large that is, and the seed of its round."""

    mib: float
    text: str
    seed: int


@attrs.define
class Campaign:
    """What was sent so far to one service, and what came back.

    Attributes:
        token: the service's admin token.
        meter: measures the process; needed for requests that mean harm.
        limits: what each of these may cost.
        accepted: events acknowledged.
        perhaps: events, at most, that may be durable although nobody waited for the answer.
        resident_mb: memory of the service before any request that means harm; 0: not known yet.
        say: takes lines about what is going on.
    """

    url: str
    seed: int
    token: str
    meter: Meter | None = None
    limits: Limits = attrs.field(factory=Limits)
    worst: defaultdict[str, Worst] = attrs.field(factory=lambda: defaultdict(Worst))
    findings: dict[tuple[str, str], Finding] = attrs.field(factory=dict)
    perhaps: int = 0
    resident_mb: float = 0.0
    say: Callable[[str], None] = print
    statuses: Counter[int] = attrs.field(factory=Counter)
    by_operation: Counter[tuple[str, str, int]] = attrs.field(factory=Counter)
    failures: list[str] = attrs.field(factory=list)
    accepted: int = 0

    @property
    def sent(self) -> int:
        """Requests that were answered."""
        return self.statuses.total()

    def run(self, count: int) -> None:
        """Send about ``count`` requests, spread over all operations; a failure of one does not end the others."""
        wire = _wire(self.url)
        self._prepare(wire)
        operations = list(_operations())
        total = sum(weight for _, _, weight in operations)
        for number, (method, template, weight) in enumerate(operations):
            wanted = -(-count * weight // total)
            for part in range(0, wanted, _ROUND):
                size = min(_ROUND, wanted - part)
                self._round(wire, method, template, size, seed=self.seed * 1_000_003 + number * 10_007 + part)
        wire.close()

    def appended(self) -> int:
        """Return how many events the service says that it has made durable."""
        wire = _wire(self.url)
        reply = wire.exchange(Sent(method="GET", template="/api/status", target=b"/api/status"))
        wire.close()
        return int(reply.json["accounting"]["appended"])

    def harm(self, scale: Scale, *, each: int, until: Callable[[], bool] = lambda: True) -> None:
        """Send ``each`` requests of every kind that means harm, in rounds ``until`` that is true, once at least.

        A kind that was seen to break a promise goes on, so that its worst is found; what it breaks is told once.
        """
        wire = _wire(self.url)
        self._prepare(wire)
        strategies = kinds(scale)
        for turn in count():
            for number, (kind, strategy) in enumerate(strategies.items()):
                self._harm(wire, kind, strategy, each, seed=self.seed * 1_000_003 + turn * 1_009 + number)
                self._check_memory(kind)
                self.say(f"round {turn}: {kind}: {self.worst[kind]}, {len(self.findings)} findings")
                if until() and (turn or number + 1 == len(strategies)):
                    return

    def known(self, *, most_mib: float = math.inf) -> None:
        """Send the worst requests that are known, but those of more than ``most_mib``."""
        wire = _wire(self.url)
        self._prepare(wire)
        for name, sent in KNOWN.items():
            if isinstance(sent.body, Made) and sent.body.unpacked_bytes > most_mib * (1 << 20):
                continue
            try:
                self._measured(wire, name, attrs.evolve(sent))  # a copy, so that its bytes are not kept
            except AssertionError as error:
                self._found((name, "known"), error, sent, self.seed)
            self._check_memory(name)
            self.say(f"{name}: {self.worst[name]}")

    def _found(self, finding: tuple[str, str], error: AssertionError, sent: Sent, seed: int) -> None:
        what = str(error).partition("\n")[0]
        if finding not in self.findings:
            self.say(f"found: {finding[0]}: {what[:200]}; {str(sent)[:600]}")
        self._note(finding, Finding(sent.mib, f"{what[:600]}\n  {sent}"[:4000], seed))

    def _harm(self, wire: Wire, kind: str, strategy: SearchStrategy[Sent], examples: int, *, seed: int) -> None:
        known = frozenset(self.findings)
        found_at: list[float] = []

        @seeded(seed)
        @_settings(examples)
        @given(strategy)
        def exchange(sent: Sent) -> None:
            if found_at and time.monotonic() - found_at[0] > _SHRINK_S:
                return
            try:
                self._measured(wire, kind, sent)
            except AssertionError as error:
                finding = kind, _FIGURES.sub("N", str(error).partition("\n")[0])[:80]
                self._found(finding, error, sent, seed)
                if finding not in known:
                    found_at.append(time.monotonic())
                    raise

        try:
            exchange()
        except Exception as error:  # noqa: BLE001 (what was found is noted; anything else is one more finding)
            if not found_at:
                self.failures += [f"{kind}: {text}" for text in _findings(error)]

    def _measured(self, wire: Wire, kind: str, sent: Sent) -> None:
        """Send a request, and again where it was beyond a limit; check its reply and its cost."""
        self.worst[kind].requests += 1
        cost = self._cost(wire, sent)
        for _ in range(TRIES - 1):
            if not any(cost.faults(self.limits)):
                break
            cost = cost.least(self._cost(wire, sent))
        self.worst[kind].note(cost, self.limits, str(sent))
        assert not (faults := list(cost.faults(self.limits))), "; ".join(faults)

    def _cost(self, wire: Wire, sent: Sent) -> Cost:
        assert self.meter is not None, "nothing measures the service"
        mib = self.limits.charged_mib(sent.mib, bulk=sent.template.endswith("/bulk"))
        sent.payload  # noqa: B018 (made before the clock runs)
        self.meter.begin()
        self._exchange(wire, sent)
        wire.close()
        return self.meter.end(mib)

    def _check_memory(self, kind: str) -> None:
        """Note where the service keeps more memory than before, a while after a kind of requests."""
        assert self.meter is not None
        self.meter.settle()
        resident_mb = self.meter.resident_mb()
        before_mb = self.resident_mb
        deadline = time.monotonic() + GIVEN_BACK_S
        while resident_mb > before_mb + KEPT_MAX_MB * self.limits.factor and time.monotonic() < deadline:
            time.sleep(0.5)
            resident_mb = self.meter.resident_mb()
        kept_mb = resident_mb - before_mb
        self.worst[kind].kept_mb = max(self.worst[kind].kept_mb, kept_mb)
        if kept_mb > KEPT_MAX_MB * self.limits.factor:
            what = f"{kept_mb:.0f} MB more than before are resident {GIVEN_BACK_S:g} s after requests of this kind"
            self._note((kind, "memory kept"), Finding(0.0, what, self.seed))
            self.resident_mb = resident_mb  # told once; what others add is theirs

    def _note(self, finding: tuple[str, str], found: Finding) -> None:
        """Keep the smallest request of those that show the same."""
        before = self.findings.get(finding)
        if before is None or (found.mib, len(found.text)) < (before.mib, len(before.text)):
            self.findings[finding] = found

    def _round(self, wire: Wire, method: str, template: str, count: int, *, seed: int) -> None:
        @seeded(seed)
        @_settings(count)
        @given(requests(method, template, token=self.token))
        def exchange(sent: Sent) -> None:
            wire.close()
            self._exchange(wire, sent)

        try:
            exchange()
        except Exception as error:  # noqa: BLE001 (whatever it is, it is a finding)
            self.failures += [f"{method} {template}: {text}" for text in _findings(error)]

    def _exchange(self, wire: Wire, sent: Sent) -> None:
        """Send a request over a new connection, check its reply, and that the connection is still good for the next."""
        wire.close()
        if sent.manner.leaves:
            self.perhaps += _events_at_most(sent)
            wire.send_and_leave(sent)
            return
        try:
            reply = _reply(wire, sent)
        except AssertionError:
            self.perhaps += _events_at_most(sent)
            raise
        self.statuses[reply.status] += 1
        self.by_operation[sent.method, sent.template, reply.status] += 1
        self.accepted += _accepted(reply)
        assert_as_documented(sent, reply)
        for _ in range(sent.manner.pipelined if wire.connected else 0):
            assert wire.next_reply().status == 200, "a request that followed at once"
        if wire.connected:
            after = _reply(wire, _NEXT)
            assert after.status == 200, f"the next request over this connection: {after.status} {after.text}"

    def _prepare(self, wire: Wire) -> None:
        """Make the match exist that requests are about, and note how much memory the service has before them."""
        event = {"matchId": KNOWN_MATCH, "eventType": "match_start", "metadata": {"home": "A", "away": "B"}}
        sent = Sent(method="POST", template="/api/events", target=b"/api/events", body=json.dumps(event).encode())
        self._exchange(wire, sent)
        if self.meter is not None and not self.resident_mb:
            self.meter.settle()
            self.resident_mb = self.meter.resident_mb()


def assert_as_documented(sent: Sent, reply: Reply) -> None:
    """Check a reply of a healthy service: documented for what was sent, and never a failure."""
    coded = any(name.lower() == b"transfer-encoding" for name, _ in sent.headers)
    assert reply.status < 500 or (reply.status == 501 and coded), f"{reply.status}: {reply.text}"
    given = [value for name, value in sent.headers if name.lower() == b"x-request-id"]
    assert reply.headers.get("X-Request-ID"), f"{reply.status} without an id"
    malformed = '"/problems/malformed-http"' in reply.text or not _is_text(sent.headers)
    if reply.status == 501 or (reply.status == 400 and malformed and reply.text):
        validate("/components/schemas/Problem", reply.json)
    elif reply.status == 400 and sent.method == "HEAD" and reply.headers.get("Connection") == "close":
        assert not reply.text  # the same, untold
    elif sent.method == "HEAD" and "get" in document()["paths"][sent.template] and reply.status not in (404, 405):
        assert str(reply.status) in document()["paths"][sent.template]["get"]["responses"]
    elif sent.method == "OPTIONS" and reply.status == 204:
        assert {"GET", "OPTIONS"} <= set(reply.headers["Allow"].split(", "))
    elif sent.method.lower() not in document()["paths"][sent.template] or (sent.odd and reply.status in (404, 405)):
        assert reply.status == 405 or (reply.status == 404 and (sent.odd or sent.method == "HEAD")), reply.text
        assert (reply.status == 405) == ("Allow" in reply.headers)
        if reply.text and reply.headers["Content-Type"] != "text/html; charset=utf-8":
            validate("/components/schemas/Problem", reply.json)
    else:
        if len(given) == 1 and _SANE_ID.fullmatch(given[0]):
            assert reply.headers["X-Request-ID"].encode() == given[0]
        assert_documented(sent.method, sent.template, reply)


def _is_text(headers: tuple[tuple[bytes, bytes], ...]) -> bool:
    """Whether every header can be read: one that cannot is refused before anybody looks at the path."""
    try:
        for name, value in headers:
            (name + value).decode()
    except UnicodeDecodeError:
        return False
    return True


def _settings(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        print_blob=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


def _events_at_most(sent: Sent) -> int:
    """Return how many events a body may hold: as often as one of their names is in it."""
    if isinstance(sent.body, Made):
        return sum(part.piece.count(b"eventType") * part.times for part in sent.body.parts)
    return sent.payload.count(b"eventType")


def _findings(error: Exception) -> Iterator[str]:
    """Return what hypothesis found: one error, or several."""
    if isinstance(error, ExceptionGroup):
        for one in error.exceptions:
            yield from _findings(one)
    else:
        yield "\n".join([str(error), *getattr(error, "__notes__", ())])[:4000]


def _reply(wire: Wire, sent: Sent) -> Reply:
    try:
        return wire.exchange(sent)
    except NoReplyError as error:
        raise AssertionError(f"no reply to {sent.target[:50]!r}: {error}") from None


def _accepted(reply: Reply) -> int:
    """Return how many events a reply says are durable, those of a bulk request that stopped early included."""
    if not reply.text or not reply.headers["Content-Type"].endswith("json"):
        return 0
    body: Any = reply.json
    if not isinstance(body, dict):
        return 0
    return int(body.get("accepted", "receipt" in body and "eventId" in body))


def _operations() -> Iterator[tuple[str, str, int]]:
    for template, item in document()["paths"].items():
        for method in item:
            yield method.upper(), template, POSTS_WEIGHT if method == "post" else 1


def _wire(url: str) -> Wire:
    parsed = URL(url)
    assert parsed.host is not None
    assert parsed.port is not None
    return Wire("127.0.0.1", parsed.port)

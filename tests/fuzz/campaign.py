"""Sends requests made by hypothesis to a running service, and checks every reply against the OpenAPI document."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from yarl import URL

from app.openapi.document import document
from tests.fuzz.strategies import KNOWN_MATCH, requests
from tests.fuzz.wire import NoReplyError, Sent, Wire
from tests.http.documented import assert_documented, validate
from tests.http.service import Reply

POSTS_WEIGHT = 3
"""Of requests that carry bodies so many are sent for one of each other kind."""

_ROUND = 400
"""Requests that hypothesis plans together; it grows slow over many more."""

_NEXT = Sent(method="GET", template="/health", target=b"/health")
_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


@attrs.define
class Campaign:
    """What was sent so far to one service, and what came back. ``token`` is its admin token."""

    url: str
    seed: int
    token: str
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

    def _round(self, wire: Wire, method: str, template: str, count: int, *, seed: int) -> None:
        @seeded(seed)
        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            print_blob=False,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(requests(method, template, token=self.token))
        def exchange(sent: Sent) -> None:
            self._exchange(wire, sent)

        try:
            exchange()
        except Exception as error:  # noqa: BLE001 (whatever it is, it is a finding)
            self.failures += [f"{method} {template}: {text}" for text in _findings(error)]

    def _exchange(self, wire: Wire, sent: Sent) -> None:
        """Send a request over a new connection, check its reply, and that the connection is still good for the next."""
        wire.close()
        reply = _reply(wire, sent)
        self.statuses[reply.status] += 1
        self.by_operation[sent.method, sent.template, reply.status] += 1
        self.accepted += _accepted(reply)
        assert_as_documented(sent, reply)
        if wire.connected:
            after = _reply(wire, _NEXT)
            assert after.status == 200, f"the next request over this connection: {after.status} {after.text}"

    def _prepare(self, wire: Wire) -> None:
        """Make the match exist that requests are about."""
        event = {"matchId": KNOWN_MATCH, "eventType": "match_start", "metadata": {"home": "A", "away": "B"}}
        sent = Sent(method="POST", template="/api/events", target=b"/api/events", body=json.dumps(event).encode())
        self._exchange(wire, sent)


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


def _is_text(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Say whether every header can be read: one that cannot is refused before anybody looks at the path."""
    try:
        b"".join(value + b"\n" for _, value in headers).decode()
    except UnicodeDecodeError:
        return False
    return True


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

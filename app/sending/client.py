"""A small client of the service's HTTP interface, for the commands that send events.

Every event carries its id before the first attempt. A request that failed, timed out or was never answered is
therefore sent again as it was, and what was already durable counts once. So the client outlives a killed and
restarted service, until ``give_up_after_s`` have passed without a final answer.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import aiohttp
import attrs
from aiohttp import hdrs

from app.sending.asking import ClientError, Refused, detail_of, exchange, failure_text, faults_of, open_session

_RETRY_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_FIRST_BACKOFF_S: Final = 0.1
_MAX_BACKOFF_S: Final = 5.0


class GaveUp(ClientError):
    """The service gave no final answer; part of the request may be durable all the same."""

    def __init__(self, url: str, *, waited_s: float, reason: str) -> None:
        super().__init__(f"gave up on {url} after {waited_s:.0f} s: {reason}")
        self.reason = reason


@attrs.frozen(kw_only=True)
class Outgoing:
    """One event to send.

    Attributes:
        event_id: as in ``body``, which must hold one.
        body: the event's JSON text.
        source: its name in the sender's own summary; it is not sent.
    """

    event_id: str
    event_type: str
    body: bytes
    source: str = ""


@attrs.frozen(kw_only=True)
class Rejection:
    """One event that the service did not take, with every fault it named."""

    event: Outgoing
    faults: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Delivery:
    """The outcome of one call of :meth:`ServiceClient.send`: each event is either accepted or rejected.

    Attributes:
        accepted: events that are durable now.
        rejected: events that were refused, each for its own faults.
        retries: attempts that settled nothing.
        answered_in_s: time the final answer took, without the attempts before it.
        already_known: events of ``accepted`` that changed nothing, because an earlier one with that id stands; told
            only where the client asks for ``ack=stored``.
    """

    accepted: tuple[Outgoing, ...]
    rejected: tuple[Rejection, ...]
    retries: int
    answered_in_s: float
    already_known: int = 0


class ServiceClient:
    """Sends events to one service. An async context manager; safe to use from many tasks at once.

    With ``ack_stored`` it waits until events are stored, and is told which of them were known already.
    """

    def __init__(
        self,
        url: str,
        *,
        connections: int = 8,
        timeout_s: float = 15.0,
        give_up_after_s: float = 120.0,
        bearer: Callable[[], str] = lambda: "",
        on_trouble: Callable[[str], None] = lambda _sentence: None,
    ) -> None:
        """Prepare a client.

        Args:
            url: root of the service, as ``http://127.0.0.1:8080``.
            connections: most that may be open at once.
            timeout_s: time that one attempt may take.
            give_up_after_s: time that one call of ``send`` may take, all attempts and pauses together.
            bearer: returns the key to send, empty for none; asked for again after a 401.
            on_trouble: called with a sentence for people when requests begin to be repeated.
        """
        self.url = url.rstrip("/")
        self._connections = connections
        self._timeout_s = timeout_s
        self._give_up_after_s = give_up_after_s
        self.ack_stored = False
        self._find_bearer = bearer
        self._bearer = bearer()
        self._on_trouble = on_trouble
        self._session: aiohttp.ClientSession | None = None
        self._random = random.Random()
        self._troubled = False

    async def __aenter__(self) -> Self:
        self._session = open_session(timeout_s=self._timeout_s, connections=self._connections)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, events: Sequence[Outgoing]) -> Delivery:
        """Send the events, one as an object, several as an array; return when each is settled.

        A request that is too large, or refused without naming the events at fault, is sent again in halves.

        Raises:
            GaveUp: there was no final answer in time.
            Refused: the request as a whole cannot be taken.
        """
        path = "/api/events?ack=stored" if self.ack_stored else "/api/events"
        answer, retries = await self._post(path, _body_of(events))
        rejected = answer.rejections(events)
        if len(events) > 1 and (answer.status == 413 or (answer.status == 400 and rejected is None)):
            middle = len(events) // 2
            return _merged(await self.send(events[:middle]), await self.send(events[middle:]), retries=retries)
        if rejected is None:
            raise Refused(f"{self.url}/api/events", status=answer.status, reason=answer.detail())
        faulty = {id(rejection.event) for rejection in rejected}
        return Delivery(
            accepted=tuple(event for event in events if id(event) not in faulty),
            rejected=rejected,
            retries=retries,
            answered_in_s=answer.seconds,
            already_known=answer.already_known(),
        )

    async def knows_match(self, match_id: str) -> bool:
        """Say whether the service has events of a match, by one attempt; no answer, or a refusal, means no."""
        answer = await self._attempt("GET", f"/api/matches/{quote(match_id, safe='')}/metrics", None)
        return answer.status == HTTPStatus.OK

    async def get(self, path: str) -> Any:
        """Return the JSON at the path; tries again like :meth:`send`."""
        answer, _ = await self._final_answer("GET", path, None)
        if answer.status != 200:
            raise Refused(f"{self.url}{path}", status=answer.status, reason=answer.detail())
        return answer.json

    async def _post(self, path: str, body: bytes) -> "tuple[_Answer, int]":
        return await self._final_answer("POST", path, body)

    async def _final_answer(self, method: str, path: str, body: bytes | None) -> "tuple[_Answer, int]":
        """Return the first final answer, and how many attempts came before it."""
        started = time.monotonic()
        retries = 0
        while True:
            outcome = await self._attempt(method, path, body)
            if outcome.status == HTTPStatus.UNAUTHORIZED and self._has_other_bearer():
                retries += 1
                continue
            if outcome.is_final:
                self._troubled = False
                return outcome, retries
            pause_s = self._pause_s(retries, outcome.retry_after_s)
            waited_s = time.monotonic() - started
            if waited_s + pause_s > self._give_up_after_s:
                raise GaveUp(f"{self.url}{path}", waited_s=waited_s, reason=outcome.detail())
            self._tell_once(outcome)
            await asyncio.sleep(pause_s)
            retries += 1

    def _has_other_bearer(self) -> bool:
        """Look for the key again, because a restart makes another token; say whether it is another one."""
        before, self._bearer = self._bearer, self._find_bearer()
        return before != self._bearer

    def _tell_once(self, outcome: "_Answer") -> None:
        """Say why requests are repeated, once until one is settled, however many fail meanwhile."""
        if not self._troubled:
            self._troubled = True
            patience_s = self._give_up_after_s
            self._on_trouble(f"{self.url}: {outcome.detail()}; trying again for up to {patience_s:.0f} s")

    async def _attempt(self, method: str, path: str, body: bytes | None) -> "_Answer":
        if self._session is None:
            raise RuntimeError("ServiceClient is an async context manager; use it with 'async with'")
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self._bearer:
            headers[hdrs.AUTHORIZATION] = f"Bearer {self._bearer}"
        started = time.monotonic()
        try:
            reply = await exchange(self._session, method, self.url + path, data=body, headers=headers)
        except aiohttp.InvalidURL as error:
            raise Refused(self.url + path, status=0, reason=failure_text(error)) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return _Answer(status=0, failure=failure_text(error))
        return _Answer(
            status=reply.status,
            json=reply.json,
            seconds=time.monotonic() - started,
            retry_after_s=reply.retry_after_s,
        )

    def _pause_s(self, retries: int, retry_after_s: float) -> float:
        """Return the seconds to wait: what the service asked for, and an exponential backoff with jitter on top."""
        ceiling_s = min(_MAX_BACKOFF_S, _FIRST_BACKOFF_S * 2 ** min(retries, 10))
        return retry_after_s + self._random.uniform(ceiling_s / 4, ceiling_s)


@attrs.frozen(kw_only=True)
class _Answer:
    """One attempt's outcome; ``status`` 0 where there was no answer."""

    status: int
    json: Any = None
    seconds: float = 0.0
    retry_after_s: float = 0.0
    failure: str = ""

    @property
    def is_final(self) -> bool:
        return self.status != 0 and self.status not in _RETRY_STATUSES

    def detail(self) -> str:
        return self.failure or detail_of(self.json, self.status)

    def already_known(self) -> int:
        """Return how many events the answer names as known already: by their ids, or of one event by ``true``."""
        told = self.json.get("alreadyKnown") if isinstance(self.json, dict) else None
        return len(told) if isinstance(told, list) else int(told is True)

    def rejections(self, events: Sequence[Outgoing]) -> tuple[Rejection, ...] | None:
        """Return the events at fault, or None where the answer does not say which they are."""
        if not isinstance(self.json, dict) or self.status not in (200, 202, 400):
            return None
        errors = self.json.get("errors") or []
        if by_index := _with_index(errors):
            told = [self._rejection(events[error["index"]], error.get("errors", ())) for error in by_index]
            return (*told, *self._not_told(events))
        if self.status != 400:
            return ()
        if len(events) > 1:
            return None
        return (self._rejection(events[0], errors),)

    def _not_told(self, events: Sequence[Outgoing]) -> Iterator[Rejection]:
        """Yield those beyond the number whose faults one answer tells."""
        for first, last in self.json.get("rejectedIndexes") or ():
            for event in events[first : last + 1]:
                yield self._rejection(event, ())

    def _rejection(self, event: Outgoing, errors: Sequence[Any]) -> Rejection:
        """Return the event with its faults: those of the errors, or else what the answer says as a whole."""
        return Rejection(event=event, faults=faults_of(errors) or (self.detail(),))


def _body_of(events: Sequence[Outgoing]) -> bytes:
    return events[0].body if len(events) == 1 else b"[" + b",".join(event.body for event in events) + b"]"


def _with_index(errors: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the errors that name an event of an array by its index."""
    return [error for error in errors if isinstance(error, dict) and "index" in error]


def _merged(one: Delivery, other: Delivery, *, retries: int) -> Delivery:
    return Delivery(
        accepted=one.accepted + other.accepted,
        rejected=one.rejected + other.rejected,
        retries=one.retries + other.retries + retries,
        answered_in_s=max(one.answered_in_s, other.answered_in_s),
        already_known=one.already_known + other.already_known,
    )

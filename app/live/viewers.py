"""Viewers of one topic: bounded queues, slow ones cut off.

Messages are encoded once and shared, so a full queue costs a viewer 2.5 KB of its own (measured); what its transport
may hold unsent, 64 KiB and one message, is more.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, Literal

import attrs

QUEUE_LIMIT = 64
"""Most sendings that wait for a viewer; one that is further behind is cut off, and reconnects to a snapshot. A sending
counts once, because how many messages it has is up to those who send events, not to the viewer."""


@attrs.frozen(kw_only=True)
class Message:
    """One message for every viewer of a topic; encoded once, shared by all.

    Attributes:
        event: name of the server-sent event.
        text: its JSON text, or a future of it, because that of a very long match takes a while to make.
        value: what the JSON was made of: ``MatchAggregates`` for ``metrics``, ``Highlight`` for ``event``.
        id: for ``Last-Event-ID``; empty where the message does not move it.
        match_id: the match that it is about.
    """

    event: Literal["metrics", "event", "changes"]
    text: bytes | asyncio.Future[bytes]
    value: Any
    id: str = ""
    match_id: str = ""

    async def json(self) -> bytes:
        """Return the JSON text, as soon as it is made."""
        if isinstance(self.text, bytes):
            return self.text
        # A viewer that goes away must not cancel it for the others.
        return await asyncio.shield(self.text)

    async def encoded(self) -> bytes:
        """Return the message in the format of server-sent events (WHATWG HTML, section 9.2)."""
        await self.json()
        return self._encoded

    @cached_property
    def _encoded(self) -> bytes:
        lines = [b"event: " + self.event.encode()]
        text = self.text if isinstance(self.text, bytes) else self.text.result()
        if self.id:
            lines.append(b"id: " + self.id.encode())
        lines.extend(b"data: " + line for line in text.splitlines())
        return b"\n".join(lines) + b"\n\n"


class Subscription:
    """The messages for one viewer: an async iterator that ends at shutdown, or when the viewer is too slow."""

    def __init__(self, *, limit: int = QUEUE_LIMIT) -> None:
        self._limit = limit
        self._now: Iterator[Message] = iter(())
        self._waiting: deque[Sequence[Message]] = deque()
        self._wake = asyncio.Event()
        self.ended = False
        """Whether no further message will come."""

    def begin(self, messages: Iterable[Message]) -> None:
        """Set the messages that the stream begins with; they do not count towards the limit, however many they are."""
        self._now = iter(messages)
        self._wake.set()

    def take_begun(self) -> list[Message]:
        """Return, and take out, the messages that the stream begins with."""
        begun, self._now = list(self._now), iter(())
        return begun

    def put(self, messages: Sequence[Message]) -> None:
        """Queue one sending, of one message or more, the same for all viewers.

        A snapshot replaces one that still waits; over the limit the viewer is cut off.
        """
        if self.ended:
            return
        if self._waiting and messages[0].event == self._waiting[-1][0].event == "metrics":
            self._waiting.pop()
        if len(self._waiting) >= self._limit:
            self.end()
            return
        self._waiting.append(messages)
        self._wake.set()

    def end(self) -> None:
        """End the iteration at once; what still waits is dropped."""
        self.ended = True
        self._now = iter(())
        self._waiting.clear()
        self._wake.set()

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Message:
        while (message := next(self._now, None)) is None:
            if self._waiting:
                self._now = iter(self._waiting.popleft())
            elif self.ended:
                raise StopAsyncIteration
            else:
                self._wake.clear()
                await self._wake.wait()
        return message

"""Viewers of one topic: bounded queues, slow ones cut off.

Messages are encoded once and shared, so a full queue costs a viewer 2.5 KB of its own (measured); what its transport
may hold unsent, 64 KiB and one message, is more.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from functools import cached_property
from typing import Any, Literal

import attrs

QUEUE_LIMIT = 64
"""Messages that may wait for one viewer; who is further behind is cut off, and reconnects to a snapshot."""


@attrs.frozen(kw_only=True)
class Message:
    """One message for every viewer of a topic; encoded once, shared by all.

    Attributes:
        event: name of the server-sent event.
        text: its JSON text, or what will be: of a very long match it takes a while to make.
        value: what the JSON was made of: ``MatchAggregates`` for ``metrics``, ``Highlight`` for ``event``.
        id: for ``Last-Event-ID``; empty where the message does not move it.
    """

    event: Literal["metrics", "event"]
    text: bytes | asyncio.Future[bytes]
    value: Any
    id: str = ""

    async def json(self) -> bytes:
        """Return the text, as soon as it is made."""
        if isinstance(self.text, bytes):
            return self.text
        # Who goes away must not take it from the others.
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
        self._first: list[Message] = []  # the last one comes first
        self._waiting: deque[Message] = deque()
        self._wake = asyncio.Event()
        self.ended = False
        """No further message will come."""

    def begin(self, messages: Iterable[Message]) -> None:
        """Set what the stream begins with, however much that is: it does not count towards the limit."""
        self._first = [*messages][::-1]
        self._wake.set()

    def put(self, message: Message) -> None:
        """Queue a message. State supersedes state that still waits; over the limit the viewer is cut off."""
        if self.ended:
            return
        if message.event != "event" and self._waiting and self._waiting[-1].event == message.event:
            self._waiting.pop()
        if len(self._waiting) >= self._limit:
            self.end()
            return
        self._waiting.append(message)
        self._wake.set()

    def end(self) -> None:
        """End the iteration at once; what still waits is dropped."""
        self.ended = True
        self._first.clear()
        self._waiting.clear()
        self._wake.set()

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Message:
        while not (self._first or self._waiting):
            if self.ended:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._first.pop() if self._first else self._waiting.popleft()

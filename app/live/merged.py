"""Several streams as one: of some matches, or of the highlights of all live ones; and snapshots told as changes."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

import attrs
import jsonpatch
import msgspec
from cachetools import LRUCache

from app.engagement.views import highlight_view
from app.live.activity import Activity
from app.live.topic import highlight_of
from app.live.viewers import Message, Subscription
from shards import HIGHLIGHT_TYPES, Event, withdrawn_id

REMEMBERED: Final = 200
"""Highlights of all matches together that are remembered, to send them again after ``Last-Event-ID``."""

PATCHES_KEPT: Final = 256
"""Changes between two snapshots that are kept, for all who follow the same."""

LONG_TEXT: Final = 1 << 16
"""Characters of a snapshot from which on its changes are worked out in a thread."""


async def merged(subscriptions: Sequence[Subscription]) -> AsyncGenerator[Message, None]:
    """Yield the messages of all; end when one of them ends, because what it missed has to be asked for anew.

    An ``id`` moves on only: one of an earlier highlight than the last is left out.
    """
    waiting: asyncio.Queue[Message | None] = asyncio.Queue(maxsize=1)
    tasks = [asyncio.create_task(_forward(subscription, waiting)) for subscription in subscriptions]
    reached = -1
    try:
        while (message := await waiting.get()) is not None:
            order = int(message.id.partition("-")[0]) if message.id else -1
            if message.id and order < reached:
                message = attrs.evolve(message, id="")
            reached = max(reached, order)
            yield message
    finally:
        for task in tasks:
            task.cancel()


async def _forward(subscription: Subscription, waiting: "asyncio.Queue[Message | None]") -> None:
    async for message in subscription:
        await waiting.put(message)
    await waiting.put(None)


class LiveHighlights:
    """The highlights of all live matches, as this process accepts them."""

    def __init__(self) -> None:
        self.viewers: set[Subscription] = set()
        self._last: deque[Message] = deque(maxlen=REMEMBERED)

    def accepted(self, match_id: str, events: Sequence[Event], activity: Activity) -> None:
        """Send the highlights among the events of a match, if it is live. Call it when the activity has them."""
        told = [event for event in events if event.event_type in HIGHLIGHT_TYPES]
        if not told or not (activity.is_live(match_id) or any(event.event_type == "match_end" for event in told)):
            return
        withdrawn = {withdrawn_id(event.event_type, event.metadata) for event in told}
        messages = [_message(event, retracted=event.event_id in withdrawn) for event in told]
        self._last.extend(messages)
        for viewer in self.viewers:
            viewer.put(messages)

    def open(self, last_event_id: str) -> Subscription:
        """Return a subscription that begins behind a message; of an unknown id with what came since its time."""
        order, _, event_id = last_event_id.partition("-")
        since = int(order) if order.isascii() and order.isdigit() and len(order) < 20 and event_id else None
        ids = [message.id for message in self._last]
        if last_event_id in ids:
            missed = list(self._last)[ids.index(last_event_id) + 1 :]
        else:
            missed = [one for one in self._last if since is not None and one.value.order_ms >= since]
        viewer = Subscription()
        viewer.begin(missed)
        self.viewers.add(viewer)
        return viewer

    def forget(self, match_id: str) -> None:
        """Forget the highlights of a match that is erased."""
        kept = [message for message in self._last if message.match_id != match_id]
        self._last = deque(kept, maxlen=REMEMBERED)

    def close(self) -> None:
        """End every stream."""
        for viewer in self.viewers:
            viewer.end()


def _message(event: Event, *, retracted: bool) -> Message:
    highlight = highlight_of(event, retracted=retracted)
    return Message(
        event="event",
        text=msgspec.json.encode(highlight_view(highlight, event.match_id)),
        value=highlight,
        id=f"{highlight.order_ms}-{event.event_id}",
        match_id=event.match_id,
    )


class Changes:
    """Snapshots of metrics, each told as changes against the one that a viewer was sent before (RFC 6902)."""

    def __init__(self) -> None:
        self._patches: LRUCache[tuple[str, str], bytes] = LRUCache(PATCHES_KEPT)

    async def told(self, message: Message, sent: dict[str, tuple[str, bytes]]) -> Message:
        """Return a ``metrics`` message as its viewer is to get it; other messages are returned as they are.

        Args:
            message: of a stream.
            sent: version and text of the last snapshot that the viewer was sent, by match; brought up to date.
        """
        if message.event != "metrics":
            return message
        text = await message.json()
        version, match_id = _version(text), message.match_id
        before = sent.get(match_id)
        sent[match_id] = version, text
        if before is None:
            whole = b'{"version":"%b",%b' % (version.encode(), text[1:])
            return attrs.evolve(message, text=whole)
        patch = self._patches.get((before[0], version))
        if patch is None:
            long = len(text) > LONG_TEXT
            patch = await asyncio.to_thread(_patch, before[1], text) if long else _patch(before[1], text)
            self._patches[before[0], version] = patch
        told = b'{"matchId":%b,"version":"%b","follows":"%b","patch":%b}' % (
            *(msgspec.json.encode(match_id), version.encode(), before[0].encode(), patch),
        )
        return attrs.evolve(message, event="changes", text=told)


def _version(text: bytes) -> str:
    return f"{hash(text) & (1 << 64) - 1:016x}"


def _patch(before: bytes, after: bytes) -> bytes:
    patch: Any = jsonpatch.make_patch(msgspec.json.decode(before), msgspec.json.decode(after))
    return msgspec.json.encode(patch.patch)

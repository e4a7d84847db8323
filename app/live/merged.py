"""Several streams as one: of some matches, or of the highlights of all live ones; and snapshots told as changes."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

import attrs
import jsonpatch
import msgspec
from cachetools import LRUCache

from app.live.activity import Activity
from app.live.topic import highlight_of, message_of, parts_of
from app.live.viewers import Message, Subscription
from shards import HIGHLIGHT_TYPES, Event, withdrawn_id

REMEMBERED: Final = 200
"""Highlights of all matches together that are remembered, to send them again after ``Last-Event-ID``."""

SENT_MAX: Final = 16_384
"""Highlights whose ids are remembered, to send each once."""

PATCHES_KEPT: Final = 256
"""Changes between two snapshots that are kept, for all who follow the same."""

LONG_TEXT: Final = 1 << 16
"""Characters of a snapshot from which on its changes are worked out in a thread."""


async def merged(subscriptions: Sequence[Subscription]) -> AsyncGenerator[Message, None]:
    """Yield the messages of all; end when one of them ends, because what it missed has to be asked for anew.

    What they begin with comes first, snapshots and then highlights in the order of receipt, so that a viewer who comes
    back with any ``id`` has seen all before it. An ``id`` moves on only: one of an earlier highlight is left out.
    """
    begun = [message for subscription in subscriptions for message in subscription.take_begun()]
    for message in _in_order(begun):
        yield message
    reached = max(map(_order, begun), default=-1)
    waiting: asyncio.Queue[Message | None] = asyncio.Queue(maxsize=1)
    tasks = [asyncio.create_task(_forward(subscription, waiting)) for subscription in subscriptions]
    try:
        while (next_one := await waiting.get()) is not None:
            yield next_one if _order(next_one) >= reached else attrs.evolve(next_one, id="")
            reached = max(reached, _order(next_one))
    finally:
        for task in tasks:
            task.cancel()


def _in_order(begun: Sequence[Message]) -> list[Message]:
    """Return what streams begin with; no snapshot has an id before all that was missed is out."""
    snapshots = [message for message in begun if message.event == "metrics"]
    missed = sorted((message for message in begun if message.event != "metrics"), key=_order)
    without = [attrs.evolve(snapshot, id="") for snapshot in snapshots]
    if without and not missed:
        without[-1] = attrs.evolve(without[-1], id=max(snapshots, key=_order).id)
    return without + missed


def _order(message: Message) -> int:
    """Return the order of receipt, in ms, up to which a message's id reaches; -1 without one."""
    return parts_of(message.id)[0] if message.id else -1


async def _forward(subscription: Subscription, waiting: "asyncio.Queue[Message | None]") -> None:
    async for message in subscription:
        await waiting.put(message)
    await waiting.put(None)


class LiveHighlights:
    """The highlights of all live matches, as this process accepts them."""

    def __init__(self) -> None:
        self.viewers: set[Subscription] = set()
        self._last: deque[Message] = deque(maxlen=REMEMBERED)
        self._sent: LRUCache[str, None] = LRUCache(SENT_MAX)
        self._closed = False

    def accepted(self, match_id: str, events: Sequence[Event], activity: Activity) -> None:
        """Send the highlights among the events of a match that goes on. Call it when the activity has them."""
        told = [event for event in events if event.event_type in HIGHLIGHT_TYPES and event.event_id not in self._sent]
        if not told or not activity.is_news(match_id):
            return
        messages = _messages(told if self.viewers else told[-REMEMBERED:])
        self._sent.update(dict.fromkeys(event.event_id for event in told))
        self._last.extend(messages)
        for viewer in self.viewers:
            viewer.put(messages)

    def open(self, last_event_id: str) -> Subscription:
        """Return a subscription that begins behind a message; of an unknown id with what came since its time."""
        viewer = Subscription()
        viewer.begin(self._missed(last_event_id))
        self.viewers.add(viewer)
        if self._closed:
            viewer.end()
        return viewer

    def _missed(self, last_event_id: str) -> list[Message]:
        ids = [message.id for message in self._last]
        if last_event_id in ids:
            return list(self._last)[ids.index(last_event_id) + 1 :]
        order_ms, event_id = parts_of(last_event_id)
        return [message for message in self._last if event_id and message.value.order_ms >= order_ms]

    def forget(self, match_id: str) -> None:
        """Forget the highlights of a match that is erased."""
        kept = [message for message in self._last if message.match_id != match_id]
        self._last = deque(kept, maxlen=REMEMBERED)

    def close(self) -> None:
        """End every stream."""
        self._closed = True
        for viewer in self.viewers:
            viewer.end()


def _messages(events: Sequence[Event]) -> list[Message]:
    withdrawn = {withdrawn_id(event.event_type, event.metadata) for event in events}
    return [message_of(highlight_of(event, retracted=event.event_id in withdrawn), event.match_id) for event in events]


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

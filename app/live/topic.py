"""What the viewers of one match share: the last snapshot, the feed, and the poller that fills both."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

import msgspec

from app.engagement import highlight_view
from app.live.answers import Answers
from app.live.viewers import Message, Subscription
from shards.errors import StoreError
from shards.events import Event
from shards.reads import HIGHLIGHT_TYPES, Highlight, MatchAggregates

INTERVAL_S = 1.0
"""Between two snapshots lies at least this; so often ClickHouse is asked when nothing was accepted here, too."""

REPEAT_S = 10.0
"""A snapshot that did not change is sent again after this, so that a page can tell silence from a lost connection."""

FEED_LIMIT = 200
"""Highlights that are remembered, to send each once and to send them again after ``Last-Event-ID``."""

RECENT_MS = 60_000
"""A highlight that a poll finds is sent if it was received so long before the last one, or later."""

Render = Callable[[MatchAggregates], bytes]


class Topic:
    """One watched match. Made with its first viewer, closed with its last."""

    def __init__(self, match_id: str, answers: Answers, render: Render) -> None:
        self.viewers: set[Subscription] = set()
        self._match_id = match_id
        self._answers = answers
        self._render = render
        self._feed: OrderedDict[str, Message] = OrderedDict()
        self._changed = asyncio.Event()
        self._changed_at = 0.0
        self._poller: asyncio.Task[None] | None = None

    def open(self, viewer: Subscription, *, snapshot: MatchAggregates, last_event_id: str) -> None:
        """Send a viewer the snapshot and what it missed, and everything from now on."""
        if self._poller is None:
            for highlight in reversed(snapshot.highlights):
                self._remember(highlight)
            self._poller = asyncio.create_task(self._poll(snapshot), name="poll match")
        missed = _after(last_event_id, self._feed.values())
        viewer.put(self._snapshot(snapshot))
        for message in missed:
            viewer.put(message)
        self.viewers.add(viewer)

    def accepted(self, events: Iterable[Event]) -> None:
        """Send highlights at once, and a new snapshot soon."""
        self._changed_at = time.monotonic()
        self._changed.set()
        for event in events:
            if event.event_type in HIGHLIGHT_TYPES:
                self._announce(_highlight_of(event))

    async def close(self) -> None:
        """End the poller and every viewer's stream."""
        for viewer in self.viewers:
            viewer.end()
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)

    def _announce_others(self, highlights: Sequence[Highlight], *, received_since_ms: int) -> None:
        """Send what another process accepted; note what was retracted."""
        for highlight in reversed(highlights):
            known = self._feed.get(highlight.event_id)
            if known is not None and known.value.retracted != highlight.retracted:
                self._remember(highlight)
            elif known is None and highlight.received_ms >= received_since_ms:
                self._announce(highlight)

    def _announce(self, highlight: Highlight) -> None:
        if highlight.event_id not in self._feed:
            self._publish(self._remember(highlight))

    def _remember(self, highlight: Highlight) -> Message:
        message = Message(
            event="event",
            data=msgspec.json.encode(highlight_view(highlight)),
            value=highlight,
            id=f"{highlight.received_ms}-{highlight.event_id}",
        )
        self._feed[highlight.event_id] = message
        if len(self._feed) > FEED_LIMIT:
            self._feed.popitem(last=False)
        return message

    def _publish(self, message: Message) -> None:
        for viewer in self.viewers:
            viewer.put(message)

    def _snapshot(self, aggregates: MatchAggregates) -> Message:
        newest = max(self._feed.values(), key=lambda message: message.value.received_ms, default=None)
        return Message(event="metrics", data=self._render(aggregates), value=aggregates, id=newest.id if newest else "")

    async def _poll(self, shown: MatchAggregates) -> None:
        """Publish whatever changed, for as long as there are viewers."""
        shown_at = time.monotonic()
        while True:
            await self._wait_for_change(timeout_s=INTERVAL_S)
            await asyncio.sleep(shown_at + INTERVAL_S - time.monotonic())
            self._changed.clear()
            try:
                newest = await self._answers.get_newer(self._match_id, self._changed_at)
            except StoreError:
                newest = None
            if newest is None or (newest == shown and time.monotonic() - shown_at < REPEAT_S):
                continue
            self._announce_others(newest.highlights, received_since_ms=shown.as_of_ms - RECENT_MS)
            shown, shown_at = newest, time.monotonic()
            self._publish(self._snapshot(newest))

    async def _wait_for_change(self, *, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return


def _highlight_of(event: Event) -> Highlight:
    return Highlight(
        event_id=event.event_id,
        event_type=event.event_type,
        timestamp=event.timestamp,
        team_id=event.team_id,
        player_id=event.player_id,
        metadata=event.metadata,
        retracted=False,
        received_ms=event.received_ns // 1_000_000,
    )


def _after(last_event_id: str, feed: Iterable[Message]) -> list[Message]:
    """Return the highlights received after the one a viewer saw last, in that order; none for an id not of ours."""
    received, _, event_id = last_event_id.partition("-")
    if not (received.isascii() and received.isdigit() and len(received) < 20):
        return []
    since = int(received)
    missed = [m for m in feed if m.value.received_ms >= since and m.value.event_id != event_id]
    return sorted(missed, key=lambda message: (message.value.received_ms, message.value.event_id))

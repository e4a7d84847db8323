"""Topics: the last snapshot, the feed and the poller that fills both, shared by the viewers of one match."""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

import attrs
import msgspec
from cachetools import LRUCache

from app.engagement.views import highlight_view
from app.live.answers import Answers
from app.live.viewers import Message, Subscription
from shards import (
    HIGHLIGHT_TYPES,
    HIGHLIGHTS,
    NOBODY,
    RETRACTION,
    Event,
    Highlight,
    MatchAggregates,
    StoreError,
    Watch,
    Watched,
    canonical_id,
    shortened,
    withdrawn_id,
)

INTERVAL_S = 1.0
"""Least seconds between two snapshots, after which ClickHouse is asked even if nothing was accepted here."""

REPEAT_S = 10.0
"""Seconds after which an unchanged snapshot is sent again, so that a page can tell silence from a lost connection."""

FEED_LIMIT = 200
"""Highlights that are remembered, to send them again after ``Last-Event-ID``."""

SENT_MAX = 16_384
"""Highlights whose ids are remembered, to send each once, because an answer holds some for longer than the feed."""

RECENT_MS = 60_000
"""Milliseconds before the last snapshot; a highlight that a poll finds is sent only if it was received since then."""

LATE_MS = 2_000
"""Milliseconds before the message that a viewer saw last from which on those of another match are sent again."""

NO_HIGHLIGHT_YET = f"0-{NOBODY}"
"""The id of a snapshot before the first highlight: a viewer that comes back with it missed whatever came since."""

Render = Callable[[MatchAggregates], Awaitable[bytes]]
"""Makes the JSON text of an answer, once for all who ask at a time."""


class Topic:
    """One watched match. It is opened with its first viewer, closed with its last, and opened again by a next one.

    The feed holds highlights in the order in which they were sent, so whoever comes back with the id of one goes on
    behind it. Those that were there before the first viewer, "seeded", are in the order of their receipt.
    """

    def __init__(self, match_id: str, answers: Answers, render: Render, watch: Watch) -> None:
        self.viewers: set[Subscription] = set()
        self._match_id = match_id
        self._answers = answers
        self._render = render
        self._feed: OrderedDict[str, Message] = OrderedDict()
        self._seeded = 0
        self._sent: LRUCache[str, None] = LRUCache(SENT_MAX)
        self._unchecked: deque[tuple[float, Highlight]] = deque(maxlen=FEED_LIMIT)
        self._changed = asyncio.Event()
        self._changed_at = 0.0
        self._watch = watch
        self._poller: Watched | None = None

    def open(self, viewer: Subscription, *, snapshot: MatchAggregates, last_event_id: str) -> None:
        """Send a viewer the snapshot and what it missed, and everything from now on."""
        if self._poller is None:
            self._seed(snapshot.highlights)
            self._poller = self._watch.keep_running("match-poller", partial(self._poll, snapshot))
        missed = self._missed(last_event_id)
        first = self._snapshot(snapshot)
        # Without an id of the snapshot a stream that breaks off in the middle of them begins there again.
        viewer.begin([attrs.evolve(first, id="") if missed else first, *missed])
        self.viewers.add(viewer)

    def accepted(self, events: Iterable[Event]) -> None:
        """Send highlights at once, and a new snapshot soon."""
        self._changed_at = time.monotonic()
        self._changed.set()
        highlights = [event for event in events if event.event_type in HIGHLIGHT_TYPES]
        if not highlights:
            return
        messages, withdrawn = [], self._withdrawn()
        for event in highlights:
            if event.event_id not in self._sent:
                highlight = highlight_of(event, retracted=event.event_id in withdrawn)
                messages.append(self._remember(highlight))
                withdrawn.add(withdrawn_id(event.event_type, event.metadata))
                self._unchecked.append((self._changed_at, highlight))
        self._publish(messages)

    async def close(self) -> None:
        """End the poller and every viewer's stream. The feed goes on to take what is accepted."""
        for viewer in self.viewers:
            viewer.end()
        poller, self._poller = self._poller, None
        if poller is not None:
            await poller.close()

    def _seed(self, highlights: Sequence[Highlight]) -> None:
        """Take in what was accepted before. A topic that is opened again sends its viewers what it has not sent yet."""
        is_new = not self._feed
        for highlight in sorted(highlights, key=_receipt):
            if highlight.event_id in self._feed or highlight.event_id not in self._sent:
                self._remember(highlight)
        if is_new:
            self._seeded = len(self._feed)

    def _missed(self, last_event_id: str) -> list[Message]:
        """Return the messages after the one with this id, which a viewer saw last; none for an id that is not ours."""
        order_ms, event_id = parts_of(last_event_id)
        if not event_id:
            return []
        sent = list(self._feed.values())
        place = next((place for place, message in enumerate(sent) if message.id == last_event_id), -1)
        if place >= self._seeded:
            return sent[place + 1 :]
        # The order in which seeded ones were sent is not known; those of that millisecond better twice than not at all.
        seeded = (m for m in sent[: self._seeded] if m.value.order_ms >= order_ms)
        later = sent[self._seeded :]
        if place < 0:  # perhaps the id of another match, of several that a viewer follows
            later = _since(later, order_ms - LATE_MS)
        return [*(m for m in seeded if m.value.event_id != event_id), *later]

    def _announce_others(self, highlights: Sequence[Highlight], *, received_since_ms: int) -> None:
        """Send the highlights that another process accepted, and note which were retracted."""
        messages = []
        for highlight in reversed(highlights):
            known = self._feed.get(highlight.event_id)
            if known is not None and known.value.retracted != highlight.retracted:
                self._remember(highlight)
            elif highlight.event_id not in self._sent and highlight.received_ms >= received_since_ms:
                messages.append(self._remember(highlight))
        self._publish(messages)

    def _withdrawn(self) -> set[str]:
        """Return the ids of the events that those in the feed withdraw."""
        sent = (message.value for message in self._feed.values())
        return {withdrawn_id(highlight.event_type, highlight.metadata) for highlight in sent}

    def _correct(self, newest: MatchAggregates, *, accepted_until: float) -> None:
        """Send highlights again whose version turned out not to count, in the version that does.

        Counting ``newest`` began after ``accepted_until``, so what was accepted by then is in it.
        """
        standing = {highlight.event_id: highlight for highlight in newest.highlights}
        oldest = _oldest_held(newest.highlights)
        messages = []
        while self._unchecked and self._unchecked[0][0] <= accepted_until:
            _, highlight = self._unchecked.popleft()
            counted = standing.get(highlight.event_id)
            held_since = oldest[highlight.event_type == RETRACTION]
            if counted is None and highlight.timestamp > held_since and not newest.pending_events:
                messages.append(self._remember_again(attrs.evolve(highlight, retracted=True)))
            elif counted is not None and _is_outdated(highlight, counted):
                messages.append(self._remember_again(counted))
        self._publish(messages)

    def _remember_again(self, highlight: Highlight) -> Message:
        """Remember a highlight under a new id, because a viewer that comes back with the old one has not seen this."""
        if highlight.event_id in list(self._feed)[: self._seeded]:
            self._seeded -= 1
        self._feed.pop(highlight.event_id, None)
        return self._remember(highlight, id_ms=highlight.order_ms + 1)

    def _remember(self, highlight: Highlight, *, id_ms: int | None = None) -> Message:
        message = message_of(highlight, self._match_id, id_ms=id_ms)
        self._feed[highlight.event_id] = message
        self._sent[highlight.event_id] = None
        if len(self._feed) > FEED_LIMIT:
            self._feed.popitem(last=False)
            self._seeded = max(0, self._seeded - 1)
        return message

    def _publish(self, messages: Sequence[Message]) -> None:
        if messages:
            for viewer in self.viewers:
                viewer.put(messages)

    def _snapshot(self, aggregates: MatchAggregates) -> Message:
        last = next(reversed(self._feed.values()), None)
        text = asyncio.ensure_future(self._render(aggregates))
        last_id = last.id if last else NO_HIGHLIGHT_YET
        return Message(event="metrics", text=text, value=aggregates, id=last_id, match_id=self._match_id)

    async def _poll(self, shown: MatchAggregates) -> None:
        """Publish whatever changed, for as long as there are viewers.

        The interval lies between the beginnings of two counts, not between two messages, because else an event that
        just missed one count would wait for the interval and for two counts.
        """
        shown_at = time.monotonic()
        due = _next_due(shown)
        while True:
            await self._wait_for_change(timeout_s=INTERVAL_S)
            await asyncio.sleep(due - time.monotonic())
            self._changed.clear()
            changed_at = self._changed_at
            try:
                newest = await self._answers.get_newer(self._match_id, changed_at)
            except StoreError:
                newest = None
            if newest is not None and self._answers.counted_since(self._match_id, changed_at):
                self._correct(newest, accepted_until=changed_at)
            if self._answers.found_nothing_since(self._match_id, changed_at):
                for viewer in self.viewers:
                    viewer.end()  # a viewer that comes back is told that there is no such match
            if newest is None or (newest == shown and time.monotonic() - shown_at < REPEAT_S):
                continue
            since_ms = min(shown.as_of_ms, newest.as_of_ms)  # the wall clock may have been set back in between
            self._announce_others(newest.highlights, received_since_ms=since_ms - RECENT_MS)
            shown, shown_at, due = newest, time.monotonic(), _next_due(newest)
            self._publish([self._snapshot(newest)])

    async def _wait_for_change(self, *, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return


def _since(messages: Iterable[Message], order_ms: int) -> list[Message]:
    return [message for message in messages if message.value.order_ms >= order_ms]


def _next_due(shown: MatchAggregates) -> float:
    """Return when the next count may begin, on the monotonic clock."""
    return shown.counted_at + INTERVAL_S


def _oldest_held(highlights: Sequence[Highlight]) -> dict[bool, int]:
    """Return the ms since which an answer is sure to hold all retractions (True), and all other highlights (False)."""
    oldest = {}
    for is_retraction in (True, False):
        of_kind = [h.timestamp for h in highlights if (h.event_type == RETRACTION) is is_retraction]
        oldest[is_retraction] = of_kind[-1] if len(of_kind) == HIGHLIGHTS else 0
    return oldest


def _content(highlight: Highlight) -> tuple[object, ...]:
    return (
        *(highlight.event_type, highlight.timestamp, highlight.team_id, highlight.player_id),
        highlight.metadata or "{}",
    )


def _is_outdated(announced: Highlight, counted: Highlight) -> bool:
    """Say whether an event counts otherwise than it was announced, so that viewers have to be told."""
    return _content(counted) != _content(announced) or (announced.retracted and not counted.retracted)


def parts_of(message_id: str) -> tuple[int, str]:
    """Return the order in ms and the event id in a message's id; 0 and "" for an id that is not ours."""
    order, _, event_id = message_id.partition("-")
    is_ours = order.isascii() and order.isdigit() and len(order) < 20 and canonical_id(event_id)
    return (int(order), event_id) if is_ours else (0, "")


def message_of(highlight: Highlight, match_id: str, *, id_ms: int | None = None) -> Message:
    """Return the message that tells a highlight; its id begins with ``id_ms``, as a rule the order of its receipt."""
    return Message(
        event="event",
        text=msgspec.json.encode(highlight_view(highlight, match_id)),
        value=highlight,
        id=f"{highlight.order_ms if id_ms is None else id_ms}-{highlight.event_id}",
        match_id=match_id,
    )


def highlight_of(event: Event, *, retracted: bool) -> Highlight:
    """Return an event as a highlight."""
    return Highlight(
        event_id=event.event_id,
        event_type=event.event_type,
        timestamp=event.timestamp,
        team_id=event.team_id,
        player_id=event.player_id,
        metadata=shortened(event.metadata),
        retracted=retracted,
        received_ms=event.received_ns // 1_000_000,
        order_ms=event.order_ns // 1_000_000,
    )


def _receipt(highlight: Highlight) -> tuple[int, str]:
    return highlight.order_ms, highlight.event_id

"""The hub between the reads, and all readers and viewers."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import attrs
from cachetools import TTLCache

from app.engagement.rendered import RenderedMetrics
from app.live.activity import Activity
from app.live.answers import Answers
from app.live.merged import LiveHighlights
from app.live.overview import Overview, Overviews
from app.live.topic import Topic
from app.live.viewers import Subscription
from app.live.waiting import Line, Patience
from app.observability.prometheus import CacheCount
from app.web.shared import Shared
from shards import (
    CURVE_BUCKET_MS,
    MINUTE_MS,
    Event,
    EventPage,
    EventQuery,
    EventReads,
    MatchAggregates,
    MatchReads,
    ReceiptClock,
    StoreUnavailable,
    Watch,
)

RESTING_S = 60.0
RESTING_MAX = 64
"""Seconds that a feed is kept for those who come back, after its last viewer left, and the most feeds that are kept."""

FINE_S = 10.0
FINE_MAX = 4_096
"""Seconds that a match is counted with buckets of 10 s after somebody asked for them, and the most such matches."""

PAGES_AGE_S = 0.5
PAGES_KEPT = 256
"""Age in s up to which a page of matches or of events is given to all who ask for it, and the most that are kept."""

CROWDED_AGE_S = 30.0
"""Seconds after which a crowded match is counted again although nothing of it was accepted here: others may have."""

EVENT_BYTES = 800
"""Bytes that an event of a page takes in memory without its metadata."""

LISTS_WAITING_MAX = 64
"""Pages of the list of matches that may wait for their turn; more are refused."""

_Page = tuple[int, tuple[int, str] | None]
"""The limit, and the position after which the page begins."""


class UnknownMatch(LookupError):
    """Nothing was ever received of this match."""


class Live:
    """Answers about matches, counted once however many ask, and streams of what changes.

    A match is counted at most twice a second, and never if nobody looks at it. While ClickHouse is away the last good
    answer is given again; ``as_of_ms`` tells its age.
    """

    def __init__(
        self,
        reads: MatchReads,
        event_reads: EventReads,
        rendered: RenderedMetrics,
        *,
        clock: ReceiptClock,
        watch: Watch,
        patience: Patience | None = None,
    ) -> None:
        patience = patience or Patience()
        self._watch = watch
        self._patience = patience
        self._rendered = rendered
        self._reads = reads
        self._event_reads = event_reads
        self._clock = clock
        self._answers = Answers(self._load, patience=patience)
        self._recent: Shared[_Page, list[tuple[str, int]]] = Shared(
            max_age_s=PAGES_AGE_S, keys_max=PAGES_KEPT, wait=patience.wait_for, for_readers=True
        )
        self._pages: Shared[EventQuery, EventPage | None] = Shared(
            max_age_s=PAGES_AGE_S, keys_max=PAGES_KEPT, wait=patience.wait_for, size_of=_page_size, for_readers=True
        )
        self._lists = Line(LISTS_WAITING_MAX)
        self._overviews = Overviews(reads, self._answers, patience)
        self._topics: dict[str, Topic] = {}
        self._fine: TTLCache[str, None] = TTLCache(FINE_MAX, FINE_S)
        self._resting: TTLCache[str, Topic] = TTLCache(RESTING_MAX, RESTING_S)
        self._activity = Activity()
        self.highlights = LiveHighlights()
        self._closed = False

    async def aggregates(self, match_id: str, *, bucket_ms: int = MINUTE_MS) -> MatchAggregates:
        """Return the match's aggregates, at most 0.95 s old.

        Args:
            match_id: the match.
            bucket_ms: longest that the buckets of its curve may be, 10,000 or more.

        Raises:
            UnknownMatch: nothing was received of it.
            StoreError: ClickHouse is away and no earlier answer is at hand, or none with such buckets.
        """
        asked_at = time.monotonic()
        if bucket_ms < MINUTE_MS:
            self._fine[match_id] = None
        answer = self._answers.at_hand(match_id) or (await self._answers.get([match_id])).get(match_id)
        if answer is None:
            self._fine.pop(match_id, None)
            raise UnknownMatch(match_id)
        if answer.bucket_ms > bucket_ms:
            answer = await self._newer(match_id, asked_at)
        if answer is None or answer.bucket_ms > bucket_ms:
            raise StoreUnavailable("no answer with buckets of 10 s is at hand")
        return answer

    async def _newer(self, match_id: str, than: float) -> MatchAggregates | None:
        finer = asyncio.ensure_future(self._answers.get_newer(match_id, than))
        try:
            await self._patience.wait({finer}, at_hand=False)
            return finer.result()
        finally:
            finer.cancel()

    async def aggregates_by_match(self, match_ids: Sequence[str]) -> dict[str, MatchAggregates]:
        """Return the aggregates of several matches, counted in one statement; unknown ones are absent."""
        return await self._answers.get(match_ids)

    async def recent_matches(self, *, limit: int, before: tuple[int, str] | None) -> list[tuple[str, int]]:
        """Return a page of (match id, last receipt in ms), at most 0.5 s old, newest activity first."""
        load = partial(self._list, limit=limit, before=before)
        return await self._recent.get((limit, before), load)

    async def _list(self, *, limit: int, before: tuple[int, str] | None) -> list[tuple[str, int]]:
        async with self._lists.turn():
            return await self._reads.recent_matches(limit=limit, before=before)

    async def events(self, query: EventQuery) -> EventPage | None:
        """Return a page of a match's events, at most 0.5 s old; None if nothing was received of the match."""
        return await self._pages.get(query, partial(self._event_reads.page, query))

    async def overview(self) -> Overview:
        """Return the 50 matches with the newest activity, at most 1 s old. Raises StoreError as :meth:`aggregates`."""
        return await self._overviews.get()

    @asynccontextmanager
    async def subscribe(self, match_id: str, *, last_event_id: str = "") -> AsyncIterator[Subscription]:
        """Watch a match: ``async with live.subscribe(id) as messages: async for message in messages``.

        A ``metrics`` message comes at once, and then on every change: at most one a second, and one every 10 s if
        nothing changes. An ``event`` message comes for each highlight as it is accepted, once. With ``last_event_id``,
        the ``id`` of an earlier message, highlights received since then follow the first snapshot. The iteration ends
        at shutdown, or when the viewer falls behind.

        Entering raises UnknownMatch, or StoreError.
        """
        snapshot = await self.aggregates(match_id)
        viewer = Subscription()
        topic = self._topics.get(match_id)
        if topic is None:
            topic = self._resting.pop(match_id, None)
            topic = topic or Topic(match_id, self._answers, self._render, self._watch)
            self._topics[match_id] = topic
        # Others may have been answered while this viewer waited, and it must not start behind them.
        topic.open(viewer, snapshot=self._answers.last(match_id) or snapshot, last_event_id=last_event_id)
        try:
            if self._closed:
                viewer.end()
            yield viewer
        finally:
            topic.viewers.discard(viewer)
            if not topic.viewers:
                if self._topics.get(match_id) is topic:  # else it was forgotten
                    del self._topics[match_id]
                    self._resting[match_id] = topic
                await topic.close()

    async def _load(self, match_ids: Sequence[str]) -> dict[str, MatchAggregates]:
        """Load matches, with short buckets where somebody asked for these lately."""
        counted_at = time.monotonic()
        unchanged = {match_id: same for match_id in match_ids if (same := self._unchanged(match_id, counted_at))}
        match_ids = [match_id for match_id in match_ids if match_id not in unchanged]
        fine = [match_id for match_id in match_ids if match_id in self._fine]
        found = await self._reads.aggregates([match_id for match_id in match_ids if match_id not in fine])
        found |= await self._reads.aggregates(fine, bucket_ms=CURVE_BUCKET_MS)
        return unchanged | {
            match_id: attrs.evolve(answer, counted_at=counted_at, quiet_ms=self._quiet_ms(answer))
            for match_id, answer in found.items()
        }

    def _unchanged(self, match_id: str, now: float) -> MatchAggregates | None:
        """Return the last answer of a crowded match of which nothing was accepted here since, because it is dear."""
        last = self._answers.last(match_id)
        if last is None or not last.is_crowded or last.pending_events or match_id in self._fine:
            return None
        if now - last.counted_at >= CROWDED_AGE_S or (self._activity.heard_at(match_id) or 0.0) >= last.counted_at:
            return None
        age_ms = round((now - last.counted_at) * 1000)
        return attrs.evolve(last, as_of_ms=last.as_of_ms + age_ms, quiet_ms=self._quiet_ms(last))

    def _quiet_ms(self, answer: MatchAggregates) -> int:
        """Return how long nothing was received of a match itself; where nothing is known of it but its fans, of these.

        What was accepted here is told by the monotonic clock. So only a receipt that another process had, or this one
        before its start or long ago, is dated by its time on the wall clock.
        """
        of_feed = answer.feed_received_ms > 0
        quiet_ms = self._clock.elapsed_ms(answer.feed_received_ms if of_feed else answer.last_received_ms)
        heard_at = self._activity.fed_at(answer.match_id) if of_feed else self._activity.heard_at(answer.match_id)
        return quiet_ms if heard_at is None else min(quiet_ms, round((time.monotonic() - heard_at) * 1000))

    def accepted(self, events: Sequence[Event]) -> None:
        """Note that these events are durable; highlights of watched matches go out at once. Cheap."""
        if len(events) == 1:
            self._accepted(events[0].match_id, events)
            return
        by_match: dict[str, list[Event]] = {}
        for event in events:
            by_match.setdefault(event.match_id, []).append(event)
        for match_id, of_match in by_match.items():
            self._accepted(match_id, of_match)

    def _accepted(self, match_id: str, events: Sequence[Event]) -> None:
        self._activity.note(match_id, events)
        self.highlights.accepted(match_id, events, self._activity)
        topic = self._topics.get(match_id)
        if topic is None and match_id in self._resting:
            topic = self._resting.get(match_id)
        if topic is not None:
            topic.accepted(events)

    def forget(self, match_ids: Collection[str]) -> None:
        """Forget matches that are erased, and end the streams of those who watch them."""
        self._answers.forget(match_ids)
        self._overviews.forget()
        self._pages.forget(lambda query: query.match_id in match_ids)
        for match_id in match_ids:
            self._fine.pop(match_id, None)
            self._activity.forget(match_id)
            self.highlights.forget(match_id)
            self._resting.pop(match_id, None)
            if (topic := self._topics.pop(match_id, None)) is not None:
                for viewer in topic.viewers:
                    viewer.end()

    @property
    def viewers(self) -> int:
        """Open streams of matches, and of the highlights of all."""
        return sum(len(topic.viewers) for topic in self._topics.values()) + len(self.highlights.viewers)

    @property
    def caches(self) -> Mapping[str, CacheCount]:
        """What the caches have counted, by their names."""
        lists, pages, overview = self._recent, self._pages, self._overviews.loads
        return {"match": self._answers, "match_list": lists, "event_page": pages, "overview": overview}

    @property
    def stale_answers(self) -> int:
        """Answers that were given although they were too old, because ClickHouse gave none."""
        return self._answers.stale + self._overviews.stale

    def silent_feeds(self) -> tuple[int, float]:
        """Return what :meth:`Feeds.silent` does."""
        return self._activity.feeds.silent()

    def active_matches(self) -> int:
        """Return how many matches are live, as far as this process followed them."""
        return self._activity.active()

    async def close(self) -> None:
        """End every stream, poller and load. Idempotent."""
        self._closed = True
        self.highlights.close()
        await asyncio.gather(*(topic.close() for topic in tuple(self._topics.values())))
        await self._overviews.close()
        await self._recent.close()
        await self._pages.close()
        await self._answers.close()

    async def _render(self, aggregates: MatchAggregates) -> bytes:
        return (await self._rendered.get(aggregates)).body


def _page_size(page: EventPage | None) -> int:
    return sum(len(found.event.metadata) + EVENT_BYTES for found in page.events) if page is not None else 0

"""A plain count of a match in Python, as an independent model of what the reads answer."""

import json
from collections import Counter
from collections.abc import Sequence

from shards.events import HIGHLIGHT_TYPES, Event
from shards.reads.aggregates import MINUTE_MS, MatchAggregates
from shards.reads.highlights import Highlight
from shards.reads.kinds import COURSE_TYPES, FEED_TYPES, PLAY_TYPES
from shards.reads.sides import match_sides


def aggregates_of_events(events: Sequence[Event], *, as_of_ms: int, quiet_ms: int = 0) -> MatchAggregates:
    """Return the aggregates of one match with less than a hundred highlights, without curve and momentum."""
    first: dict[str, Event] = {}
    for event in sorted(events, key=lambda event: event.order_ns):
        first.setdefault(event.event_id, event)
    withdrawn = {_withdrawn_by(event) for event in first.values()}
    kept = [event for event in first.values() if event.event_id not in withdrawn]
    feed = [event for event in kept if event.event_type in FEED_TYPES]
    play = [event.timestamp for event in feed if event.event_type in PLAY_TYPES]
    ordered = sorted(first.values(), key=lambda event: (event.timestamp, event.order_ns))
    shown = [(event, _highlight(event, event.event_id in withdrawn)) for event in ordered]
    starts = [event.metadata for event in ordered if event.event_type == "match_start" and event in kept]
    return MatchAggregates(
        match_id=events[0].match_id,
        total=len(kept),
        first_ms=min((event.timestamp for event in kept), default=0),
        last_ms=max((event.timestamp for event in kept), default=0),
        last_received_ms=max(event.received_ns for event in first.values()) // 1_000_000,
        by_type_team=tuple(
            (*key, n) for key, n in sorted(Counter((event.event_type, event.team_id) for event in kept).items())
        ),
        by_minute=_by_minute(kept),
        feed_by_minute=_by_minute(feed),
        start_metadata=next((start for start in starts if match_sides(start)), starts[0] if starts else ""),
        course=tuple(one for event, one in shown if event.event_type in COURSE_TYPES and not one.retracted),
        feed_last_ms=max((event.timestamp for event in feed), default=0),
        feed_received_ms=max(
            (event.received_ns // 1_000_000 for event in first.values() if event.event_type in FEED_TYPES), default=0
        ),
        play_first_ms=min(play, default=0),
        play_last_ms=max(play, default=0),
        highlights=tuple(one for event, one in reversed(shown) if event.event_type in HIGHLIGHT_TYPES),
        as_of_ms=as_of_ms,
        quiet_ms=quiet_ms,
    )


def _withdrawn_by(event: Event) -> str:
    metadata = json.loads(event.metadata)
    return str(metadata.get("eventId" if event.event_type == "retraction" else "replaces", ""))


def _by_minute(events: Sequence[Event]) -> tuple[tuple[int, int], ...]:
    return tuple(sorted(Counter(event.timestamp // MINUTE_MS * MINUTE_MS for event in events).items()))


def _highlight(event: Event, retracted: bool) -> Highlight:
    return Highlight(
        event_id=event.event_id,
        event_type=event.event_type,
        timestamp=event.timestamp,
        team_id=event.team_id,
        player_id=event.player_id,
        metadata=event.metadata,
        retracted=retracted,
        received_ms=event.received_ns // 1_000_000,
        order_ms=event.order_ns // 1_000_000,
    )

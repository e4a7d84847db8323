"""Highlights as lines of the feed and as marks on the curve. Pure functions."""

from collections.abc import Iterable, Mapping

import attrs

from app.dashboard.formats import match_minute_text, time_of_day
from app.dashboard.timeline import MINUTE_MS, Timeline
from app.engagement.sides import Sides, metadata_of, team_names
from app.times import iso_ms
from shards import Highlight, MatchAggregates

LATEST_MINUTE = 150
"""Latest minute that is taken for the clock of a match; extra time cannot have a later one."""

MARK_ROWS = 3
"""Marks of one minute that are drawn one above the other; the feed has them all."""

MARK_HEIGHT_PX = 16

MARKED = {"goal": "goal", "own_goal": "goal", "yellow_card": "yellow", "red_card": "red"}

LABELS = {
    "var_review": "VAR review",
    "retraction": "Withdrawn",
    "match_start": "Kick-off",
    "match_end": "Full time",
    "half_start": "Half begins",
    "half_end": "Half ends",
}

SAME_MOMENT = {"match_start": 0, "half_start": 1, "half_end": 3, "match_end": 4}
"""Order of event types at the same time; any other type lies between, in the order of receipt."""

WHISTLES = frozenset({"match_start", "match_end", "half_start", "half_end", "retraction"})
"""Highlights that say less about a match than any goal or card before them."""


@attrs.frozen(kw_only=True)
class FeedItem:
    """One line of the feed; every text is plain, to be escaped where it is shown.

    Attributes:
        key: event id, unique within the match.
        kind: event type, for the style.
        minute: minute of the match where the event carries it, else the time of day.
        moment: ISO 8601, UTC.
        details: player, team and assist, as far as they are known.
        retracted: withdrawn; shown struck out.
    """

    key: str
    kind: str
    label: str
    minute: str
    moment: str
    details: tuple[str, ...]
    retracted: bool


@attrs.frozen(kw_only=True)
class Mark:
    """A goal or a card above the curve; ``x`` in percent, ``row`` 0 is nearest to the bars."""

    x: float
    row: int
    kind: str
    label: str

    @property
    def y(self) -> int:
        """Middle of the mark in pixels, in a drawing that is :data:`MARK_ROWS` marks high."""
        return MARK_HEIGHT_PX * (MARK_ROWS - self.row) - MARK_HEIGHT_PX // 2


def label(event_type: str) -> str:
    """Return an event type as people write it: ``yellow_card`` becomes ``Yellow card``."""
    return LABELS.get(event_type, event_type.replace("_", " ").capitalize())


def feed_items(aggregates: MatchAggregates, sides: Sides | None) -> tuple[FeedItem, ...]:
    """Return every highlight, newest first."""
    names = team_names(sides)
    newest_first = sorted(aggregates.highlights, key=lambda h: (-h.timestamp, -SAME_MOMENT.get(h.event_type, 2)))
    return tuple(_item(highlight, names) for highlight in newest_first)


def latest_that_stands(items: Iterable[FeedItem]) -> FeedItem | None:
    """Return the newest item that was not taken back, a whistle only where there is nothing else."""
    standing = [item for item in items if not item.retracted]
    return next((item for item in standing if item.kind not in WHISTLES), standing[0] if standing else None)


def marks(highlights: Iterable[Highlight], timeline: Timeline) -> tuple[Mark, ...]:
    """Return goals and cards that stand and lie within the curve, oldest first."""
    rows: dict[float, int] = {}
    found = []
    for highlight in sorted(highlights, key=lambda h: (h.timestamp, h.event_id)):
        x = timeline.position(highlight.timestamp)
        if x is None or highlight.retracted or highlight.event_type not in MARKED:
            continue
        row = rows[x] = rows.get(x, -1) + 1
        if row < MARK_ROWS:
            found.append(_mark(highlight, x=x, row=row))
    return tuple(found)


def match_minute(aggregates: MatchAggregates) -> int | None:
    """Return the minute that the match has reached; None where it cannot be told.

    The newest highlight that stands and carries ``metadata.minute`` sets the clock, because only it knows of breaks.
    Without one the first event of the match does.
    """
    for highlight in aggregates.highlights:
        minute = None if highlight.retracted else _whole_minute(metadata_of(highlight.metadata).get("minute"))
        if minute is not None:
            return _plausible(minute + max(0, aggregates.latest_ms - highlight.timestamp) // MINUTE_MS)
    if not aggregates.total:
        return None
    return _plausible((aggregates.latest_ms - aggregates.first_ms) // MINUTE_MS)


def _item(highlight: Highlight, names: Mapping[str, str]) -> FeedItem:
    metadata = metadata_of(highlight.metadata)
    minute = _whole_minute(metadata.get("minute"))
    player = _name(metadata.get("player")) or highlight.player_id
    assist = _name(metadata.get("assist"))
    team = names.get(highlight.team_id, f"team {highlight.team_id}" if highlight.team_id else "")
    parts = (player, team, f"assist {assist}" if assist else "")
    return FeedItem(
        key=highlight.event_id,
        kind=highlight.event_type,
        label=label(highlight.event_type),
        minute=time_of_day(highlight.timestamp) if minute is None else match_minute_text(minute),
        moment=iso_ms(highlight.timestamp),
        details=tuple(part for part in parts if part),
        retracted=highlight.retracted,
    )


def _mark(highlight: Highlight, *, x: float, row: int) -> Mark:
    text = f"{label(highlight.event_type)}, {time_of_day(highlight.timestamp)}"
    return Mark(x=x, row=row, kind=MARKED[highlight.event_type], label=text)


def _name(value: object) -> str:
    """Return a name, or the name in an object; empty for anything else."""
    if isinstance(value, dict):
        value = value.get("name")
    return value.strip() if isinstance(value, str) else ""


def _whole_minute(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return _plausible(value)


def _plausible(minute: int) -> int | None:
    return minute if 0 <= minute <= LATEST_MINUTE else None

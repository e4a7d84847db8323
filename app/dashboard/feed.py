"""Highlights as lines of the feed and as marks on the curve. Pure functions."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from app.dashboard.formats import cut, match_minute_text, time_of_day
from app.dashboard.timeline import Timeline
from app.engagement.clock import MatchStanding, standing_of, told_minute
from app.engagement.football import side_of
from app.engagement.sides import Sides, metadata_of, team_names
from app.schemas.values import card_of, name_in, player_of
from app.times import iso_ms
from shards import MATCH_TYPES, Highlight, MatchAggregates

NAME_MAX = 60
"""Most characters of a name in a line."""

TOLD_WITH_OUTCOME = frozenset(
    {"penalty", "var_review", "card", "yellow_card", "red_card", "suspended", "abandoned", "postponed"}
)
"""Types of which the outcome, or the reason, is worth a word."""

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
    "suspended": "Play suspended",
    "resumed": "Play resumed",
    "shootout_goal": "Shoot-out: scored",
    "shootout_miss": "Shoot-out: missed",
}

SAME_MOMENT = {"match_start": 0, "half_start": 1, "half_end": 3, "match_end": 4}
"""Order of event types at the same time; any other type lies between, in the order of receipt."""

WHISTLES = MATCH_TYPES | {"retraction"}
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
        whole: the details without a cut, where one of them is cut.
    """

    key: str
    kind: str
    label: str
    minute: str
    moment: str
    details: tuple[str, ...]
    retracted: bool
    whole: str = ""


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


def feed_items(
    aggregates: MatchAggregates, sides: Sides | None, standing: MatchStanding | None = None
) -> tuple[FeedItem, ...]:
    """Return every highlight, newest first."""
    standing = standing or standing_of(aggregates)
    newest_first = sorted(aggregates.highlights, key=lambda h: (-h.timestamp, -SAME_MOMENT.get(h.event_type, 2)))
    return tuple(_item(highlight, sides, standing) for highlight in newest_first)


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
        kind = _kind(highlight.event_type, metadata_of(highlight.metadata))
        if x is None or highlight.retracted or kind not in MARKED:
            continue
        row = rows[x] = rows.get(x, -1) + 1
        if row < MARK_ROWS:
            found.append(_mark(highlight, kind, x=x, row=row))
    return tuple(found)


def _item(highlight: Highlight, sides: Sides | None, standing: MatchStanding) -> FeedItem:
    metadata = metadata_of(highlight.metadata)
    told = told_minute(metadata) or standing.minute_at(highlight.timestamp)
    details = tuple(_details(highlight, metadata, sides))
    shown = tuple(cut(detail, NAME_MAX) for detail in details)
    return FeedItem(
        key=highlight.event_id,
        kind=_kind(highlight.event_type, metadata),
        label=_label(highlight.event_type, metadata),
        minute=match_minute_text(*told[:2]) if told else time_of_day(highlight.timestamp),
        moment=iso_ms(highlight.timestamp),
        details=shown,
        retracted=highlight.retracted,
        whole="" if shown == details else " \u00b7 ".join(details),
    )


def _details(highlight: Highlight, metadata: Mapping[str, Any], sides: Sides | None) -> Iterator[str]:
    """Yield player, team, assist and outcome, as far as they are known."""
    if player := player_of(metadata) or highlight.player_id:
        yield player
    if highlight.team_id:
        yield _team(highlight, sides)
    if assist := name_in(metadata.get("assist")):
        yield f"assist {assist}"
    for key in ("outcome", "reason"):
        if highlight.event_type in TOLD_WITH_OUTCOME and (text := name_in(metadata.get(key))):
            yield text.replace("_", " ")


def _team(highlight: Highlight, sides: Sides | None) -> str:
    """Return the name of the team; of an own goal that of the side it counts for, and says so."""
    names = team_names(sides)
    own = highlight.event_type == "own_goal"
    side = side_of(sides, highlight.team_id, other=own)
    if own and sides is not None and side is not None:
        return f"for {getattr(sides, side).name}"
    return names.get(highlight.team_id, f"team {highlight.team_id}")


def _kind(event_type: str, metadata: Mapping[str, Any]) -> str:
    """Return the type of an event, of a card that of its colour."""
    if event_type != "card":
        return event_type
    return "red_card" if card_of(event_type, metadata)[1] else "yellow_card"


def _label(event_type: str, metadata: Mapping[str, Any]) -> str:
    if event_type == "card" and card_of(event_type, metadata) == (1, 1):
        return "Second yellow card"
    if event_type == "goal" and metadata.get("penalty") is True:
        return "Goal from the spot"
    return label(_kind(event_type, metadata))


def _mark(highlight: Highlight, kind: str, *, x: float, row: int) -> Mark:
    return Mark(x=x, row=row, kind=MARKED[kind], label=f"{label(kind)}, {time_of_day(highlight.timestamp)}")

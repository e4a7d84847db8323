"""The answer to the plain statement of :mod:`shards.reads.statements`, counted as in :mod:`shards.reads.aggregates`.

The statement counts withdrawn events as well. A withdrawn event is nearly always a highlight (a goal, a card), so the
answer holds all that is needed to take it out of its groups again. If it does not, the match has to be counted by
another statement, with these events apart. Pure functions.
"""

from collections import Counter
from collections.abc import Iterable, Set

import msgspec

from shards.events import RETRACTION, retracted_id
from shards.reads.aggregates import (
    LAST_VERSION,
    NO_START,
    Counted,
    Group,
    GroupHighlight,
    lines_of,
    withdrawn_by,
)
from shards.reads.highlights import HIGHLIGHTS
from shards.reads.texts import texts_of

MATCH_START = "match_start"
_ONE_DECIDES = (MATCH_START, "match_end")
"""Types whose single events decide more than a count."""


class CutShort(Exception):
    """The answer does not list the bucket of every event, because there are more than it was asked to list."""


class _PlainRow(msgspec.Struct, array_like=True):
    """The events of a type and team of a match.

    ``curve``: the bucket number of each event, or the count of events by bucket number.
    """

    match_id: str
    event_type: str
    team_id: str
    events: int
    first_ms: int
    last_ms: int
    received_ms: int
    curve: list[int] | dict[int, int]
    highlights: list[GroupHighlight]


_row = msgspec.json.Decoder(_PlainRow)


def plain_groups(rows: Iterable[tuple[str]], *, bucket_ms: int) -> tuple[dict[str, Counted], dict[str, Set[str]]]:
    """Return the counts of each match, and the intricate matches with the ids of the events withdrawn in them.

    Args:
        rows: the answer; each row is a text in JSON.
        bucket_ms: length of a bucket.

    Raises:
        CutShort: a curve is not whole.
    """
    of_matches: dict[str, list[_PlainRow]] = {}
    for (text,) in rows:
        row = _row.decode(text)
        if isinstance(row.curve, list) and len(row.curve) < row.events:
            raise CutShort
        of_matches.setdefault(row.match_id, []).append(row)
    counted: dict[str, Counted] = {}
    intricate: dict[str, Set[str]] = {}
    for match_id, of_match in of_matches.items():
        groups = [_group(row) for row in of_match]
        withdrawn = withdrawn_by(groups)
        apart = _without_withdrawn(groups, _curve(of_match, bucket_ms), withdrawn, bucket_ms)
        if apart is not None:
            counted[match_id] = apart
        else:
            intricate[match_id] = withdrawn
    return counted, intricate


def _group(row: _PlainRow) -> Group:
    start = NO_START
    targets: list[str] = []
    if row.event_type == MATCH_START:
        start = min(
            (-negative_at, LAST_VERSION - version, texts) for negative_at, version, _, texts, _ in row.highlights
        )
    elif row.event_type == RETRACTION:
        targets = [retracted_id(texts_of(texts)[0]) for *_, texts, _ in row.highlights]
    return Group(
        *("", row.event_type, row.team_id, row.events, row.first_ms, row.last_ms, row.received_ms),
        *(start, targets, row.highlights),
    )


def _curve(rows: Iterable[_PlainRow], bucket_ms: int) -> dict[tuple[int, str], int]:
    by_team: dict[str, Counter[int]] = {}
    for row in rows:
        by_team.setdefault(row.team_id, Counter()).update(row.curve)
    return {
        (number * bucket_ms, team_id): events
        for team_id, counter in by_team.items()
        for number, events in counter.items()
    }


def _without_withdrawn(
    groups: list[Group], curve: dict[tuple[int, str], int], withdrawn: Set[str], bucket_ms: int
) -> Counted | None:
    """Take each withdrawn event out of its group and its bucket; None if the answer does not hold enough for that."""
    if _is_cut(groups):
        return None
    if not withdrawn:
        return Counted(groups, curve, withdrawn, lines_of(groups))
    places = _places(groups)
    if not withdrawn <= places.keys():
        return None
    by_key = {(group.event_type, group.team_id): group for group in groups}
    extremes = {min(group.first_ms for group in groups), max(group.last_ms for group in groups)}
    for event_id in withdrawn:
        at_ms, event_type, team_id = places[event_id]
        if at_ms in extremes or event_type in _ONE_DECIDES:
            return None
        key = event_type, team_id
        by_key[key] = by_key[key]._replace(events=by_key[key].events - 1)
        curve[at_ms // bucket_ms * bucket_ms, team_id] -= 1
    return Counted(list(by_key.values()), curve, withdrawn, lines_of(groups))


def _is_cut(groups: Iterable[Group]) -> bool:
    """Say whether some retractions or starts of the match are not among the highlights."""
    return any(group.events > HIGHLIGHTS and group.event_type in (RETRACTION, MATCH_START) for group in groups)


def _places(groups: Iterable[Group]) -> dict[str, tuple[int, str, str]]:
    """Return timestamp, type and team of each highlight, by its id."""
    return {
        event_id: (-negative_at, group.event_type, group.team_id)
        for group in groups
        for negative_at, _, event_id, *_ in group.highlights
    }

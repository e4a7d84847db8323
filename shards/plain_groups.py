"""What the plain statement of :mod:`shards.read_statements` answers, as the groups of :mod:`shards.aggregates`.

The statement counts withdrawn events as well. What a retraction withdraws is nearly always a highlight (a goal, a
card), so the answer holds it with all that is needed to take it out of its groups again. Where it does not, the match
has to be counted with these events apart from the beginning. Pure functions.
"""

from collections.abc import Iterable, Set

import msgspec

from shards.aggregates import HIGHLIGHTS, Group, retracted_id, withdrawn_by

RETRACTION = "retraction"
MATCH_START = "match_start"
_ONE_DECIDES = (MATCH_START, "match_end")
"""Types of which a single event decides more than a count."""

_NO_START = (0, 0, "")

Groups = dict[str, list[Group]]
"""By match."""


class _Row(msgspec.Struct, array_like=True):
    """The events of a type and team of a match. ``curve``: how many events are in the bucket of a number."""

    match_id: str
    event_type: str
    team_id: str
    events: int
    first_ms: int
    last_ms: int
    received_ms: int
    curve: dict[int, int]
    highlights: list[tuple[int, int, str, str, str]]


_row = msgspec.json.Decoder(_Row)


def plain_groups(rows: Iterable[tuple[str]], *, bucket_ms: int) -> tuple[Groups, dict[str, set[str]]]:
    """Return the groups, withdrawn events apart; and the matches of which that cannot be told, with what is withdrawn.

    Args:
        rows: the answer; each row is a text in JSON.
        bucket_ms: length of a bucket.
    """
    counted: dict[str, list[_Row]] = {}
    for (text,) in rows:
        row = _row.decode(text)
        counted.setdefault(row.match_id, []).append(row)
    groups: Groups = {}
    intricate: dict[str, set[str]] = {}
    for match_id, of_match in counted.items():
        typed = [_typed(row) for row in of_match]
        withdrawn = withdrawn_by(typed)
        apart = _apart(typed, _buckets(match_id, of_match, bucket_ms), withdrawn, bucket_ms)
        if apart is not None:
            groups[match_id] = apart
        else:
            intricate[match_id] = withdrawn
    return groups, intricate


def _typed(row: _Row) -> Group:
    start = _NO_START
    targets: list[str] = []
    if row.event_type == MATCH_START:
        start = min(
            (-negative_at, -negative_received, metadata)
            for negative_at, negative_received, *_, metadata in row.highlights
        )
    elif row.event_type == RETRACTION:
        targets = [retracted_id(metadata) for *_, metadata in row.highlights]
    return Group(
        *(row.match_id, "", 0, row.event_type, row.team_id, row.events, row.first_ms, row.last_ms, row.received_ms),
        *(start, targets, row.highlights),
    )


def _buckets(match_id: str, rows: Iterable[_Row], bucket_ms: int) -> list[Group]:
    """Return a group of each bucket and team; of when its events came only those of the types know."""
    by_team: dict[str, dict[int, int]] = {}
    for row in rows:
        sums = by_team.setdefault(row.team_id, {})
        for number, events in row.curve.items():
            sums[number] = sums.get(number, 0) + events
    return [
        Group(match_id, "", number * bucket_ms, "", team_id, events, 0, 0, 0, _NO_START, (), ())
        for team_id, sums in by_team.items()
        for number, events in sums.items()
    ]


def _apart(typed: list[Group], buckets: list[Group], withdrawn: Set[str], bucket_ms: int) -> list[Group] | None:
    """Take each withdrawn event out of its two groups."""
    if any(group.events > HIGHLIGHTS and group.event_type in (RETRACTION, MATCH_START) for group in typed):
        return None  # not all of them are among the highlights
    starts = sorted(mark[:2] for group in typed if group.event_type == MATCH_START for mark in group.highlights)
    if len(starts) > 1 and starts[-1] == starts[-2]:
        return None  # which of the earliest was received first does not show in milliseconds
    if not withdrawn:
        return typed + buckets
    places = {
        event_id: (-negative_at, group.event_type, group.team_id)
        for group in typed
        for negative_at, _, event_id, *_ in group.highlights
    }
    if not withdrawn <= places.keys():
        return None
    by_key = {(group.bucket_ms, group.event_type, group.team_id): group for group in typed + buckets}
    extremes = {min(group.first_ms for group in typed), max(group.last_ms for group in typed)}
    for event_id in withdrawn:
        at_ms, event_type, team_id = places[event_id]
        if at_ms in extremes or event_type in _ONE_DECIDES:
            return None
        for key in ((0, event_type, team_id), (at_ms // bucket_ms * bucket_ms, "", team_id)):
            by_key[key] = by_key[key]._replace(events=by_key[key].events - 1)
    return list(by_key.values())

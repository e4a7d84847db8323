"""What the plain statement of :mod:`shards.read_statements` answers, as the groups of :mod:`shards.aggregates`.

The statement counts withdrawn events as well. What a retraction withdraws is nearly always a highlight (a goal, a
card), so the answer holds it with all that is needed to take it out of its groups again. Where it does not, the match
has to be counted with these events apart from the beginning. Pure functions.
"""

from collections.abc import Iterable, Sequence, Set
from typing import Any

from shards.aggregates import HIGHLIGHTS, Group, retracted_id, withdrawn_by

RETRACTION = "retraction"
MATCH_START = "match_start"
_ONE_DECIDES = (MATCH_START, "match_end")
"""Types of which a single event decides more than a count."""


Groups = dict[str, list[Group]]
"""By match."""


def plain_groups(rows: Iterable[Sequence[Any]], *, bucket_ms: int) -> tuple[Groups, dict[str, set[str]]]:
    """Return the groups, withdrawn events apart; and the matches of which that cannot be told, with what is withdrawn.

    Args:
        rows: match id, bucket, event type, team id, count, first, last, received, highlights; times in ms.
        bucket_ms: length of a bucket.
    """
    counted: Groups = {}
    for row in rows:
        counted.setdefault(row[0], []).append(_group(*row))
    groups: Groups = {}
    intricate: dict[str, set[str]] = {}
    for match_id, of_match in counted.items():
        withdrawn = withdrawn_by(of_match)
        if (apart := _apart(of_match, withdrawn, bucket_ms)) is not None:
            groups[match_id] = apart
        else:
            intricate[match_id] = withdrawn
    return groups, intricate


def _group(
    match_id: str,
    bucket: int,
    event_type: str,
    team_id: str,
    events: int,
    first_ms: int,
    last_ms: int,
    received_ms: int,
    highlights: Sequence[tuple[int, int, str, str, str]],
) -> Group:
    start = (0, 0, "")
    targets: list[str] = []
    if event_type == MATCH_START:
        start = min(
            (-negative_at, -negative_received, metadata) for negative_at, negative_received, *_, metadata in highlights
        )
    elif event_type == RETRACTION:
        targets = [retracted_id(metadata) for *_, metadata in highlights]
    return Group(
        match_id, "", bucket, event_type, team_id, events, first_ms, last_ms, received_ms, start, targets, highlights
    )


def _apart(groups: list[Group], withdrawn: Set[str], bucket_ms: int) -> list[Group] | None:
    """Give each withdrawn event groups of its own."""
    if any(group.events > HIGHLIGHTS and group.event_type in (RETRACTION, MATCH_START) for group in groups):
        return None  # not all of them are among the highlights
    starts = sorted(mark[:2] for group in groups if group.event_type == MATCH_START for mark in group.highlights)
    if len(starts) > 1 and starts[-1] == starts[-2]:
        return None  # which of the earliest was received first does not show in milliseconds
    if not withdrawn:
        return groups
    places = {
        event_id: (-negative_at, group.event_type, group.team_id)
        for group in groups
        for negative_at, _, event_id, *_ in group.highlights
    }
    if not withdrawn <= places.keys():
        return None
    by_key = {(group.bucket_ms, group.event_type, group.team_id): group for group in groups}
    extremes = {min(group.first_ms for group in groups), max(group.last_ms for group in groups)}
    for event_id in withdrawn:
        at_ms, event_type, team_id = places[event_id]
        if at_ms in extremes or event_type in _ONE_DECIDES:
            return None
        for key in ((0, event_type, team_id), (at_ms // bucket_ms * bucket_ms, "", team_id)):
            by_key[key] = by_key[key]._replace(events=by_key[key].events - 1)
    return list(by_key.values())

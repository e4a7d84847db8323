"""The curve of a match: its buckets, its peaks, and the team that drives it. Pure functions."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from shards import MINUTE_MS, OTHERS, MatchAggregates

BUCKETS_MS: Final = {"10s": 10_000, "1m": MINUTE_MS, "5m": 5 * MINUTE_MS}
"""Lengths in ms of the buckets that can be asked for, by name."""

AXES: Final = ("utc", "match")
"""What the buckets of a curve lie on: UTC, or the minutes of the match."""

PEAK_PERIODS = 5
"""Most periods that are named."""

MOMENTUM_MS = 5 * MINUTE_MS

NOT_ONE = ("", OTHERS)
"""What stands in place of a team where there is none, and where there are many."""


@attrs.frozen
class CurveWanted:
    """The curve that a client asked for.

    Attributes:
        bucket: one of :data:`BUCKETS_MS`.
        from_ms: buckets that start earlier are left out; None: none are.
        to_ms: buckets that start then or later are left out; None: none are.
        axis: ``utc``, or ``match``: buckets of 10 s put together to buckets that begin at kick-off, half by half.
    """

    bucket: str = "1m"
    from_ms: int | None = None
    to_ms: int | None = None
    axis: str = "utc"

    @property
    def bucket_ms(self) -> int:
        """Length of a bucket in ms."""
        return BUCKETS_MS[self.bucket]

    @property
    def read_ms(self) -> int:
        """Length in ms of the buckets that it is put together from, at most."""
        return BUCKETS_MS["10s"] if self.axis == "match" else self.bucket_ms

    def holds(self, bucket_at_ms: int) -> bool:
        """Say whether a bucket lies in the range that was asked for."""
        early = self.from_ms is not None and bucket_at_ms < self.from_ms
        return not early and (self.to_ms is None or bucket_at_ms < self.to_ms)


@attrs.frozen
class Point:
    """One bucket of a curve: its start, its events, and those of each team, and of all other teams together.

    ``place`` is where it lies in the match, on the axis of match minutes.
    """

    start_ms: int
    count: int
    by_team: Mapping[str, int]
    others: int = 0
    place: Mapping[str, Any] = attrs.field(factory=dict)

    @classmethod
    def of(cls, start_ms: int, teams: Mapping[str, int], place: Mapping[str, Any] | None = None) -> "Point":
        """Return a bucket with these counts of teams."""
        named = {team: n for team, n in sorted(teams.items()) if team not in NOT_ONE}
        return cls(start_ms, sum(teams.values()), named, teams.get(OTHERS, 0), place or {})


@attrs.frozen
class PeakPeriod:
    """Minutes in a row, each above the match's level.

    Attributes:
        start_ms: start of the first minute.
        end_ms: end of the last minute.
        count: events.
        excess: events above the level.
    """

    start_ms: int
    end_ms: int
    count: int
    excess: float


@attrs.frozen
class TeamShare:
    """Events of one team, and their share of all events of teams, 0 to 1."""

    team_id: str
    count: int
    share: float


def points_of(aggregates: MatchAggregates, wanted: CurveWanted) -> list[Point]:
    """Return the buckets that hold events, earliest first.

    Args:
        aggregates: of the match; their own buckets are as long as the wanted ones, or divide them.
        wanted: length and range of the buckets.
    """
    found: dict[int, dict[str, int]] = {}
    for start_ms, team_id, count in aggregates.curve:
        bucket = start_ms // wanted.bucket_ms * wanted.bucket_ms
        if not wanted.holds(bucket):
            continue
        by_team = found.setdefault(bucket, {})
        by_team[team_id] = by_team.get(team_id, 0) + count
    return [Point.of(start_ms, teams) for start_ms, teams in sorted(found.items())]


def peak_periods(by_minute: Sequence[tuple[int, int]]) -> list[PeakPeriod]:
    """Return the periods with the largest excess, largest first; among equal ones the earlier first.

    The level is the mean of the minutes that hold events, so that hours without any before a match do not lower it.

    Args:
        by_minute: (start of the minute in ms, events), earliest first.
    """
    if not by_minute:
        return []
    level = sum(count for _, count in by_minute) / len(by_minute)
    periods: list[PeakPeriod] = []
    for start_ms, count in by_minute:
        if count <= level:
            continue
        last = periods[-1] if periods else None
        if last is not None and last.end_ms == start_ms:
            periods[-1] = PeakPeriod(
                last.start_ms, start_ms + MINUTE_MS, last.count + count, last.excess + count - level
            )
        else:
            periods.append(PeakPeriod(start_ms, start_ms + MINUTE_MS, count, count - level))
    return sorted(periods, key=lambda period: (-period.excess, period.start_ms))[:PEAK_PERIODS]


def momentum_start_ms(aggregates: MatchAggregates) -> int:
    """Return the start of the five minutes that end with the minute of the last event."""
    return aggregates.latest_ms // MINUTE_MS * MINUTE_MS + MINUTE_MS - MOMENTUM_MS


def team_shares(aggregates: MatchAggregates, *, from_ms: float = -math.inf, to_ms: float = math.inf) -> list[TeamShare]:
    """Return the teams' shares of the events in buckets from ``from_ms`` on and before ``to_ms``, largest first.

    Teams that are counted together have one, as ``OTHERS``.
    """
    counts: dict[str, int] = {}
    for start_ms, team_id, count in aggregates.curve:
        if team_id and from_ms <= start_ms < to_ms:
            counts[team_id] = counts.get(team_id, 0) + count
    total = sum(counts.values())
    shares = [TeamShare(team_id, count, count / total) for team_id, count in counts.items()]
    return sorted(shares, key=lambda share: (-share.count, share.team_id))


def leader_of(shares: Sequence[TeamShare]) -> str | None:
    """Return the team with the largest share; None if there is none, or more than one."""
    if not shares or (len(shares) > 1 and shares[0].count == shares[1].count):
        return None
    return shares[0].team_id


def view_of_shares(shares: Sequence[TeamShare], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return shares as the API shows them; ``names`` holds the known names by team id."""
    return [
        {
            "teamId": share.team_id,
            "name": names.get(share.team_id),
            "eventCount": share.count,
            "share": round(share.share, 4),
        }
        for share in shares
    ]

"""At most 50 teams of their own, whatever is sent: what is folded adds up, and the sides stay."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from shards.reads.teams import OTHERS, TEAMS, count_teams, folded_curve, folded_types, kept_teams

teams = st.integers(0, 90).map(lambda n: f"t{n}" if n else "")
counts = st.dictionaries(st.tuples(st.sampled_from(["pass", "goal", "cheer"]), teams), st.integers(1, 9), max_size=200)


@given(counts, st.lists(st.integers(0, 120).map(lambda n: f"t{n}"), max_size=2, unique=True))
def test_what_is_folded_adds_up_and_the_sides_and_the_largest_stay(
    found: dict[tuple[str, str], int], sides: list[str]
) -> None:
    by_type = tuple(sorted((kind, team, n) for (kind, team), n in found.items()))
    of_team = Counter[str]()
    for _, team, n in by_type:
        of_team[team] += n
    named = set(of_team) - {""}
    kept = kept_teams(by_type, sides)
    if len(named) <= TEAMS:
        assert kept is None
        return
    assert kept is not None
    assert len(kept) == TEAMS
    assert set(sides) & named <= kept <= named
    smallest = min(of_team[team] for team in kept - set(sides))
    assert all(of_team[team] <= smallest for team in named - kept)
    folded = folded_types(by_type, kept)
    assert count_teams(folded) == TEAMS
    for kind in ("pass", "goal", "cheer"):
        assert sum(n for k, _, n in folded if k == kind) == sum(n for k, _, n in by_type if k == kind)
    assert {team: n for team, n in _by_team(folded).items() if team in kept} == {team: of_team[team] for team in kept}
    assert _by_team(folded)[OTHERS] == sum(of_team[team] for team in named - kept)
    curve = tuple(sorted((len(kind) * 60_000, team, n) for kind, team, n in by_type))
    assert sum(n for _, _, n in folded_curve(curve, kept)) == sum(n for _, _, n in curve)


def _by_team(counted: tuple[tuple[str, str, int], ...]) -> Counter[str]:
    sums = Counter[str]()
    for _, team, n in counted:
        sums[team] += n
    return sums


def test_as_many_teams_as_an_answer_holds_are_all_kept_and_one_more_is_folded() -> None:
    by_type = tuple(sorted(("pass", f"t{n}", 1) for n in range(TEAMS + 1)))
    assert kept_teams(by_type[:TEAMS], ()) is None
    assert kept_teams(by_type, ()) == {team for _, team, _ in by_type[:TEAMS]}

"""The tally: a checkpoint and what lies behind it count each row once, whatever the order in which rows ended."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.flush import tally as tally_module
from shards.flush.tally import Tally
from shards.runs import contains, runs_of, size
from shards.wal.checkpoint import Checkpoint

LAST = 30
FATES = st.lists(st.sampled_from(["confirmed", "dead", "damaged", "waits"]), min_size=LAST, max_size=LAST)


def numbers(fates: list[str], fate: str, *, upto: int = LAST) -> list[int]:
    return [number for number, found in enumerate(fates, 1) if found == fate and number <= upto]


@given(FATES, st.permutations(range(1, LAST + 1)), st.integers(1, LAST))
def test_a_checkpoint_counts_what_it_covers_and_names_what_was_confirmed_behind_it(
    fates: list[str], order: list[int], step: int
) -> None:
    tally, checkpoint = Tally(), Checkpoint(confirmed=0)
    for place, number in enumerate(order, 1):
        match fates[number - 1]:
            case "confirmed":
                tally.note_confirmed(((number, number),), rows=1)
            case "dead":
                tally.note_dead(number)
            case "damaged":
                tally.note_damaged(((number, number),))
        if place % step and place < LAST:
            continue
        ended = {n for n in order[:place] if fates[n - 1] != "waits"}
        upto = next(number for number in range(LAST + 1) if number + 1 not in ended)
        checkpoint = tally.checkpoint(checkpoint, upto=upto)
        tally.pass_over(upto)
        covered = [number for number in order[:place] if number <= upto]
        assert checkpoint.upto == upto
        assert checkpoint.confirmed == sum(fates[number - 1] == "confirmed" for number in covered)
        assert checkpoint.dead_lettered == sum(fates[number - 1] == "dead" for number in covered)
        assert checkpoint.damaged == sum(fates[number - 1] == "damaged" for number in covered)
        behind = [n for n in order[:place] if n > upto and fates[n - 1] == "confirmed"]
        assert checkpoint.beyond == runs_of(behind)
        assert checkpoint.confirmed + size(checkpoint.beyond) == tally.confirmed
        assert not any(contains(tally.damaged_beyond, number) for number in covered)
        assert tally.dead_beyond == {n for n in order[:place] if n > upto and fates[n - 1] == "dead"}
    assert tally.dead == set(numbers(fates, "dead"))
    assert (tally.dead_lettered, tally.damaged) == (len(numbers(fates, "dead")), len(numbers(fates, "damaged")))


@pytest.mark.parametrize(
    "count",
    [
        lambda tally: tally.note_confirmed(((1, 1),), rows=1),
        lambda tally: tally.note_dead(1),
        lambda tally: tally.note_damaged(((1, 1),)),
    ],
    ids=["confirmed", "dead", "damaged"],
)
def test_whatever_becomes_of_a_row_counts_as_a_move(
    count: Callable[[Tally], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    tally = Tally()
    monkeypatch.setattr(tally_module, "monotonic", lambda: tally.moved_at + 7)
    before = tally.moved_at
    count(tally)
    assert tally.moved_at == before + 7

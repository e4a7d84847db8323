"""Single flight and cache, with a load that a test holds back; the reads themselves are tested on real stores."""

import asyncio
import itertools
from collections.abc import Sequence

import attrs
import pytest

from app.live.answers import FRESH_S, MAX_AGE_S, Answers
from app.live.flights import JOINED_MAX, LOADS_MAX, WAITING_MAX, WOKEN_AT_ONCE
from shards.errors import StoreUnavailable, TooManyReads
from shards.reads.aggregates import MatchAggregates


@attrs.define
class Load:
    """Counts what is asked of it; every match whose id begins with ``m`` is known."""

    asked: list[tuple[str, ...]] = attrs.field(factory=list)
    gate: asyncio.Event = attrs.field(factory=asyncio.Event)
    error: Exception | None = None
    expired: bool = False

    async def __call__(self, match_ids: Sequence[str]) -> dict[str, MatchAggregates]:
        self.asked.append(tuple(match_ids))
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        known = [match_id for match_id in match_ids if match_id.startswith("m") and not self.expired]
        return {match_id: self._answer(match_id) for match_id in known}

    def _answer(self, match_id: str) -> MatchAggregates:
        return MatchAggregates(
            match_id=match_id,
            total=len(self.asked),
            first_ms=1,
            last_ms=1,
            last_received_ms=1,
            by_type_team=(),
            by_minute=(),
        )


@attrs.define
class Clock:
    """A monotonic clock that a test moves."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def load() -> Load:
    made = Load()
    made.gate.set()
    return made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def answers(load: Load, clock: Clock) -> Answers:
    return Answers(load, max_matches=3, monotonic=clock)


async def test_all_who_ask_at_once_share_a_load(answers: Answers, load: Load) -> None:
    load.gate.clear()
    asking = [asyncio.create_task(answers.get(["m1"])) for _ in range(20)]
    asking.append(asyncio.create_task(answers.get(["m1", "m2"])))
    await asyncio.sleep(0)
    load.gate.set()
    found = await asyncio.gather(*asking)
    assert load.asked == [("m1",), ("m2",)]
    assert all(answer["m1"].total == found[0]["m1"].total for answer in found)


async def test_a_match_of_which_nothing_is_left_is_unknown_again(answers: Answers, load: Load, clock: Clock) -> None:
    assert (await answers.get(["m1"])).keys() == {"m1"}
    load.expired = True
    clock.now += FRESH_S
    assert await answers.get(["m1"]) == {}
    assert answers.last("m1") is None


async def test_a_crowd_that_waited_is_told_in_groups_so_that_others_come_in_between(
    answers: Answers, load: Load
) -> None:
    load.gate.clear()
    asking = [asyncio.create_task(answers.get(["m1"])) for _ in range(10 * WOKEN_AT_ONCE)]
    await asyncio.sleep(0)
    load.gate.set()
    told = [0]
    while told[-1] < len(asking):
        await asyncio.sleep(0)
        told.append(sum(task.done() for task in asking))
    assert max(after - before for before, after in itertools.pairwise(told)) <= WOKEN_AT_ONCE
    assert {task.result()["m1"].total for task in asking} == {1}


async def test_loads_again_only_when_the_answer_is_old(answers: Answers, load: Load, clock: Clock) -> None:
    for age, loads in ((0, 1), (MAX_AGE_S * 0.9, 1), (MAX_AGE_S * 0.2, 2)):
        clock.now += age
        assert "m1" in await answers.get(["m1"])
        assert await answers.get(["unknown"]) == {}
        assert load.asked == [("m1",), ("unknown",)] * loads


async def test_who_asks_during_a_load_waits_only_where_the_answer_at_hand_is_too_old(
    answers: Answers, load: Load, clock: Clock
) -> None:
    await answers.get(["m1"])
    load.gate.clear()
    clock.now += MAX_AGE_S
    assert (await answers.get(["m1"]))["m1"].total == 1
    clock.now += FRESH_S
    waiting = asyncio.create_task(answers.get(["m1"]))
    await asyncio.sleep(0)
    assert not waiting.done()
    load.gate.set()
    assert (await waiting)["m1"].total == 2
    assert len(load.asked) == 2


async def test_an_answer_is_at_hand_where_asking_would_neither_load_nor_wait(
    answers: Answers, load: Load, clock: Clock
) -> None:
    assert answers.at_hand("m1") is None
    first = (await answers.get(["m1"]))["m1"]
    clock.now += MAX_AGE_S * 0.9
    assert answers.at_hand("m1") is first
    clock.now += MAX_AGE_S * 0.2
    assert answers.at_hand("m1") is None  # a load is due
    load.gate.clear()
    assert (await answers.get(["m1"]))["m1"] is first
    assert answers.at_hand("m1") is first
    clock.now += FRESH_S
    assert answers.at_hand("m1") is None  # the load takes too long
    load.error = StoreUnavailable("away")
    load.gate.set()
    assert (await answers.get(["m1"]))["m1"] is first
    assert answers.at_hand("m1") is None  # it failed
    load.error = None
    clock.now += MAX_AGE_S
    await answers.get(["m1"])
    assert answers.at_hand("m1") is not None
    await answers.get(["m2", "m3", "m4"])
    assert answers.at_hand("m1") is None  # evicted
    assert await answers.get(["unknown"]) == {}
    assert answers.at_hand("unknown") is None
    assert len(load.asked) == 5


async def test_who_gives_up_does_not_spoil_it_for_others(answers: Answers, load: Load) -> None:
    load.gate.clear()
    impatient = asyncio.create_task(answers.get(["m1"]))
    patient = asyncio.create_task(answers.get(["m1"]))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    load.gate.set()
    assert (await patient)["m1"].total == 1
    assert len(load.asked) == 1


async def test_gives_the_last_good_answer_again_while_loads_fail(answers: Answers, load: Load, clock: Clock) -> None:
    good = await answers.get(["m1"])
    load.error = StoreUnavailable("away")
    clock.now += 1
    assert await answers.get(["m1"]) == good
    with pytest.raises(StoreUnavailable):
        await answers.get(["m1", "m2"])
    with pytest.raises(StoreUnavailable):
        await answers.get(["m2"])
    assert load.asked == [("m1",), ("m1",), ("m2",)]


async def test_a_fault_of_ours_is_not_taken_for_an_unknown_match(answers: Answers, load: Load) -> None:
    load.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await answers.get(["m1"])


async def test_made_up_ids_evict_no_answer_and_what_was_evicted_is_loaded_again(answers: Answers, load: Load) -> None:
    await answers.get(["m1"])
    for number in range(100):
        assert await answers.get([f"x{number}"]) == {}
    assert answers.last("m1") is not None
    for match_id in ("m2", "m3", "m4"):
        await answers.get([match_id])
    assert answers.last("m1") is None
    assert "m1" in await answers.get(["m1"])


async def test_a_newer_answer_was_counted_after_the_moment_asked_for(load: Load) -> None:
    answers = Answers(load)
    loop = asyncio.get_running_loop()
    await answers.get(["m1"])
    moment = loop.time()
    newer = await answers.get_newer("m1", moment)
    assert newer is not None
    assert newer.total == 2
    assert await answers.get_newer("unknown", moment) is None


async def test_closing_ends_those_who_wait(answers: Answers, load: Load) -> None:
    load.gate.clear()
    waiting = asyncio.create_task(answers.get(["m1"]))
    await asyncio.sleep(0.01)
    await answers.close()
    with pytest.raises(StoreUnavailable):
        await waiting


@pytest.mark.parametrize("begun", [False, True])
async def test_a_load_that_somebody_cancelled_is_followed_by_another(
    answers: Answers, load: Load, clock: Clock, begun: bool
) -> None:
    load.gate.clear()
    asking = asyncio.create_task(answers.get(["m1"]))
    async with asyncio.timeout(30):
        while not (loads := [task for task in asyncio.all_tasks() if task.get_name() == "load matches"]):
            await asyncio.sleep(0)
        while begun and not load.asked:
            await asyncio.sleep(0)
    assert bool(load.asked) is begun
    loads[0].cancel()
    with pytest.raises(StoreUnavailable):
        await asking
    load.gate.set()
    async with asyncio.timeout(30):
        assert await answers.get_newer("m1", clock.now) is not None
        assert "m1" in await answers.get(["m1"])


def _unknown(answers: Answers, count: int, *, first: int = 0) -> list["asyncio.Task[dict[str, MatchAggregates]]"]:
    return [asyncio.create_task(answers.get([f"unknown{n}"])) for n in range(first, first + count)]


async def _rounds(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_unknown_matches_that_wait_are_joined_in_the_next_load(answers: Answers, load: Load) -> None:
    load.gate.clear()
    crowd = _unknown(answers, LOADS_MAX + JOINED_MAX + 10)
    await _rounds()
    assert load.asked == [(f"unknown{n}",) for n in range(LOADS_MAX)]
    load.gate.set()
    assert await asyncio.gather(*crowd) == [{}] * len(crowd)
    assert [len(asked) for asked in load.asked] == [*[1] * LOADS_MAX, JOINED_MAX, 10]
    assert sorted(match_id for asked in load.asked for match_id in asked) == sorted(
        f"unknown{n}" for n in range(len(crowd))
    )


async def test_a_crowd_is_refused_at_once_and_known_matches_are_not(answers: Answers, load: Load, clock: Clock) -> None:
    assert "m1" in await answers.get(["m1"])
    clock.now += FRESH_S
    load.gate.clear()
    crowd = _unknown(answers, LOADS_MAX + WAITING_MAX)
    await _rounds()
    with pytest.raises(TooManyReads):
        await answers.get(["one-too-many"])
    sharing, known = asyncio.create_task(answers.get(["unknown7"])), asyncio.create_task(answers.get(["m1"]))
    await _rounds()
    load.gate.set()
    assert (await known)["m1"].total > 1
    assert await sharing == {}
    await asyncio.gather(*crowd)
    assert load.asked[1 + LOADS_MAX] == ("m1",), "a known match comes before the crowd"
    assert await answers.get(["one-too-many"]) == {}


async def test_a_reader_who_left_keeps_no_place_unless_others_wait_for_the_same(answers: Answers, load: Load) -> None:
    load.gate.clear()
    crowd = _unknown(answers, LOADS_MAX + 20)
    other = asyncio.create_task(answers.get([f"unknown{LOADS_MAX}"]))
    await _rounds()
    for reader in crowd:
        reader.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)
    load.gate.set()
    assert await other == {}
    await _rounds()
    assert load.asked == [*[(f"unknown{n}",) for n in range(LOADS_MAX)], (f"unknown{LOADS_MAX}",)]


async def test_the_time_in_our_own_line_says_nothing_about_clickhouse(
    answers: Answers, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.live.waiting.WITHOUT_ANSWER_S", 0.05)
    load.gate.clear()
    crowd = await asyncio.gather(*_unknown(answers, LOADS_MAX + 1), return_exceptions=True)
    assert [type(error) for error in crowd] == [*[StoreUnavailable] * LOADS_MAX, TooManyReads]
    load.gate.set()
    assert await answers.get(["unknown-later"]) == {}


async def test_the_end_ends_those_who_wait_for_their_turn(answers: Answers, load: Load) -> None:
    load.gate.clear()
    crowd = _unknown(answers, LOADS_MAX + 5)
    await _rounds()
    await answers.close()
    told = await asyncio.gather(*crowd, return_exceptions=True)
    assert {type(error) for error in told} == {StoreUnavailable}


async def test_answers_are_kept_by_their_bytes(load: Load, clock: Clock) -> None:
    answers = Answers(load, max_bytes=2_000, monotonic=clock)
    for match_id in ("m1", "m2", "m1", "m3", "m1"):
        assert match_id in await answers.get([match_id])
    assert answers.last("m1") is not None
    assert answers.last("m2") is None
    alone = Answers(load, max_bytes=10, monotonic=clock)
    assert "m1" in await alone.get(["m1"])
    assert alone.last("m1") is not None

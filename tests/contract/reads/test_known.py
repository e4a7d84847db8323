"""Which events were known before: what is answered equals what the copies in `events` say, on each engine."""

import asyncio
import random
import uuid
from collections.abc import Callable

import attrs
import pytest

from shards.errors import StoreError
from shards.events import Event
from shards.observer import Observer
from shards.reads import known
from shards.reads.known import Key, KnownEvents
from shards.stores.base import Store
from tests.contract.rows import CLOCK, batch, event, receipt
from tests.statements import execute

MONTH_NS = 31 * 86_400 * 10**9
ODD_MATCHES = ("m", "m\\", "m\\t", "m'", 'm"', "م/ 😀", "$tag$", "m\u2028", "x" * 128)


def orders_of(*events: Event) -> dict[Key, int]:
    return {(one.match_id, one.event_id): one.order_ns for one in events}


def keys_of(*events: Event) -> set[Key]:
    return set(orders_of(*events))


def again(first: Event, **fields: object) -> Event:
    """The same event, sent anew."""
    return attrs.evolve(first, **receipt(CLOCK.order_ns()), **fields)


async def test_an_event_is_known_if_an_earlier_version_stands(store: Store) -> None:
    first, second, new = event(), event(), event()
    await store.insert_direct(batch([first, second, new]))
    asked = KnownEvents(store)
    assert await asked.among(orders_of(first, second, new)) == set()
    repeated = again(first, event_type="goal")
    await store.insert_direct(batch([repeated], number=2))
    assert await asked.among(orders_of(repeated, second, new)) == keys_of(first)
    await execute(store, "OPTIMIZE TABLE {db}.events FINAL")
    assert await asked.among(orders_of(repeated, second, new)) == keys_of(first)
    assert await asked.among(orders_of(first)) == set()


async def test_the_same_id_in_another_match_is_another_event(store: Store) -> None:
    there = event(match_id="there")
    here = again(there, match_id="here")
    await store.insert_direct(batch([there, here]))
    assert await KnownEvents(store).among(orders_of(here)) == set()
    assert await KnownEvents(store).among(orders_of(again(there), here)) == keys_of(there)


async def test_copies_of_two_months_are_one_event(store: Store) -> None:
    old = event(**receipt(CLOCK.order_ns() - 2 * MONTH_NS))
    new = again(old)
    await store.insert_direct(batch([old]))
    await store.insert_direct(batch([new], number=2))
    assert await KnownEvents(store).among(orders_of(new)) == keys_of(old)


@pytest.mark.parametrize("match_id", ODD_MATCHES)
async def test_any_match_id_is_found(store: Store, match_id: str) -> None:
    first = event(match_id=match_id)
    await store.insert_direct(batch([first]))
    assert await KnownEvents(store).among(orders_of(again(first))) == keys_of(first)


@pytest.mark.parametrize("most", [1, 7, 50_000])
async def test_questions_of_many_at_once_are_answered_each_for_itself(
    store: Store, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """Of random copies of random events, with statements for few questions and for all."""
    monkeypatch.setattr(known, "EVENTS_MAX", most)
    chance = random.Random(5)
    ids = [str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in range(120)]
    copies = [event(match_id=f"m{n % 3}", event_id=chance.choice(ids)) for n in range(200)]
    await store.insert_direct(batch(copies))
    first: dict[Key, int] = {}
    for copy in copies:
        first.setdefault((copy.match_id, copy.event_id), copy.order_ns)
    asked = KnownEvents(store)
    questions = [orders_of(*chance.sample(copies, chance.randint(1, 12))) for _ in range(25)]
    answers = await asyncio.gather(*map(asked.among, questions))
    assert answers == [{key for key, order in question.items() if first[key] < order} for question in questions]
    assert any(answers)
    assert not all(answers)


class Counting(Observer):
    """Counts statements."""

    statements = 0

    def queried(self, *, seconds: float) -> None:
        self.statements += 1


async def test_whoever_comes_while_a_statement_is_under_way_goes_with_the_next(
    make_store: Callable[..., Store], store: Store
) -> None:
    first = event()
    await store.insert_direct(batch([first]))
    counting = Counting()
    other = make_store(observer=counting)
    await other.open()
    try:
        asked = KnownEvents(other)
        counting.statements = 0
        answers = await asyncio.gather(*(asked.among(orders_of(again(first))) for _ in range(100)))
        assert answers == [keys_of(first)] * 100
        assert counting.statements == 2
    finally:
        await other.close()


async def test_who_stops_waiting_holds_up_nobody(store: Store) -> None:
    first = event()
    await store.insert_direct(batch([first, *(repeats := [again(first) for _ in range(5)])]))
    asked = KnownEvents(store)
    waiting = [asyncio.create_task(asked.among(orders_of(copy))) for copy in repeats]
    await asyncio.sleep(0)
    waiting[0].cancel()
    waiting[2].cancel()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(answer, asyncio.CancelledError) for answer in answers] == [True, False, True, False, False]
    assert [answer for answer in answers if not isinstance(answer, BaseException)] == [keys_of(first)] * 3


async def test_thousands_of_events_are_one_question(store: Store) -> None:
    events = [event() for _ in range(5_000)]
    await store.insert_direct(batch(events))
    repeats = [again(one) for one in events[::2]]
    await store.insert_direct(batch(repeats, number=2))
    assert await KnownEvents(store).among(orders_of(*events) | orders_of(*repeats)) == keys_of(*repeats)


async def test_a_database_that_is_away_is_told_and_asked_again_the_next_time(store: Store) -> None:
    first = event()
    await store.insert_direct(batch([first]))
    asked = KnownEvents(store)
    await execute(store, "RENAME TABLE {db}.events TO {db}.gone")
    with pytest.raises(StoreError):
        await asked.among(orders_of(first))
    await execute(store, "RENAME TABLE {db}.gone TO {db}.events")
    assert await asked.among(orders_of(again(first))) == keys_of(first)

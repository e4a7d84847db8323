"""What goes in comes out, once, exactly: over both ways to ClickHouse."""

import re
from datetime import UTC, datetime

import attrs
import pytest

from shards.errors import RowsRefused, StoreError
from shards.events import encode_row
from shards.stores.base import Batch, Store
from tests.contract.rows import CLOCK, batch, count, event, receipt, stored
from tests.statements import alter, execute

DAY_NS = 86_400 * 10**9


async def test_a_buffered_batch_lands_at_the_flush_and_not_before(store: Store) -> None:
    events = [event() for _ in range(100)]
    await store.insert_buffered(batch(events, number=7))
    assert await store.landed("w1", 0, [7]) == {}
    assert await count(store) == 0
    await store.flush_buffer(0)
    assert await store.landed("w1", 0, [7]) == {7: 100}
    assert await stored(store) == events


async def test_several_batches_of_one_flush_are_told_apart(store: Store) -> None:
    for number, size in ((1, 3), (2, 50), (3, 7)):
        await store.insert_buffered(batch([event() for _ in range(size)], number=number))
    await store.insert_buffered(batch([event()], number=1, writer="w2"))
    await store.flush_buffer(0)
    assert await store.landed("w1", 0, [1, 2, 3, 4]) == {1: 3, 2: 50, 3: 7}
    assert await store.landed("w2", 0, [1, 2]) == {1: 1}


async def test_a_direct_batch_has_landed_when_the_insert_returns(store: Store) -> None:
    events = [event() for _ in range(100)]
    await store.insert_direct(batch(events, number=1, shard=1))
    assert await store.landed("w1", 1, [1]) == {1: 100}
    assert await stored(store) == events


async def test_shards_have_buffers_of_their_own(store: Store) -> None:
    await store.insert_buffered(batch([event()], shard=0))
    await store.insert_buffered(batch([event(), event()], shard=1))
    await store.flush_buffer(1)
    assert await store.landed("w1", 0, [1]) == {}
    assert await store.landed("w1", 1, [1]) == {1: 2}


async def test_the_ledger_does_not_know_what_was_never_sent(store: Store) -> None:
    assert await store.landed("nobody", 0, [1, 2, 3]) == {}
    assert await store.landed("nobody", 0, []) == {}


async def test_an_empty_batch_is_no_statement(store: Store) -> None:
    await store.insert_buffered(batch([]))
    await store.insert_direct(batch([]))
    assert await count(store) == 0


async def test_a_batch_of_many_rows_is_one_block(store: Store) -> None:
    events = [event(metadata='{"k":"' + "x" * 1_500 + '"}') for _ in range(12_000)]
    await store.insert_direct(batch(events, number=1))
    await store.insert_buffered(batch(events, number=2))
    await store.flush_buffer(0)
    rows = await store.fetch(f"SELECT batch, rows FROM {store.database}.ingest_ledger ORDER BY batch")
    assert rows == [(1, 12_000), (2, 12_000)]


async def test_the_first_one_received_stands_whatever_order_they_come_in(store: Store) -> None:
    first = event(metadata='{"n":1}')
    second = attrs.evolve(first, metadata='{"n":2}', timestamp=first.timestamp + 1, **receipt(first.order_ns + 1))
    await store.insert_direct(batch([second], number=1))
    await store.insert_direct(batch([first, second], number=2))
    await store.insert_direct(batch([second], number=3))
    assert await stored(store, final=True) == [first]
    assert await store.landed("w1", 0, [1, 2, 3]) == {1: 1, 2: 2, 3: 1}


async def test_the_first_one_stands_after_a_merge_too(store: Store) -> None:
    first = event(metadata='{"n":1}')
    second = attrs.evolve(first, metadata='{"n":2}', **receipt(first.order_ns + 1))
    for number, sent in enumerate((second, first, second, first)):
        await store.insert_direct(batch([sent], number=number))
    await execute(store, "OPTIMIZE TABLE {db}.events FINAL")
    assert await stored(store) == [first]


async def test_a_duplicate_months_later_counts_once(store: Store) -> None:
    first = event(metadata='{"n":1}')
    later = attrs.evolve(first, metadata='{"n":2}', **receipt(first.order_ns + 100 * DAY_NS))
    await store.insert_direct(batch([later], number=1))
    await store.insert_direct(batch([first], number=2))
    assert await stored(store, final=True) == [first]
    await execute(store, "OPTIMIZE TABLE {db}.events FINAL")
    assert await stored(store, final=True) == [first]


async def test_the_first_one_stands_in_whatever_month_the_clock_put_it(store: Store) -> None:
    """The clock was 100 days ahead, and was set back: the second copy lies in an earlier partition."""
    ahead = event(metadata='{"n":1}', received_ns=CLOCK.now_ns() // 10**6 * 10**6 + 100 * DAY_NS)
    second = attrs.evolve(ahead, metadata='{"n":2}', **receipt(CLOCK.order_ns()))
    await store.insert_direct(batch([second], number=1))
    await store.insert_direct(batch([ahead], number=2))
    assert await stored(store, final=True) == [ahead]
    [(months,)] = await store.fetch(f"SELECT uniqExact(toYYYYMM(received_at)) FROM {store.database}.events")
    assert months == 2


async def test_the_newest_order_is_that_of_the_row_received_last_whatever_the_clock_showed(store: Store) -> None:
    assert await store.newest_order() == 0
    first = event(received_ns=CLOCK.now_ns() + 100 * DAY_NS)
    last, between = event(order_ns=first.order_ns + 2), event(order_ns=first.order_ns + 1)
    await store.insert_direct(batch([first], number=1))
    await store.insert_direct(batch([last, between], number=2))
    await store.insert_direct(batch([between], number=3))
    assert await store.newest_order() == last.order_ns
    await execute(store, "OPTIMIZE TABLE {db}.events FINAL")
    assert await store.newest_order() == last.order_ns


async def test_the_newest_receipt_of_a_match_is_the_same_with_and_without_its_shortcut(store: Store) -> None:
    events = [event(match_id=f"m{n % 7}") for n in range(500)]
    for number in range(3):
        await store.insert_direct(batch(events[number * 100 : number * 100 + 300], number=number))
    newest = "SELECT match_id, toUnixTimestamp64Milli(max(received_at)) FROM events GROUP BY match_id ORDER BY match_id"
    for statement in ("SELECT 1", "OPTIMIZE TABLE {db}.events FINAL", "DELETE FROM {db}.events WHERE match_id = 'm3'"):
        await execute(store, statement)
        with_it = await store.fetch(f"{newest} SETTINGS force_optimize_projection = 1, optimize_use_projections = 1")
        assert with_it == await store.fetch(f"{newest} SETTINGS optimize_use_projections = 0")
    wanted = {e.match_id: e.received_ns // 10**6 for e in events if e.match_id != "m3"}
    assert dict(with_it) == wanted


async def test_one_event_id_in_two_matches_is_two_events(store: Store) -> None:
    one = event(match_id="a")
    other = attrs.evolve(one, match_id="b", **receipt(one.order_ns + 1))
    await store.insert_direct(batch([one, other]))
    assert await stored(store, final=True) == [one, other]


async def test_timestamps_of_101_months_in_one_batch_are_no_poison(store: Store) -> None:
    times = [datetime(2015 + n // 12, n % 12 + 1, 1, tzinfo=UTC) for n in range(101)]
    events = [event(timestamp=int(t.timestamp() * 1000)) for t in times]
    await store.insert_buffered(batch(events, number=1))
    await store.flush_buffer(0)
    await store.insert_direct(batch(events, number=2))
    assert await store.landed("w1", 0, [1, 2]) == {1: 101, 2: 101}


@pytest.mark.parametrize(
    "text",
    [
        "'); DROP TABLE events; --",
        "$$ $tag$ $a$b$a$ $",
        "quotes \" ' ` and \\ backslashes \\n \\u0041",
        "{name:String} %s %(a)s {} ? :x @y",
        "emoji 😀👩‍👩‍👧 العربية \u2028\u2029\x7f",
        "new\nline\ttab\r",
        "zero \0 inside",
        "/* comment */ -- # \ufeff",
        "x" * 10_000,
    ],
)
async def test_text_comes_back_as_it_was(store: Store, text: str) -> None:
    events = [event(match_id=text[:128], team_id=text[:64], player_id=text[:64], metadata=text), event()]
    await store.insert_direct(batch(events, number=1))
    assert await stored(store) == events
    await store.insert_buffered(batch(events, number=2, writer=text[:20].replace("\0", "")))
    await store.flush_buffer(0)
    assert await stored(store, final=True) == events


async def test_numbers_at_their_limits(store: Store) -> None:
    events = [event(timestamp=946_684_800_000), event(timestamp=4_102_444_799_999), event(timestamp=-1)]
    await store.insert_direct(batch(events, number=2**63))
    assert await stored(store) == events
    assert await store.landed("w1", 0, [2**63]) == {2**63: 3}


async def test_a_poison_row_is_refused_and_takes_nothing_in(store: Store) -> None:
    await alter(store, "ADD CONSTRAINT no_poison CHECK player_id != 'poison'")
    events = [event() for _ in range(50)]
    events[20] = event(player_id="poison")
    with pytest.raises(RowsRefused, match="VIOLATED_CONSTRAINT") as refused:
        await store.insert_direct(batch(events, number=1))
    # What the log is told names the error and quotes no event; the dead letter is told all.
    assert refused.value.message == str(refused.value) == "code 469 VIOLATED_CONSTRAINT"
    assert "Column values: player_id = 'poison'" in refused.value.full_message
    assert await store.landed("w1", 0, [1]) == {}
    assert await count(store) == 0
    await store.insert_direct(batch(events[:20] + events[21:], number=2))
    assert await store.landed("w1", 0, [1, 2]) == {2: 49}


async def test_a_poison_row_in_the_buffer_never_shows_as_landed(store: Store) -> None:
    await alter(store, "ADD CONSTRAINT no_poison CHECK player_id != 'poison'")
    await store.insert_buffered(batch([event(), event(player_id="poison")], number=1))
    with pytest.raises(RowsRefused, match="VIOLATED_CONSTRAINT"):
        await store.flush_buffer(0)
    assert await store.landed("w1", 0, [1]) == {}
    await store.reset_buffer(0)
    await store.insert_buffered(batch([event()], number=2))
    await store.flush_buffer(0)
    assert await store.landed("w1", 0, [1, 2]) == {2: 1}


@pytest.mark.parametrize(
    "row",
    [
        b'{"match_id":"m"',
        b"not JSON",
        b'{"match_id":null}',
        b'{"match_id":7}',
        b'{"match_id":["m"]}',
        b'{"unknown":1}',
        encode_row(event())[:-1] + b',"unknown":1}',
        b'{"match_id":"m"}',
        b"{}",
        b'{"timestamp":"soon"}',
        b'{"timestamp":1.5}',
        b'{"event_id":"no uuid"}',
    ],
)
async def test_a_row_of_another_form_is_refused_and_not_coerced(store: Store, row: bytes) -> None:
    with pytest.raises(RowsRefused):
        await store.insert_direct(Batch(writer="w1", shard=0, number=1, rows=[encode_row(event()), row]))
    assert await count(store) == 0


async def test_what_is_told_of_a_row_that_cannot_be_read_does_not_quote_it(store: Store) -> None:
    with pytest.raises(RowsRefused) as refused:
        await store.insert_direct(Batch(writer="w1", shard=0, number=1, rows=[b'{"timestamp":"it\'s private"}']))
    assert "private" in refused.value.full_message
    assert refused.value.message == str(refused.value)
    assert re.fullmatch(r"code \d+ [A-Z_]+", refused.value.message)


async def test_a_failed_insert_leaves_its_lane_usable(store: Store) -> None:
    with pytest.raises(StoreError):
        await store.insert_direct(Batch(writer="w1", shard=0, number=1, rows=[b"not JSON"]))
    await store.insert_direct(batch([event()], number=2))
    assert await store.landed("w1", 0, [1, 2]) == {2: 1}


async def test_what_fetch_returns_is_plain_and_the_same_everywhere(store: Store) -> None:
    [row] = await store.fetch(
        "SELECT 1, -1, toUInt64(18446744073709551615), toInt64(-9223372036854775808), 1.5, 'a\\n😀', true, "
        "[1, 2], (1, 'x'), [(1, ['y'])], CAST([], 'Array(String)')"
    )
    wanted = (1, -1, 2**64 - 1, -(2**63), 1.5, "a\n😀", True, (1, 2), (1, "x"), ((1, ("y",)),), ())
    assert row == wanted
    assert [type(value) for value in row] == [type(value) for value in wanted]
    assert await store.fetch("SELECT 1 WHERE 0") == []


async def test_names_without_a_database_mean_the_store_s(store: Store) -> None:
    await store.insert_direct(batch([event()]))
    assert await store.fetch("SELECT count() FROM events") == [(1,)]

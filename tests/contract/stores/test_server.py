"""A server that restarts, dies, hangs, or lets nobody in."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
from asynch.proto.connection import Connection

from shards.errors import StoreError, StoreFailed, StoreUnavailable
from shards.reads.matches import MatchReads
from shards.stores import base, server
from shards.stores.address import ServerAddress
from shards.stores.base import Lane
from shards.stores.server import ServerStore
from tests.bench.uncached import NothingPending
from tests.clickhouse import ClickHouseServer, free_port
from tests.contract.rows import MATCH, batch, count, event
from tests.relay import Relay


@pytest.fixture
async def store(own_clickhouse: ClickHouseServer) -> AsyncIterator[ServerStore]:
    store = ServerStore(f"{own_clickhouse.url}/fan", shard_count=2)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def relayed(own_clickhouse: ClickHouseServer) -> AsyncIterator[ServerStore]:
    """For INSERTs that are cut: cut directly they can end this form of the server."""
    relay = Relay(own_clickhouse.tcp_port)
    await relay.start()
    store = ServerStore(f"clickhouse://default@127.0.0.1:{relay.port}/fan", shard_count=2)
    await store.open()
    yield store
    await store.close()
    await relay.close()


async def test_a_restart_between_insert_and_flush_loses_the_batch_and_says_so(
    own_clickhouse: ClickHouseServer, store: ServerStore
) -> None:
    await store.insert_buffered(batch([event() for _ in range(5)], number=1))
    own_clickhouse.restart()
    await store.open()
    await store.flush_buffer(0)
    assert await store.landed("w1", 0, [1]) == {}


@pytest.mark.parametrize(
    "setting",
    ["aggregate_functions_null_for_empty", "data_type_default_nullable", "extremes", "use_query_cache", "final"],
)
async def test_the_profile_of_the_user_changes_nothing(own_clickhouse: ClickHouseServer, setting: str) -> None:
    own_clickhouse.profile = (f"--{setting}=1",)
    own_clickhouse.restart()
    store = ServerStore(f"{own_clickhouse.url}/fan", shard_count=2)
    await store.open()
    row_by_row = MatchReads(store, NothingPending())
    by_parts = MatchReads(store, NothingPending(), large_events=1)
    assert await row_by_row.aggregates(["unheard-of"]) == {}
    for number in range(1, 4):
        sent = [event(), event(event_type="goal", player_id="7")]
        for attempt in (number, 10 + number):
            await store.insert_direct(batch(sent, number=attempt))
        assert await store.landed("w1", 0, [number, 10 + number]) == {number: 2, 10 + number: 2}
        for reads in (row_by_row, by_parts):
            counted = (await reads.aggregates([MATCH]))[MATCH]
            assert (counted.total, len(counted.highlights)) == (2 * number, number)
        assert [match_id for match_id, _ in await row_by_row.recent_matches(limit=5)] == [MATCH]
    await store.close()


async def test_what_landed_survives_a_kill(own_clickhouse: ClickHouseServer, store: ServerStore) -> None:
    await store.insert_direct(batch([event() for _ in range(5)], number=1))
    own_clickhouse.restart()
    await store.open()
    assert await store.landed("w1", 0, [1]) == {1: 5}
    assert await count(store) == 5


async def test_the_ledger_never_shows_what_a_kill_took_from_events(
    own_clickhouse: ClickHouseServer, store: ServerStore
) -> None:
    returned = 0

    async def insert(shard: int, first: int) -> None:
        nonlocal returned
        with contextlib.suppress(StoreError):
            for number in range(first, first + 10_000):
                sent = batch([event() for _ in range(200)], number=number, shard=shard)
                await (store.insert_direct(sent) if number % 2 else store.insert_buffered(sent))
                await store.flush_buffer(shard)
                returned += 1

    for round_ in range(5):
        inserting = [asyncio.create_task(insert(shard, round_ * 10_000)) for shard in range(2)]
        before = returned
        while returned < before + 8:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.013 * round_)
        own_clickhouse.restart()
        for task in inserting:
            task.cancel()
        await asyncio.wait(inserting)
        await store.open()
    [(landed, short)] = await store.fetch(
        "SELECT count(), countIf(rows != there) FROM "
        "(SELECT shard, batch, sum(rows) AS rows FROM ingest_ledger GROUP BY shard, batch) AS l LEFT JOIN "
        "(SELECT shard, batch, count() AS there FROM events GROUP BY shard, batch) AS e USING (shard, batch)"
    )
    assert landed >= returned >= 40
    assert short == 0


async def test_a_dead_server_is_unavailable_and_comes_back_for_the_same_store(
    own_clickhouse: ClickHouseServer, store: ServerStore
) -> None:
    own_clickhouse.kill()
    calls = (
        lambda: store.insert_buffered(batch([event()])),
        lambda: store.insert_direct(batch([event()])),
        lambda: store.flush_buffer(0),
        lambda: store.reset_buffer(0),
        lambda: store.landed("w1", 0, [1]),
        lambda: store.fetch("SELECT 1"),
        store.check,
        store.open,
    )
    for call in calls:
        with pytest.raises(StoreUnavailable, match=str(own_clickhouse.tcp_port)):
            await call()
    own_clickhouse.start()
    await store.open()
    await store.insert_buffered(batch([event()], number=2))
    await store.flush_buffer(0)
    assert await store.landed("w1", 0, [2]) == {2: 1}
    assert await store.fetch("SELECT count() FROM events") == [(1,)]


@pytest.mark.parametrize("trusted_s", [0, 3600])
async def test_a_connection_that_ended_unnoticed_is_made_anew(
    own_clickhouse: ClickHouseServer, store: ServerStore, monkeypatch: pytest.MonkeyPatch, trusted_s: int
) -> None:
    monkeypatch.setattr(server, "TRUSTED_S", trusted_s)
    assert await store.fetch("SELECT 1") == [(1,)]
    await store.insert_direct(batch([event()], number=1))
    own_clickhouse.restart()
    assert await store.fetch("SELECT 2") == [(2,)]
    await store.insert_direct(batch([event()], number=2))
    assert await store.landed("w1", 0, [1, 2]) == {1: 1, 2: 1}


async def test_a_connection_is_tried_first_after_a_silence_only(
    store: ServerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []
    ping = Connection.ping

    async def noted(connection: Connection) -> bool:
        tried.append(connection)
        there: bool = await ping(connection)
        return there

    monkeypatch.setattr(Connection, "ping", noted)
    for _ in range(3):
        await store.fetch("SELECT 1")
    assert not tried
    monkeypatch.setattr(server, "TRUSTED_S", 0)
    await store.fetch("SELECT 1")
    assert len(tried) == 1


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this kernel has no such limit")
async def test_the_kernel_gives_a_way_up_that_takes_nothing_any_more(store: ServerStore) -> None:
    """To cut off the network takes a namespace and root; so only that it is asked to."""
    await store.fetch("SELECT 1")
    clients = [connection._connection for connection in store._connections]
    sockets = [client.writer.writer.get_extra_info("socket") for client in clients if client is not None]
    given_up_ms = {sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) for sock in sockets}
    assert given_up_ms == {server.TRUSTED_S * 1000}


async def test_a_server_that_is_not_there_is_unavailable_and_named(tmp_path: object) -> None:
    port = free_port()
    store = ServerStore(f"clickhouse://user:secret@127.0.0.1:{port}/fan", shard_count=1)
    with pytest.raises(StoreUnavailable) as raised:
        await store.open()
    assert f"127.0.0.1:{port}" in str(raised.value)
    assert "secret" not in str(raised.value)
    await store.close()


async def test_a_hanging_server_is_unavailable_after_the_timeout_and_usable_afterwards(
    own_clickhouse: ClickHouseServer, store: ServerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "INSERT_TIMEOUT_S", 0.5)
    monkeypatch.setattr(base, "READ_TIMEOUT_S", 0.5)
    big = batch([event(metadata='{"k":"' + "x" * 16_000 + '"}') for _ in range(2_000)], number=1)
    own_clickhouse.pause()
    for call in (store.insert_direct(big), store.fetch("SELECT 1"), store.landed("w1", 1, [1])):
        with pytest.raises(StoreUnavailable, match=r"no answer within 0\.5 s"):
            await call
    own_clickhouse.resume()
    monkeypatch.undo()
    await store.open()
    await store.insert_direct(batch([event()], number=2))
    assert await store.landed("w1", 0, [2]) == {2: 1}
    assert await store.fetch("SELECT 1") == [(1,)]


async def test_closing_does_not_wait_for_a_hanging_server(own_clickhouse: ClickHouseServer, store: ServerStore) -> None:
    own_clickhouse.pause()
    waiting = asyncio.create_task(store.fetch("SELECT 1"))
    await asyncio.sleep(0.05)
    async with asyncio.timeout(20):
        await store.close()
    own_clickhouse.resume()
    waiting.cancel()
    await asyncio.wait({waiting})


async def test_a_cancelled_statement_leaves_the_store_usable(relayed: ServerStore) -> None:
    store = relayed
    for delay_s in (0, 0.001, 0.003, 0.01, 0.03):
        for statement in (
            store.fetch("SELECT sleepEachRow(0.01) FROM numbers(300) SETTINGS max_block_size = 1"),
            store.insert_direct(batch([event() for _ in range(500)], number=1)),
            store.check(),
        ):
            task = asyncio.create_task(statement)
            await asyncio.sleep(delay_s)
            task.cancel()
            await asyncio.wait({task})
            assert await store.fetch("SELECT 7") == [(7,)]
    await store.insert_direct(batch([event()], number=2))
    assert await store.landed("w1", 0, [2]) == {2: 1}


async def test_reads_do_not_wait_for_each_other_beyond_the_pool(store: ServerStore) -> None:
    answers = await asyncio.gather(*(store.fetch(f"SELECT {n}, sleep(0.05)") for n in range(8)))
    assert [rows[0][0] for rows in answers] == list(range(8))


async def test_statements_of_one_lane_come_one_after_the_other(store: ServerStore) -> None:
    asked = (store._run(f"SELECT {n}, sleep(0.05)", lane=0, timeout_s=60) for n in range(4))
    answers = await asyncio.gather(*asked)
    assert [rows[0][0] for rows in answers] == list(range(4))


async def test_the_server_logs_what_changes_the_schema_but_no_flush(store: ServerStore) -> None:
    lanes: tuple[tuple[Lane, bool], ...] = (("schema", True), (0, False))
    for lane, logged in lanes:
        [(value,)] = await store._run("SELECT toBool(getSetting('log_queries'))", lane=lane, timeout_s=60)
        assert value == logged


async def test_rows_are_kept_for_ever_unless_days_are_given(store: ServerStore) -> None:
    [(create,)] = await store.fetch(
        "SELECT create_table_query FROM system.tables WHERE database = 'fan' AND name = 'events'"
    )
    assert "TTL" not in create


async def test_an_error_of_the_server_keeps_the_connection(store: ServerStore) -> None:
    await store.fetch("SELECT 1")
    with pytest.raises(StoreError):
        await store.fetch("SELECT nothing")
    [(first,)] = await store.fetch("SELECT value FROM system.metrics WHERE metric = 'TCPConnection'")
    for _ in range(5):
        with pytest.raises(StoreError):
            await store.fetch("SELECT nothing")
    [(last,)] = await store.fetch("SELECT value FROM system.metrics WHERE metric = 'TCPConnection'")
    assert last <= first


async def test_a_wrong_password_is_told(own_clickhouse: ClickHouseServer) -> None:
    store = ServerStore(own_clickhouse.url.replace("default@", "default:wrong%40@") + "/fan", shard_count=1)
    with pytest.raises(StoreFailed, match="AUTHENTICATION_FAILED") as raised:
        await store.open()
    assert raised.value.code == 516
    assert "wrong" not in str(raised.value)
    await store.close()


def test_an_address_is_read_with_its_defaults() -> None:
    assert ServerAddress.parse("clickhouse://h") == ServerAddress(host="h", port=9000)
    assert ServerAddress.parse("clickhouses://u:p%2F@h/db?verify=false&ca_certs=/ca.pem") == ServerAddress(
        host="h", port=9440, user="u", password="p/", database="db", secure=True, verify=False, ca_certs="/ca.pem"
    )
    assert ServerAddress.parse("clickhouse://[::1]:9001/x").host == "::1"


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "h:9000",
            "http://h",
            "clickhouse://",
            "clickhouse://u:secret@h:port",
            "clickhouse://u:secret@h/?a=secret",
        ),
        *("clickhouse://u:secret@h/?verify=false", "clickhouses://u:secret@h/?a=secret"),
    ],
)
def test_an_address_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="URL") as raised:
        ServerAddress.parse(url)
    assert "secret" not in str(raised.value)


def test_a_password_is_not_printed() -> None:
    address = ServerAddress.parse("clickhouse://u:secret@h")
    assert "secret" not in f"{address} {address!r}"

"""Group commit: no acknowledgement without a sync behind it, and a disk that fails is survived."""

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shards.errors import WalFailed
from shards.events import Event, encode_row
from shards.observer import Observer
from shards.settings import WalSync
from shards.wal import committer as committer_module
from shards.wal.committer import Committer
from shards.wal.log import ShardLog
from shards.wal.reader import LogReader
from tests.logged import lines_of


class FailingLog(ShardLog):
    """A log on a disk that fails when told to: the one thing that real parts do not do on demand."""

    write_error: OSError | None = None
    sync_error: OSError | None = None
    syncs = 0
    reopenings = 0

    def reopen(self) -> None:
        self.reopenings += 1
        if self.write_error is not None:
            raise self.write_error
        super().reopen()

    def append(self, payloads: Sequence[bytes]) -> int:
        if self.write_error is not None:
            raise self.write_error
        return super().append(payloads)

    def sync(self) -> None:
        if self.sync_error is not None:
            raise self.sync_error
        self.syncs += 1
        super().sync()


class Durable:
    """Notes what is reported as durable."""

    def __init__(self) -> None:
        self.rows: dict[int, bytes] = {}

    def __call__(self, first_seq: int, rows: Sequence[bytes]) -> None:
        self.rows.update(enumerate(rows, first_seq))


def row(number: int) -> bytes:
    return encode_row(Event("m", f"id-{number}", "pass", 1, "1", "", "{}", number, number))


def open_log(directory: Path, shard: int = 0) -> FailingLog:
    log = FailingLog(directory / str(shard), shard=shard, segment_max_bytes=1 << 20)
    log.recover()
    return log


@asynccontextmanager
async def running(sync: WalSync = "always") -> AsyncIterator[Committer]:
    committer = Committer(sync=sync, observer=Observer())
    committer.start()
    yield committer
    await committer.close()


def read_back(log: ShardLog) -> dict[int, bytes]:
    reader = LogReader(log, after_seq=0)
    records = reader.read(upto_seq=None, max_rows=10_000, max_bytes=1 << 30)
    reader.close()
    return {record.seq: record.payload for record in records}


async def test_many_appends_share_few_syncs_and_get_numbers_in_order(tmp_path: Path) -> None:
    log, durable = open_log(tmp_path), Durable()
    async with running() as committer:
        await asyncio.gather(*(committer.submit(log, [row(n), row(1000 + n)], durable) for n in range(1, 301)))
        assert committer.queued_bytes == 0

    assert list(durable.rows) == list(range(1, 601))
    assert 0 < log.syncs < 300
    assert read_back(log) == durable.rows


async def test_only_who_comes_after_a_group_of_several_waits_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(committer_module, "sleep", waits.append)
    monkeypatch.setattr(committer_module, "monotonic", lambda: 100.0)  # no time passes
    log, other, durable = open_log(tmp_path), open_log(tmp_path, 1), Durable()
    committer = Committer(sync="always", observer=Observer())
    of_one_request = [committer.submit(shard_log, [row(1)], Durable()) for shard_log in (log, other)]
    committer.start()
    await asyncio.gather(*of_one_request)
    await committer.submit(log, [row(2)], durable)
    await committer.close()
    assert (log.syncs, other.syncs) == (2, 1)
    assert waits == []

    committer = Committer(sync="always", observer=Observer())
    of_two_requests = [committer.submit(log, [row(n)], durable) for n in (3, 4)]
    committer.start()
    await asyncio.gather(*of_two_requests)
    assert (log.syncs, waits) == (3, [])
    await committer.submit(log, [row(5)], durable)
    assert waits == [pytest.approx(committer_module.GAP_S)]
    await committer.submit(log, [row(6)], durable)
    await committer.close()
    assert waits == [pytest.approx(committer_module.GAP_S)]
    assert len(durable.rows) == 5


async def test_shards_have_numbers_of_their_own(tmp_path: Path) -> None:
    logs = [open_log(tmp_path, shard) for shard in range(3)]
    durables = [Durable() for _ in logs]
    async with running() as committer:
        await asyncio.gather(
            *(committer.submit(log, [row(1)], durable) for log, durable in zip(logs, durables, strict=True))
        )
    assert [list(durable.rows) for durable in durables] == [[1], [1], [1]]


@pytest.mark.parametrize("where", ["write_error", "sync_error"])
async def test_a_failing_disk_fails_the_request_and_its_numbers_are_used_again(tmp_path: Path, where: str) -> None:
    log, durable = open_log(tmp_path), Durable()
    async with running() as committer:
        await committer.submit(log, [row(1)], durable)
        setattr(log, where, OSError(errno.EIO, "Input/output error"))
        with pytest.raises(WalFailed):
            await committer.submit(log, [row(2)], durable)
        assert committer.error == "Input/output error"
        assert list(durable.rows) == [1]

        setattr(log, where, None)
        await committer.submit(log, [row(3)], durable)

        assert committer.error == ""
        assert durable.rows == {1: row(1), 2: row(3)}
    log.close()
    assert read_back(open_log(tmp_path)) == {1: row(1), 2: row(3)}


async def test_a_failing_shard_does_not_fail_another(tmp_path: Path) -> None:
    broken, sound = open_log(tmp_path, 0), open_log(tmp_path, 1)
    broken.sync_error = OSError(errno.ENOSPC, "No space left on device")
    durable = Durable()
    async with running() as committer:
        futures = [committer.submit(broken, [row(1)], durable), committer.submit(sound, [row(2)], durable)]
        results = await asyncio.gather(*futures, return_exceptions=True)
    assert isinstance(results[0], WalFailed)
    assert results[1] == 1
    assert durable.rows == {1: row(2)}


async def test_what_is_queued_at_the_end_is_committed(tmp_path: Path) -> None:
    log, durable = open_log(tmp_path), Durable()
    committer = Committer(sync="always", observer=Observer())
    committer.start()
    futures = [committer.submit(log, [row(n)], durable) for n in range(50)]
    await committer.close()
    assert all(future.done() for future in futures)
    assert len(durable.rows) == 50


@pytest.mark.parametrize("sync", ["interval", "off"])
async def test_without_a_sync_before_each_reply_the_rest_is_synced_at_the_end(tmp_path: Path, sync: WalSync) -> None:
    log, durable = open_log(tmp_path), Durable()
    async with running(sync) as committer:
        await committer.submit(log, [row(1)], durable)
        assert log.syncs == 0
    assert log.syncs == 1
    assert read_back(log) == {1: row(1)}


async def test_interval_syncs_by_itself(tmp_path: Path) -> None:
    log, durable = open_log(tmp_path), Durable()
    async with running("interval") as committer:
        await committer.submit(log, [row(1)], durable)
        async with asyncio.timeout(30):
            while not log.syncs:
                await asyncio.sleep(0.05)


class Counting(Observer):
    """Adds up what is reported of the log."""

    def __init__(self) -> None:
        self.appended_records = self.appended_bytes = self.synced_records = self.synced_bytes = 0

    def appended(self, *, records: int, bytes_: int) -> None:
        self.appended_records += records
        self.appended_bytes += bytes_

    def synced(self, *, records: int, bytes_: int, seconds: float) -> None:
        self.synced_records += records
        self.synced_bytes += bytes_

    @property
    def totals(self) -> tuple[int, ...]:
        return self.appended_records, self.appended_bytes, self.synced_records, self.synced_bytes


@pytest.mark.parametrize("sync", ["always", "interval", "off"])
async def test_reports_as_synced_what_a_sync_covers(
    tmp_path: Path, sync: WalSync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer_module, "SYNC_INTERVAL_S", 0.05)
    log, durable, observer = open_log(tmp_path), Durable(), Counting()
    bytes_ = len(row(1)) + len(row(2))
    committer = Committer(sync=sync, observer=observer)
    committer.start()
    await committer.submit(log, [row(1), row(2)], durable)
    assert observer.totals[:2] == (2, bytes_)
    if sync == "off":
        await asyncio.sleep(0.3)
        assert observer.totals[2:] == (0, 0)
    async with asyncio.timeout(30):
        while sync != "off" and observer.totals[2:] != (2, bytes_):
            await asyncio.sleep(0.01)
    log.sync_error = OSError(errno.EIO, "Input/output error")
    with pytest.raises(WalFailed) if sync == "always" else contextlib.nullcontext():
        await committer.submit(log, [row(3)], durable)
    while sync == "interval" and log.generation == 0:
        await asyncio.sleep(0.01)
    log.sync_error = None
    await committer.close()
    assert observer.totals[2:] == ((3, bytes_ + len(row(3))) if sync == "off" else (2, bytes_)), "off: at the end"


async def test_a_failing_interval_sync_starts_another_segment(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log, durable = open_log(tmp_path), Durable()
    async with running("interval") as committer:
        await committer.submit(log, [row(1)], durable)
        log.sync_error = OSError(errno.EIO, "Input/output error")
        async with asyncio.timeout(30):
            while log.generation == 0:
                await asyncio.sleep(0.05)
        log.sync_error = None
        await committer.submit(log, [row(2)], durable)
    [line] = lines_of(caplog, "sync failed")
    assert (line["level"], line["shard"], line["error"]) == ("error", 0, "[Errno 5] Input/output error")
    assert "may be lost" in line["effect"]
    assert list(durable.rows) == [1, 2]
    assert len(log.segments) == 2


async def test_a_disk_that_works_again_is_found_out_without_an_append(tmp_path: Path) -> None:
    """While the log is said to be broken nobody sends anything, so nothing else would find out."""
    log, durable = open_log(tmp_path), Durable()
    async with running() as committer:
        await committer.submit(log, [row(1)], durable)
        log.write_error = OSError(errno.ENOSPC, "No space left on device")
        with pytest.raises(WalFailed):
            await committer.submit(log, [row(2)], durable)
        async with asyncio.timeout(30):
            while log.reopenings < 2:
                await asyncio.sleep(0.05)
            assert committer.error

            log.write_error = None
            while committer.error:
                await asyncio.sleep(0.05)

        await committer.submit(log, [row(3)], durable)
    assert read_back(log) == durable.rows == {1: row(1), 2: row(3)}


async def test_a_disk_that_has_just_failed_is_not_tried_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer_module, "SYNC_INTERVAL_S", 30.0)
    log, durable = open_log(tmp_path), Durable()
    committer = Committer(sync="always", observer=Observer())
    committer.start()
    log.sync_error = OSError(errno.EIO, "Input/output error")
    with pytest.raises(WalFailed):
        await committer.submit(log, [row(1)], durable)
    await asyncio.sleep(0.2)
    assert log._writer is None, "the interval has not passed yet"
    log.sync_error = None
    await committer.close()


async def test_a_cut_puts_what_comes_after_it_into_another_file(tmp_path: Path) -> None:
    log, durable = open_log(tmp_path), Durable()
    async with running() as committer:
        assert await committer.cut(log) == 0
        assert not log.segments  # there was nothing to be kept apart
        before = [committer.submit(log, [row(n)], durable) for n in (1, 2, 3)]
        cut = asyncio.ensure_future(committer.cut(log))
        await asyncio.sleep(0)
        after = committer.submit(log, [row(9)], durable)
        await asyncio.gather(*before)
        last = await cut
        assert last in (3, 4)  # the group may have held what was submitted behind it
        assert await after == 4
        assert log.segments.last.first_seq == last + 1
        if last == 3:
            assert await committer.cut(log, upto=3) == 3
        assert await committer.cut(log) == 4
        assert log.segments.last.first_seq == 5
        assert await committer.cut(log) == 4
        assert log.segments.last.first_seq == 5
    assert read_back(log) == durable.rows


async def test_a_cut_that_the_disk_refuses_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, durable = open_log(tmp_path), Durable()
    committer = Committer(sync="always", observer=Observer())

    def full(**_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(log, "cut", full)
        rows = committer.submit(log, [row(1)], durable)
        cut = asyncio.ensure_future(committer.cut(log))
        await asyncio.sleep(0)
        committer.start()
        assert await rows == 1
        with pytest.raises(WalFailed):
            await cut
    assert await committer.submit(log, [row(2)], durable) == 2
    await committer.close()
    assert read_back(log) == durable.rows

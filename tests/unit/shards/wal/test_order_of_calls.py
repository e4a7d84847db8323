"""The order of system calls by which a power failure takes nothing that was promised: ADR-014 has the reasons.

``tests/power`` tries what a file system may leave; here is what has to come before what.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from shards.clock import ReceiptClock
from shards.observer import Observer
from shards.wal.checkpoint import FILE_NAME as CHECKPOINT
from shards.wal.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from shards.wal.committer import Committer
from shards.wal.journal import Unprovable
from shards.wal.log import ShardLog
from tests.syscalls import Operation, Recorder
from tests.unit.shards.wal.logs import append, open_log, row

SILENT = ("open", "close")
RENEWED = [
    f"create {CHECKPOINT}.new",
    f"write {CHECKPOINT}.new",
    f"fsync {CHECKPOINT}.new",
    f"rename {CHECKPOINT}.new {CHECKPOINT}",
    "fsync .",
]
"""A checkpoint that takes the place of another."""


def wal(number: int) -> str:
    return f"{number:012d}.wal"


def failing(call: str, *, path: str = "") -> Callable[[Operation], None]:
    """Have calls end with EIO."""

    def fail(operation: Operation) -> None:
        if operation.call == call and path in operation.path:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    return fail


async def test_an_event_is_written_then_synced_then_acknowledged(tmp_path: Path) -> None:
    log = ShardLog(tmp_path, shard=0, segment_max_bytes=1 << 20)
    durable: list[int] = []
    committer = Committer(sync="always", observer=Observer())
    with Recorder(tmp_path, inject=lambda _: durable.append(log.durable_seq)) as calls:
        log.recover()
        append(log, row(1))
        calls.operations.clear()
        durable.clear()
        committer.start()
        assert await committer.submit(log, [row(2)], lambda *_: None) == 2
        assert calls.short() == [f"write {wal(1)}", f"fdatasync {wal(1)}"]
        await committer.close()
    assert durable == [1, 1], "its number counts after both"
    assert log.durable_seq == 2
    log.close()


@pytest.mark.parametrize("synced", [True, False], ids=["each group is synced", "syncs come later"])
def test_a_full_segment_is_synced_and_the_next_ones_name_durable_before_its_first_record(
    tmp_path: Path, synced: bool
) -> None:
    with Recorder(tmp_path) as calls:
        log = open_log(tmp_path, segment_max_bytes=1)
        log.append([row(1)])
        if synced:
            log.sync()
        log.acknowledge()
        calls.operations.clear()
        log.append([row(2)])
    assert calls.short(but=["open"]) == [
        f"fdatasync {wal(1)}",
        f"close {wal(1)}",
        f"create {wal(2)}",
        f"write {wal(2)}",
        f"fsync {wal(2)}",
        "fsync .",
        "close .",
        f"write {wal(2)}",
    ]
    log.close()


def with_segments(directory: Path) -> ShardLog:
    """A log of four records, each in a segment of its own, and an entry of its journal that is not written."""
    log = open_log(directory, segment_max_bytes=1)
    log.journal.note(Unprovable.noted_now("not_noted", ((1, 1),)))
    log.journal.write()
    for number in range(1, 5):
        append(log, row(number))
    log.journal.note(Unprovable.noted_now("not_noted", ((2, 3),)))
    return log


def test_the_journal_is_durable_before_the_checkpoint_and_that_before_a_segment_goes(tmp_path: Path) -> None:
    log = with_segments(tmp_path)
    with Recorder(tmp_path) as calls:
        log.truncate(Checkpoint(upto=3))
    removed = [f"unlink {wal(number)}" for number in (1, 2, 3)]
    assert calls.short(but=SILENT) == ["write confirmed", "fsync confirmed", *RENEWED, *removed]
    assert log.is_saved
    log.close()


def test_where_the_disk_takes_no_checkpoint_each_removal_is_durable_before_the_next(tmp_path: Path) -> None:
    """Else a power failure could bring back the first of three segments and not the second, which would be damage."""
    log = with_segments(tmp_path)
    log.journal.write()
    with Recorder(tmp_path, inject=failing("create")) as calls, pytest.raises(OSError, match="Input/output"):
        log.truncate(Checkpoint(upto=3))
    removed = [call for number in (1, 2, 3) for call in (f"unlink {wal(number)}", "fsync .")]
    assert calls.short(but=SILENT)[-6:] == removed
    assert not log.is_saved
    with Recorder(tmp_path) as calls:
        log.truncate(Checkpoint(upto=3))
    assert calls.short(but=SILENT) == RENEWED
    log.close()


def test_where_the_disk_takes_no_journal_the_checkpoint_stays_as_it_was(tmp_path: Path) -> None:
    """The next start would take rows for checked of which the journal knows nothing."""
    log = with_segments(tmp_path)
    before = (tmp_path / CHECKPOINT).read_bytes()
    for work in (lambda: log.truncate(Checkpoint(upto=3)), log.save):
        with Recorder(tmp_path, inject=failing("write", path="confirmed")), pytest.raises(OSError, match="Input"):
            work()
        assert (tmp_path / CHECKPOINT).read_bytes() == before
    with Recorder(tmp_path) as calls:
        log.save()
    assert [call for call in calls.short(but=SILENT) if call.startswith("write")] == [
        "write confirmed",  # the page that what failed was on
        "write confirmed",
        f"write {CHECKPOINT}.new",
    ]
    assert read_checkpoint(tmp_path).upto == 3
    log.close()


def test_an_order_is_given_out_only_once_it_is_reserved_on_the_disk(tmp_path: Path) -> None:
    clock = ReceiptClock()
    log = ShardLog(tmp_path, shard=0, segment_max_bytes=1 << 20, clock=clock)
    reserved: list[int] = []
    with Recorder(tmp_path, inject=lambda _: reserved.append(clock.reserved_ns)):
        log.recover()
    assert set(reserved) == {0}
    assert clock.reserved_ns == read_checkpoint(tmp_path).order_upto > clock.last_ns
    before = clock.reserved_ns
    with Recorder(tmp_path, inject=failing("rename")), pytest.raises(OSError, match="Input/output"):
        log.save()
    assert clock.reserved_ns == before
    log.close()


def test_a_start_gives_out_no_order_that_a_checkpoint_or_a_record_told_of(tmp_path: Path) -> None:
    """The wall clock may be behind it now."""
    ahead = ReceiptClock().now_ns() + 3600 * 10**9
    write_checkpoint(tmp_path, Checkpoint(order_upto=ahead))
    for newest in (ahead, 2 * ahead):
        clock = ReceiptClock()
        log = ShardLog(tmp_path, shard=0, segment_max_bytes=1 << 20, clock=clock)
        log.recover()
        assert clock.order_ns() == newest + 1
        append(log, row(2 * ahead))
        log.close()
        write_checkpoint(tmp_path, Checkpoint(order_upto=ahead))


def test_what_a_start_finds_behind_the_last_durable_number_is_written_again_before_it_is_read(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    append(log, row(1))
    append(log, row(2))
    log.append([row(3)])  # whose sync never came
    size = (tmp_path / wal(1)).stat().st_size
    log.close()
    (tmp_path / CHECKPOINT).unlink()
    again = ShardLog(tmp_path, shard=0, segment_max_bytes=1 << 20)
    durable: list[tuple[str, int]] = []
    with Recorder(tmp_path, inject=lambda one: durable.append((str(one), again.durable_seq))) as calls:
        again.recover()
    written = [operation for operation in calls.operations if operation.path == wal(1) and operation.call == "write"]
    assert [(one.offset, len(one.data)) for one in written] == [(size - (size - 24) // 3, (size - 24) // 3)]
    mine = [one for one in durable if one[0].endswith(wal(1)) and not one[0].startswith(("open", "close"))]
    assert mine == [(f"truncate {wal(1)}", 0), (f"write {wal(1)}", 0), (f"fsync {wal(1)}", 0)]
    assert again.durable_seq == 3
    again.close()


def test_whole_records_behind_a_torn_one_are_durable_elsewhere_before_they_are_cut_off(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    append(log, row(1))
    log.append([row(2), row(3)])
    log.close()
    path = tmp_path / wal(1)
    whole = path.read_bytes()
    record = (len(whole) - 24) // 3
    torn = bytearray(whole)
    torn[24 + record + 40] ^= 1
    path.write_bytes(torn)
    (tmp_path / CHECKPOINT).unlink()
    again = ShardLog(tmp_path, shard=0, segment_max_bytes=1 << 20)
    with Recorder(tmp_path) as calls:
        recovery = again.recover()
    segments = [call for call in calls.short(but=SILENT) if ".wal" in call]
    assert segments == [
        f"write {wal(1)}",
        f"fsync {wal(1)}",
        f"create {wal(2)}",
        f"write {wal(2)}",
        f"fsync {wal(2)}",
        f"write {wal(2)}",
        f"fdatasync {wal(2)}",
        f"truncate {wal(1)}",
        f"fsync {wal(1)}",
    ]
    assert path.stat().st_size == 24 + record
    assert recovery.pending.total() == 2
    again.close()


def test_an_orderly_end_syncs_the_segment_and_then_tells_how_far_the_log_is_durable(tmp_path: Path) -> None:
    with Recorder(tmp_path) as calls:
        log = open_log(tmp_path)
        append(log, row(1))
        log.append([row(2)])
        log.acknowledge()
        calls.operations.clear()
        log.seal()
        assert calls.short(but=SILENT) == [f"fdatasync {wal(1)}", *RENEWED]
        assert read_checkpoint(tmp_path).durable == 2
        calls.operations.clear()
        log.seal()
        assert calls.short(but=SILENT) == [f"fdatasync {wal(1)}"], "there is nothing new to tell"
    log.close()


def test_only_what_is_synced_and_not_given_out_again_is_told_to_be_durable(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    append(log, row(1))
    log.append([row(2)])
    log.acknowledge()  # as where syncs come later
    log.save()
    assert read_checkpoint(tmp_path).durable == 1
    log.sync()
    log.append([row(3)])
    log.sync()  # and its acknowledgement is yet to come
    log.save()
    assert read_checkpoint(tmp_path).durable == 2
    log.abandon()
    log.save()
    assert read_checkpoint(tmp_path).durable == 2
    assert append(log, row(4)) == 3
    log.close()


def test_a_segment_that_is_set_aside_is_durable_there(tmp_path: Path) -> None:
    log = with_segments(tmp_path)
    log.segments.mark_damaged(1)
    with Recorder(tmp_path) as calls:
        log.truncate(attrs.evolve(log.checkpoint, upto=1))
    moved = calls.short(but=SILENT)[-5:]
    assert moved[0] == "mkdir damaged"
    assert [call.split()[0] for call in moved] == ["mkdir", "fsync", "fsync", "rename", "fsync"]
    assert moved[-1] == "fsync damaged"
    log.close()

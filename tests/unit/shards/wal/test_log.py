"""The write-ahead log on real files: what was acknowledged is read back, and nothing else."""

import errno
import os
import resource
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.errors import InvariantBroken
from shards.events import letter_crc
from shards.wal.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from shards.wal.log import ShardLog
from shards.wal.reader import LogReader
from shards.wal.record import (
    HEADER_BYTES,
    RECORD_HEAD_BYTES,
    Header,
    RecordScanner,
    decode_header,
    encode_header,
    encode_records,
)
from shards.wal.segment import SegmentReader, SegmentWriter
from tests.logged import lines_of
from tests.unit.shards.wal.file_limit import largest_file
from tests.unit.shards.wal.logs import append, essence, lost, open_log, read_all, reopened, row, segment_files

BIT_STEP = 1 if "WAL_EXAMPLES" in os.environ else 7
"""With seven, every byte has one bit of its own flipped."""


def test_what_was_appended_is_read_back_after_a_restart(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    assert append(log, row(1), row(2)) == 1
    assert append(log, row(3)) == 3
    log.close()

    again = open_log(tmp_path)

    assert again.durable_seq == 3
    assert read_all(again) == [(1, row(1)), (2, row(2)), (3, row(3))]
    assert append(again, row(4)) == 4


def test_recovery_counts_pending_records_by_match(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    append(log, row(1, match_id="a"), row(2, match_id="b"), row(3, match_id="a"))
    log.truncate(Checkpoint(upto=1))
    log.close()

    recovery = ShardLog(tmp_path, shard=0, segment_max_bytes=1).recover()

    assert recovery.pending == {"a": 1, "b": 1}
    assert recovery.oldest_ns == 2


def test_what_was_confirmed_before_others_is_not_pending_and_keeps_its_number(tmp_path: Path) -> None:
    """Without a sync a log can lose its end: a new row under a confirmed number would pass for stored."""
    log = open_log(tmp_path)
    log.append([row(number) for number in range(1, 9)])
    log.acknowledge()
    log.truncate(Checkpoint(upto=1, beyond=((3, 4), (7, 7))))
    log.close()
    [segment] = segment_files(tmp_path)
    segment.write_bytes(segment.read_bytes()[: -2 * len(encode_records(8, [row(8)]))])

    again = ShardLog(tmp_path, shard=0, segment_max_bytes=1 << 20)
    recovery = again.recover()

    assert recovery.pending.total() == len({2, 5, 6})
    assert recovery.damaged == (), "7 is confirmed, and nothing shows that 8 was ever there"
    assert append(again, row(9)) == 8
    again.close()
    after = ShardLog(tmp_path, shard=0, segment_max_bytes=1 << 20)
    assert after.recover().pending.total() == len({2, 5, 6, 8})
    assert essence(after.checkpoint) == Checkpoint(upto=1, beyond=((3, 4), (7, 7)))


def test_a_reader_passes_over_what_it_is_told_to_whatever_the_limit(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    append(log, *(row(number) for number in range(1, 51)))
    reader = LogReader(log, after_seq=0)
    found = []
    while records := reader.read(upto_seq=None, max_rows=1, max_bytes=1 << 20, but=((2, 40), (42, 49))):
        found += [record.seq for record in records]
    reader.close()
    assert found == [1, 41, 50]


def test_a_row_that_was_confirmed_after_all_is_no_dead_letter_besides(tmp_path: Path) -> None:
    """The letter was written whole although its sync failed; the row stayed, and got in later."""
    log = open_log(tmp_path)
    append(log, row(1), row(2), row(3))
    log.truncate(Checkpoint(beyond=((2, 2),)))
    log.close()
    again = ShardLog(tmp_path, shard=0, segment_max_bytes=1 << 20)
    recovery = again.recover(letters_after=lambda _: {(2, letter_crc(row(2))), (3, letter_crc(row(3)))})
    assert (recovery.pending.total(), recovery.dead, recovery.damaged) == (1, {3}, ())


def test_what_was_confirmed_in_a_first_segment_that_was_set_aside_is_not_damaged(tmp_path: Path) -> None:
    log = open_log(tmp_path, segment_max_bytes=400)
    for number in range(1, 10):
        append(log, row(number))
    first, second, *_ = segment_files(tmp_path)
    log.truncate(Checkpoint(beyond=((2, 2), (9, 9))))
    log.close()
    first.write_bytes(b"?" * first.stat().st_size)
    with SegmentReader(second) as reader:
        passed = reader.header.first_seq - 1 if reader.header else 0
    again = open_log(tmp_path, segment_max_bytes=400)
    assert essence(again.checkpoint) == Checkpoint(upto=passed, damaged=passed - 1, beyond=((9, 9),))
    assert passed >= 2


def test_a_full_segment_is_followed_by_another_and_goes_when_it_is_done_with(tmp_path: Path) -> None:
    log = open_log(tmp_path, segment_max_bytes=200)
    for number in range(1, 10):
        append(log, row(number))
    files = segment_files(tmp_path)
    assert len(files) > 3

    log.truncate(Checkpoint(upto=5))

    assert len(segment_files(tmp_path)) < len(files)
    assert [seq for seq, _ in read_all(log, after=5)] == [6, 7, 8, 9]
    assert log.segments.size_bytes == sum(path.stat().st_size for path in segment_files(tmp_path))


def test_a_segment_that_cannot_be_removed_is_removed_later(tmp_path: Path) -> None:
    log = open_log(tmp_path, segment_max_bytes=200)
    for number in range(1, 10):
        append(log, row(number))
    stubborn = segment_files(tmp_path)[0]
    content = stubborn.read_bytes()
    stubborn.unlink()
    stubborn.mkdir()  # cannot be unlinked, not even by root
    with pytest.raises(OSError, match=str(stubborn)):
        log.truncate(Checkpoint(upto=5))
    stubborn.rmdir()
    stubborn.write_bytes(content)

    log.truncate(Checkpoint(upto=6))

    assert not stubborn.exists()
    assert log.segments.size_bytes == sum(path.stat().st_size for path in segment_files(tmp_path))
    assert [seq for seq, _ in read_all(log, after=6)] == [7, 8, 9]


def test_segments_gone_count_as_done_even_when_the_checkpoint_was_lost(tmp_path: Path) -> None:
    log = open_log(tmp_path, segment_max_bytes=200)
    for number in range(1, 10):
        append(log, row(number))
    log.truncate(Checkpoint(upto=5))
    log.close()
    (tmp_path / "checkpoint.json").unlink()

    again = open_log(tmp_path, segment_max_bytes=200)

    assert again.checkpoint.upto > 0
    assert again.durable_seq == 9
    assert [seq for seq, _ in read_all(again, after=again.checkpoint.upto)][-1] == 9


@given(rows=st.lists(st.integers(0, 40), min_size=1, max_size=6), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_file_cut_at_any_byte_gives_a_prefix(rows: list[int], data: st.DataObject) -> None:
    """A crash leaves any prefix of what was written: recovery returns the whole records of it."""
    payloads = [row(number, metadata='{"x":"%s"}' % ("y" * size)) for number, size in enumerate(rows, 1)]
    written = encode_records(1, payloads)
    cut = data.draw(st.integers(0, len(written)))

    scanner = RecordScanner()
    found = list(scanner.feed(written[:cut]))

    assert [record.payload for record in found] == payloads[: len(found)]
    assert not scanner.damages
    whole = sum(RECORD_HEAD_BYTES + len(payload) for payload in payloads[: len(found)])
    assert len(scanner._data) == cut - whole


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_a_flipped_bit_costs_one_record_and_never_makes_another(data: st.DataObject) -> None:
    payloads = [row(number) for number in range(1, 6)]
    written = bytearray(encode_records(1, payloads))
    position = data.draw(st.integers(0, len(written) - 1))
    written[position] ^= 1 << data.draw(st.integers(0, 7))

    scanner = RecordScanner()
    found = {record.seq: record.payload for record in scanner.feed(bytes(written))}

    assert found.items() <= dict(enumerate(payloads, 1)).items()
    assert len(found) == 4


def test_pieces_of_any_size_give_the_same_records() -> None:
    payloads = [row(number) for number in range(1, 20)]
    written = encode_records(1, payloads)
    for piece in (1, 7, 100, 1000):
        scanner = RecordScanner()
        found = [
            record.payload
            for start in range(0, len(written), piece)
            for record in scanner.feed(written[start : start + piece])
        ]
        assert found == payloads
        assert scanner.damages == []


def test_damage_in_the_middle_is_reported_and_the_file_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = open_log(tmp_path, segment_max_bytes=400)
    for number in range(1, 8):
        append(log, row(number))
    log.close()
    first = segment_files(tmp_path)[0]
    content = bytearray(first.read_bytes())
    content[HEADER_BYTES + 40] ^= 0xFF
    first.write_bytes(content)

    again, recovery = reopened(tmp_path, segment_max_bytes=400)

    assert lost(again, recovery) == 1
    assert [seq for seq, _ in read_all(again)] == [2, 3, 4, 5, 6, 7]
    assert [line["records"] for line in lines_of(caplog, "logged records damaged")] == [1]
    damage = lines_of(caplog, "segment damaged")[0]
    assert (damage["path"], damage["level"]) == (str(first), "error")
    assert damage["offset_bytes"] <= HEADER_BYTES + 40 < damage["offset_bytes"] + damage["size_bytes"]
    again.truncate(Checkpoint(upto=7))
    kept = list((tmp_path / "damaged").iterdir())
    assert [path.read_bytes() for path in kept] == [bytes(content)]


def test_a_torn_tail_of_an_older_segment_is_noticed(tmp_path: Path) -> None:
    log = open_log(tmp_path, segment_max_bytes=400)
    for number in range(1, 8):
        append(log, row(number))
    log.close()
    first = segment_files(tmp_path)[0]
    first.write_bytes(first.read_bytes()[:-5])

    again, recovery = reopened(tmp_path, segment_max_bytes=400)

    assert lost(again, recovery) == 1
    again.truncate(Checkpoint(upto=7))
    assert len(list((tmp_path / "damaged").iterdir())) == 1


def test_a_reader_in_between_an_abandoned_segment_and_the_next_one_forgets_it_too(tmp_path: Path) -> None:
    """What a reader has in hand beyond what it may give out is void once the numbers are given out again."""
    log = open_log(tmp_path)
    append(log, row(1))
    reader = LogReader(log, after_seq=0)
    log.append([row(2)])
    log.abandon()
    assert [r.seq for r in reader.read(upto_seq=1, max_rows=9, max_bytes=1 << 20)] == [1]
    assert append(log, row(3)) == 2

    records = reader.read(upto_seq=2, max_rows=9, max_bytes=1 << 20)

    assert [record.payload for record in records] == [row(3)]
    reader.close()


def test_a_damaged_header_costs_no_record(tmp_path: Path) -> None:
    log = open_log(tmp_path, segment_max_bytes=400)
    for number in range(1, 8):
        append(log, row(number))
    log.close()
    content = {}
    for path in segment_files(tmp_path):
        content[path.stem] = b"x" + path.read_bytes()[1:]
        path.write_bytes(content[path.stem])

    again, recovery = reopened(tmp_path, segment_max_bytes=400)

    assert read_all(again) == [(number, row(number)) for number in range(1, 8)]
    assert lost(again, recovery) == 0
    assert append(again, row(8)) == 8
    again.truncate(Checkpoint(upto=8))
    kept = {path.stem.split("-")[0]: path.read_bytes() for path in (tmp_path / "damaged").iterdir()}
    assert kept == content


@pytest.mark.parametrize("left", [b"", b"x" * 500], ids=["empty", "nothing whole"])
def test_a_first_segment_that_is_lost_whole_is_counted_and_not_taken_for_done(tmp_path: Path, left: bytes) -> None:
    log = open_log(tmp_path, segment_max_bytes=400)
    for number in range(1, 8):
        append(log, row(number))
    log.close()
    first, second = segment_files(tmp_path)[:2]
    with SegmentReader(second) as reader:
        held = reader.header and reader.header.first_seq
    assert held is not None
    first.write_bytes(left)

    for _ in range(2):  # the second start finds the file set aside already
        again = open_log(tmp_path, segment_max_bytes=400)
        assert essence(again.checkpoint) == Checkpoint(upto=held - 1, damaged=held - 1)
        assert [seq for seq, _ in read_all(again, after=held - 1)] == list(range(held, 8))
    assert [path.read_bytes() for path in (tmp_path / "damaged").iterdir()] == [left]


def test_numbers_of_a_lost_end_are_not_given_out_again_if_a_segment_says_that_they_were_used(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    append(log, row(1), row(2))
    log.close()
    (first,) = segment_files(tmp_path)
    (tmp_path / "000000000002.wal").write_bytes(encode_header(0, 3))  # made, but nothing came into it
    first.write_bytes(first.read_bytes()[:-1])

    again, recovery = reopened(tmp_path)

    assert (again.durable_seq, lost(again, recovery)) == (2, 1)
    assert append(again, row(3)) == 3


def test_a_disk_that_takes_nothing_does_not_keep_a_log_that_is_known_to_be_durable_from_being_read(
    tmp_path: Path,
) -> None:
    log = open_log(tmp_path)
    append(log, row(1))
    log.seal()
    log.close()

    with largest_file(0):
        again = open_log(tmp_path)

    assert read_all(again) == [(1, row(1))]


def test_a_start_fails_where_the_end_of_the_log_cannot_be_made_durable(tmp_path: Path) -> None:
    """It would tell of rows that a power failure takes away: nobody knows whether their sync came before the kill."""
    log = open_log(tmp_path)
    append(log, row(1))
    log.close()
    with largest_file(0), pytest.raises(OSError, match="File too large"):
        open_log(tmp_path)
    assert read_all(open_log(tmp_path)) == [(1, row(1))]


def test_what_is_left_of_a_segment_that_could_not_be_made_is_not_in_the_way(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    append(log, row(1))
    log.abandon()
    (tmp_path / "000000000002.wal").touch()
    with pytest.raises(FileExistsError):
        log.reopen()
    log.reopen()
    assert append(log, row(2)) == 2
    log.close()

    assert read_all(open_log(tmp_path)) == [(1, row(1)), (2, row(2))]


def test_a_full_segment_is_synced_before_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a sync before each reply: afterwards only the new segment would ever be synced."""
    synced: list[Path] = []
    monkeypatch.setattr(SegmentWriter, "sync", lambda self: synced.append(self.path))
    log = open_log(tmp_path, segment_max_bytes=1)
    log.append([row(1)])
    log.append([row(2)])
    assert synced == segment_files(tmp_path)[:1]


def small_log(directory: Path) -> dict[Path, bytes]:
    """Make a log of two segments with two short rows each; return its files."""
    log = open_log(directory, segment_max_bytes=120)
    for number in range(1, 5):
        append(log, b'{"match_id":"m","received_ns":%d,"order_ns":%d}' % (number, number))
    log.close()
    files = {path: path.read_bytes() for path in segment_files(directory)}
    assert len(files) == 2
    return files


def recovered(directory: Path, files: dict[Path, bytes]) -> tuple[ShardLog, list[int], int]:
    """Put these files in place of whatever is there, recover, and return which of the small log's rows came back."""
    shutil.rmtree(directory)
    directory.mkdir()
    for path, content in files.items():
        path.write_bytes(content)
    log, recovery = reopened(directory)
    found = read_all(log, after=log.checkpoint.upto)
    assert all(payload == b'{"match_id":"m","received_ns":%d,"order_ns":%d}' % (seq, seq) for seq, payload in found)
    log.close()
    return log, [seq for seq, _ in found], lost(log, recovery)


def test_the_last_segment_cut_at_every_byte(tmp_path: Path) -> None:
    """What a crash leaves of a write: a prefix comes back, and nothing is called damaged."""
    directory = tmp_path / "log"
    first, last = small_log(directory).items()
    record_bytes = (len(last[1]) - HEADER_BYTES) // 2
    for cut in range(len(last[1])):
        log, found, damaged = recovered(directory, dict([first, (last[0], last[1][:cut])]))
        whole = max(0, cut - HEADER_BYTES) // record_bytes
        assert found == list(range(1, 3 + whole)), cut
        assert (damaged, log.checkpoint.damaged) == (0, 0)
        assert not (directory / "damaged").exists()


def test_every_bit_flipped(tmp_path: Path) -> None:
    """It costs one record at most, and that is counted, but for the very last one: that might be a torn write."""
    directory = tmp_path / "log"
    files = small_log(directory)
    for path, content in files.items():
        for bit in range(0, len(content) * 8, BIT_STEP):
            flipped = bytearray(content)
            flipped[bit // 8] ^= 1 << bit % 8
            log, found, damaged = recovered(directory, {**files, path: bytes(flipped)})
            lost = 4 - len(found)
            assert lost == (bit // 8 >= HEADER_BYTES), bit
            assert found == [1, 2, 3] or damaged == lost, bit
            assert append(log, row(9)) == (4 if found == [1, 2, 3] else 5)
            log.close()


def test_a_segment_without_a_whole_header_never_held_a_record(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    append(log, row(1))
    log.close()
    (tmp_path / "000000000002.wal").write_bytes(encode_header(0, 2)[:10])

    again = open_log(tmp_path)

    assert read_all(again) == [(1, row(1))]
    assert append(again, row(2)) == 2


def test_a_damaged_header_is_kept_aside(tmp_path: Path) -> None:
    (tmp_path / "000000000001.wal").write_bytes(b"x" * 500)

    open_log(tmp_path)

    assert len(list((tmp_path / "damaged").iterdir())) == 1


def test_records_that_were_not_acknowledged_are_void_once_their_numbers_are_used_again(tmp_path: Path) -> None:
    """After a failed sync the same numbers go to other rows; the abandoned ones must never come back."""
    log = open_log(tmp_path)
    append(log, row(1))
    log.append([row(2), row(3)])
    log.abandon()
    assert append(log, row(4)) == 2
    log.close()

    again = open_log(tmp_path)

    assert read_all(again) == [(1, row(1)), (2, row(4))]


def test_a_reader_that_was_at_the_end_forgets_what_was_abandoned(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    append(log, row(1))
    reader = LogReader(log, after_seq=0)
    log.append([row(2)])
    assert [r.seq for r in reader.read(upto_seq=1, max_rows=9, max_bytes=1 << 20)] == [1]
    log.abandon()
    append(log, row(4))

    records = reader.read(upto_seq=2, max_rows=9, max_bytes=1 << 20)

    assert [record.payload for record in records] == [row(4)]
    reader.close()


def test_a_reader_follows_a_log_that_grows(tmp_path: Path) -> None:
    """Appends and rotations in another thread, reads in this one: no record is missed or seen twice."""
    log = open_log(tmp_path, segment_max_bytes=2000)
    last = 600

    def write() -> None:
        for number in range(1, last + 1):
            append(log, row(number))

    writer = threading.Thread(target=write)
    reader = LogReader(log, after_seq=0)
    seen: list[int] = []
    writer.start()
    while len(seen) < last and (writer.is_alive() or log.durable_seq > len(seen)):
        seen += [r.seq for r in reader.read(upto_seq=log.durable_seq, max_rows=50, max_bytes=1 << 20)]
        time.sleep(0.001)  # lets the writer have the interpreter lock
    writer.join()
    reader.close()

    assert seen == list(range(1, last + 1))


def test_a_full_disk_leaves_what_was_acknowledged_intact(tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes the kernel refuse the write in its middle, in a child of its own."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            log = open_log(tmp_path)
            append(log, row(1))
            resource.setrlimit(resource.RLIMIT_FSIZE, (log.segments.size_bytes + 50, resource.RLIM_INFINITY))
            try:
                append(log, row(2))
            except OSError as error:
                code = 0 if error.errno == errno.EFBIG else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    again = open_log(tmp_path)

    assert read_all(again) == [(1, row(1))]
    assert append(again, row(2)) == 2


def test_header_round_trip_and_refusals() -> None:
    assert decode_header(encode_header(7, 123)) == Header(2, 7, 123)
    assert decode_header(encode_header(7, 123)[:-1]) is None
    broken = bytearray(encode_header(7, 123))
    broken[9] ^= 1
    assert decode_header(bytes(broken)) is None


def test_checkpoint_round_trip_and_a_damaged_one(tmp_path: Path) -> None:
    assert read_checkpoint(tmp_path) == Checkpoint()
    write_checkpoint(tmp_path, Checkpoint(upto=5, dead_lettered=1))
    assert read_checkpoint(tmp_path) == Checkpoint(upto=5, dead_lettered=1)
    (tmp_path / "checkpoint.json").write_bytes(b'{"upto":')
    assert read_checkpoint(tmp_path) == Checkpoint()


def test_every_row_begins_as_recovery_expects() -> None:
    assert row(1).startswith(b'{"match_id":"')


def test_the_whole_path_of_a_new_log_is_durable_before_its_first_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A synced file in a directory whose own name was not synced may be gone after a loss of power."""
    synced: set[Path] = set()
    fsync = os.fsync

    def noting(fd: int) -> None:
        synced.add(Path(f"/proc/self/fd/{fd}").readlink())
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noting)
    directory = tmp_path / "data" / "wal" / "shard-000"
    append(open_log(directory), row(1))
    assert {tmp_path, tmp_path / "data", tmp_path / "data" / "wal", directory} <= synced


def test_a_loss_that_left_no_file_is_counted_for_good(tmp_path: Path) -> None:
    """The next segment begins behind the lost record, and would say that everything before it is done with."""
    log = open_log(tmp_path)
    append(log, row(1), row(2))
    log.truncate(Checkpoint(confirmed=0, beyond=((2, 2),)))
    log.close()
    (segment,) = segment_files(tmp_path)
    segment.write_bytes(b"")
    again = open_log(tmp_path)
    assert append(again, row(3)) == 3
    again.close()  # before any other checkpoint
    after, recovery = reopened(tmp_path)
    assert essence(after.checkpoint) == Checkpoint(upto=2, confirmed=1, damaged=1)
    assert (recovery.pending.total(), recovery.damaged) == (1, ())


def test_a_segment_whose_end_is_lost_is_kept_although_it_was_the_last(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    append(log, row(1), row(2), row(3))
    log.truncate(Checkpoint(beyond=((3, 3),)))
    log.close()
    (segment,) = segment_files(tmp_path)
    content = segment.read_bytes()[: HEADER_BYTES + len(encode_records(1, [row(1)]))]
    segment.write_bytes(content)
    again, recovery = reopened(tmp_path)
    assert recovery.damaged == ((2, 2),), "3 is confirmed, and so 2 was there"
    append(again, row(4))
    again.truncate(Checkpoint(upto=4))
    assert [path.read_bytes() for path in (tmp_path / "damaged").iterdir()] == [content]


def test_after_a_segment_that_could_not_be_begun_the_next_append_begins_another(tmp_path: Path) -> None:
    log = open_log(tmp_path, segment_max_bytes=1)
    assert append(log, row(1)) == 1
    names = [tmp_path / f"{number:012d}.wal" for number in range(2, 6)]
    for name in names:
        name.mkdir()
    with pytest.raises(OSError):  # noqa: PT011 (it depends on the system which)
        log.append([row(2)])
    for name in names:
        name.rmdir()
    assert append(log, row(2)) == 2
    assert read_all(log) == [(1, row(1)), (2, row(2))]
    log.close()


def test_a_whole_end_is_not_said_to_be_torn_and_of_a_torn_one_its_bytes_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = open_log(tmp_path)
    append(log, row(1), row(2))
    log.close()
    open_log(tmp_path).close()
    assert lines_of(caplog, "torn end cut off") == []
    [path] = segment_files(tmp_path)
    with path.open("ab") as file:
        file.write(b"torn!")
    open_log(tmp_path).close()
    [line] = lines_of(caplog, "torn end cut off")
    assert (line["path"], line["size_bytes"], line["last_seq"], line["moved"]) == (str(path), 5, 2, 0)


@pytest.mark.parametrize(("given_out", "in_segment"), [(3, 3), (2, 2), (4, 5), (5, 4)])
def test_no_number_is_given_out_twice_or_left_out_even_by_a_fault_of_ours(
    tmp_path: Path, given_out: int, in_segment: int
) -> None:
    log = open_log(tmp_path)
    append(log, row(1), row(2), row(3))
    assert log._writer is not None
    log._next_seq, log._writer.next_seq = given_out, in_segment
    size = log.segments.size_bytes
    with pytest.raises(InvariantBroken, match="numbers up to 3 are durable"):
        log.append([row(4)])
    assert log.segments.size_bytes == size == segment_files(tmp_path)[0].stat().st_size
    log.close()


def test_a_number_is_in_the_last_segment_that_begins_up_to_it_else_in_the_first(tmp_path: Path) -> None:
    log = open_log(tmp_path, segment_max_bytes=1)
    assert log.segments.segment_of(1) is None
    for first in (1, 4, 7):
        append(log, *(row(number) for number in range(first, first + 3)))
    log.truncate(Checkpoint(upto=3))
    ordinals = [log.segments.segment_of(number) for number in (1, 4, 6, 7, 100)]
    assert [found and found[1] for found in ordinals] == [2, 2, 2, 3, 3]
    log.close()

"""The log as the release before reads it: by the letter of its format, and read back by this release at any moment."""

import time
from pathlib import Path
from zlib import crc32

import pytest
from msgspec import structs

from shards.deadletters.downgrade import downgrade_letters
from shards.deadletters.file import DeadLetterFile, letters_path
from shards.erasure.records import Erasure, ErasureFile
from shards.errors import ErasuresUnderWay
from shards.events import Event, decode_row, encode_row, former_row, letter_crc, stamps_of
from shards.recovery import downgrade
from shards.settings import ShardSettings
from shards.shard import wal_directory
from shards.wal.checkpoint import Checkpoint, read_checkpoint
from shards.wal.downgrade import RewrittenLog, downgrade_log
from shards.wal.log import ShardLog
from shards.wal.record import HEADER_BYTES
from tests.logged import lines_of
from tests.syscalls import Recorder
from tests.unit.shards.wal.disk_calls import Call, calls_below
from tests.unit.shards.wal.logs import append, lost, old_segment, open_log, read_all, reopened, segment_files


def row(number: int) -> bytes:
    """A row whose order and time of receipt differ, as they always do."""
    return encode_row(Event("m,1", f"id-{number}", "pass", 1, "1", "", '{"order_ns":1}', 1_000 + number, number))


def rows(first: int, last: int) -> list[bytes]:
    return [row(number) for number in range(first, last + 1)]


def former(first: int, last: int) -> list[bytes]:
    return [former_row(one) for one in rows(first, last)]


def by_order(found: list[tuple[int, bytes]]) -> list[tuple[int, int]]:
    return [(seq, stamps_of(payload)[1]) for seq, payload in found]


def written(directory: Path) -> RewrittenLog:
    log = open_log(directory)
    log.seal()
    log.close()
    return downgrade_log(log)


def of_three_segments(directory: Path) -> None:
    """Numbers 1 to 9, three in each segment, of which 1 to 4 are done with, and 7."""
    log = open_log(directory, segment_max_bytes=1)
    for first in (1, 4, 7):
        append(log, *rows(first, first + 2))
    log.truncate(Checkpoint(upto=4, confirmed=4, beyond=((7, 7),)))
    log.close()


def test_a_row_of_the_release_before_has_one_stamp_the_order() -> None:
    now = decode_row(row(7))
    text = former_row(row(7))
    assert text.endswith(b'"metadata":"{\\"order_ns\\":1}","received_ns":7}')
    assert (now.received_ns, now.order_ns) == (1_007, 7)
    assert former_row(text) == text
    assert former_row(b"no row") == b"no row"
    assert letter_crc(text) == letter_crc(row(7)) == crc32(text)


def test_a_log_is_written_to_the_letter_of_the_format_before(tmp_path: Path) -> None:
    of_three_segments(tmp_path)
    assert written(tmp_path) == RewrittenLog(segments=2, records=6, kept=())
    assert [path.read_bytes() for path in segment_files(tmp_path)] == [
        old_segment(4, former(4, 6)),
        old_segment(7, former(7, 9)),
    ]
    checkpoint = read_checkpoint(tmp_path)
    assert (checkpoint.upto, checkpoint.confirmed, checkpoint.beyond) == (4, 4, ((7, 7),))
    assert written(tmp_path) == RewrittenLog(segments=0, records=0, kept=()), "it is done"


def test_this_release_reads_it_on_with_the_same_numbers(tmp_path: Path) -> None:
    of_three_segments(tmp_path)
    written(tmp_path)
    log, recovery = reopened(tmp_path)
    assert by_order(read_all(log, after=4)) == [(number, number) for number in range(5, 10)]
    assert (log.durable_seq, recovery.pending.total(), lost(log, recovery)) == (9, 4, 0)
    assert append(log, row(10)) == 10


def test_broken_off_at_any_call_it_is_read_by_this_release_and_can_be_done_again(tmp_path: Path) -> None:
    reference = tmp_path / "reference"
    of_three_segments(reference)
    log = open_log(reference)
    log.close()
    with calls_below(reference) as calls:
        downgrade_log(log)
    assert calls.count(("rename", "000000000003.wal")) == 1
    for failing in range(len(calls)):
        directory = tmp_path / f"{failing}"
        of_three_segments(directory)
        log = open_log(directory)
        log.close()
        made: list[Call] = []

        def nth(call: Call, nth: int = failing, made: list[Call] = made) -> bool:
            made.append(call)
            return len(made) == nth + 1

        with calls_below(directory, fail=nth), pytest.raises(OSError, match="Input/output"):
            downgrade_log(log)
        log, recovery = reopened(directory)
        log.close()
        assert by_order(read_all(log, after=4)) == [(number, number) for number in range(5, 10)]
        assert (recovery.pending.total(), lost(log, recovery)) == (4, 0)
        downgrade_log(log)
        content = [path.read_bytes() for path in segment_files(directory)]
        assert content == [path.read_bytes() for path in segment_files(reference)]


def test_each_segment_is_durable_under_its_name_before_the_next_one_is_touched(tmp_path: Path) -> None:
    of_three_segments(tmp_path)
    log = open_log(tmp_path)
    log.close()
    with calls_below(tmp_path) as calls:
        downgrade_log(log)
    assert calls == [
        *(("write", "000000000002.wal.new"), ("fsync", "000000000002.wal.new")),
        *(("rename", "000000000002.wal"), ("fsync", ".")),
        *(("write", "000000000003.wal.new"), ("fsync", "000000000003.wal.new")),
        *(("rename", "000000000003.wal"), ("fsync", ".")),
    ]


def test_records_that_were_abandoned_are_left_out(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    append(log, *rows(1, 2))
    log.append([row(30)])
    log.abandon()
    append(log, row(3))
    log.close()
    written(tmp_path)
    first, second = segment_files(tmp_path)
    assert first.read_bytes() == old_segment(1, former(1, 2))
    assert second.read_bytes() == old_segment(3, former(3, 3))


def test_a_torn_end_is_gone(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    append(log, *rows(1, 2))
    log.append([row(3)])
    log.close()
    [path] = segment_files(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    written(tmp_path)
    assert path.read_bytes() == old_segment(1, former(1, 2))


def test_a_segment_with_damage_is_kept_and_its_whole_records_are_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = open_log(tmp_path)
    append(log, *rows(1, 5))
    log.seal()
    log.close()
    [path] = segment_files(tmp_path)
    content = bytearray(path.read_bytes())
    content[content.index(b"id-3")] ^= 1
    path.write_bytes(content)
    with Recorder(tmp_path) as calls:
        [kept] = written(tmp_path).kept
    made = [str(one) for one in calls.operations if one.call in ("link", "fsync", "rename")]
    named = made.index(f"link {path.name} damaged/{kept.name}")
    assert made.index("fsync damaged", named) < made.index(f"rename {path.name}.new {path.name}", named)
    assert kept.read_bytes() == content
    assert kept.parent == tmp_path / "damaged"
    assert path.read_bytes() == old_segment(1, former(1, 2)) + old_segment(4, former(4, 5))[HEADER_BYTES:]
    [line] = lines_of(caplog, "damaged segment kept")
    assert line["kept_in"] == str(kept)
    log, recovery = reopened(tmp_path)
    assert (lost(log, recovery), recovery.pending.total()) == (1, 4), "the number is still missing"


def test_numbers_lost_at_the_end_are_not_given_out_again(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    append(log, *rows(1, 5))
    log.seal()
    log.close()
    [path] = segment_files(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"id-4")])
    written(tmp_path)
    first, second = segment_files(tmp_path)
    assert first.read_bytes() == old_segment(1, former(1, 3))
    assert second.read_bytes() == old_segment(6, [])
    assert append(open_log(tmp_path), row(6)) == 6


def test_an_end_that_could_not_be_made_durable_is_refused(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    append(log, *rows(1, 2))
    log.close()
    log = open_log(tmp_path)
    [path] = segment_files(tmp_path)
    path.write_bytes(path.read_bytes() + b"what a start would have cut off")
    with pytest.raises(OSError, match="could not be made durable"):
        downgrade_log(log)


async def with_a_letter(data_dir: Path) -> Path:
    """Two rows are pending, the second is a dead letter; return the file of the letters."""
    log = open_log(wal_directory(data_dir, 0))
    append(log, *rows(1, 2))
    log.close()
    file = DeadLetterFile(letters_path(data_dir, 0), shard=0)
    file.recover()
    await file.put_aside(seq=2, row=row(2), code=469, error="Constraint")
    return letters_path(data_dir, 0)


async def test_a_letter_and_its_record_agree_in_every_mix_of_formats(tmp_path: Path) -> None:
    """By whole texts for the release before; by what that one writes of them for this one."""
    letters = {}
    for mix in ("neither", "letters", "log", "both"):
        path = await with_a_letter(tmp_path / mix)
        log = ShardLog(wal_directory(tmp_path / mix, 0), shard=0, segment_max_bytes=1 << 20)
        if mix in ("log", "both"):
            written(log.directory)
        if mix in ("letters", "both"):
            assert downgrade_letters(path) == 1
        file = DeadLetterFile(path, shard=0)
        file.recover()
        recovery = log.recover(letters_after=file.rows_after)
        assert (recovery.dead, recovery.pending.total()) == ({2}, 1), mix
        letters[mix] = file.read("0-2").letter.row.encode()
    assert decode_row(letters["both"]).received_ns == 2
    assert decode_row(letters["log"]) == decode_row(row(2))


async def test_the_lines_of_a_letter_file_keep_their_order_and_the_others_stay(tmp_path: Path) -> None:
    path = await with_a_letter(tmp_path)
    file = DeadLetterFile(path, shard=0)
    file.recover()
    await file.settle("0-2", "requeued", row=row(2), again=(0, 3))
    file.disown(beyond=1)
    with path.open("ab") as lines:
        lines.write(b"damaged \r line\n")
    before = path.read_bytes().splitlines(keepends=True)
    assert downgrade_letters(path) == 1
    after = path.read_bytes().splitlines(keepends=True)
    assert after[2:] == before[2:]
    assert [line.count(b"order_ns") for line in before[:2]] == [2, 2]
    assert [line.count(b"order_ns") for line in after[:2]] == [1, 1], "only in the metadata"
    assert downgrade_letters(path) == 1
    assert path.read_bytes().splitlines(keepends=True) == after


async def test_every_shard_of_a_directory_is_written_and_counted(tmp_path: Path) -> None:
    await with_a_letter(tmp_path)
    append(open_log(wal_directory(tmp_path, 3)), row(1))
    found = downgrade(ShardSettings(data_dir=tmp_path, shard_count=2))
    assert [(one.index, one.log.records, one.pending, one.letters) for one in found] == [
        *((0, 2, 1, 1), (1, 0, 0, 0), (2, 0, 0, 0), (3, 1, 1, 0)),
    ]
    text = letters_path(tmp_path, 0).read_bytes()
    assert former_row(row(2)).replace(b"\\", b"\\\\").replace(b'"', b'\\"') in text
    [path] = segment_files(wal_directory(tmp_path, 0))
    assert path.read_bytes() == old_segment(1, former(1, 2))


def test_it_tells_how_far_orders_are_ahead_and_reserves_no_more(tmp_path: Path) -> None:
    directory = wal_directory(tmp_path, 0)
    log = open_log(directory)
    append(log, row(1))
    log.close()
    reserved = read_checkpoint(directory).order_upto
    assert reserved > time.time_ns()
    settings = ShardSettings(data_dir=tmp_path, shard_count=1)
    for _ in range(2):
        assert [one.order_upto for one in downgrade(settings)] == [reserved]
        assert read_checkpoint(directory).order_upto == reserved


def test_matches_that_are_to_be_erased_are_not_given_to_a_release_that_would_store_them(tmp_path: Path) -> None:
    settings = ShardSettings(data_dir=tmp_path, shard_count=1)
    one = Erasure(id="1", match_id="m", at_ms=1, order_ns=1, cut_offs={0: 1})
    file = ErasureFile(tmp_path)
    file.add([one])
    with pytest.raises(ErasuresUnderWay, match="1 erasures are under way"):
        downgrade(settings)
    file.replace([structs.replace(one, done=True)])
    assert len(downgrade(settings)) == 1

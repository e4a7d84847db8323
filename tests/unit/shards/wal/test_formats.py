"""Formats of the log: what this release writes, reads of the release before, and leaves to the release after."""

import errno
import struct
from pathlib import Path
from zlib import crc32

import pytest

from shards.events import current_row, decode_row, stamps_of
from shards.wal.log import ShardLog
from shards.wal.reader import LogReader
from shards.wal.record import (
    EVENT,
    HEADER_BYTES,
    PASS_OVER,
    PAYLOAD_MAX_BYTES,
    RECORD_HEAD_BYTES,
    NewerFormatError,
    RecordScanner,
    encode_header,
    encode_records,
)
from shards.wal.segment import SegmentReader
from tests.syscalls import Recorder
from tests.unit.shards.wal.logs import append, old_row, old_segment, open_log, read_all, reopened, row


def other_record(seq: int, *, kind: int, flags: int) -> bytes:
    """Return a record of a kind that this release does not know."""
    payload = b'{"match_id":"of a kind to come"}'
    body = struct.pack("<IQIQQBB", len(payload), seq, 0, 1, 1, kind, flags)
    return body + struct.pack("<I", crc32(payload, crc32(body))) + payload


def test_a_record_is_laid_out_as_the_documents_say() -> None:
    payload = row(7)
    data = encode_records(12, [payload], proven=9)
    length, seq, unproven, order_ns, received_ns, kind, flags, crc = struct.unpack_from("<IQIQQBBI", data)
    assert (length, seq, unproven, kind, flags) == (len(payload), 12, 3, EVENT, 0)
    assert (received_ns, order_ns) == stamps_of(payload)
    assert crc == crc32(payload, crc32(data[: RECORD_HEAD_BYTES - 4]))
    assert data[RECORD_HEAD_BYTES:] == payload
    assert RECORD_HEAD_BYTES == 38


def test_each_record_of_a_group_tells_the_last_durable_number(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    append(log, row(1), row(2))
    append(log, row(3), row(4), row(5))
    log.append([row(6)])  # not synced before the next group
    log.append([row(7)])
    log.close()
    [path] = tmp_path.glob("*.wal")
    with SegmentReader(path) as reader:
        assert [(record.seq, record.proven) for record in reader.records()] == [
            *((1, 0), (2, 0)),
            *((3, 2), (4, 2), (5, 2)),
            *((6, 5), (7, 5)),
        ]


def test_a_log_of_the_release_before_is_read_and_goes_on_in_the_new_format(tmp_path: Path) -> None:
    (tmp_path / "000000000001.wal").write_bytes(old_segment(1, [old_row(1), old_row(2)]))
    (tmp_path / "000000000002.wal").write_bytes(old_segment(3, [old_row(3)]))

    log, recovery = reopened(tmp_path)
    assert append(log, row(4)) == 4
    log.close()
    again, recovered = reopened(tmp_path)

    assert recovery.pending.total() == 3
    assert recovered.pending.total() == 4
    assert recovered.damaged == ()
    rows = [decode_row(payload) for _, payload in read_all(again)]
    assert [event.event_id for event in rows] == ["id-1", "id-2", "id-3", "id-4"]
    assert [stamps_of(payload)[1] for _, payload in read_all(again)][:3] == [1, 2, 3], "it was its order, too"
    assert (tmp_path / "000000000001.wal").read_bytes() == old_segment(1, [old_row(1), old_row(2)])


def test_the_last_segment_of_the_release_before_is_written_again_whole_before_it_counts(tmp_path: Path) -> None:
    """That release synced nothing at its start, and its records tell nothing of each other."""
    content = old_segment(1, [old_row(1), old_row(2)])
    (tmp_path / "000000000001.wal").write_bytes(content)
    with Recorder(tmp_path) as calls:
        reopened(tmp_path)
    of_segment = [operation for operation in calls.operations if operation.path == "000000000001.wal"]
    assert [(one.call, one.offset, one.data) for one in of_segment if one.call == "write"] == [("write", 0, content)]
    assert [one.call for one in of_segment if one.call in ("write", "fsync")] == ["write", "fsync"]


def test_records_tell_only_what_was_synced_where_groups_are_not(tmp_path: Path) -> None:
    """A number that is acknowledged and not synced may be lost: it is no damage then."""
    log = open_log(tmp_path)
    append(log, row(1))
    for number in (2, 3):
        log.append([row(number)])
        log.acknowledge()
    log.sync()
    log.append([row(4)])
    log.close()
    with SegmentReader(tmp_path / "000000000001.wal") as reader:
        assert [(record.seq, record.proven) for record in reader.records()] == [(1, 0), (2, 1), (3, 1), (4, 3)]


def test_damage_in_a_segment_of_the_release_before_counts_as_it_did(tmp_path: Path) -> None:
    content = bytearray(old_segment(1, [old_row(1), old_row(2), old_row(3)]))
    content[content.index(b"id-2")] ^= 1
    (tmp_path / "000000000001.wal").write_bytes(content)
    _, recovery = reopened(tmp_path)
    assert (recovery.pending.total(), recovery.damaged) == (2, ((2, 2),))


def test_a_segment_of_the_release_before_with_a_damaged_header_is_read(tmp_path: Path) -> None:
    content = bytearray(old_segment(1, [old_row(1), old_row(2)]))
    content[3] ^= 1
    (tmp_path / "000000000001.wal").write_bytes(content)
    log, recovery = reopened(tmp_path)
    assert (recovery.pending.total(), recovery.damaged) == (2, ())
    assert [payload for _, payload in read_all(log)] == [current_row(old_row(1)), current_row(old_row(2))]


def test_a_row_is_made_current_once() -> None:
    made = current_row(old_row(5))
    assert made.endswith(b'"received_ns":5,"order_ns":5}')
    assert current_row(made) == made
    assert stamps_of(made) == (5, 5)


def test_what_a_client_put_into_its_metadata_is_not_taken_for_the_stamps() -> None:
    tricky = row(3, metadata='{"received_ns":1,"order_ns":2,"x":"\\"received_ns\\":9"}')
    assert stamps_of(tricky) == stamps_of(row(3))
    assert current_row(tricky) == tricky


def test_a_record_of_an_unknown_kind_is_passed_over_where_it_says_so() -> None:
    scanner = RecordScanner()
    data = encode_records(1, [row(1)]) + other_record(1, kind=9, flags=PASS_OVER) + encode_records(2, [row(2)])
    assert [record.seq for record in scanner.feed(data)] == [1, 2]
    assert scanner.damages == []
    assert scanner.end == HEADER_BYTES + len(data)


def test_a_record_of_an_unknown_kind_stops_the_start_with_a_sentence(tmp_path: Path) -> None:
    content = encode_header(0, 1) + encode_records(1, [row(1)]) + other_record(1, kind=9, flags=0)
    (tmp_path / "000000000001.wal").write_bytes(content)
    with pytest.raises(NewerFormatError, match="a record of kind 9 in the write-ahead log was"):
        ShardLog(tmp_path, shard=0, segment_max_bytes=1 << 20).recover()
    assert (tmp_path / "000000000001.wal").read_bytes() == content


def test_a_segment_of_a_newer_release_stops_the_start_and_stays(tmp_path: Path) -> None:
    body = struct.pack("<8sIQ", b"FFWAL03\n", 0, 1)
    content = body + struct.pack("<I", crc32(body)) + b"in a format to come"
    (tmp_path / "000000000001.wal").write_bytes(content)
    with pytest.raises(OSError, match="newer release") as refusal:
        ShardLog(tmp_path, shard=0, segment_max_bytes=1 << 20).recover()
    assert refusal.value.errno == errno.EPROTONOSUPPORT
    assert (tmp_path / "000000000001.wal").read_bytes() == content


def test_a_reader_goes_from_an_old_segment_into_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "000000000001.wal").write_bytes(old_segment(1, [old_row(1), old_row(2)]))
    log = open_log(tmp_path)
    reader = LogReader(log, after_seq=1)
    assert [record.seq for record in reader.read(upto_seq=None, max_rows=9, max_bytes=1 << 20)] == [2]
    append(log, row(3))
    assert [record.seq for record in reader.read(upto_seq=None, max_rows=9, max_bytes=1 << 20)] == [3]
    reader.close()


@pytest.mark.parametrize("format_", [1, 2])
def test_a_record_that_is_longer_than_any_row_is_damage_though_its_checksum_fits(format_: int) -> None:
    room = PAYLOAD_MAX_BYTES - len(row(1, metadata='{"":""}'))
    for length, expected in ((room, [1, 2]), (room + 1, [2])):
        payload = row(1, metadata=f'{{"":"{"x" * length}"}}')
        assert len(payload) == PAYLOAD_MAX_BYTES + length - room
        data = b"".join(
            old_segment(seq, [one])[HEADER_BYTES:] if format_ == 1 else encode_records(seq, [one])
            for seq, one in ((1, payload), (2, row(2)))
        )
        scanner = RecordScanner(format_=format_)
        assert [record.seq for record in scanner.feed(data)] == expected

"""What stays of files that were set aside when matches are erased: readable rows of others, and nothing else."""

import os
from pathlib import Path

import pytest

from shards.erasure.damaged import wipe_damaged
from shards.events import Event, encode_row, former_row, head_of
from shards.wal.record import HEADER_BYTES, encode_header, encode_records
from shards.wal.segments import DAMAGED_DIRECTORY


def row(match_id: str, number: int) -> bytes:
    note = f'{{"note":"of {match_id}"}}'
    return encode_row(Event(match_id, f"id-{number}", "pass", 1, "1", "", note, number, number))


KEPT = [row("kept", number) for number in range(1, 5)]
GONE = [row("gone", number) for number in range(1, 5)]


def is_gone(payload: bytes) -> bool:
    return head_of(payload).match_id == "gone"


def aside(directory: Path, data: bytes, name: str = "000000000001-0a.wal") -> Path:
    path = directory / DAMAGED_DIRECTORY / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def segment(*rows: bytes) -> bytes:
    return encode_header(0, 1) + encode_records(1, rows)


def test_whole_records_of_others_stay_where_they_were(tmp_path: Path) -> None:
    data = segment(KEPT[0], GONE[0], KEPT[1], GONE[1])
    path = aside(tmp_path, data)
    assert wipe_damaged(tmp_path, is_gone) == 1
    after = path.read_bytes()
    assert len(after) == len(data)
    assert after[:HEADER_BYTES] == data[:HEADER_BYTES]
    assert b"gone" not in after
    assert all(after.index(kept) == data.index(kept) for kept in KEPT[:2])
    assert wipe_damaged(tmp_path, is_gone) == 0


@pytest.mark.parametrize("at", [0, 5, 30, 60, -8, -1])
def test_a_damaged_record_goes_whoever_it_is_of_unless_its_row_is_whole(tmp_path: Path, at: int) -> None:
    data = bytearray(segment(KEPT[0], GONE[0], KEPT[1], KEPT[2]))
    begin = data.index(GONE[0])
    data[begin + at if at >= 0 else begin + len(GONE[0]) + at] ^= 0x20
    path = aside(tmp_path, bytes(data))
    wipe_damaged(tmp_path, is_gone)
    after = path.read_bytes()
    assert b"of gone" not in after
    assert b"id-1" not in after.replace(KEPT[0], b"")
    assert all(kept in after for kept in KEPT[:3])


def test_a_row_of_another_match_stays_though_its_head_is_damaged(tmp_path: Path) -> None:
    data = bytearray(segment(GONE[0], KEPT[0], GONE[1]))
    data[data.index(KEPT[0]) - 3] ^= 1
    path = aside(tmp_path, bytes(data))
    wipe_damaged(tmp_path, is_gone)
    assert KEPT[0] in path.read_bytes()
    assert b"gone" not in path.read_bytes()


def test_what_lies_behind_the_last_record_goes_too(tmp_path: Path) -> None:
    data = segment(KEPT[0], GONE[0])
    path = aside(tmp_path, data[: data.index(GONE[0]) + 60])
    wipe_damaged(tmp_path, is_gone)
    assert KEPT[0] in path.read_bytes()
    assert b"gone" not in path.read_bytes()


def test_a_file_with_a_damaged_header_and_one_that_is_none(tmp_path: Path) -> None:
    data = bytearray(segment(GONE[0], KEPT[0]))
    data[3] ^= 1
    path, other = aside(tmp_path, bytes(data)), aside(tmp_path, b"of gone", "notes.txt")
    empty = aside(tmp_path, b"", "empty.wal")
    wipe_damaged(tmp_path, is_gone)
    assert KEPT[0] in path.read_bytes()
    assert b"gone" not in path.read_bytes()
    assert b"gone" not in other.read_bytes() or len(other.read_bytes()) <= HEADER_BYTES
    assert empty.read_bytes() == b""


def test_rows_of_the_format_before_are_known_too(tmp_path: Path) -> None:
    rows = b"".join(bytes(4) + former_row(one) + os.urandom(8) for one in (GONE[0], KEPT[0], GONE[1]))
    path = aside(tmp_path, encode_header(0, 1) + rows)
    wipe_damaged(tmp_path, is_gone)
    assert former_row(KEPT[0]) in path.read_bytes()
    assert b"gone" not in path.read_bytes()


def test_no_files_are_no_work(tmp_path: Path) -> None:
    assert wipe_damaged(tmp_path, is_gone) == 0

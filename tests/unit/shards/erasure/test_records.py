"""The records of erasures: what a start finds is what was answered for."""

from pathlib import Path

import pytest

from shards.erasure.records import FILE_NAME, Erasure, ErasureFile
from tests.logged import lines_of


def erasure(number: int, *, done: bool = False) -> Erasure:
    return Erasure(
        id=f"{number:016x}",
        match_id=f"m{number}",
        at_ms=number,
        order_ns=number,
        cut_offs={0: 10 * number, 3: 7},
        refuse_until_ms=number if done else 0,
        done=done,
    )


def test_what_was_added_is_found_and_what_was_replaced_is_not(tmp_path: Path) -> None:
    file = ErasureFile(tmp_path)
    assert file.read() == []
    file.add([erasure(1), erasure(2)])
    file.add([erasure(3)])
    assert ErasureFile(tmp_path).read() == [erasure(1), erasure(2), erasure(3)]
    file.replace([erasure(3), erasure(4, done=True)])
    assert ErasureFile(tmp_path).read() == [erasure(3), erasure(4, done=True)]
    file.replace([])
    assert (tmp_path / FILE_NAME).read_bytes() == b""


def test_a_torn_record_was_never_answered_for_and_a_damaged_one_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ErasureFile(tmp_path).add([erasure(1), erasure(2), erasure(3)])
    path = tmp_path / FILE_NAME
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"m2", b"m9")
    path.write_bytes(b"".join(lines)[:-5])
    assert ErasureFile(tmp_path).read() == [erasure(1)]
    [told] = lines_of(caplog, "erasure record damaged")
    assert (told["line"], told["path"]) == (2, str(path))


def test_a_log_that_ends_before_a_cut_off_lowers_it(tmp_path: Path) -> None:
    assert erasure(2).bounded({0: 15, 3: 100}).cut_offs == {0: 15, 3: 7}
    assert erasure(2).bounded({0: 100}).cut_offs == {0: 20, 3: 0}
    assert erasure(2).bounded({}).upto(0) == 0
    assert erasure(2).upto(5) == 0

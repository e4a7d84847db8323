"""The file of dead letters: what it keeps over restarts, torn lines and a full disk."""

import errno
import json
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from zlib import crc32

import pytest

from shards.deadletters.entries import FiledLetter
from shards.deadletters.file import DeadLetterFile, letters_index, letters_path
from shards.deadletters.lines import DeadLetter, Line
from shards.events import letter_crc
from tests.logged import lines_of
from tests.unit.shards.wal.disk_calls import Call, calls_below, first


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deadletters" / "shard-003.jsonl"


def opened(path: Path) -> DeadLetterFile:
    file = DeadLetterFile(path, shard=3)
    file.recover()
    return file


async def put_aside(file: DeadLetterFile, *seqs: int) -> None:
    for seq in seqs:
        await file.put_aside(seq=seq, row=b'{"match_id":"m%d"}' % seq, code=469, error=f"Constraint {seq}")


def everything(file: DeadLetterFile, *, settled: bool = True) -> list[FiledLetter]:
    return file.newest(limit=1000, before=None, settled=settled)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A real limit of this process: a write beyond it is cut short, the next one fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


async def test_no_file_is_no_letters(path: Path) -> None:
    file = opened(path)
    assert everything(file) == []
    assert (file.requeued, file.discarded, file.seqs()) == (0, 0, set())
    with pytest.raises(KeyError):
        file.read("3-1")


async def test_a_letter_is_the_same_after_a_restart(path: Path) -> None:
    file = opened(path)
    await put_aside(file, 7)
    before = file.read("3-7")
    assert before.letter.row == '{"match_id":"m7"}'
    assert (before.letter.code, before.letter.error, before.letter.seq) == (469, "Constraint 7", 7)
    assert before.settlement is None
    assert opened(path).read("3-7") == before


async def test_what_was_done_with_letters_is_kept(path: Path) -> None:
    file = opened(path)
    await put_aside(file, 1, 2, 3)
    await file.settle("3-1", "requeued", row=b'{"match_id":"mended"}')
    await file.settle("3-3", "discarded")
    for one in (file, opened(path)):
        assert (one.requeued, one.discarded) == (1, 1)
        assert [letter.id for letter in everything(one, settled=False)] == ["3-2"]
        requeued, discarded = one.read("3-1").settlement, one.read("3-3").settlement
        assert requeued is not None
        assert discarded is not None
        assert (requeued.action, requeued.row) == ("requeued", '{"match_id":"mended"}')
        assert (discarded.action, discarded.row) == ("discarded", "")
        assert one.seqs() == {1, 2, 3}
        assert one.rows_after(2) == {(3, crc32(b'{"match_id":"m3"}'))}
        assert one.count_upto(2) == 2


async def test_a_letter_settled_twice_counts_once(path: Path) -> None:
    file = opened(path)
    await put_aside(file, 1)
    await file.settle("3-1", "requeued", row=b"{}")
    await file.settle("3-1", "discarded")
    for one in (file, opened(path)):
        assert (one.requeued, one.discarded) == (1, 0)


async def test_pages_are_newest_first_and_complete(path: Path) -> None:
    file = opened(path)
    await put_aside(file, *range(1, 26))
    await file.settle("3-20", "discarded")
    pages = []
    before = None
    while page := file.newest(limit=10, before=before, settled=False):
        pages.append([letter.letter.seq for letter in page])
        before = page[-1].place
        await put_aside(file, 100 + len(pages))  # what comes in meanwhile moves nothing
    assert [len(page) for page in pages] == [10, 10, 4]
    assert [seq for page in pages for seq in page] == [seq for seq in range(25, 0, -1) if seq != 20]


@pytest.mark.parametrize("cut", range(1, 140, 9))
async def test_a_torn_line_takes_no_other_with_it(path: Path, cut: int) -> None:
    file = opened(path)
    await put_aside(file, 1, 2)
    await file.settle("3-1", "requeued", row=b"{}")
    os.truncate(path, path.stat().st_size - cut)
    torn = opened(path)
    left = {letter.id for letter in everything(torn)}
    assert "3-1" in left
    await put_aside(torn, 5)
    await torn.settle("3-5", "discarded")
    again = opened(path)
    assert {letter.id for letter in everything(again)} == left | {"3-5"}
    assert again.read("3-5").settlement is not None
    assert again.discarded == 1


async def test_a_damaged_line_in_the_middle_is_passed_over_and_told(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = opened(path)
    await put_aside(file, 1, 2, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\xff\xfe{" + lines[1][3:] + lines[2])
    assert [letter.id for letter in everything(opened(path))] == ["3-3", "3-1"]
    [said] = lines_of(caplog, "dead letter line damaged")
    assert (said["level"], said["path"], said["line"]) == ("warning", str(path), 2)


async def test_a_line_that_did_not_fit_is_an_error_and_no_letter(path: Path) -> None:
    """A disk that is getting full takes a part of a write and reports no error."""
    file = opened(path)
    await put_aside(file, 1)
    with files_of_at_most(path.stat().st_size + 40):
        with pytest.raises(OSError, match="File too large"):
            await put_aside(file, 2)
        with pytest.raises(OSError, match="File too large"):
            await file.settle("3-1", "discarded")
    assert "3-2" not in file
    assert file.discarded == 0
    await put_aside(file, 2)
    assert {letter.id for letter in everything(opened(path))} == {"3-1", "3-2"}


async def test_a_letter_written_twice_is_one(path: Path) -> None:
    """The first write left the whole line, but its sync failed: it is written again."""
    file = opened(path)
    await put_aside(file, 1)
    path.write_bytes(path.read_bytes() * 2)
    assert [letter.id for letter in everything(opened(path))] == ["3-1"]
    assert opened(path).count_upto(1) == 1


async def test_another_row_of_the_same_number_has_an_id_of_its_own(path: Path) -> None:
    """The write-ahead log was lost, its dead letters were not: numbers start again."""
    file = opened(path)
    await put_aside(file, 1)
    line = json.loads(path.read_text()) | {"row": '{"match_id":"other"}'}
    path.write_text(path.read_text() + json.dumps(line) + "\n")
    file = opened(path)
    assert {letter.id: letter.letter.row for letter in everything(file)} == {
        "3-1": '{"match_id":"m1"}',
        "3-1-2": '{"match_id":"other"}',
    }
    await file.settle("3-1-2", "discarded")
    assert [letter.id for letter in everything(opened(path), settled=False)] == ["3-1"]


async def test_a_discard_that_failed_does_not_win_over_the_requeue_that_followed(path: Path) -> None:
    """The discard was answered 503, the requeue 200; a start would read the first line that settles a letter."""
    file = opened(path)
    await put_aside(file, 1)
    with calls_below(path.parent, fail=first(("fsync", path.name))), pytest.raises(OSError, match="Input/output"):
        await file.settle("3-1", "discarded")
    await file.settle("3-1", "requeued", row=b"{}")
    for one in (file, opened(path)):
        assert (one.requeued, one.discarded) == (1, 0)


async def test_a_letter_that_a_killed_process_left_is_made_durable_before_it_counts(path: Path) -> None:
    await put_aside(opened(path), 1)
    again = DeadLetterFile(path, shard=3)
    with calls_below(path.parent.parent) as calls:
        again.recover()
    assert calls == [
        ("write", "deadletters/shard-003.jsonl"),
        ("fsync", "deadletters/shard-003.jsonl"),
        ("fsync", "deadletters"),
        ("fsync", "."),
    ]
    assert again.seqs() == {1}


@pytest.mark.parametrize("failing", [("write", "shard-003.jsonl"), ("fsync", "shard-003.jsonl"), ("fsync", ".")])
async def test_letters_that_cannot_be_made_durable_do_not_count(
    path: Path, failing: Call, caplog: pytest.LogCaptureFixture
) -> None:
    await put_aside(opened(path), 1)
    again = DeadLetterFile(path, shard=3)
    with calls_below(path.parent, fail=lambda call: call == failing), pytest.raises(OSError, match="Input/output"):
        again.recover()
    assert again.seqs() == set()
    assert [line["path"] for line in lines_of(caplog, "dead letters not recovered")] == [str(path)]


async def test_a_letter_is_durable_before_its_row_counts_as_put_aside(path: Path) -> None:
    file = opened(path)
    with calls_below(path.parent) as calls:
        await put_aside(file, 1)
    assert calls[-3:] == [("write", "shard-003.jsonl"), ("fsync", "shard-003.jsonl"), ("fsync", ".")]
    assert file.seqs() == {1}
    for failing in ("write", "fsync"):
        with calls_below(path.parent, fail=first((failing, "shard-003.jsonl"))), pytest.raises(OSError, match="Input"):
            await put_aside(file, 2)
        assert file.seqs() == {1}


async def test_letters_whose_rows_the_log_has_lost_count_in_no_sum_and_stay(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = opened(path)
    await put_aside(file, 1, 2, 3, 4)
    for seq in (1, 3):
        await file.settle(f"3-{seq}", "requeued", row=b"{}", again=(0, 90 + seq))
    with calls_below(path.parent) as calls:
        file.disown(beyond=2)
    assert calls == [("write", path.name), ("fsync", path.name)]
    [line] = lines_of(caplog, "dead letters without their rows")
    assert (line["level"], line["shard"], line["letters"]) == ("warning", 3, 2)
    for one in (file, opened(path)):
        assert one.seqs() == {1, 2}
        assert (one.requeued, one.discarded, one.count_upto(9)) == (1, 0, 2)
        assert {seq for seq, _ in one.rows_after(0)} == {1, 2}
        assert one.requeued_as(1) == (0, 91)
        assert one.requeued_as(3) is None
        assert [letter.id for letter in everything(one)] == ["3-4", "3-3", "3-2", "3-1"]
        assert "3-4" in one
    await file.settle("3-4", "discarded")
    for one in (file, opened(path)):
        assert one.discarded == 0
        assert [letter.id for letter in everything(one, settled=False)] == ["3-2"]


async def test_a_row_with_the_number_of_a_letter_without_its_row_becomes_a_letter_of_its_own(path: Path) -> None:
    """The same row, too, because a requeued one is word for word the same."""
    file = opened(path)
    await put_aside(file, 1)
    file.disown(beyond=0)
    await put_aside(file, 1)
    await file.settle("3-1-2", "discarded")
    for one in (file, opened(path)):
        assert (one.seqs(), one.discarded, len(one.rows_after(0))) == ({1}, 1, 1)
        assert {letter.id for letter in everything(one)} == {"3-1", "3-1-2"}
        assert [letter.id for letter in everything(one, settled=False)] == ["3-1"]


async def test_where_the_log_holds_every_row_nothing_is_written(path: Path) -> None:
    file = opened(path)
    file.disown(beyond=0)
    assert not path.exists()
    await put_aside(file, 1, 2)
    before = path.read_bytes()
    file.disown(beyond=2)
    assert path.read_bytes() == before


async def test_letters_that_cannot_be_noted_as_without_their_rows_still_count(path: Path) -> None:
    file = opened(path)
    await put_aside(file, 1)
    with calls_below(path.parent, fail=first(("fsync", path.name))), pytest.raises(OSError, match="Input/output"):
        file.disown(beyond=0)
    assert file.seqs() == opened(path).seqs() == {1}


async def test_of_two_letters_with_one_number_the_later_counts(path: Path) -> None:
    """An older release noted nothing when the log was lost."""
    file = opened(path)
    await put_aside(file, 1)
    await file.settle("3-1", "discarded")
    line = json.loads(path.read_text().splitlines()[0]) | {"row": '{"match_id":"other"}'}
    path.write_text(path.read_text() + json.dumps(line) + "\n")
    again = opened(path)
    assert (again.count_upto(1), again.discarded) == (1, 0)
    assert again.rows_after(0) == {(1, crc32(b'{"match_id":"other"}'))}


async def test_a_letter_of_the_release_before_is_read_as_a_row_of_this_one(path: Path) -> None:
    """Its row has no order yet; the log's record of it is read with one, and is the same row all the same."""
    file = opened(path)
    before, now = b'{"match_id":"m","received_ns":5}', b'{"match_id":"m","received_ns":5,"order_ns":5}'
    await file.put_aside(seq=1, row=before, code=469, error="c")
    await file.settle("3-1", "requeued", row=before, again=(3, 2))
    assert opened(path).rows_after(0) == {(1, letter_crc(now))}
    for one in (file, opened(path)):
        [filed] = everything(one)
        assert filed.settlement is not None
        assert (filed.letter.row, filed.settlement.row) == (now.decode(), now.decode())
    await file.put_aside(seq=1, row=now, code=469, error="c")
    assert [letter.id for letter in everything(opened(path))] == ["3-1"]


async def test_a_letter_that_is_longer_than_a_piece_of_a_read_is_read_whole(path: Path) -> None:
    file = opened(path)
    long = b'{"match_id":"%s"}' % (b"m" * 150_000)
    await put_aside(file, 1)
    await file.put_aside(seq=2, row=long, code=1, error="refused")
    await put_aside(file, 3)
    assert [letter.letter.row.encode() == long for letter in everything(file)] == [False, True, False]


def test_a_letters_place_in_time_is_in_microseconds() -> None:
    at = datetime(2026, 11, 28, 9, 30, 0, 123_456, tzinfo=UTC)
    letter = DeadLetter(shard=3, seq=1, code=1, error="refused", at=at, row="{}")
    assert letter.at_us == 1_795_858_200_123_456


def test_a_file_of_letters_is_named_by_its_shard(tmp_path: Path) -> None:
    assert letters_path(tmp_path, 7) == tmp_path / "deadletters" / "shard-007.jsonl"
    names = ("shard-007.jsonl", "shard-255.jsonl", "shard-256.jsonl", "shard-007", "shard-007.json", "7.jsonl")
    assert [letters_index(name) for name in names] == [7, 255, None, None, None, None]


async def test_a_settlement_of_no_letter_is_told_and_counts_in_no_sum(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = opened(path)
    await put_aside(file, 1)
    await file.settle("3-1", "discarded")
    path.write_bytes(path.read_bytes().partition(b"\n")[2])
    again = opened(path)
    assert (everything(again), again.discarded) == ([], 0)
    [said] = lines_of(caplog, "settlement without its dead letter")
    assert (said["level"], said["letter"], said["action"]) == ("warning", "3-1", "discarded")


def is_of(*seqs: int) -> Callable[[DeadLetter, bool], bool]:
    """Say that the letters of these numbers were erased with their match, disowned or not."""
    return lambda letter, _: letter.seq in seqs


async def test_of_an_erased_letter_only_its_number_stays(path: Path) -> None:
    file = opened(path)
    await put_aside(file, 1, 2, 3, 4)
    await file.settle("3-2", "requeued", row=b'{"match_id":"m2","n":2}', again=(3, 9))
    await file.settle("3-3", "discarded")
    assert file.erase(is_of(1, 2, 3)) == 3
    for one in (file, opened(path)):
        assert [letter.id for letter in everything(one)] == ["3-4"]
        assert (one.requeued, one.discarded, one.erased, one.seqs()) == (1, 1, 1, {1, 2, 3, 4})
        assert one.requeued_as(2) == (3, 9)
        assert [one.is_erased(seq) for seq in (1, 2, 3, 4, 5)] == [True, True, True, False, False]
        assert "3-1" not in one
        with pytest.raises(KeyError):
            one.read("3-1")
    assert all(f"m{number}".encode() not in path.read_bytes() for number in (1, 2, 3))
    assert file.erase(is_of(1, 2, 3)) == 0


async def test_an_id_is_never_given_to_another_letter_though_the_first_was_erased(path: Path) -> None:
    file = opened(path)
    await put_aside(file, 7)
    file.erase(is_of(7))
    file.disown(beyond=0)
    await put_aside(file, 7)
    for one in (file, opened(path)):
        assert [letter.id for letter in everything(one)] == ["3-7-2"]
        assert (one.erased, one.seqs()) == (0, {7})


async def test_a_disowned_letter_is_told_from_one_that_counts(path: Path) -> None:
    file = opened(path)
    await put_aside(file, 1, 2)
    file.disown(beyond=1)
    asked: list[tuple[int, bool]] = []
    file.erase(lambda letter, is_disowned: bool(asked.append((letter.seq, is_disowned))))
    assert asked == [(1, False), (2, True)]
    assert file.erase(lambda _, is_disowned: is_disowned) == 1
    assert (opened(path).erased, opened(path).seqs()) == (0, {1})


async def test_copies_and_lines_that_cannot_be_read_go_with_an_erased_letter(path: Path) -> None:
    file = opened(path)
    await put_aside(file, 1, 2)
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b'{"row": "m1, torn\n' + first + second)
    file = opened(path)
    assert file.erase(is_of(1)) == 1
    assert [letter.id for letter in everything(file)] == ["3-2"]
    assert b"m1" not in path.read_bytes()
    assert path.read_bytes().endswith(second)


async def test_a_letter_that_is_erased_while_it_is_settled_gets_no_line(path: Path) -> None:
    file = opened(path)
    await put_aside(file, 1)
    file.erase(is_of(1))
    before = path.read_bytes()
    await file.settle("3-1", "requeued", row=b'{"match_id":"m1"}', again=(3, 2))
    assert path.read_bytes() == before
    assert (file.requeued, file.erased) == (0, 1)


async def test_an_erasure_that_could_not_read_the_file_again_is_made_good_by_the_next(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = opened(path)
    await put_aside(file, 1, 2)

    def fails() -> Iterator[tuple[int, Line]]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(file, "_lines", fails)
        with pytest.raises(OSError, match="Input/output error"):
            file.erase(is_of(1))
    assert file.erase(is_of(1)) == 0
    assert (file.erased, [letter.id for letter in everything(file)]) == (1, ["3-2"])

"""The journal of confirmed attempts: nothing that was written is lost or made up, whatever the file went through."""

import time
from pathlib import Path

import pytest
from msgspec import structs

from shards.runs import union
from shards.stores.schema import LEDGER_DAYS
from shards.wal import journal
from shards.wal.checkpoint import read_checkpoint
from shards.wal.journal import Confirmed, Entry, Journal, Unprovable
from shards.wal.log import ShardLog
from tests.logged import lines_of
from tests.unit.shards.wal.disk_calls import Call, calls_below, first

NOW_S = int(time.time())
HOUR_S = NOW_S - NOW_S % 3_600 - 3_600


def attempt(batch: int, *, first: int | None = None, writer: str = "w", at_s: int = HOUR_S) -> Confirmed:
    """Ten rows under a batch number, in the order of the batches unless ``first`` says otherwise."""
    start = 10 * batch - 9 if first is None else first
    return Confirmed(
        writer=writer,
        first_batch=batch,
        last_batch=batch,
        rows=10,
        runs=((start, start + 9),),
        at_s=at_s,
        event_id=f"{batch:032x}",
        received_s=at_s,
    )


def written(directory: Path, *groups: list[Entry]) -> Journal:
    made = Journal(directory, shard=0)
    for group in groups:
        for entry in group:
            made.note(entry)
        made.write()
    return made


def test_cut_anywhere_it_holds_a_prefix_and_goes_on(tmp_path: Path) -> None:
    # Every second batch, so that none are merged.
    entries: list[Entry] = [attempt(batch) for batch in (1, 3)]
    written(tmp_path, *([entry] for entry in entries))
    path = tmp_path / journal.FILE_NAME
    whole = path.read_bytes()
    ends = [index + 1 for index, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        held = entries[: sum(end <= cut for end in ends)]
        cut_off = Journal(tmp_path, shard=0)
        assert cut_off.entries() == held, cut
        cut_off.note(attempt(7))
        cut_off.write()
        assert Journal(tmp_path, shard=0).entries() == [*held, attempt(7)], cut


@pytest.mark.parametrize("failing", [("fsync", "confirmed"), ("fsync", ".")], ids=["file", "directory"])
@pytest.mark.parametrize("cut_off", [True, False], ids=["cut off at once", "cut off later"])
def test_lines_whose_write_failed_are_not_beside_those_that_followed(
    tmp_path: Path, failing: Call, cut_off: bool
) -> None:
    made = Journal(tmp_path, shard=0)
    made.note(attempt(1))
    made.note(attempt(2))
    fails = first(failing, after=("write", "confirmed"))
    disk = calls_below(tmp_path, fail=lambda call: fails(call) or (call[0] == "truncate" and not cut_off))
    with disk, pytest.raises(OSError, match="Input/output"):
        made.write()
    assert ((tmp_path / journal.FILE_NAME).stat().st_size == 0) == cut_off
    assert [entry.rows for entry in made.entries() if isinstance(entry, Confirmed)] == [20]
    made.note(attempt(3))
    made.write()
    for journal_ in (made, Journal(tmp_path, shard=0)):
        [joined] = journal_.entries()
        assert isinstance(joined, Confirmed)
        assert (joined.first_batch, joined.last_batch, joined.rows) == (1, 3, 30)
    assert len((tmp_path / journal.FILE_NAME).read_bytes().splitlines()) == 1


def test_a_start_makes_the_journal_durable_before_it_counts(tmp_path: Path) -> None:
    written(tmp_path, [attempt(1)])
    with calls_below(tmp_path) as calls:
        Journal(tmp_path, shard=0).entries()
    assert calls == [("write", "confirmed"), ("fsync", "confirmed"), ("fsync", ".")]


@pytest.mark.parametrize("failing", [("write", "confirmed"), ("fsync", "confirmed"), ("fsync", ".")])
def test_one_that_cannot_be_made_durable_stops_no_start_and_proves_nothing_until_it_is(
    tmp_path: Path, failing: Call, caplog: pytest.LogCaptureFixture
) -> None:
    written(tmp_path, [attempt(1)])
    again = Journal(tmp_path, shard=0)
    again_noted = attempt(3)
    with calls_below(tmp_path, fail=lambda call: call == failing):
        again.recover(written_upto=10, upto=10)
        [line] = lines_of(caplog, "journal not recovered")
        assert line["level"] == "warning"
        with pytest.raises(OSError, match="Input/output"):
            again.entries()
        again.note(again_noted)
        with pytest.raises(OSError, match="Input/output"):
            again.write()
        assert not again.is_written
    again.write()
    assert again.entries() == [attempt(1), again_noted]


def test_a_rewrite_that_may_not_have_lasted_is_made_durable_before_more_is_noted(tmp_path: Path) -> None:
    """The shorter file has its name, but the directory was not synced: the old one may come back."""
    made = written(tmp_path, [attempt(1)])
    made._rewrite_at = 1
    with calls_below(tmp_path, fail=first(("fsync", "."), after=("rename", "confirmed"))):
        made.note(attempt(2))
        made.write()
    made.note(attempt(4))
    with calls_below(tmp_path) as calls:
        made.write()
    assert calls == [
        ("write", "confirmed"),  # what was found
        ("fsync", "confirmed"),
        ("fsync", "."),
        ("write", "confirmed"),  # what was noted
        ("fsync", "confirmed"),
    ]


@pytest.mark.parametrize("order", [1, -1])
def test_an_attempt_that_another_entry_includes_counts_once(tmp_path: Path, order: int) -> None:
    """A release before this left whole lines of a write that failed, and joined their attempts to others later."""
    joined = structs.replace(attempt(1), last_batch=3, rows=30, runs=((1, 30),))
    noted: list[Entry] = [attempt(1), attempt(3), joined][::order]
    of_another = [attempt(2, writer="v"), attempt(4)]
    lines = b"".join(journal._line(entry) for entry in (*noted, *of_another))
    (tmp_path / journal.FILE_NAME).write_bytes(lines)
    found = Journal(tmp_path, shard=0).entries()
    assert sorted(found, key=str) == sorted([joined, *of_another], key=str)


def test_a_flipped_bit_costs_its_entry_and_no_other(tmp_path: Path) -> None:
    entries: list[Entry] = [attempt(1), attempt(3)]
    written(tmp_path, entries)
    path = tmp_path / journal.FILE_NAME
    whole = path.read_bytes()
    for index in range(len(whole)):
        damaged = bytearray(whole)
        damaged[index] ^= 1 << index % 8
        path.write_bytes(damaged)
        found = Journal(tmp_path, shard=0).entries()
        assert len(found) < 2 or found == entries
        assert set(found) <= set(entries)


def test_attempts_between_two_checkpoints_become_one_entry_where_they_can(tmp_path: Path) -> None:
    made = written(
        tmp_path,
        [attempt(1), attempt(2), attempt(4), attempt(1, writer="v", first=21), attempt(5, at_s=HOUR_S + 3_600)],
    )
    assert journal.MERGED_S == 3_600, "an hour"
    [first, alone, of_another, an_hour_later] = made.entries()
    assert isinstance(first, Confirmed)
    assert (first.first_batch, first.last_batch, first.rows, first.runs) == (1, 2, 20, ((1, 20),))
    assert first.event_id == attempt(1).event_id
    assert {alone, of_another, an_hour_later} == {
        attempt(4),
        attempt(1, writer="v", first=21),
        attempt(5, at_s=HOUR_S + 3_600),
    }


def test_it_stays_small_and_covers_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "REWRITE_BYTES", 4_000)
    made = Journal(tmp_path, shard=0)
    for batch in range(1, 201):
        made.note(attempt(batch))
        made.write()
    assert (tmp_path / journal.FILE_NAME).stat().st_size < 5_000
    found = [entry for entry in made.entries() if isinstance(entry, Confirmed)]
    assert union(run for entry in found for run in entry.runs) == ((1, 2_000),)
    assert sum(entry.rows for entry in found) == 2_000
    again = Journal(tmp_path, shard=0)
    again.recover(written_upto=2_000, upto=2_000)
    assert len(again.entries()) == 1


def test_what_the_ledger_has_forgotten_is_told_apart(tmp_path: Path) -> None:
    assert journal.KEEP_S == (LEDGER_DAYS - 1) * 86_400, "a day less, because clocks differ"
    old = NOW_S - journal.KEEP_S - 60
    written(tmp_path, [attempt(1, at_s=old), attempt(2, at_s=old), attempt(3), attempt(4, at_s=NOW_S + 86_400)])
    again = Journal(tmp_path, shard=0)
    for rewritten in (False, True):
        if rewritten:
            again.recover(written_upto=40, upto=40)
        expired, kept, clamped = sorted(again.entries(), key=lambda entry: entry.at_s)
        assert expired == Unprovable(reason="expired", runs=((1, 20),), at_s=old)
        assert kept == attempt(3)
        assert NOW_S <= clamped.at_s <= time.time()


def test_a_directory_without_one(tmp_path: Path) -> None:
    fresh = Journal(tmp_path, shard=0)
    fresh.recover(written_upto=0, upto=0)
    assert fresh.entries() == []
    older = Journal(tmp_path, shard=0)
    older.recover(written_upto=50, upto=50, beyond=((60, 70),))
    [entry] = older.entries()
    assert isinstance(entry, Unprovable)
    assert (entry.reason, entry.runs) == ("no_journal", ((1, 50), (60, 70)))


def test_a_disk_that_takes_nothing_loses_nothing_while_the_process_lives(tmp_path: Path) -> None:
    made = written(tmp_path, [attempt(1)])
    path = tmp_path / journal.FILE_NAME
    whole = path.read_bytes()
    made.note(attempt(3))
    path.unlink()
    path.mkdir()  # cannot be opened for writing, not even by root
    for batch in (5, 6):
        made.note(attempt(batch))
        with pytest.raises(OSError, match="directory"):
            made.write()
    path.rmdir()
    path.write_bytes(whole)
    made.write()
    found = Journal(tmp_path, shard=0).entries()
    assert [e.first_batch for e in found if isinstance(e, Confirmed)] == [1, 3, 5]
    assert found[-1].runs == ((41, 60),)


def test_one_that_cannot_be_read_stops_no_start(tmp_path: Path) -> None:
    (tmp_path / journal.FILE_NAME).mkdir()
    log = ShardLog(tmp_path, shard=0, segment_max_bytes=100)
    log.recover()
    with pytest.raises(OSError, match="directory"):
        log.journal.entries()
    log.close()


def test_segments_that_went_without_a_note_are_known_at_the_next_start(tmp_path: Path) -> None:
    """The disk takes neither journal nor checkpoint; the log is truncated all the same, and the process is killed."""
    log = ShardLog(tmp_path, shard=0, segment_max_bytes=100)
    log.recover()
    row = b'{"match_id":"m","metadata":"some more text","received_ns":1,"order_ns":1}'
    for _ in range(6):
        log.append([row])
        log.sync()
        log.acknowledge()
    done = read_checkpoint(tmp_path)
    path = tmp_path / journal.FILE_NAME
    path.mkdir()
    log.journal.note(attempt(1, first=1))
    with pytest.raises(OSError, match="directory"):
        log.truncate(type(done)(upto=4))
    log.close()
    assert read_checkpoint(tmp_path) == done, "no checkpoint without a note of what is behind it"
    path.rmdir()
    path.write_bytes(b"")

    again = ShardLog(tmp_path, shard=0, segment_max_bytes=100)
    again.recover()
    gone = again.checkpoint.upto
    assert gone >= 3
    [entry] = again.journal.entries()
    assert isinstance(entry, Unprovable)
    assert (entry.reason, entry.runs) == ("not_noted", ((1, gone),))
    again.close()


def test_an_event_that_was_erased_is_forgotten_and_its_attempt_is_not(tmp_path: Path) -> None:
    made = written(tmp_path, [attempt(1), attempt(3)])
    made.note(attempt(5))
    assert made.samples() == {f"{batch:032x}" for batch in (1, 3, 5)}
    made.forget({f"{3:032x}", f"{5:032x}"})
    assert made.is_written
    for one in (made, Journal(tmp_path, shard=0)):
        assert one.samples() == {f"{1:032x}"}
        entries = sorted(one.entries(), key=lambda entry: entry.runs)
        assert [entry.runs for entry in entries] == [attempt(batch).runs for batch in (1, 3, 5)]
        assert [entry.event_id for entry in entries if isinstance(entry, Confirmed)] == [f"{1:032x}", "", ""]
    before = (tmp_path / journal.FILE_NAME).stat().st_ino
    made.forget({"unknown"})
    assert (tmp_path / journal.FILE_NAME).stat().st_ino == before


def test_what_was_erased_is_known_after_a_restart_too(tmp_path: Path) -> None:
    made = written(tmp_path, [Unprovable.noted_now("erased", ((3, 4),)), Unprovable.noted_now("damaged", ((8, 8),))])
    made.note(Unprovable.noted_now("erased", ((6, 7),)))
    assert made.erased == ((3, 4), (6, 7))
    made.write()
    again = Journal(tmp_path, shard=0)
    again.recover(written_upto=8, upto=8)
    assert again.erased == ((3, 4), (6, 7))

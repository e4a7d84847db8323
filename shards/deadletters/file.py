"""Dead letters: rows that only ClickHouse refuses, kept with its error, and what was done with each by hand.

Each shard has one file, which only grows: a JSON line for each letter (:class:`DeadLetter`), and one more for each that
was settled by hand (:class:`Settlement`). Every line is fsynced before it counts, one that a start finds too. A torn
line is cut off, a damaged one is passed over.

Of a letter whose match was erased only its number stays (:class:`ErasedLetter`): it cannot be listed or read any more.

A letter whose row the log has lost (:class:`LogEnd`) is *disowned*: it can be listed, read and settled as before, and
counts in no sum. Its number is given out again, to another row.
"""

import asyncio
import heapq
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from shards.deadletters.entries import FiledLetter, LetterEntry, Place
from shards.deadletters.erasing import without_letters
from shards.deadletters.index import LetterIndex
from shards.deadletters.lines import (
    Action,
    DeadLetter,
    ErasedLetter,
    Line,
    LogEnd,
    RowRef,
    Settlement,
    decode_line,
    letter_at,
    settlement_at,
)
from shards.logger import get_logger
from shards.wal.directory import shard_index, shard_name
from shards.wal.files import LineFile

_log = get_logger(__name__)

DIRECTORY = "deadletters"
_SUFFIX = ".jsonl"


def letters_path(data_dir: Path, index: int) -> Path:
    """Return the file of a shard's dead letters."""
    return data_dir / DIRECTORY / f"{shard_name(index)}{_SUFFIX}"


def letters_index(name: str) -> int | None:
    """Return the index of the shard whose dead letters are in the file of this name; None if no shard's are."""
    return shard_index(name.removesuffix(_SUFFIX)) if name.endswith(_SUFFIX) else None


class DeadLetterFile:
    """The dead letters of one shard. A letter is fsynced before its row counts as done with.

    Memory holds each letter's place in the file, not its text. The id of a letter, ``<shard>-<sequence number>``, never
    changes. If a number comes twice, because the log was lost but not the letters, the later id has a suffix. All
    counts and numbers are those of letters that are not disowned.
    """

    def __init__(self, path: Path, *, shard: int) -> None:
        self._file = LineFile(path)
        self._shard = shard
        self._lock = threading.Lock()
        self._index = LetterIndex(str(path))
        self._is_outdated = False
        """Whether the file may have been replaced, and was not read since."""

    @property
    def requeued(self) -> int:
        """Letters that were appended again by hand."""
        return self._index.settled["requeued"]

    @property
    def discarded(self) -> int:
        """Letters that were given up by hand."""
        return self._index.settled["discarded"]

    @property
    def erased(self) -> int:
        """Letters that were open when their match was erased."""
        return self._index.erased

    def __contains__(self, letter_id: str) -> bool:
        entry = self._index.entries.get(letter_id)
        return entry is not None and not entry.erased

    def recover(self) -> None:
        """Make the file durable as it is found, and read it. Blocking; called once, before anything else.

        Raises OSError, because a letter that a power failure may still take away must not count.
        """
        try:
            self._file.recover()
        except OSError as error:
            _log.error("dead letters not recovered", path=str(self._file.path), error=str(error))
            raise
        self._read_all()

    def _read_all(self) -> None:
        self._index = LetterIndex.of(str(self._file.path), self._lines())
        self._is_outdated = False

    def _lines(self) -> Iterator[tuple[int, Line]]:
        if not self._file.path.exists():
            return
        offset = 0
        with self._file.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    if line.strip():
                        yield offset, decode_line(line)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    _log.warning("dead letter line damaged", path=str(self._file.path), line=number)
                offset += len(line)

    def erase(self, is_gone: Callable[[DeadLetter, bool], bool]) -> int:
        """Leave nothing of some letters but their numbers, durably; return their count. Blocking; raises OSError.

        Lines that are damaged go too, because nobody can know whose they are.

        Args:
            is_gone: says of a letter, and of whether it is disowned, whether its match was erased with it.
        """
        with self._lock:
            if self._is_outdated:
                self._read_all()
            gone = dict(self._gone(is_gone))
            before = self._file.read()
            after = without_letters(before, gone)
            if after != before:
                self._is_outdated = True  # until the file is read again, whatever comes in between
                self._file.replace(after)
                self._read_all()
            return len(gone)

    def _gone(self, is_gone: Callable[[DeadLetter, bool], bool]) -> Iterator[tuple[int, ErasedLetter]]:
        """Yield the offset of each letter that goes, and what stays of it."""
        if not (there := [entry for entry in self._index.entries.values() if not entry.erased]):
            return
        with self._file.path.open("rb") as file:
            for entry in there:
                letter = letter_at(file.fileno(), entry.offset)
                if is_gone(letter, self._index.owned.get(entry.seq) is not entry):
                    yield entry.offset, entry.erased_at(letter.at)

    def disown(self, *, beyond: int) -> None:
        """Disown the letters with numbers beyond one, durably, because the log does not hold their rows any more.

        Blocking; called before the log gives out more numbers. Raises OSError.
        """
        if letters := sum(seq > beyond for seq in self._index.owned):
            line = LogEnd(log_ends_at=beyond, at=datetime.now(UTC))
            self._file.append(msgspec.json.encode(line) + b"\n")
            self._index.disown_beyond(beyond)
            effect = "they can be requeued or discarded, and count in no sum"
            _log.warning("dead letters without their rows", shard=self._shard, letters=letters, effect=effect)

    def seqs(self) -> set[int]:
        """Return the sequence numbers whose rows were put aside."""
        return set(self._index.owned)

    def is_erased(self, seq: int) -> bool:
        """Say whether a letter's match was erased."""
        entry = self._index.owned.get(seq)
        return entry is not None and entry.erased

    def requeued_as(self, seq: int) -> RowRef | None:
        """Return the row that a letter was appended again as; None if it was not, or that is unknown."""
        entry = self._index.owned.get(seq)
        return entry.again if entry else None

    def rows_after(self, seq: int) -> set[tuple[int, int]]:
        """Return number and CRC-32 of the rows beyond ``seq`` that were put aside."""
        return {(entry.seq, entry.row_crc) for entry in self._index.owned.values() if entry.seq > seq}

    def count_upto(self, seq: int) -> int:
        """Return how many letters have a sequence number of at most ``seq``."""
        return sum(owned <= seq for owned in self._index.owned)

    async def put_aside(self, *, seq: int, row: bytes, code: int, error: str) -> None:
        """Keep a row, durably. Raises OSError."""
        letter = DeadLetter(shard=self._shard, seq=seq, code=code, error=error, at=datetime.now(UTC), row=row.decode())
        await asyncio.to_thread(self._put_aside, letter)

    def _put_aside(self, letter: DeadLetter) -> None:
        with self._lock:
            self._index.enter(letter, self._file.append(msgspec.json.encode(letter) + b"\n"))

    async def settle(self, letter_id: str, action: Action, *, row: bytes = b"", again: RowRef | None = None) -> None:
        """Note durably what was done with a letter. Raises OSError."""
        settlement = Settlement(letter=letter_id, action=action, at=datetime.now(UTC), row=row.decode(), again=again)
        await asyncio.to_thread(self._settle, settlement)

    def _settle(self, settlement: Settlement) -> None:
        with self._lock:
            if settlement.letter in self:  # else its match was erased meanwhile, and the line would tell of it
                self._index.enter_settlement(settlement, self._file.append(msgspec.json.encode(settlement) + b"\n"))

    def read(self, letter_id: str) -> FiledLetter:
        """Return a letter and what was done with it. Blocking; raises KeyError (no such letter), OSError."""
        with self._lock:  # an erasure changes the places in the file
            entry = self._index.entries[letter_id]
            if entry.erased:
                raise KeyError(letter_id)
            with self._file.path.open("rb") as file:
                return self._read(file.fileno(), entry)

    def newest(self, *, limit: int, before: Place | None, settled: bool) -> list[FiledLetter]:
        """Return letters, newest first, from behind ``before``. Blocking; raises OSError.

        Args:
            limit: most letters to return.
            before: the place of the last letter of the page before; None for the first page.
            settled: include letters that were settled by hand.
        """
        with self._lock:
            wanted = (
                entry
                for entry in self._index.entries.values()
                if not entry.erased
                and (settled or entry.settled_offset is None)
                and (before is None or entry.place < before)
            )
            entries = heapq.nlargest(limit, wanted, key=lambda entry: entry.place)
            if not entries:
                return []
            with self._file.path.open("rb") as file:
                return [self._read(file.fileno(), entry) for entry in entries]

    @staticmethod
    def _read(fd: int, entry: LetterEntry) -> FiledLetter:
        settled_offset = entry.settled_offset
        settlement = None if settled_offset is None else settlement_at(fd, settled_offset)
        return FiledLetter(id=entry.id, letter=letter_at(fd, entry.offset), settlement=settlement)

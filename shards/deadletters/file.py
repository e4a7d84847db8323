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
from shards.events import letter_crc
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
        self._entries: dict[str, LetterEntry] = {}
        self._owned: dict[int, LetterEntry] = {}
        self._settled: dict[Action, int] = {"requeued": 0, "discarded": 0}

    @property
    def requeued(self) -> int:
        """Letters that were appended again by hand."""
        return self._settled["requeued"]

    @property
    def discarded(self) -> int:
        """Letters that were given up by hand."""
        return self._settled["discarded"]

    @property
    def erased(self) -> int:
        """Letters that were open when their match was erased."""
        return sum(entry.erased and entry.action is None for entry in self._owned.values())

    def __contains__(self, letter_id: str) -> bool:
        return letter_id in self._entries and not self._entries[letter_id].erased

    def recover(self) -> None:
        """Make the file durable as it is found, and read it. Blocking; called once, before anything else.

        Raises OSError, because a letter that a power failure may still take away must not count.
        """
        try:
            self._file.recover()
        except OSError as error:
            _log.error("dead letters not recovered", path=str(self._file.path), error=str(error))
            raise
        self._enter_all()

    def _enter_all(self) -> None:
        self._entries, self._owned, self._settled = {}, {}, {"requeued": 0, "discarded": 0}
        for offset, line in self._lines():
            if isinstance(line, DeadLetter):
                self._enter(line, offset)
            elif isinstance(line, Settlement):
                self._enter_settlement(line, offset)
            elif isinstance(line, ErasedLetter):
                self._enter_erased(line, offset)
            else:
                self._disown_beyond(line.log_ends_at)

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

    def _enter(self, letter: DeadLetter, offset: int) -> None:
        row_crc = letter_crc(letter.row.encode())
        if (known := self._owned.get(letter.seq)) is not None:
            if known.row_crc == row_crc:
                return  # written again after a failed write that had left a whole line
            self._disown(known)
        letter_id, copies = f"{letter.shard}-{letter.seq}", 1
        while letter_id in self._entries:
            copies += 1
            letter_id = f"{letter.shard}-{letter.seq}-{copies}"
        entry = LetterEntry(letter_id, letter.seq, letter.at_us, row_crc, offset)
        self._entries[letter_id] = self._owned[letter.seq] = entry

    def _enter_settlement(self, settlement: Settlement, offset: int) -> None:
        entry = self._entries.get(settlement.letter)
        if entry is None:
            path, letter = str(self._file.path), settlement.letter
            _log.warning("settlement without its dead letter", path=path, letter=letter, action=settlement.action)
        elif entry.settled_offset is None:
            entry.settled_offset = offset
            entry.action = settlement.action
            entry.again = settlement.again
            self._settled[settlement.action] += self._owned.get(entry.seq) is entry

    def _enter_erased(self, line: ErasedLetter, offset: int) -> None:
        if (known := self._owned.get(line.seq)) is not None:
            self._disown(known)
        at_us = round(line.at.timestamp() * 1_000_000)
        entry = LetterEntry(line.erased, line.seq, at_us, 0, offset, None, line.action, line.again, erased=True)
        self._entries[line.erased] = self._owned[line.seq] = entry
        if line.action is not None:
            self._settled[line.action] += 1

    def erase(self, is_gone: Callable[[DeadLetter, bool], bool]) -> int:
        """Leave nothing of some letters but their numbers, durably; return their count. Blocking; raises OSError.

        Lines that are damaged go too, because nobody can know whose they are.

        Args:
            is_gone: says of a letter, and of whether it is disowned, whether its match was erased with it.
        """
        with self._lock:
            gone = dict(self._gone(is_gone))
            before = self._file.read()
            after = without_letters(before, gone)
            if after != before:
                self._file.replace(after)
                self._enter_all()
            return len(gone)

    def _gone(self, is_gone: Callable[[DeadLetter, bool], bool]) -> Iterator[tuple[int, ErasedLetter]]:
        """Yield the offset of each letter that goes, and what stays of it."""
        if not (there := [entry for entry in self._entries.values() if not entry.erased]):
            return
        with self._file.path.open("rb") as file:
            for entry in there:
                letter = letter_at(file.fileno(), entry.offset)
                if is_gone(letter, self._owned.get(entry.seq) is not entry):
                    yield entry.offset, entry.erased_at(letter.at)

    def disown(self, *, beyond: int) -> None:
        """Disown the letters with numbers beyond one, durably, because the log does not hold their rows any more.

        Blocking; called before the log gives out more numbers. Raises OSError.
        """
        if letters := sum(seq > beyond for seq in self._owned):
            line = LogEnd(log_ends_at=beyond, at=datetime.now(UTC))
            self._file.append(msgspec.json.encode(line) + b"\n")
            self._disown_beyond(beyond)
            effect = "they can be requeued or discarded, and count in no sum"
            _log.warning("dead letters without their rows", shard=self._shard, letters=letters, effect=effect)

    def _disown_beyond(self, end: int) -> None:
        for entry in [entry for seq, entry in self._owned.items() if seq > end]:
            self._disown(entry)

    def _disown(self, entry: LetterEntry) -> None:
        del self._owned[entry.seq]
        if entry.action is not None:
            self._settled[entry.action] -= 1

    def seqs(self) -> set[int]:
        """Return the sequence numbers whose rows were put aside."""
        return set(self._owned)

    def is_erased(self, seq: int) -> bool:
        """Say whether a letter's match was erased."""
        entry = self._owned.get(seq)
        return entry is not None and entry.erased

    def requeued_as(self, seq: int) -> RowRef | None:
        """Return the row that a letter was appended again as; None if it was not, or that is unknown."""
        entry = self._owned.get(seq)
        return entry.again if entry else None

    def rows_after(self, seq: int) -> set[tuple[int, int]]:
        """Return number and CRC-32 of the rows beyond ``seq`` that were put aside."""
        return {(entry.seq, entry.row_crc) for entry in self._owned.values() if entry.seq > seq}

    def count_upto(self, seq: int) -> int:
        """Return how many letters have a sequence number of at most ``seq``."""
        return sum(owned <= seq for owned in self._owned)

    async def put_aside(self, *, seq: int, row: bytes, code: int, error: str) -> None:
        """Keep a row, durably. Raises OSError."""
        letter = DeadLetter(shard=self._shard, seq=seq, code=code, error=error, at=datetime.now(UTC), row=row.decode())
        await asyncio.to_thread(self._put_aside, letter)

    def _put_aside(self, letter: DeadLetter) -> None:
        with self._lock:
            self._enter(letter, self._file.append(msgspec.json.encode(letter) + b"\n"))

    async def settle(self, letter_id: str, action: Action, *, row: bytes = b"", again: RowRef | None = None) -> None:
        """Note durably what was done with a letter. Raises OSError."""
        settlement = Settlement(letter=letter_id, action=action, at=datetime.now(UTC), row=row.decode(), again=again)
        await asyncio.to_thread(self._settle, settlement)

    def _settle(self, settlement: Settlement) -> None:
        with self._lock:
            if settlement.letter in self:  # else its match was erased meanwhile, and the line would tell of it
                self._enter_settlement(settlement, self._file.append(msgspec.json.encode(settlement) + b"\n"))

    def read(self, letter_id: str) -> FiledLetter:
        """Return a letter and what was done with it. Blocking; raises KeyError (no such letter), OSError."""
        entry = self._entries[letter_id]
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
        wanted = (
            entry
            for entry in list(self._entries.values())
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

"""The letters of one file by id and by number, and their counts."""

from collections.abc import Iterable

import attrs

from shards.deadletters.entries import LetterEntry
from shards.deadletters.lines import Action, DeadLetter, ErasedLetter, Line, Settlement
from shards.events import letter_crc
from shards.logger import get_logger

_log = get_logger(__name__)


@attrs.define
class LetterIndex:
    """What memory keeps of a file. ``path`` is its name in lines of the log.

    Attributes:
        entries: every letter by its id.
        owned: those that are not disowned, by their number.
        settled: counts of these by what was done with them by hand.
        erased: count of those of them that were open when their match was erased.
    """

    path: str
    entries: dict[str, LetterEntry] = attrs.field(factory=dict)
    owned: dict[int, LetterEntry] = attrs.field(factory=dict)
    settled: dict[Action, int] = attrs.field(factory=lambda: {"requeued": 0, "discarded": 0})
    erased: int = 0

    @classmethod
    def of(cls, path: str, lines: Iterable[tuple[int, Line]]) -> "LetterIndex":
        """Return the index of a file's lines, each with its offset in bytes."""
        index = cls(path)
        for offset, line in lines:
            if isinstance(line, DeadLetter):
                index.enter(line, offset)
            elif isinstance(line, Settlement):
                index.enter_settlement(line, offset)
            elif isinstance(line, ErasedLetter):
                index.enter_erased(line, offset)
            else:
                index.disown_beyond(line.log_ends_at)
        return index

    def enter(self, letter: DeadLetter, offset: int) -> None:
        """Take in the line of a letter."""
        row_crc = letter_crc(letter.row.encode())
        if (known := self.owned.get(letter.seq)) is not None:
            if known.row_crc == row_crc:
                return  # written again after a failed write that had left a whole line
            self._disown(known)
        letter_id, copies = f"{letter.shard}-{letter.seq}", 1
        while letter_id in self.entries:
            copies += 1
            letter_id = f"{letter.shard}-{letter.seq}-{copies}"
        entry = LetterEntry(letter_id, letter.seq, letter.at_us, row_crc, offset)
        self.entries[letter_id] = self.owned[letter.seq] = entry

    def enter_settlement(self, settlement: Settlement, offset: int) -> None:
        """Take in the line of a settlement."""
        entry = self.entries.get(settlement.letter)
        if entry is None:
            path, letter = self.path, settlement.letter
            _log.warning("settlement without its dead letter", path=path, letter=letter, action=settlement.action)
        elif entry.settled_offset is None:
            entry.settled_offset = offset
            entry.action = settlement.action
            entry.again = settlement.again
            self.settled[settlement.action] += self.owned.get(entry.seq) is entry

    def enter_erased(self, line: ErasedLetter, offset: int) -> None:
        """Take in what stays of a letter."""
        if (known := self.owned.get(line.seq)) is not None:
            self._disown(known)
        at_us = round(line.at.timestamp() * 1_000_000)
        entry = LetterEntry(line.erased, line.seq, at_us, 0, offset, None, line.action, line.again, erased=True)
        self.entries[line.erased] = self.owned[line.seq] = entry
        if line.action is not None:
            self.settled[line.action] += 1
        else:
            self.erased += 1

    def disown_beyond(self, end: int) -> None:
        """Disown the letters with numbers beyond one."""
        for entry in [entry for seq, entry in self.owned.items() if seq > end]:
            self._disown(entry)

    def _disown(self, entry: LetterEntry) -> None:
        del self.owned[entry.seq]
        if entry.action is not None:
            self.settled[entry.action] -= 1
        elif entry.erased:
            self.erased -= 1

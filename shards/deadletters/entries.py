"""Letters as they are found in their file, and what memory keeps of each."""

from datetime import datetime

import attrs

from shards.deadletters.lines import Action, DeadLetter, ErasedLetter, RowRef, Settlement

Place = tuple[int, str]
"""Place of a letter in the order of all: when it was put aside, in µs since the epoch, and its id."""


@attrs.frozen(kw_only=True)
class FiledLetter:
    """A letter as it is found in the file; ``settlement`` is None while it is open."""

    id: str
    letter: DeadLetter
    settlement: Settlement | None

    @property
    def place(self) -> Place:
        """Place in the order of all letters."""
        return self.letter.at_us, self.id


@attrs.define
class LetterEntry:
    """Offsets in the file, in bytes, of a letter and of the line that settles it; and what is needed to find it."""

    id: str
    seq: int
    at_us: int
    row_crc: int
    offset: int
    settled_offset: int | None = None
    action: Action | None = None
    again: RowRef | None = None
    erased: bool = False

    @property
    def place(self) -> Place:
        """Place in the order of all letters."""
        return self.at_us, self.id

    def erased_at(self, at: datetime) -> ErasedLetter:
        """Return what stays of a letter that was put aside at this time."""
        return ErasedLetter(erased=self.id, seq=self.seq, at=at, action=self.action, again=self.again)

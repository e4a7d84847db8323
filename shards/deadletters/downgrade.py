"""Dead letters written as the release before reads them."""

from io import BytesIO
from pathlib import Path

import attrs
import msgspec

from shards.deadletters.lines import DeadLetter, Settlement, decode_line
from shards.events import former_row
from shards.wal.files import LineFile


def downgrade_letters(path: Path) -> int:
    """Write the rows of a file of dead letters as the release before does; return the count of its letters.

    That release knows a letter and its record by the text of the row, and sends a row anew whose letter it does not
    know. A line that says where the log ended stays: it is passed over there, with a warning, and needed here again.
    A damaged line stays too.

    Blocking; all or nothing. Raises OSError.
    """
    file = LineFile(path)
    lines = BytesIO(file.read()).readlines()
    letters, written = 0, []
    for line in lines:
        try:
            found = decode_line(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            written.append(line)
            continue
        letters += isinstance(found, DeadLetter)
        written.append(_former(found) if isinstance(found, DeadLetter | Settlement) else line)
    if written != lines:
        file.replace(b"".join(written))
    return letters


def _former(line: DeadLetter | Settlement) -> bytes:
    return msgspec.json.encode(attrs.evolve(line, row=former_row(line.row.encode()).decode())) + b"\n"

"""Erasing letters from the text of a file of dead letters."""

from collections.abc import Mapping
from io import BytesIO

import msgspec

from shards.deadletters.lines import DeadLetter, ErasedLetter, Settlement, decode_line
from shards.events import letter_crc


def without_letters(text: bytes, gone: Mapping[int, ErasedLetter]) -> bytes:
    """Return the text of a file without some letters, and without the lines that settle them.

    In the place of each letter stands what stays of it. Copies of it, which a failed write may have left, go, and so do
    lines that cannot be read, because nobody can know whose they are.

    Args:
        text: of the file.
        gone: what stays of each letter, by the offset of its line, in bytes.
    """
    ids = {letter.erased for letter in gone.values()}
    copies: set[tuple[int, int]] = set()
    kept, offset = [], 0
    for line in BytesIO(text).readlines():
        begin, offset = offset, offset + len(line)
        try:
            found = decode_line(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if isinstance(found, DeadLetter):
            key = found.seq, letter_crc(found.row.encode())
            if begin in gone:
                copies.add(key)
                kept.append(msgspec.json.encode(gone[begin]) + b"\n")
            elif key not in copies:
                kept.append(line)
        elif not (isinstance(found, Settlement) and found.letter in ids):
            kept.append(line)
    return b"".join(kept)

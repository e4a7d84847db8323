"""The format of a segment file (ADR-014).

::

    segment = header record*
    header  = magic (8 bytes) · shard (u32) · first sequence number (u64) · CRC-32 of what precedes (u32)
    record  = payload length (u32) · sequence number (u64) · unproven (u32) · order in ns (u64) · received in ns (u64)
              · kind (u8) · flags (u8) · CRC-32 of all these and of the payload (u32) · payload

All integers are little-endian. The payload of an event is a JSON row (:mod:`shards.events`). Sequence number minus
*unproven* is the last number that was known to be durable when the record was written.

Format 1, of the release before, is read but never written. Its records have length, sequence number and CRC-32 only,
and its rows have no order of their own.
"""

import errno
import struct
from collections.abc import Callable, Iterator, Sequence
from zlib import crc32

import attrs
import msgspec

from shards.events import ROW_START, current_row, stamps_of

MAGIC = b"FFWAL02\n"
MAGIC_1 = b"FFWAL01\n"
_MAGIC_START = b"FFWAL"
PAYLOAD_MAX_BYTES = 1 << 20
EVENT = 1
"""Kind of a record that holds an event. A record of another kind repeats the number before it."""

PASS_OVER = 1
"""Flag of a record that a release may pass over if it does not know its kind."""

_HEADER_BODY = struct.Struct("<8sIQ")
_CRC = struct.Struct("<I")
_BODY = struct.Struct("<IQIQQBB")
_BODY_1 = struct.Struct("<IQ")
_UNPROVEN_MAX = (1 << 32) - 1

HEADER_BYTES = _HEADER_BODY.size + _CRC.size
RECORD_HEAD_BYTES = _BODY.size + _CRC.size
RECORD_HEAD_BYTES_1 = _BODY_1.size + _CRC.size


class NewerFormatError(OSError):
    """The log was written by a newer release, in a way that this one cannot read."""

    def __init__(self, what: str) -> None:
        super().__init__(errno.EPROTONOSUPPORT, f"{what} was written by a newer release; start that release again")


class Record(msgspec.Struct, frozen=True, gc=False):
    """One logged row. ``proven`` is a number up to which all was known to be durable when it was written."""

    seq: int
    payload: bytes
    proven: int = 0


@attrs.frozen
class Damage:
    """Bytes of a segment that hold no whole record, with whole records behind them; ``offset`` is in the file."""

    offset: int
    size: int


@attrs.frozen
class Header:
    """A segment's header; ``format`` is 1 or 2."""

    format: int
    shard: int
    first_seq: int


def encode_header(shard: int, first_seq: int) -> bytes:
    """Return a segment's header."""
    body = _HEADER_BODY.pack(MAGIC, shard, first_seq)
    return body + _CRC.pack(crc32(body))


def decode_header(data: bytes) -> Header | None:
    """Return the header, or None if it is not whole. Raises `NewerFormatError`."""
    if len(data) < HEADER_BYTES:
        return None
    body, (crc,) = data[: _HEADER_BODY.size], _CRC.unpack_from(data, _HEADER_BODY.size)
    if crc != crc32(body):
        return None
    magic, shard, first_seq = _HEADER_BODY.unpack(body)
    if magic in (MAGIC, MAGIC_1):
        return Header(1 if magic == MAGIC_1 else 2, shard, first_seq)
    if magic.startswith(_MAGIC_START):
        raise NewerFormatError("a segment of the write-ahead log")
    return None


def encode_records(first_seq: int, payloads: Sequence[bytes], *, proven: int | None = None) -> bytes:
    """Return the payloads as records with consecutive sequence numbers, ready to be written at once.

    ``proven`` is the last number that is known to be durable; None: the one before the first of these.
    """
    parts: list[bytes] = []
    pack_body, pack_crc = _BODY.pack, _CRC.pack
    proven = first_seq - 1 if proven is None else proven
    for seq, payload in enumerate(payloads, first_seq):
        received_ns, order_ns = stamps_of(payload)
        unproven = min(seq - proven, _UNPROVEN_MAX)
        body = pack_body(len(payload), seq, unproven, order_ns, received_ns, EVENT, 0)
        parts += (body, pack_crc(crc32(payload, crc32(body))), payload)
    return b"".join(parts)


class RecordScanner:
    """Takes a segment's bytes in pieces, yields its records of events, and lists the damage between records.

    An unfinished record is kept for the next piece. Bytes left in the end are a torn tail, or damage with no whole
    record behind it. Records of another kind are passed over, or raise `NewerFormatError`.
    """

    def __init__(self, *, format_: int = 2) -> None:
        self._data = b""
        self._offset = HEADER_BYTES
        self._record_at, self._head_bytes = _FORMATS[format_]
        self.end = HEADER_BYTES
        """Offset in the file behind the last record that was yielded."""
        self.damages: list[Damage] = []

    def feed(self, piece: bytes) -> Iterator[Record]:
        """Yield the records that ``piece`` completes."""
        data = self._data + piece if self._data else piece
        position = 0
        record_at = self._record_at
        while True:
            found = record_at(data, position)
            if found is None:
                following = self._find_whole(data, position)
                if following is None:
                    break
                self.damages.append(Damage(self._offset + position, following - position))
                position = following
                continue
            record, position = found
            if record is not None:
                self.end = self._offset + position
                yield record
        self._data = data[position:]
        self._offset += position

    def _find_whole(self, data: bytes, position: int) -> int | None:
        """Return the position of the next whole record after a damaged or unfinished one; None: there is none."""
        found = position + self._head_bytes
        while (found := data.find(ROW_START, found + 1)) != -1:
            if self._record_at(data, found - self._head_bytes) is not None:
                return found - self._head_bytes
        return None


def _record_at(data: bytes, position: int) -> tuple[Record | None, int] | None:
    """Return the record at a position and the position behind it; None: it is not whole. Record None: passed over."""
    start = position + RECORD_HEAD_BYTES
    if len(data) < start:
        return None
    length, seq, unproven, _, _, kind, flags = _BODY.unpack_from(data, position)
    end = start + length
    if length > PAYLOAD_MAX_BYTES or end > len(data):
        return None
    payload = data[start:end]
    (crc,) = _CRC.unpack_from(data, start - _CRC.size)
    if crc32(payload, crc32(data[position : start - _CRC.size])) != crc:
        return None
    if kind == EVENT:
        return Record(seq, payload, seq - unproven), end
    if flags & PASS_OVER:
        return None, end
    raise NewerFormatError(f"a record of kind {kind} in the write-ahead log")


def _record_at_1(data: bytes, position: int) -> tuple[Record | None, int] | None:
    """Return the same for format 1, with the row as it is today.

    Such a record tells nothing of others. It counts as its own proof, as in the release that wrote it.
    """
    start = position + RECORD_HEAD_BYTES_1
    if len(data) < start:
        return None
    length, seq = _BODY_1.unpack_from(data, position)
    end = start + length
    if length > PAYLOAD_MAX_BYTES or end > len(data):
        return None
    payload = data[start:end]
    (crc,) = _CRC.unpack_from(data, start - _CRC.size)
    if crc32(payload, crc32(data[position : start - _CRC.size])) != crc:
        return None
    return Record(seq, current_row(payload), seq), end


_RecordAt = Callable[[bytes, int], tuple[Record | None, int] | None]
_FORMATS: dict[int, tuple[_RecordAt, int]] = {
    1: (_record_at_1, RECORD_HEAD_BYTES_1),
    2: (_record_at, RECORD_HEAD_BYTES),
}

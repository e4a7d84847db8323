"""The format of a segment file.

::

    segment = header record*
    header  = magic (8 bytes) · shard (u32) · first sequence number (u64) · CRC-32 of what precedes (u32)
    record  = payload length (u32) · sequence number (u64) · CRC-32 of both and of the payload (u32) · payload

All integers are little-endian. A payload is a JSON row (:mod:`shards.events`).
"""

import struct
from collections.abc import Iterator, Sequence
from zlib import crc32

import attrs

from shards.events import ROW_START

MAGIC = b"FFWAL01\n"
PAYLOAD_MAX_BYTES = 1 << 20

_HEADER_BODY = struct.Struct("<8sIQ")
_RECORD_BODY = struct.Struct("<IQ")
_CRC = struct.Struct("<I")
_RECORD_HEAD = struct.Struct("<IQI")

HEADER_BYTES = _HEADER_BODY.size + _CRC.size
RECORD_HEAD_BYTES = _RECORD_HEAD.size


@attrs.frozen
class Record:
    """One logged row."""

    seq: int
    payload: bytes


@attrs.frozen
class Damage:
    """Bytes of a segment that hold no whole record, with whole records behind them; ``offset`` is in the file."""

    offset: int
    size: int


def encode_header(shard: int, first_seq: int) -> bytes:
    """Return a segment's header."""
    body = _HEADER_BODY.pack(MAGIC, shard, first_seq)
    return body + _CRC.pack(crc32(body))


def decode_header(data: bytes) -> tuple[int, int] | None:
    """Return ``(shard, first_seq)``, or None if the header is not whole."""
    if len(data) < HEADER_BYTES:
        return None
    body, (crc,) = data[: _HEADER_BODY.size], _CRC.unpack_from(data, _HEADER_BODY.size)
    magic, shard, first_seq = _HEADER_BODY.unpack(body)
    if magic != MAGIC or crc != crc32(body):
        return None
    return shard, first_seq


def encode_records(first_seq: int, payloads: Sequence[bytes]) -> bytes:
    """Return the payloads as records with consecutive sequence numbers, ready to be written at once."""
    parts: list[bytes] = []
    pack_body, pack_crc = _RECORD_BODY.pack, _CRC.pack
    for seq, payload in enumerate(payloads, first_seq):
        body = pack_body(len(payload), seq)
        parts += (body, pack_crc(crc32(payload, crc32(body))), payload)
    return b"".join(parts)


class RecordScanner:
    """Takes a segment's bytes in pieces, yields its records, and lists the damage between them.

    An unfinished record is kept for the next piece. Bytes left in the end are a torn tail, or damage with no whole
    record behind it.
    """

    def __init__(self) -> None:
        self._data = b""
        self._offset = HEADER_BYTES
        self.damages: list[Damage] = []

    def feed(self, piece: bytes) -> Iterator[Record]:
        """Yield the records that ``piece`` completes."""
        data = self._data + piece if self._data else piece
        position = 0
        while True:
            record = _record_at(data, position)
            if record is None:
                following = self._find_whole(data, position)
                if following is None:
                    break
                self.damages.append(Damage(self._offset + position, following - position))
                position = following
                continue
            position += RECORD_HEAD_BYTES + len(record.payload)
            yield record
        self._data = data[position:]
        self._offset += position

    @staticmethod
    def _find_whole(data: bytes, position: int) -> int | None:
        """Return the position of the next whole record after a damaged or unfinished one; None: there is none."""
        found = position + RECORD_HEAD_BYTES
        while (found := data.find(ROW_START, found + 1)) != -1:
            if _record_at(data, found - RECORD_HEAD_BYTES) is not None:
                return found - RECORD_HEAD_BYTES
        return None


def _record_at(data: bytes, position: int) -> Record | None:
    start = position + RECORD_HEAD_BYTES
    if len(data) < start:
        return None
    length, seq, crc = _RECORD_HEAD.unpack_from(data, position)
    end = start + length
    if length > PAYLOAD_MAX_BYTES or end > len(data):
        return None
    payload = data[start:end]
    if crc32(payload, crc32(data[position : position + _RECORD_BODY.size])) != crc:
        return None
    return Record(seq, payload)

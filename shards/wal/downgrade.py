"""The log written as the release before reads it: every segment in format 1, with the same numbers (ADR-014).

A segment is replaced as a whole, oldest first, so that the log is readable by this release at any moment: it reads
both formats. If the work is broken off, it can be done again from the start.

A record of format 1 has one stamp. It is the order, because the release before takes it for both, and the first
received has to stand. So the time of receipt of these rows is their order from then on.
"""

import errno
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import attrs

from shards.events import former_row
from shards.logger import get_logger
from shards.wal.files import make_directory, replace_file, sync_directory
from shards.wal.log import ShardLog
from shards.wal.record import MAGIC_1, Record
from shards.wal.segment import SegmentReader
from shards.wal.segments import DAMAGED_DIRECTORY, Segment

_log = get_logger(__name__)

_HEADER = struct.Struct("<8sIQ")
_HEAD = struct.Struct("<IQ")
_CRC = struct.Struct("<I")


@attrs.frozen(kw_only=True)
class RewrittenLog:
    """What was written in format 1: counts of segments and of records, and the segments with damage, kept aside."""

    segments: int
    records: int
    kept: tuple[Path, ...]


def downgrade_log(log: ShardLog) -> RewrittenLog:
    """Write the segments of a recovered and closed log in format 1, as far as they are not. Blocking.

    What lies behind a segment's last whole record is left out, and so are abandoned records. A segment with damage is
    kept in ``damaged/`` as it was, before its whole records are written.

    Raises OSError: the segments before are written, the others are as they were.
    """
    _check_end(log)
    written, records, kept, last_seq = 0, 0, [], log.durable_seq
    for segment, found in _segments_of(log):
        last_seq = found.last_seq
        if found.format == 1:
            continue
        if found.is_damaged:
            kept.append(_keep(segment.path))
        replace_file(segment.path, _header(log.shard, segment.first_seq) + b"".join(_encoded(found.records)))
        written, records = written + 1, records + len(found.records)
    if last_seq < log.durable_seq:  # format 1 has no other way to say which numbers were given out
        replace_file(log.segments.next_path(), _header(log.shard, log.durable_seq + 1))
    return RewrittenLog(segments=written, records=records, kept=tuple(kept))


@attrs.frozen(kw_only=True)
class _FoundRecords:
    """A segment's whole records that count, and the last number before the next segment's that they show."""

    records: list[Record]
    last_seq: int
    is_damaged: bool
    format: int


def _segments_of(log: ShardLog) -> Iterator[tuple[Segment, _FoundRecords]]:
    """Yield the segments, oldest first, with their records; one whose header is damaged counts as of format 2."""
    segments = list(log.segments)
    for segment, end in zip(segments, [*(one.first_seq for one in segments[1:]), sys.maxsize], strict=False):
        with SegmentReader(segment.path) as reader:
            records = [record for record in reader.records() if record.seq < end]
            yield (
                segment,
                _FoundRecords(
                    records=records,
                    last_seq=records[-1].seq if records else segment.first_seq - 1,
                    is_damaged=segment.damaged or bool(reader.damages),
                    format=reader.header.format if reader.header else 2,
                ),
            )


def _check_end(log: ShardLog) -> None:
    """Raise OSError if the recovery could not make the end of the log durable, because then its numbers may change."""
    tail = log.segments.tail(proven=log.durable_seq)
    if tail is not None and (tail.strays or tail.size != tail.end):
        raise OSError(errno.EIO, "the end of the log could not be made durable", str(tail.path))


def _header(shard: int, first_seq: int) -> bytes:
    body = _HEADER.pack(MAGIC_1, shard, first_seq)
    return body + _CRC.pack(crc32(body))


def _encoded(records: list[Record]) -> Iterator[bytes]:
    for record in records:
        payload = former_row(record.payload)
        body = _HEAD.pack(len(payload), record.seq)
        yield body
        yield _CRC.pack(crc32(payload, crc32(body)))
        yield payload


def _keep(path: Path) -> Path:
    """Give a file a second, durable name in ``damaged/``, under which it stays when it is replaced."""
    kept = path.parent / DAMAGED_DIRECTORY
    make_directory(kept)
    target = kept / f"{path.stem}-{os.urandom(4).hex()}.wal"
    os.link(path, target)
    sync_directory(kept)
    _log.error("damaged segment kept", path=str(path), kept_in=str(target))
    return target

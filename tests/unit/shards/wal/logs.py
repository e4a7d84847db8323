"""Logs of tests: on real files, with rows that tell their number."""

import struct
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

import attrs

from shards.events import Event, encode_row
from shards.runs import size
from shards.wal.checkpoint import Checkpoint
from shards.wal.log import ShardLog
from shards.wal.reader import LogReader
from shards.wal.recovery import Recovery


def row(number: int, *, match_id: str = "m1", metadata: str = "{}") -> bytes:
    return encode_row(Event(match_id, f"id-{number}", "pass", 1_700_000_000_000, "1", "", metadata, number, number))


def reopened(directory: Path, *, segment_max_bytes: int = 1 << 20) -> tuple[ShardLog, Recovery]:
    log = ShardLog(directory, shard=0, segment_max_bytes=segment_max_bytes)
    return log, log.recover()


def open_log(directory: Path, *, segment_max_bytes: int = 1 << 20) -> ShardLog:
    return reopened(directory, segment_max_bytes=segment_max_bytes)[0]


def lost(log: ShardLog, recovery: Recovery) -> int:
    return log.checkpoint.damaged + size(recovery.damaged)


def essence(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint without what each life of a log writes anew."""
    return attrs.evolve(checkpoint, durable=0, order_upto=0)


def append(log: ShardLog, *rows: bytes) -> int:
    first = log.append(rows)
    log.sync()
    log.acknowledge()
    return first


def read_all(log: ShardLog, *, after: int = 0) -> list[tuple[int, bytes]]:
    reader = LogReader(log, after_seq=after)
    found = []
    while records := reader.read(upto_seq=log.durable_seq, max_rows=3, max_bytes=1 << 20):
        found += [(record.seq, record.payload) for record in records]
    reader.close()
    return found


def segment_files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.wal"))


OLD_ROW = (
    b'{"match_id":"m1","event_id":"id-%d","event_type":"pass","timestamp":1,"team_id":"1","player_id":"",'
    b'"metadata":"{}","received_ns":%d}'
)


def old_row(number: int) -> bytes:
    return OLD_ROW % (number, number)


def old_segment(first_seq: int, rows: Sequence[bytes]) -> bytes:
    """Return a segment as the release before wrote it, by the letter of its format."""
    body = struct.pack("<8sIQ", b"FFWAL01\n", 0, first_seq)
    content = body + struct.pack("<I", crc32(body))
    for seq, payload in enumerate(rows, first_seq):
        body = struct.pack("<IQ", len(payload), seq)
        content += body + struct.pack("<I", crc32(payload, crc32(body))) + payload
    return content

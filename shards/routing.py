"""Which shard an event belongs to."""

from zlib import crc32


def shard_of(match_id: str, shards: int) -> int:
    """Return the shard of a match, 0 to ``shards`` - 1.

    CRC-32 and not ``hash()``: the same match has to reach the same shard in every process.
    """
    return crc32(match_id.encode()) % shards

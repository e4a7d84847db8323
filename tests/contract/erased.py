"""What the tests of erasure need: a match whose every byte can be looked for, wherever it may be."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from shards.shardset import ShardSet
from shards.stores.base import Store
from tests.contract.shardsets import DEADLINE_S
from tests.statements import alter, execute

GONE = "gone-7f3a"
"""The match that is erased, and what stands in the metadata of its events."""

MARKER = f'{{"note":"secret of {GONE}"}}'


async def make_readable(store: Store) -> None:
    """Have ClickHouse keep texts as they are, and remove old parts soon, so that a search finds what is there."""
    for column in ("match_id", "metadata", "player_id"):
        await alter(store, f"MODIFY COLUMN {column} String CODEC(NONE)")
    settings = "old_parts_lifetime = 1, cleanup_delay_period = 1, cleanup_delay_period_random_add = 0"
    await alter(store, f"MODIFY SETTING {settings}, max_cleanup_delay_period = 1")


async def erased(shards: ShardSet) -> None:
    """Wait until no erasure is under way; TimeoutError if that takes longer than `DEADLINE_S`."""
    async with asyncio.timeout(DEADLINE_S):
        while shards.snapshot().erasures:
            await asyncio.sleep(0.02)


async def found_in_tables(store: Store, text: bytes) -> list[str]:
    """Files of ClickHouse's tables that hold a text, but for those of parts that were replaced and go by themselves."""
    rows = await execute(store, "SELECT arrayJoin(data_paths) FROM system.tables WHERE database = '{db}'")
    old = await execute(store, "SELECT path FROM system.parts WHERE database = '{db}' AND NOT active")
    found = [str(path) for (directory,) in rows for path in files_with(Path(directory), text)]
    return [path for path in found if not any(path.startswith(directory) for (directory,) in old)]


async def old_parts_gone(store: Store) -> None:
    """Wait until the parts that were replaced are removed; TimeoutError if that takes longer than `DEADLINE_S`."""
    async with asyncio.timeout(DEADLINE_S):
        while await execute(store, "SELECT name FROM system.parts WHERE database = '{db}' AND NOT active"):
            await asyncio.sleep(0.5)


def files_with(directory: Path, text: bytes) -> Iterator[Path]:
    """Yield the files under a directory that hold a text."""
    for path in sorted(directory.rglob("*")):
        try:
            if path.is_file() and text in path.read_bytes():
                yield path
        except FileNotFoundError:  # an old part that was removed meanwhile
            continue

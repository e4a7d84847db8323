"""Run under strace by ``test_recorder.py``: uses every file of the data directory; prints what the recorder noted.

Usage: ``python -m tests.power.traced DIRECTORY``
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from shards.deadletters.file import DeadLetterFile
from shards.events import Event, encode_row
from shards.observer import Observer
from shards.wal.checkpoint import Checkpoint
from shards.wal.committer import Committer
from shards.wal.directory import DataDirectory
from shards.wal.journal import Unprovable
from shards.wal.log import ShardLog
from tests.syscalls import Recorder


def _row(number: int) -> bytes:
    return encode_row(Event("m", f"id-{number}", "pass", 1, "1", "", "{}", number, number))


async def _use(directory: Path) -> None:
    """Two lives of a log with rotation, letters, checkpoints, and a file that is cut, linked and removed."""
    for life in range(2):
        data = DataDirectory(directory)
        data.lock()
        letters = DeadLetterFile(directory / "deadletters" / "shard-000.jsonl", shard=0)
        letters.recover()
        log = ShardLog(directory / "wal" / "shard-000", shard=0, segment_max_bytes=400)
        log.recover(letters_after=letters.rows_after)
        committer = Committer(sync="always", observer=Observer())
        committer.start()
        first = 1
        for number in range(5):
            first = await committer.submit(log, [_row(10 * life + number)], lambda *_: None)
        await letters.put_aside(seq=first, row=_row(10 * life + 4), code=1, error="refused")
        await letters.settle(f"0-{first}", "discarded")
        log.journal.note(Unprovable.noted_now("not_noted", ((1, first),)))
        log.truncate(Checkpoint(upto=first, confirmed=first - 1, dead_lettered=1))
        await committer.close()
        log.close()
        data.close()
    _edges(directory)


def _edges(directory: Path) -> None:
    """Calls that the code makes rarely, or may come to make."""
    directory.joinpath("made").mkdir()
    fd = os.open(directory / "made" / "file", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    os.write(fd, b"0123456789")
    os.pwrite(fd, b"x", 3)
    os.ftruncate(fd, 5)
    os.fdatasync(fd)
    os.close(fd)
    os.truncate(directory / "made" / "file", 2)
    os.link(directory / "made" / "file", directory / "made" / "other")
    directory.joinpath("made", "other").rename(directory / "made" / "file-2")
    os.close(os.open(directory / "made" / "file-2", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC))
    os.remove(directory / "made" / "file-2")  # noqa: PTH107 - another name for the same call
    directory.joinpath("made", "file").unlink()
    directory.joinpath("made").rmdir()
    directory.joinpath("missing").unlink(missing_ok=True)


if __name__ == "__main__":
    with Recorder(Path(sys.argv[1])) as calls:
        asyncio.run(_use(Path(sys.argv[1]) / "data"))
    noted = [one for one in calls.operations if one.call != "open" or one.mode != "read"]
    print(json.dumps([[one.call, one.path, one.target, one.data.hex(), one.error] for one in noted]))

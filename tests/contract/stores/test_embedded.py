"""The engine inside the process: its directory, its end, and its manners."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shards.errors import StoreFailed, StoreUnavailable
from shards.stores import embedded
from shards.stores.embedded import EmbeddedStore
from tests.contract.rows import batch, count, event
from tests.statements import execute

_HOLD = """
import asyncio, sys
from pathlib import Path
from shards.stores import embedded
from shards.stores.embedded import EmbeddedStore
from tests.contract.rows import batch, event

async def main():
    store = EmbeddedStore(Path(sys.argv[1]), shard_count=1)
    await store.open()
    await store.insert_direct(batch([event() for _ in range(5)], number=1))
    await store.insert_buffered(batch([event()], number=2))
    print("ready", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


_OPEN_ONCE = """
import asyncio, os, sys
from pathlib import Path
from shards.stores.embedded import EmbeddedStore

async def main():
    store = EmbeddedStore(Path(sys.argv[1]), shard_count=1)
    await store.open()
    await store.close()

asyncio.run(main())
"""


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[bytes]:
    """A process that works on ``tmp_path`` / chdb: five rows landed, one buffered."""
    process = subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path / "chdb")], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


async def test_after_sigkill_what_landed_is_there_and_what_was_buffered_is_not(
    holder: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    holder.kill()
    holder.wait()
    store = EmbeddedStore(tmp_path / "chdb", shard_count=1)
    await store.open()
    await store.flush_buffer(0)
    assert await store.landed("w1", 0, [1, 2]) == {1: 5}
    assert await count(store) == 5
    await store.close()


async def test_a_directory_that_another_process_uses_is_refused_and_free_afterwards(
    holder: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    store = EmbeddedStore(tmp_path / "chdb", shard_count=1)
    with pytest.raises(StoreFailed, match="does another process use it"):
        await store.open()
    holder.kill()
    holder.wait()
    await store.open()
    assert await count(store) == 5
    await store.close()


async def test_a_path_that_is_a_file_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = EmbeddedStore(tmp_path / "file", shard_count=1)
    with pytest.raises(StoreFailed):
        await store.open()
    await store.close()


async def test_a_store_that_is_not_open_is_unavailable(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "chdb", shard_count=1)
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.fetch("SELECT 1")
    await store.open()
    await store.close()
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.insert_direct(batch([event()]))


async def test_signals_stay_python_s(tmp_path: Path) -> None:
    got: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.signal(number, lambda received, _: got.append(received))
        try:
            store = EmbeddedStore(tmp_path / "chdb", shard_count=1)
            await store.open()
            os.kill(os.getpid(), number)
            await store.fetch("SELECT 1")
            assert got == [number]
            await store.close()
        finally:
            signal.signal(number, before)
        got.clear()


def test_a_path_that_the_engine_would_misread_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="question mark"):
        EmbeddedStore(tmp_path / "a?b", shard_count=1)


async def test_a_read_that_lasts_is_given_up_and_others_have_their_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "READ_MAX_S", 1)
    store = EmbeddedStore(tmp_path / "chdb", shard_count=1)
    await store.open()
    with pytest.raises(StoreUnavailable) as given_up:
        await store.fetch(
            "SELECT sum(sleepEachRow(1)) FROM numbers(60) "
            "SETTINGS function_sleep_max_microseconds_per_block = 0, max_block_size = 1"
        )
    assert given_up.value.code == 159
    assert await execute(store, "SELECT value FROM system.settings WHERE name = 'max_execution_time'") == [("0",)]
    await store.close()


async def test_temporary_files_are_in_its_own_directory_because_no_other_may_take_any(tmp_path: Path) -> None:
    """What ``TMPDIR`` names is missing here, as ``/tmp`` cannot be written in a container with a read-only root."""
    environ = os.environ | {"TMPDIR": str(tmp_path / "missing")}
    code = f"""{_OPEN_ONCE}
print(os.environ["TMPDIR"])"""
    arguments = [sys.executable, "-c", code, str(tmp_path / "chdb")]
    ended = subprocess.run(arguments, env=environ, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, f"{tmp_path / 'missing'}\n"), ended.stderr
    assert list((tmp_path / "chdb" / "tmp").iterdir()) == []

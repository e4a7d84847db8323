"""SIGHUP: what becomes of the service when its terminal is closed, and when somebody sends it."""

import asyncio
import os
import pty
import shlex
import signal
import sys
from pathlib import Path

import aiohttp

from tests.e2e.asking import get, post, until
from tests.e2e.process import DEADLINE_S, Process, Start
from tests.paths import ROOT


async def is_healthy(http: aiohttp.ClientSession, url: str) -> bool:
    return bool((await get(http, f"{url}/health"))["status"] == "healthy")


async def test_without_a_terminal_it_ends_nothing(start: Start, http: aiohttp.ClientSession) -> None:
    process = await start()
    url = await process.url()
    for _ in range(3):
        process.send(signal.SIGHUP)
    assert (await process.event("nothing to read again"))["level"] == "info"
    assert await is_healthy(http, url)
    assert await process.ends(signal.SIGTERM) == 0


async def test_under_nohup_it_stays_ignored(http: aiohttp.ClientSession, tmp_path: Path) -> None:
    settings = {"PORT": 0, "DATA_DIR": tmp_path, "MONITOR": "", "LOG_FORMAT": "json"}
    environ = os.environ | {f"FANFINITY_{name}": str(value) for name, value in settings.items()}
    command = f"trap '' HUP; exec {shlex.quote(sys.executable)} -m app serve"
    started = await asyncio.create_subprocess_exec(
        "sh", "-c", command, cwd=ROOT, env=environ, stderr=asyncio.subprocess.PIPE
    )
    process = Process(started)
    try:
        url = await process.url()
        process.send(signal.SIGHUP)
        assert await is_healthy(http, url)
        ignored = int(Path(f"/proc/{started.pid}/status").read_text().partition("SigIgn:")[2].split()[0], 16)
        assert ignored >> (signal.SIGHUP - 1) & 1
        assert await process.ends(signal.SIGTERM) == 0
        assert not [line for line in process.records if line["event"] == "nothing to read again"]
    finally:
        await process.close()


async def test_a_terminal_that_is_closed_drains_it(start: Start, http: aiohttp.ClientSession, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    settings = {"PORT": 0, "DATA_DIR": tmp_path / "data", "MONITOR": "", "CHECKPOINT_INTERVAL_MS": 600_000}
    environ = os.environ | {f"FANFINITY_{name}": str(value) for name, value in settings.items()}
    # The first terminal that the leader of a session opens for reading, too, is its own.
    command = f"exec {shlex.quote(sys.executable)} -m app serve 2<>{os.ttyname(theirs)}"
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", command, cwd=ROOT, env=environ, start_new_session=True, stdin=asyncio.subprocess.DEVNULL
    )
    os.close(theirs)
    token = tmp_path / "data" / "admin-token"

    async def is_up() -> bool:
        return token.exists()

    try:
        await until(is_up)
        await post(http, token.read_text().splitlines()[1], 50)
    finally:
        os.close(ours)
    try:
        async with asyncio.timeout(DEADLINE_S):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
    assert not token.exists()
    again = await start()
    accounting = (await get(http, f"{await again.url()}/api/status"))["accounting"]
    assert (accounting["confirmed"], accounting["pending"]) == (50, 0)
    assert await again.ends(signal.SIGTERM) == 0

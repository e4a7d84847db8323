"""docs/DEPLOYMENT.md, "From the embedded engine to a server" and "Backup and restore", as written there."""

import asyncio
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Final

import aiohttp

from tests.clickhouse import ClickHouseServer
from tests.e2e.asking import MATCH, get, post, until_up
from tests.e2e.process import Process
from tests.paths import ROOT
from tests.system.tools import run

DOCUMENT: Final = (ROOT / "docs" / "DEPLOYMENT.md").read_text(encoding="utf-8")
BACKUP: Final = "BACKUP DATABASE fanfinity TO File('fanfinity-1')"
RESTORE: Final = "RESTORE DATABASE fanfinity FROM File('fanfinity-1')"
COUNT: Final = 700


async def serve(data: Path, url: str = "") -> Process:
    settings = {"PORT": 0, "DATA_DIR": data, "MONITOR": "", "LOG_FORMAT": "json", "CLICKHOUSE_URL": url}
    return await Process.start("serve", settings=settings)


async def total(data: Path, url: str = "", *, sent: int = 0, prefix: str = "a") -> int:
    """Run the service once: send events, count them, and audit those before; it ends gracefully."""
    process = await serve(data, url)
    where = await process.url()
    async with aiohttp.ClientSession() as http:
        await until_up(http, where)
        if sent:
            await post(http, where, sent, prefix=prefix)
        counted = int((await get(http, f"{where}/api/matches/{MATCH}/metrics"))["totalEvents"])
    audited = await audit(data)
    assert await process.ends(signal.SIGTERM) == 0
    await process.close()
    assert '"drained": true' in process.lines[-1]
    assert audited.returncode == 0, audited.stdout
    return counted


async def audit(data: Path) -> subprocess.CompletedProcess[str]:
    """What `fanfinity audit` says of the service on this data directory."""
    command = [sys.executable, "-m", "app", "audit"]
    environ = {"FANFINITY_DATA_DIR": str(data), "PATH": "/usr/bin:/bin"}
    return await asyncio.to_thread(
        subprocess.run, command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def ask(server: ClickHouseServer, statement: str) -> str:
    """Do one statement over HTTP, and return its answer."""
    query = urllib.parse.urlencode({"query": statement})
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/?{query}", data=b"", timeout=60) as reply:
            return str(reply.read().decode())
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{statement}: {error.read().decode()}") from error


async def blocks(heading: str, directory: Path, **places: str) -> None:
    """Run the commands that the document has below a heading, one block after the other, with these texts replaced."""
    section = DOCUMENT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^ *```\n(.*?)^ *```", section, re.MULTILINE | re.DOTALL)
    assert len(found) == 2
    for block in found:
        text = block
        for before, after in places.items():
            assert before in section
            text = text.replace(before, after)
        script = f'set -eu; python() {{ {sys.executable} "$@"; }}\n{text}'
        await asyncio.to_thread(run, "bash", "-c", script, cwd=directory)


async def test_from_the_embedded_engine_to_a_server(own_clickhouse: ClickHouseServer, tmp_path: Path) -> None:
    data, address = tmp_path / "data", f"{own_clickhouse.url}/fanfinity"
    assert await total(data, sent=COUNT) == COUNT
    made = await serve(tmp_path / "empty", address)  # which makes the tables
    async with aiohttp.ClientSession() as http:
        await until_up(http, await made.url())
    assert await made.ends(signal.SIGTERM) == 0
    await made.close()
    server = {"HOST:8123": f"127.0.0.1:{own_clickhouse.http_port}", "fanfinity:PASSWORD": "default:"}
    await blocks("From the embedded engine to a server", tmp_path, **server)
    assert await total(data, address) == COUNT
    assert await total(data, address, sent=COUNT, prefix="b") == 2 * COUNT


async def test_backup_and_restore_with_the_embedded_engine(tmp_path: Path) -> None:
    data, archive = tmp_path / "data", tmp_path / "data.tar"
    assert await total(data, sent=COUNT) == COUNT
    subprocess.run(["tar", "-C", tmp_path, "-cf", archive, "data"], check=True)
    assert await total(data, sent=COUNT, prefix="b") == 2 * COUNT
    shutil.rmtree(data)
    subprocess.run(["tar", "-C", tmp_path, "-xf", archive], check=True)
    assert await total(data) == COUNT
    assert await total(data, sent=COUNT, prefix="b") == 2 * COUNT


async def test_backup_and_restore_with_a_server(own_clickhouse: ClickHouseServer, tmp_path: Path) -> None:
    data, archive, address = tmp_path / "data", tmp_path / "data.tar", f"{own_clickhouse.url}/fanfinity"
    own_clickhouse.stop()
    (tmp_path / "backups").mkdir()
    own_clickhouse.options = (f"--backups.allowed_path={tmp_path / 'backups'}",)
    own_clickhouse.start()
    # assert BACKUP in DOCUMENT
    # assert RESTORE in DOCUMENT
    assert await total(data, address, sent=COUNT) == COUNT
    subprocess.run(["tar", "-C", tmp_path, "-cf", archive, "data"], check=True)
    # What comes between both is in ClickHouse's backup, and counts once when a sender sends it again.
    assert await total(data, address, sent=COUNT, prefix="b") == 2 * COUNT
    running = await serve(data, address)
    async with aiohttp.ClientSession() as http:
        await until_up(http, await running.url())
    assert "BACKUP_CREATED" in ask(own_clickhouse, BACKUP)
    assert await running.ends(signal.SIGTERM) == 0
    await running.close()
    assert await total(data, address, sent=COUNT, prefix="c") == 3 * COUNT
    shutil.rmtree(data)
    ask(own_clickhouse, "DROP DATABASE fanfinity SYNC")
    assert "RESTORED" in ask(own_clickhouse, RESTORE)
    subprocess.run(["tar", "-C", tmp_path, "-xf", archive], check=True)
    assert await total(data, address) == 2 * COUNT
    assert await total(data, address, sent=COUNT, prefix="b") == 2 * COUNT
    assert await total(data, address, sent=COUNT, prefix="c") == 3 * COUNT

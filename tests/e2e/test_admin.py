"""The admin token of the service as a process: when its file is there, who can use it, and where it is not seen."""

import asyncio
import json
import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from app.web.admin_token import AdminToken
from tests.clickhouse import free_port
from tests.e2e.asking import until_up
from tests.e2e.process import DEADLINE_S, ROOT, Start
from tests.http.admin import admin_requests
from tests.http.command import run

LETTERS = "/api/deadletters"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def file(data_dir: Path) -> Path:
    return data_dir / "admin-token"


def bearer(data_dir: Path) -> dict[str, str]:
    return {"Authorization": f"Bearer {AdminToken.read(data_dir).secret}"}


async def status_of(http: aiohttp.ClientSession, url: str, headers: dict[str, str] | None = None) -> int:
    async with http.get(url + LETTERS, headers=headers) as reply:
        return reply.status


async def test_the_file_names_the_service_and_goes_with_it(
    start: Start, http: aiohttp.ClientSession, data_dir: Path, file: Path
) -> None:
    service = await start()
    url = await service.url()
    assert AdminToken.read(data_dir).url == url
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert await status_of(http, url) == 401
    assert await status_of(http, url, bearer(data_dir)) == 200
    assert await service.ends(signal.SIGTERM) == 0
    assert not file.exists()


async def test_what_a_killed_process_left_is_replaced(
    start: Start, http: aiohttp.ClientSession, data_dir: Path, file: Path
) -> None:
    first = await start()
    await first.url()
    assert await first.ends(signal.SIGKILL) == -signal.SIGKILL
    old = bearer(data_dir)
    second = await start()
    url = await second.url()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert AdminToken.read(data_dir).url == url
    assert await status_of(http, url, old) == 401
    assert await status_of(http, url, bearer(data_dir)) == 200


async def test_whoever_can_connect_can_read_it_already(start: Start, data_dir: Path) -> None:
    port = free_port()
    await start(PORT=port)

    def first_connection() -> None:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except ConnectionRefusedError:
                continue
            return

    async with asyncio.timeout(DEADLINE_S):
        await asyncio.to_thread(first_connection)
    assert AdminToken.read(data_dir).url == f"http://127.0.0.1:{port}"


async def test_a_start_that_fails_leaves_no_file_and_takes_no_others(start: Start, tmp_path: Path) -> None:
    first = await start()
    url = await first.url()
    before = AdminToken.read(tmp_path / "data")
    same_directory = await start()
    assert await same_directory.ends() == 1
    same_port = await start(PORT=url.rpartition(":")[2], DATA_DIR=tmp_path / "other")
    assert await same_port.ends() == 1
    assert AdminToken.read(tmp_path / "data") == before
    assert (tmp_path / "other").is_dir()
    assert list((tmp_path / "other").glob("admin*")) == []


async def test_where_it_cannot_be_written_the_service_starts_and_says_so(
    start: Start, http: aiohttp.ClientSession, data_dir: Path, file: Path
) -> None:
    file.mkdir(parents=True)
    service = await start()
    url = await service.url()
    line = await service.event("admin token not written")
    assert (line["level"], line["path"], line["error"]) == ("warning", str(file), "Is a directory")
    assert await status_of(http, url) == 401
    ended = await run("deadletters", "list", environment={"FANFINITY_DATA_DIR": str(data_dir)})
    assert ended.code == 1
    assert "no running service found in" in ended.err
    assert await service.ends(signal.SIGTERM) == 0
    assert file.is_dir()


async def test_the_commands_find_the_service_on_any_port(
    start: Start, http: aiohttp.ClientSession, data_dir: Path
) -> None:
    service = await start()
    url = await service.url()
    await until_up(http, url)
    environment = {"FANFINITY_DATA_DIR": str(data_dir)}
    for arguments, says in (
        (("audit",), "whole"),
        (("deadletters", "list"), "no dead letters"),
        (("deadletters", "list", "--url", url.replace("127.0.0.1", "localhost") + "/"), "no dead letters"),
        (("status",), "ready"),
    ):
        ended = await run(*arguments, environment=environment)
        assert (ended.code, ended.err) == (0, ""), arguments
        assert says in ended.out
    elsewhere = {"FANFINITY_DATA_DIR": str(data_dir / "none"), "FANFINITY_API_KEY": ""}
    for arguments, code in ((("audit",), 2), (("deadletters", "list"), 1)):
        ended = await run(*arguments, environment=elsewhere)
        assert (ended.code, ended.out) == (code, "")
        assert "no running service found in" in ended.err
        refused = await run(*arguments, "--url", url, environment=elsewhere)
        assert (refused.code, refused.out) == (code, "")
        assert "answered 401: This is for operators." in refused.err
        assert "no token was sent: FANFINITY_API_KEY is not set, and no running service found in" in refused.err
    assert (await run("status", "--url", url, environment=elsewhere)).code == 0


async def test_the_token_is_in_no_line_of_the_log_nor_in_what_the_service_tells(
    start: Start, http: aiohttp.ClientSession, data_dir: Path
) -> None:
    service = await start(LOG_LEVEL="DEBUG", API_KEY="ff_me_secret")
    url = await service.url()
    await until_up(http, url)
    token = AdminToken.read(data_dir).secret
    told = []
    for path in (LETTERS, f"{LETTERS}/none", "/api/audit", "/api/status", "/ready", "/metrics", "/openapi.json", "/"):
        for given in (f"Bearer {token}", f"Bearer {token}x", f"Basic {token}"):
            async with http.get(url + path, headers={"Authorization": given}) as reply:
                told.append(f"{reply.headers} {await reply.text()}")
    for arguments in (("audit",), ("deadletters", "show", "none"), ("status", "--json")):
        ended = await run(*arguments, environment={"FANFINITY_DATA_DIR": str(data_dir)})
        told.append(ended.out + ended.err)
    assert await service.ends(signal.SIGTERM) == 0
    assert len(service.lines) > 5
    for text in (*told, *service.lines):
        assert token not in text
        assert "ff_me_secret" not in text


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A data directory that everybody may look into: only the file itself can keep others out."""
    with tempfile.TemporaryDirectory(prefix="fanfinity-admin-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


BECOME_NOBODY = """
import encodings.idna, http.client, json, os, sys
import app.__main__, app.commands.deadletters
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[2]))
del sys.argv[1:3]
"""
COMMAND = "app.__main__.main(prog_name='fanfinity')"
REQUESTS = """
connection = http.client.HTTPConnection(sys.argv[1])
for method, path in json.loads(sys.argv[2]):
    connection.request(method, path)
    reply = connection.getresponse()
    reply.read()
    print(reply.status)
"""


def as_nobody(data_dir: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python as the user nobody, with what it imports loaded before, when it may still read that."""
    nobody = pwd.getpwnam("nobody")
    return subprocess.run(
        [sys.executable, "-c", BECOME_NOBODY + code, str(nobody.pw_gid), str(nobody.pw_uid), *arguments],
        env=os.environ | {"FANFINITY_DATA_DIR": str(data_dir), "FANFINITY_API_KEY": ""},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_another_user_of_the_machine_is_not_let_in(start: Start, open_directory: Path) -> None:
    service = await start(DATA_DIR=open_directory)
    url = await service.url()
    looked = await asyncio.to_thread(as_nobody, open_directory, "print(os.listdir(os.environ['FANFINITY_DATA_DIR']))")
    assert looked.stderr.splitlines()[-1].startswith("PermissionError: "), looked.stderr
    read = await asyncio.to_thread(as_nobody, open_directory, "open(sys.argv[1])", str(open_directory / "admin-token"))
    assert read.stderr.splitlines()[-1].startswith("PermissionError: "), read.stderr

    everything = list(admin_requests())
    asked = await asyncio.to_thread(
        as_nobody, open_directory, REQUESTS, url.removeprefix("http://"), json.dumps(everything)
    )
    assert asked.stdout.split() == ["401"] * len(everything), asked.stderr

    without = await asyncio.to_thread(as_nobody, open_directory, COMMAND, "deadletters", "list")
    assert (without.returncode, without.stdout) == (1, "")
    assert "admin-token cannot be read (Permission denied)" in without.stderr
    assert "run this as the user who runs the service" in without.stderr
    refused = await asyncio.to_thread(as_nobody, open_directory, COMMAND, "deadletters", "list", "--url", url)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "answered 401" in refused.stderr

"""Keys of the service as a process: made by a command, carried by files and shells, read again, and seen nowhere."""

import asyncio
import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from app.access.keys import ApiKey
from app.access.principal import Scope
from tests.e2e.asking import until
from tests.e2e.process import Start
from tests.http.command import run
from tests.paths import ROOT

CHEER = {"matchId": "m", "eventType": "cheer"}


async def _made(name: str, scopes: str, *options: str) -> dict[str, Any]:
    result = await run("keys", "new", name, "--scopes", scopes, "--json", *options)
    assert result.code == 0, result.err
    made: dict[str, Any] = json.loads(result.out)
    return made


async def _send(http: aiohttp.ClientSession, url: str, key: str = "") -> int:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with http.post(f"{url}/api/events", json=CHEER, headers=headers) as reply:
        return reply.status


async def test_a_file_is_read_again_by_a_signal(start: Start, http: aiohttp.ClientSession, tmp_path: Path) -> None:
    one, other = await _made("one", "ingest"), await _made("other", "ingest")
    file = tmp_path / "keys"
    file.write_text(f"# first\n{one['line']}\n")
    service = await start(API_KEYS_FILE=file)
    url = await service.url()
    assert [await _send(http, url, key) for key in ("", one["key"], other["key"])] == [401, 202, 401]
    assert not [line for line in service.records if line["event"] == "service open to everyone"]

    file.write_text(f"{other['line']}\n")
    service.send(signal.SIGHUP)

    async def changed() -> bool:
        return await _send(http, url, one["key"]) == 401

    await until(changed)
    assert await _send(http, url, other["key"]) == 202

    file.write_text("other:ingest")
    service.send(signal.SIGHUP)

    async def degraded() -> bool:
        async with http.get(f"{url}/ready") as reply:
            ready = await reply.json()
            assert reply.status == 200
            return bool(ready["checks"]["keys"] != "healthy" and ready["status"] == "degraded")

    await until(degraded)
    assert await _send(http, url, other["key"]) == 202
    assert await service.ends(signal.SIGTERM) == 0
    log = "\n".join(service.lines)
    assert "keys not read" in log
    assert not any(secret in log for secret in (one["key"], other["key"], one["line"], other["line"]))


@pytest.mark.parametrize("content", ["one:ingest", "ff_one_AAAAAAAAAAAAAAAAAAAAAAAAAAA", None])
async def test_a_file_that_is_no_good_is_one_line(start: Start, tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_text(content)
    service = await start(API_KEYS_FILE=file)
    assert await service.ends() != 0
    [line] = service.records
    assert "FANFINITY_API_KEYS_FILE" in line["error"]
    assert "AAAA" not in line["error"]


async def test_what_is_configured_goes_through_files_and_shells_unchanged(tmp_path: Path) -> None:
    odd = ["--matches", "liga $HOME `id` \"'\\ #% é", "--until", "2099-01-31T00:00:00Z"]
    value = ",".join([(await _made("feed", "ingest+read", *odd))["line"], (await _made("boss", "admin"))["line"]])
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"FANFINITY_API_KEYS={value}\n")
    show = f'{shlex.quote(sys.executable)} -c \'import os; print(os.environ["FANFINITY_API_KEYS"], end="")\''
    exported = f"export FANFINITY_API_KEYS={value}; {show}"
    for command in (f"set -a; . {dotenv}; {show}", exported, f"FANFINITY_API_KEYS={value} {show}"):
        assert subprocess.run(["sh", "-c", command], capture_output=True, check=True, text=True).stdout == value
    assert yaml.safe_load(f"env:\n  - name: FANFINITY_API_KEYS\n    value: {value}\n")["env"][0]["value"] == value
    assert "$" not in value


async def test_commands_send_the_key_of_the_environment_and_show_it_nowhere(
    start: Start, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    text, key = ApiKey.new("feed", [Scope.INGEST])
    service = await start(API_KEYS=key.line())
    url = await service.url()
    simulate = ["simulate", "--url", url, "--minutes", "1", "--speed", "600", "--give-up-after", "5"]
    elsewhere = {"FANFINITY_DATA_DIR": str(tmp_path / "elsewhere")}
    refused = await run(*simulate, environment=elsewhere)
    assert refused.code != 0
    assert "This needs a key" in refused.out + refused.err
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", *simulate),
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "FANFINITY_API_KEY": text, **elsewhere},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert text not in Path(f"/proc/{process.pid}/cmdline").read_text()
    out, _ = await process.communicate()
    assert process.returncode == 0, out
    assert text not in out.decode()
    by_token = await run(*simulate, environment={"FANFINITY_DATA_DIR": str(tmp_path / "data")})
    assert by_token.code == 0, by_token.err
    assert text not in "\n".join(service.lines)
    assert await service.ends(signal.SIGTERM) == 0

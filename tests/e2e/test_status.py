"""`fanfinity status` against a running service."""

import asyncio
import json
import signal
import sys
from functools import partial
from pathlib import Path

import aiohttp

from app.web.admin_token import AdminToken
from tests.clickhouse import free_port
from tests.e2e.asking import post, until_up
from tests.e2e.process import DEADLINE_S, ROOT, Start


async def run(*arguments: str) -> tuple[int, str, str]:
    """Return exit code, standard output and standard error of the command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app", "status", *arguments,
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_it_shows_readiness_and_every_shard(start: Start, http: aiohttp.ClientSession) -> None:
    service = await start(CHECKPOINT_INTERVAL_MS=600_000, SHARDS=3)
    url = await service.url()
    await until_up(http, url)
    await post(http, url, 1234)
    code, out, _ = await run("--url", url)
    assert code == 0
    assert out.startswith("ready\n")
    assert "clickhouse: healthy" in out
    lines = [line.split() for line in out.splitlines()]
    rows = [words for words in lines if words and words[0] in {"0", "1", "2", "all"}]
    assert [row[0] for row in rows] == ["0", "1", "2", "all"]
    assert rows[-1][1] == "1,234"
    assert "shard appended confirmed pending dead by hand unsent WAL bytes oldest s state\n" in out


async def test_it_names_who_paused_a_shard(start: Start, http: aiohttp.ClientSession, tmp_path: Path) -> None:
    url = await (await start()).url()
    headers = {"Authorization": f"Bearer {AdminToken.read(tmp_path / 'data').secret}"}
    async with http.post(f"{url}/api/shards/1/pause", headers=headers) as reply:
        assert reply.status == 200
    code, out, _ = await run("--url", url)
    assert code == 0
    assert out.startswith("degraded\n")
    assert "pauses: paused, events are kept on disk: shard 1 by admin-token since" in " ".join(out.split())
    assert [line.split()[-1] for line in out.splitlines() if line.split()[:1] in (["0"], ["1"])] == ["ok", "paused"]


async def test_json_is_what_the_service_says(start: Start, http: aiohttp.ClientSession) -> None:
    service = await start()
    url = await service.url()
    await until_up(http, url)
    code, out, _ = await run("--url", url, "--json")
    assert code == 0
    assert json.loads(out)["accounting"]["appended"] == 0
    assert await service.ends(signal.SIGTERM) == 0


async def test_nobody_there_is_one_line_and_an_exit_code() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    code, out, err = await run("--url", url)
    assert (code, out) == (1, "")
    assert err.startswith(f"Error: {url} does not answer")
    assert len(err.splitlines()) == 1


async def test_it_watches_and_goes_on_while_nobody_answers(start: Start) -> None:
    service = await start()
    url = await service.url()
    watching = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app", "status", "--url", url, "--watch", "--every", "0.2", "--json",
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a shell's background has it ignored
    )  # fmt: skip
    assert watching.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE_S):
            for _ in range(2):
                assert json.loads(await watching.stdout.readline())["accounting"]["appended"] == 0
            assert await service.ends(signal.SIGTERM) == 0
            while "error" not in (line := json.loads(await watching.stdout.readline())):
                pass
            assert line["error"].startswith(f"{url} does not answer")
            watching.send_signal(signal.SIGINT)
            assert await watching.wait() == 0
    finally:
        if watching.returncode is None:
            watching.kill()

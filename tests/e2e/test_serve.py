"""How the service starts, what it says, how it ends, and what a second start finds."""

import asyncio
import os
import pty
import re
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.clickhouse import ClickHouseServer, free_port
from tests.e2e.asking import MATCH, get, post, until, until_up
from tests.e2e.process import DEADLINE_S, Process, Start
from tests.paths import ROOT


async def total(http: aiohttp.ClientSession, url: str) -> int:
    return int((await get(http, f"{url}/api/matches/{MATCH}/metrics")).get("totalEvents", 0))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_gracefully_with_everything_stored(
    start: Start, http: aiohttp.ClientSession, number: signal.Signals
) -> None:
    # An interval that no test waits for: what is confirmed at the end was confirmed by the drain.
    first = await start(CHECKPOINT_INTERVAL_MS=600_000)
    url = await first.url()
    await until_up(http, url)
    await post(http, url, 50)
    assert await total(http, url) == 50
    assert await first.ends(number) == 0
    stopped = await first.event("service stopped")
    assert (stopped["drained"], stopped["confirmed"], stopped["pending"]) == (True, 50, 0)

    second = await start()
    url = await second.url()
    await until_up(http, url)
    assert await total(http, url) == 50
    assert (await get(http, f"{url}/api/status"))["accounting"]["pending"] == 0


async def test_it_says_where_it_is_and_that_it_is_open_to_all(start: Start, tmp_path: Path) -> None:
    process = await start()
    url = await process.url()
    line = await process.event("service ready")
    assert (line["level"], line["dashboard"], line["data_dir"]) == ("info", f"{url}/", str(tmp_path / "data"))
    assert (await process.event("service open to everyone"))["level"] == "warning"


@pytest.mark.parametrize("host", ["::", "0.0.0.0", "::1", "127.0.0.1", "localhost"])
async def test_the_address_that_it_announces_answers(
    start: Start, http: aiohttp.ClientSession, tmp_path: Path, host: str
) -> None:
    # Nobody waits for a ClickHouse that is not there.
    process = await start(HOST=host, CLICKHOUSE_URL=f"clickhouse://127.0.0.1:{free_port()}", SHUTDOWN_TIMEOUT_S=1)
    url = await process.url()
    assert (await get(http, f"{url}/health"))["status"] == "healthy"
    assert (tmp_path / "data" / "admin-token").read_text().splitlines()[1] == url
    port = url.rpartition(":")[2]
    for family in ("127.0.0.1", "[::1]") if host == "::" else ():
        assert (await get(http, f"http://{family}:{port}/health"))["status"] == "healthy"
    assert await process.ends(signal.SIGTERM) == 0


async def test_options_say_where_it_listens_whatever_the_environment_says(
    start: Start, http: aiohttp.ClientSession
) -> None:
    port = free_port()
    service = await start("serve", "--host", "127.0.0.2", "--port", str(port), HOST="127.0.0.1", PORT="1")
    assert await service.url() == f"http://127.0.0.2:{port}"
    assert (await get(http, f"http://127.0.0.2:{port}/health"))["status"] == "healthy"
    assert await service.ends(signal.SIGTERM) == 0


async def test_without_a_command_it_serves(http: aiohttp.ClientSession, tmp_path: Path) -> None:
    service = await Process.start(settings={"PORT": 0, "DATA_DIR": tmp_path, "MONITOR": ""})
    try:
        assert (await get(http, f"{await service.url()}/health"))["status"] == "healthy"
        assert await service.ends(signal.SIGTERM) == 0
    finally:
        await service.close()


async def test_after_a_kill_nothing_is_lost_and_nothing_is_there_twice(
    start: Start, http: aiohttp.ClientSession
) -> None:
    first = await start(CHECKPOINT_INTERVAL_MS=600_000)
    url = await first.url()
    await post(http, url, 200)
    assert await first.ends(signal.SIGKILL) == -signal.SIGKILL

    second = await start(CHECKPOINT_INTERVAL_MS=200)
    url = await second.url()
    await until_up(http, url)
    await post(http, url, 200)
    await post(http, url, 10, prefix="b")
    assert await total(http, url) == 210

    async def all_confirmed() -> bool:
        return bool((await get(http, f"{url}/api/status"))["accounting"]["pending"] == 0)

    await until(all_confirmed)
    assert await total(http, url) == 210
    assert (await get(http, f"{url}/api/status"))["accounting"]["confirmed"] == 410


async def test_a_second_signal_ends_it_at_once(start: Start, http: aiohttp.ClientSession) -> None:
    # Nobody answers there, so the drain would last as long as it may.
    service = await start(CLICKHOUSE_URL=f"clickhouse://127.0.0.1:{free_port()}", SHUTDOWN_TIMEOUT_S=600)
    url = await service.url()
    await post(http, url, 5)
    service.send(signal.SIGTERM)
    assert (await service.event("service stopping"))["signal"] == "SIGTERM"
    # Signals that come together are one request to end.
    service.send(signal.SIGTERM)
    await asyncio.sleep(1)
    assert await service.ends(signal.SIGTERM) == 128 + signal.SIGTERM
    assert service.records[-1]["event"] == "service ending at once"

    again = await start(CLICKHOUSE_URL=f"clickhouse://127.0.0.1:{free_port()}", SHUTDOWN_TIMEOUT_S=1)
    accounting = (await get(http, f"{await again.url()}/api/status"))["accounting"]
    assert (accounting["appended"], accounting["pending"]) == (5, 5)
    assert await again.ends(signal.SIGTERM) == 0
    stopped = await again.event("service stopped")
    assert (stopped["drained"], stopped["pending"]) == (False, 5)


def why_not_started(process: Process) -> str:
    """Say why, from the last line of a process that has ended, which is the only one about it."""
    (line,) = [line for line in process.records if line["event"] == "service not started"]
    assert line == process.records[-1]
    assert line.keys() == {"time", "level", "logger", "event", "error"}
    assert line["level"] == "critical"
    return str(line["error"])


async def test_a_second_process_on_the_same_data_is_refused_in_one_line(start: Start, tmp_path: Path) -> None:
    first = await start()
    await first.url()
    second = await start()
    assert await second.ends() == 1
    assert why_not_started(second) == (
        f"{tmp_path / 'data'} is in use by another fanfinity process; "
        "stop it, or set FANFINITY_DATA_DIR to another directory"
    )
    assert await first.ends(signal.SIGTERM) == 0


async def test_a_port_in_use_is_named_in_one_line(start: Start, tmp_path: Path) -> None:
    first = await start()
    port = (await first.url()).rpartition(":")[2]
    second = await start(PORT=port, DATA_DIR=tmp_path / "other")
    assert await second.ends() == 1
    assert why_not_started(second).startswith(f"cannot listen on 127.0.0.1:{port}: ")


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        pytest.param("file", "Not a directory", id="a file"),
        pytest.param("file/below", "Not a directory", id="below a file"),
        pytest.param("/proc", ".+", id="nobody may write"),  # not even root
    ],
)
async def test_a_data_directory_that_cannot_be_used_is_named_in_one_line(
    start: Start, tmp_path: Path, place: str, reason: str
) -> None:
    (tmp_path / "file").write_text("not a directory")
    process = await start(DATA_DIR=tmp_path / place)
    assert await process.ends() == 1
    told = f"cannot use {re.escape(str(tmp_path / place))}: {reason}; see FANFINITY_DATA_DIR"
    assert re.fullmatch(told, why_not_started(process))
    assert len(process.lines) == 1


WRONG_PORT = "FANFINITY_PORT='eighty' is not allowed: it must be a whole number from 0 to 65535"


async def test_a_wrong_setting_is_named_in_one_line_in_the_format_that_is_set(start: Start) -> None:
    as_json = await start(PORT="eighty")
    assert await as_json.ends() == 2
    assert why_not_started(as_json) == WRONG_PORT
    assert len(as_json.lines) == 1
    as_text = await start(PORT="eighty", LOG_FORMAT="text")
    assert await as_text.ends() == 2
    (line,) = as_text.lines
    assert "service not started" in line
    assert line.endswith(f' error="{WRONG_PORT}"')


async def test_without_the_engine_an_empty_address_is_named_in_one_line_that_says_what_to_install(
    tmp_path: Path,
) -> None:
    code = "import sys; sys.modules['chdb'] = None; from app.__main__ import main; main(['serve'])"
    environ = os.environ | {"FANFINITY_DATA_DIR": str(tmp_path / "data"), "FANFINITY_LOG_FORMAT": "json"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=ROOT, env=environ, stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert process.returncode == 2
    [line] = said.decode().splitlines()
    assert re.search(r"FANFINITY_CLICKHOUSE_URL is empty.* pip install 'fanfinity-analytics\[embedded\]'", line)
    assert not (tmp_path / "data").exists()


async def test_where_the_format_itself_is_wrong_the_line_has_the_format_that_would_be_without(start: Start) -> None:
    process = await start(LOG_FORMAT="xml")
    assert await process.ends() == 2
    allowed = "it must be one of text, json, (empty)"
    assert why_not_started(process) == f"FANFINITY_LOG_FORMAT='xml' is not allowed: {allowed}"


async def test_on_a_terminal_a_wrong_setting_is_one_line_of_text() -> None:
    ours, theirs = pty.openpty()
    environ = os.environ | {"FANFINITY_PORT": "eighty", "FANFINITY_LOG_FORMAT": ""}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "serve"), cwd=ROOT, env=environ, stderr=theirs
    )
    os.close(theirs)
    with os.fdopen(ours, "rb", 0) as terminal:
        async with asyncio.timeout(DEADLINE_S):
            assert await process.wait() == 2
        shown = terminal.read(4096).decode()
    (line,) = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert "\x1b[" in shown, "in colours"
    assert "service not started" in line
    assert line.endswith(f' error="{WRONG_PORT}"')


async def test_it_starts_and_accepts_without_clickhouse_and_stores_once_it_appears(
    start: Start, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    clickhouse = ClickHouseServer(tmp_path / "clickhouse")
    service = await start(CLICKHOUSE_URL=clickhouse.url.replace("default@", "default:@"), CHECKPOINT_INTERVAL_MS=200)
    url = await service.url()
    await post(http, url, 20)

    async def degraded() -> bool:
        answer = await get(http, f"{url}/ready")
        check = answer["checks"]["clickhouse"]
        return answer["status"] == "degraded" and bool(re.search(r"since \d{4}-\d\d-\d\dT", check))

    await until(degraded)
    async with http.get(f"{url}/ready") as reply:
        assert reply.status == 200

    await asyncio.to_thread(clickhouse.start)
    try:
        await until_up(http, url)

        async def confirmed() -> bool:
            return bool((await get(http, f"{url}/api/status"))["accounting"]["confirmed"] == 20)

        await until(confirmed)
        assert await total(http, url) == 20
        assert await service.ends(signal.SIGTERM) == 0
        assert clickhouse.running
    finally:
        await asyncio.to_thread(clickhouse.stop)

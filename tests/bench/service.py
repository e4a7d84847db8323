"""The real service as a process: started with an environment, waited for, killed, stopped, its exit code checked."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from app.web.admin_token import AdminToken
from tests.bench.engines import Engine
from tests.clickhouse import free_port

COMMAND = (sys.executable, "-m", "app", "serve")
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0


class Service:
    """One service on 127.0.0.1 whose data and port outlive its process. ``async with`` starts and stops it.

    ``code``: root of the code that runs, where it is not this one.
    """

    def __init__(
        self,
        directory: Path,
        engine: Engine,
        *,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = COMMAND,
        code: Path | None = None,
        start_timeout_s: float = START_TIMEOUT_S,
    ) -> None:
        self.port = free_port()
        self._command = command
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = directory / "service.log"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("FANFINITY_")},
            "FANFINITY_PORT": str(self.port),
            "FANFINITY_DATA_DIR": str(directory / "data"),
            "FANFINITY_CLICKHOUSE_URL": engine.url,
            "FANFINITY_MONITOR": "",
            "FANFINITY_LOG_FORMAT": "json",
            **(environment or {}),
        }
        self._code = code
        self._start_timeout_s = start_timeout_s
        self._process: asyncio.subprocess.Process | None = None
        self._session: aiohttp.ClientSession | None = None
        self._up_s = 0.0
        self._up_since = 0.0

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(self.url)
        try:
            await self.start()
        except BaseException:
            await self._session.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
        if error is None:
            await self.stop()
        elif self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    @property
    def pid(self) -> int:
        """Return the process id; the service must have been started."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def up_s(self) -> float:
        """Return how long it was up, over all its starts: from when it was ready until it was told to end."""
        return self._up_s + (time.monotonic() - self._up_since if self._up_since else 0.0)

    @property
    def log_lines(self) -> list[dict[str, Any]]:
        """Return every line that the service logged, over all its starts; a kill may have torn one off."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    @property
    def log(self) -> str:
        """Return the end of what the service logged, over all its starts."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-6000:] if self._log.exists() else ""

    async def start(self) -> None:
        """Start the process and return when ``/ready`` says 200; AssertionError with its log if it ends before."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, env=self._environment, cwd=self._code, stdout=log, stderr=log
            )
        try:
            async with asyncio.timeout(self._start_timeout_s):
                while not await self._ready():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"the service is not ready after {self._start_timeout_s} s:\n{self.log}") from None
        self._up_since = time.monotonic()

    async def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, f"ended with {self._process.returncode}:\n{self.log}"
        try:
            async with self.session.get("/ready") as reply:
                return reply.status == 200
        except aiohttp.ClientConnectionError:
            return False

    @property
    def session(self) -> aiohttp.ClientSession:
        """Return a session whose base URL is the service's."""
        assert self._session is not None, "use it with 'async with'"
        return self._session

    @property
    def admin(self) -> dict[str, str]:
        """Return the header of operators, with the token that the service wrote at its last start."""
        token = AdminToken.read(Path(self._environment["FANFINITY_DATA_DIR"]))
        return {"Authorization": f"Bearer {token.secret}"}

    async def kill(self) -> None:
        """End the process by SIGKILL; AssertionError if it had ended by itself."""
        await self._end(signal.SIGKILL, -signal.SIGKILL)

    async def stop(self) -> None:
        """End the process by SIGTERM; AssertionError unless it exits with 0. Without effect if it was ended."""
        if self._process is not None:
            await self._end(signal.SIGTERM, 0)

    async def _end(self, with_signal: signal.Signals, expected: int) -> None:
        process, self._process = self._process, None
        assert process is not None, "not started"
        assert process.returncode is None, f"ended by itself with {process.returncode}:\n{self.log}"
        process.send_signal(with_signal)
        self._up_s, self._up_since = self.up_s, 0.0
        try:
            code = await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise AssertionError(f"still there {STOP_TIMEOUT_S} s after {with_signal.name}:\n{self.log}") from None
        assert code == expected, f"exit code {code} after {with_signal.name}:\n{self.log}"

    async def metrics(self, match_id: str) -> dict[str, Any] | None:
        """Return the match's metrics, None where the match is unknown or the service has no answer at hand."""
        async with self.session.get(f"/api/matches/{match_id}/metrics") as reply:
            body = await reply.json(content_type=None)
            assert reply.status in (200, 404, 503), body
            return body if reply.status == 200 else None

    async def total(self, match_id: str) -> int:
        """Return the match's ``totalEvents``, 0 where there is no answer."""
        metrics = await self.metrics(match_id)
        return metrics["totalEvents"] if metrics else 0

    async def gauges(self) -> dict[str, float]:
        """Return every sample of ``GET /metrics``, by name with labels."""
        async with self.session.get("/metrics") as reply:
            lines = [line for line in (await reply.text()).splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def resident_mb(self) -> float:
        """Return the process's resident memory in MB (Linux)."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(kilobytes) / 1000

    def cpu_s(self) -> float:
        """Return the CPU time the process has used so far, in s (Linux)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

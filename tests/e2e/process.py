"""The service as a process, its log read line by line."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tests.paths import ROOT

DEADLINE_S = 60


class Process:
    """One `python -m app serve` on a free port of 127.0.0.1, its log read line by line."""

    @classmethod
    async def start(
        cls, *arguments: str, settings: Mapping[str, object], environment: Mapping[str, str] | None = None
    ) -> "Process":
        """Start `python -m app` with these arguments, and these settings and no others; ``environment``: besides."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("FANFINITY_")}
        environ |= {f"FANFINITY_{name}": str(value) for name, value in settings.items()}
        environ |= environment or {}
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, "-m", "app", *arguments, cwd=ROOT, env=environ, stderr=asyncio.subprocess.PIPE
            )
        )

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[str] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self.lines.append(line.decode().rstrip())

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    async def url(self) -> str:
        """The service's address, from the line that says it is ready."""
        return str((await self.event("service ready"))["dashboard"]).rstrip("/")

    @property
    def records(self) -> list[dict[str, Any]]:
        """Every line so far, each of which has to be JSON."""
        return [json.loads(line) for line in self.lines]

    @property
    def faults(self) -> list[str]:
        """Lines so far that are worse than a warning, have a traceback, or are no JSON."""
        fine = re.compile(r'\{.*"level": "(debug|info|warning)".*\}')
        return [line for line in self.lines if not fine.fullmatch(line) or "Traceback" in line]

    async def event(self, event: str) -> dict[str, Any]:
        """The first line of this event, with its fields; waits for it."""
        record: dict[str, Any] = json.loads(await self.logged(f'"event": "{re.escape(event)}"'))
        return record

    async def logged(self, pattern: str) -> str:
        """The first line that matches; waits for it."""
        async with asyncio.timeout(DEADLINE_S):
            while not (found := [line for line in self.lines if re.search(pattern, line)]):
                assert not self._reading.done(), f"ended without {pattern!r}: {self.lines}"
                await asyncio.sleep(0.01)
        return found[0]

    def send(self, number: signal.Signals) -> None:
        """Send one signal."""
        self._process.send_signal(number)

    async def ends(self, *signals: signal.Signals) -> int:
        """Send the signals, and return the exit code."""
        for number in signals:
            self._process.send_signal(number)
        async with asyncio.timeout(DEADLINE_S):
            code = await self._process.wait()
            await self._reading
        return code

    async def close(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        await self._reading


Start = Callable[..., Awaitable[Process]]

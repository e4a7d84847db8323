"""Runs ``fanfinity COMMAND`` as its own process, the way a user does."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from typing import Self

import attrs

DEADLINE_S = 60.0


@attrs.frozen
class Ended:
    """How a command ended: its exit code, and what it printed."""

    code: int
    out: str
    err: str


class Command:
    """A command that was started."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, *arguments: object, environment: Mapping[str, str] | None = None) -> Self:
        """Start ``fanfinity`` with the arguments."""
        return cls(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "app", *map(str, arguments)),
                env=dict(os.environ) | dict(environment or {}),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                preexec_fn=_hear_ctrl_c,
            )
        )

    def interrupt(self) -> None:
        """Press Ctrl-C; AssertionError if the command is over."""
        assert self._process.returncode is None, "the command was over before Ctrl-C"
        self._process.send_signal(signal.SIGINT)

    async def ended(self) -> Ended:
        """Wait for the end."""
        async with asyncio.timeout(DEADLINE_S):
            out, err = await self._process.communicate()
        assert self._process.returncode is not None
        return Ended(self._process.returncode, out.decode(), err.decode())


def _hear_ctrl_c() -> None:
    """Undo what a shell did that has the tests run in the background: what it starts so ignores SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def run(*arguments: object, environment: Mapping[str, str] | None = None) -> Ended:
    """Start the command and wait for its end."""
    return await (await Command.start(*arguments, environment=environment)).ended()

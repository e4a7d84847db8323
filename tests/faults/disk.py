"""A disk that is small for real: a file system of its own for the data directory of the service."""

import asyncio
import os
import random
import subprocess
from pathlib import Path

BALLAST = "ballast"


class MountRefused(Exception):
    """This machine does not let us mount: no root, or a container without the right to."""


class SmallDisk:
    """A tmpfs on a directory. Its writes end in ENOSPC as those of any file system do."""

    def __init__(self, directory: Path, *, megabytes: int) -> None:
        self.directory = directory
        self._megabytes = megabytes
        self._filling: asyncio.Task[None] | None = None

    async def mount(self) -> None:
        """Mount it; MountRefused where that is not possible."""
        self.directory.mkdir(parents=True, exist_ok=True)
        await self._run("mount", "-t", "tmpfs", "-o", f"size={self._megabytes}m", "tmpfs", str(self.directory))

    async def try_out(self) -> None:
        """Mount and unmount it; MountRefused where that is not possible."""
        await self.mount()
        await self.unmount()

    async def unmount(self) -> None:
        """Take it away, with all it holds."""
        await self.empty()
        await self._run("umount", str(self.directory))

    async def fill(self, *, leave_bytes: int) -> None:
        """Take all room but a little, and from then on all that becomes free, until :meth:`empty`."""
        self._fill(leave_bytes)
        self._filling = asyncio.create_task(self._keep_full())

    async def _keep_full(self) -> None:
        while True:
            await asyncio.sleep(0.02)
            self._fill(0)

    def _fill(self, leave_bytes: int) -> None:
        with (self.directory / BALLAST).open("ab", buffering=0) as ballast:
            size = ballast.tell()
            while (room := self._free()) >= leave_bytes + 4096:
                size += room - leave_bytes
                try:
                    os.posix_fallocate(ballast.fileno(), 0, size)
                except OSError:
                    return

    async def empty(self) -> None:
        """Give the room back."""
        if self._filling is not None:
            self._filling.cancel()
            await asyncio.wait({self._filling})
            self._filling = None
        (self.directory / BALLAST).unlink(missing_ok=True)

    def _free(self) -> int:
        found = os.statvfs(self.directory)
        return found.f_bavail * found.f_frsize

    @staticmethod
    async def _run(*command: str) -> None:
        try:
            await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise MountRefused(f"{' '.join(command)}: {getattr(error, 'stderr', None) or error}") from error


def little_room(chance: random.Random) -> int:
    """Return how many bytes to leave, so that the disk is full at another point of the log each time."""
    return chance.choice((0, 4096, chance.randrange(1 << 16)))

"""The two ways to ClickHouse, as benchmarks and fault tests need them: started, killed, asked from outside."""

import asyncio
import json
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar
from urllib.request import Request, urlopen

from tests.clickhouse import ClickHouseServer
from tests.relay import Relay

DATABASE = "fanfinity"
Row = dict[str, Any]


class Engine(ABC):
    """Where the service stores. Its data lies under ``directory`` and outlives every kill."""

    name: ClassVar[str]
    asked_while_serving: ClassVar[bool]

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    @abstractmethod
    def url(self) -> str:
        """Return the value of ``FANFINITY_CLICKHOUSE_URL``."""

    @abstractmethod
    async def start(self) -> None:
        """Start it; returns when it answers."""

    @abstractmethod
    async def stop(self) -> None:
        """End it in good order; AssertionError if it had died by itself."""

    @abstractmethod
    async def query(self, sql: str) -> list[Row]:
        """Return the rows of a SELECT. Where not ``asked_while_serving``, the service must have ended."""


class Embedded(Engine):
    """chDB inside the service; asked by another process afterwards, because a directory has one owner."""

    name = "embedded"
    asked_while_serving = False

    @property
    def url(self) -> str:
        return ""

    async def start(self) -> None:
        """Do nothing: it starts with the service."""

    async def stop(self) -> None:
        """Do nothing: it ends with the service."""

    async def query(self, sql: str) -> list[Row]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _ASK_CHDB,
            str(self.directory / "data" / "clickhouse"),
            sql,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode(errors="replace")
        return [json.loads(line) for line in out.splitlines()]


_ASK_CHDB = """
import sys
from chdb.session import Session
sys.stdout.write(str(Session(sys.argv[1]).query(sys.argv[2], "JSONEachRow")))
"""


class Server(Engine):
    """A ClickHouse of our own over native TCP; asked over HTTP, a way the service does not use.

    ``relayed``: behind a :class:`~tests.relay.Relay`, as it has to be where the service is killed.
    """

    name = "server"
    asked_while_serving = True

    def __init__(self, directory: Path, *, relayed: bool = False) -> None:
        super().__init__(directory)
        self._server = ClickHouseServer(directory / "server")
        self._relay = Relay(self._server.tcp_port) if relayed else None

    @property
    def url(self) -> str:
        port = self._relay.port if self._relay else self._server.tcp_port
        return f"clickhouse://default@127.0.0.1:{port}/{DATABASE}"

    @property
    def relay(self) -> Relay:
        """Return what stands before it; it must be ``relayed``."""
        assert self._relay is not None, "not relayed"
        return self._relay

    async def start(self) -> None:
        await asyncio.to_thread(self._server.start)
        if self._relay is not None and not self._relay.listening:
            await self._relay.start()

    async def stop(self) -> None:
        if self._relay is not None:
            await self._relay.close()
        await asyncio.to_thread(self._server.stop)

    async def kill(self) -> None:
        """End it by SIGKILL; ``start`` brings it back with its data and ports."""
        await asyncio.to_thread(self._server.kill)

    async def query(self, sql: str) -> list[Row]:
        address = f"http://127.0.0.1:{self._server.http_port}/?default_format=JSONEachRow"
        return await asyncio.to_thread(_ask_http, Request(address, data=sql.encode()))


def _ask_http(request: Request) -> list[Row]:
    with urlopen(request, timeout=60) as reply:
        return [json.loads(line) for line in reply]


ENGINES: dict[str, type[Engine]] = {engine.name: engine for engine in (Embedded, Server)}


def make_engine(name: str, directory: Path) -> Engine:
    """Return an engine, not started."""
    return ENGINES[name](directory)


def engine_for_kills(name: str, directory: Path) -> Engine:
    """Return the engine as it has to be where the service is killed."""
    return Server(directory, relayed=True) if name == Server.name else make_engine(name, directory)

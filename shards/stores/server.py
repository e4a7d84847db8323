"""A ClickHouse server over its native TCP protocol, through asynch."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Sequence
from typing import Any, ClassVar

from asynch.errors import ServerException
from asynch.proto.connection import Connection

from shards.errors import StoreUnavailable, public_text
from shards.observer import Observer
from shards.stores.address import ServerAddress
from shards.stores.base import READS_AT_ONCE, Lane, Store
from shards.stores.error_codes import store_error
from shards.stores.own_settings import OWN_SETTINGS

CONNECT_TIMEOUT_S = 5
TRUSTED_S = 5
"""Seconds after an answer in which a connection is reused without a ping, unless its end was noticed."""


class ServerStore(Store):
    """A database of a ClickHouse server: one connection a shard, one for the schema, a few for reads."""

    kind: ClassVar[str] = "server"

    def __init__(
        self, url: str, *, shard_count: int, retention_days: int = 0, observer: Observer | None = None
    ) -> None:
        """Connect to nothing yet; ``url`` as in :meth:`ServerAddress.parse`, whose ValueError it raises."""
        self.address = ServerAddress.parse(url)
        super().__init__(
            database=self.address.database, shard_count=shard_count, retention_days=retention_days, observer=observer
        )
        self._lanes: dict[Lane, _LaneConnection] = {}
        # Reads come after open(), so their connections can start in the database; the others name it in each statement.
        reads = [self._connection(database=self.database, max_execution_time="15") for _ in range(READS_AT_ONCE)]
        self._reads: asyncio.LifoQueue[_LaneConnection] = asyncio.LifoQueue()
        self._connections = list(reads)
        for connection in reads:
            self._reads.put_nowait(connection)

    def _connection(self, *, database: str = "", **settings: str) -> "_LaneConnection":
        return _LaneConnection(self.address, database=database, settings=settings)

    async def close(self) -> None:
        """Close every connection, gracefully if the server answers."""
        for connection in self._connections:
            await connection.close()

    async def _run(self, *statements: str, lane: Lane, timeout_s: float) -> list[tuple[Any, ...]]:
        try:
            async with asyncio.timeout(timeout_s):
                if lane == "read":
                    return await self._read(*statements)
                if lane not in self._lanes:
                    logged = {} if lane == "schema" else {"log_queries": "0"}
                    self._lanes[lane] = self._connection(**logged)
                    self._connections.append(self._lanes[lane])
                return await self._lanes[lane].execute(*statements)
        except TimeoutError:
            raise StoreUnavailable(f"{self.address}: no answer within {timeout_s:g} s") from None

    async def _read(self, *statements: str) -> list[tuple[Any, ...]]:
        connection = await self._reads.get()
        try:
            return await connection.execute(*statements)
        finally:
            self._reads.put_nowait(connection)


class _Client(Connection):
    """asynch's connection, but without its ping before each statement if the server answered a moment ago."""

    reader: Any
    writer: Any
    heard_at_s = 0.0

    async def connect(self) -> None:
        await super().connect()
        # Only the kernel can tell that a path is gone without a word (failover, a NAT that forgot).
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock = self.writer.writer.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TRUSTED_S * 1000)

    async def ping(self) -> bool:
        await asyncio.sleep(0)  # reads what came while the event loop was held up
        ended = self.reader.reader.at_eof() or self.writer.writer.is_closing()
        if not ended and time.monotonic() - self.heard_at_s < TRUSTED_S:
            return True
        there: bool = await super().ping()
        return there


class _LaneConnection:
    """One connection, opened when needed and reused as long as the server answers each statement."""

    def __init__(self, address: ServerAddress, *, database: str, settings: dict[str, str]) -> None:
        self._address = address
        self._database = database
        self._settings = {**OWN_SETTINGS, **settings}
        self._connection: _Client | None = None
        self._lock = asyncio.Lock()

    async def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements, return the last one's rows. Can be cancelled at any moment, also while the server hangs."""
        async with self._lock:
            connection = self._connection = self._connection or self._connect()
            task = asyncio.create_task(_execute(connection, statements))
            try:
                await asyncio.wait({task})
                return list(task.result() or ())
            except ServerException as error:
                raise store_error(error.code or 0, f"{self._address}: {error.message}") from None
            # asynch raises whatever a broken stream leads to: IndexError, struct.error, OSError, …
            except Exception as error:
                raise StoreUnavailable(f"{self._address}: {_reason(error)}") from error
            finally:
                if not _reusable(task):
                    self._connection = None
                    await _drop(connection, task)

    def _connect(self) -> _Client:
        address = self._address
        return _Client(  # type: ignore[no-untyped-call]
            host=address.host,
            port=address.port,
            user=address.user,
            password=address.password,
            database=self._database,
            secure=address.secure,
            verify=address.verify,
            ca_certs=address.ca_certs,
            connect_timeout=CONNECT_TIMEOUT_S,
            sync_request_timeout=CONNECT_TIMEOUT_S,
            send_receive_timeout=None,  # the caller limits the whole; a limit for each packet costs time
            client_name="fanfinity",
            settings=self._settings,
        )

    async def close(self) -> None:
        """Close the connection; without effect on one that is not open."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await _drop(connection, None)


async def _execute(connection: _Client, statements: Sequence[str]) -> Any:
    for sql in statements:
        answer = await connection.execute(sql)
        connection.heard_at_s = time.monotonic()
    return answer


def _reusable(task: "asyncio.Task[Any]") -> bool:
    """Return whether the server answered, even with an error: only then is the stream at the start of a packet."""
    if not task.done() or task.cancelled():
        return False
    error = task.exception()
    return error is None or isinstance(error, ServerException)


async def _drop(connection: Connection, task: "asyncio.Task[Any] | None") -> None:
    """Cut the connection and end the task that uses it, also when the server reads nothing any more.

    asynch itself would wait until the server has taken all that it wrote.
    """
    writer = getattr(getattr(connection, "writer", None), "writer", None)
    if task is not None:
        # Cancelled before the cut, because else the reader inside asynch fails and nobody takes its exception.
        task.cancel()
        await asyncio.wait({task}, timeout=0.1)
    if writer is not None:
        writer.transport.abort()
    if task is not None:
        await asyncio.wait({task}, timeout=1)
        if task.done() and not task.cancelled():
            task.exception()
    with contextlib.suppress(Exception):
        await connection.disconnect()


def _reason(error: BaseException) -> str:
    """Return why the connection failed, from the cause, because asynch itself says only that no host was reached."""
    text = _public(error.__cause__ or error)
    return f"not reachable: {text}" if error.__cause__ else f"connection lost: {text}"


def _public(cause: BaseException) -> str:
    """Return the text of a failure of the network; of others, which may quote what was read, only the type."""
    return str(cause) if isinstance(cause, OSError) and str(cause) else public_text(cause)

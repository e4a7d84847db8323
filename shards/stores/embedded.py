"""ClickHouse in this process: chDB, on one thread of its own.

chDB is loaded when a store is opened, because its library takes memory that a service with a ClickHouse server
does not need.
"""

import asyncio
import importlib.util
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from shards.errors import StoreError, StoreFailed, StoreUnavailable, public_text
from shards.observer import Observer
from shards.stores.base import Lane, Store
from shards.stores.error_codes import shorten, store_error
from shards.stores.own_settings import QUERY_MAX_BYTES
from shards.wal.files import DIRECTORY_MODE

CLOSE_TIMEOUT_S = 10
READ_MAX_S = 9
"""Seconds until a read fails, because it holds up everything else; ClickHouse counts as away a little later."""

TEMPORARY_DIRECTORY = "tmp"
"""Directory of temporary files, inside the engine's own, which is where it also puts what a query spills."""

_ERROR = re.compile(r"Code: (\d+)\. (?:DB::Exception: )?(.*)", re.DOTALL)
_SETTINGS = (
    # Mutations of a migration go on while the service runs.
    f"SET max_query_size = {QUERY_MAX_BYTES}, mutations_sync = 0, output_format_json_quote_64bit_integers = 0"
)


class EmbeddedStore(Store):
    """A database in a directory that belongs to this process alone. All lanes share one thread."""

    kind: ClassVar[str] = "embedded"
    may_be_shared: ClassVar[bool] = False

    @staticmethod
    def is_installed() -> bool:
        """Whether chDB is there, which is the extra ``embedded`` of this package. It is not loaded for that."""
        return importlib.util.find_spec("chdb") is not None

    def __init__(
        self,
        path: Path,
        *,
        shard_count: int,
        database: str = "fanfinity",
        retention_days: int = 0,
        observer: Observer | None = None,
    ) -> None:
        """Open nothing yet; :meth:`open` makes ``path`` if it is missing.

        Raises:
            ValueError: ``path`` holds a question mark, which chDB cannot take.
        """
        super().__init__(database=database, shard_count=shard_count, retention_days=retention_days, observer=observer)
        self._path = path.absolute()
        if "?" in str(self._path):
            raise ValueError(f"{self._path}: the path must not hold a question mark")
        self._executor: ThreadPoolExecutor | None = None
        self._session: Any = None
        self._decoder = msgspec.json.Decoder(list[Any])

    async def open(self) -> None:
        """Start the engine if it does not run, then do as :meth:`Store.open`."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="chdb")
        await self._in_thread(self._start, timeout_s=60)
        await super().open()
        await self._schema(f"USE {self.database}")

    def _start(self) -> list[tuple[Any, ...]]:
        if self._session is None:
            self._path.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
            self._session = self._open_session()
            self._session.query(_SETTINGS)
        return []

    def _open_session(self) -> Any:
        try:
            with _temporary_files_in(self._path / TEMPORARY_DIRECTORY):
                from chdb.session import Session

            return Session(str(self._path))  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            sentence = f"{self._path} cannot be opened by the embedded engine; does another process use it?"
            cause = _store_error(str(error))
            raise StoreFailed(f"{sentence} {cause.message}", code=cause.code, full_message=cause.full_message) from None

    async def close(self) -> None:
        """Stop the engine after the statements it was given. Rows in Buffer tables are lost with it."""
        executor, self._executor = self._executor, None
        if executor is None:
            return
        end = executor.submit(self._stop)
        executor.shutdown(wait=False)
        await asyncio.wait({asyncio.wrap_future(end)}, timeout=CLOSE_TIMEOUT_S)

    def _stop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    async def _run(self, *statements: str, lane: Lane, timeout_s: float) -> list[tuple[Any, ...]]:
        work = self._query_in_time if lane == "read" else self._query
        return await self._in_thread(work, *statements, timeout_s=timeout_s)

    async def _in_thread(self, work: Any, *arguments: Any, timeout_s: float) -> list[tuple[Any, ...]]:
        if self._executor is None:
            raise StoreUnavailable("the embedded engine is not open")
        running = asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)
        try:
            async with asyncio.timeout(timeout_s):
                rows: list[tuple[Any, ...]] = await running
                return rows
        except TimeoutError:
            raise StoreUnavailable(f"the embedded engine did not answer within {timeout_s:g} s") from None
        except RuntimeError as error:
            raise _store_error(str(error)) from None
        except OSError as error:
            raise StoreFailed(public_text(error), full_message=str(error)) from error

    def _query_in_time(self, *statements: str) -> list[tuple[Any, ...]]:
        self._query(f"SET max_execution_time = {READ_MAX_S}")
        try:
            return self._query(*statements)
        finally:
            self._query("SET max_execution_time = 0")

    def _query(self, *statements: str) -> list[tuple[Any, ...]]:
        if self._session is None:
            raise StoreUnavailable("the embedded engine is not open")
        answer = [self._session.query(sql, "JSONCompactEachRow") for sql in statements][-1]
        lines = answer.bytes().splitlines()
        return [tuple(self._decoder.decode(line)) for line in lines if line]


@contextmanager
def _temporary_files_in(directory: Path) -> Iterator[None]:
    """Let chDB find this directory for temporary files, because it takes one as it is loaded, by default of ``/tmp``.

    ``/tmp`` may not take any: in a container with a read-only root it does not.
    """
    directory.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(directory)
    try:
        yield
    finally:
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before


def _store_error(text: str) -> StoreError:
    found = _ERROR.search(text)
    if found:
        return store_error(int(found[1]), found[2])
    return StoreFailed("the embedded engine failed", full_message=shorten(text))

"""The gate to ClickHouse: one watcher opens it, retries, and makes the flushers wait while it is closed."""

import asyncio
from datetime import UTC, datetime
from time import monotonic

from shards.errors import StoreError, StoreFailed, StoreUnavailable, public_text
from shards.logger import RepeatedLines, get_logger, without_figures
from shards.observer import Observer
from shards.snapshot import StoreState
from shards.stores.base import Store
from shards.tasks.backoff import backoff_s

_log = get_logger(__name__)

CHECK_INTERVAL_S = 5.0
CHECK_TIMEOUT_S = 10.0
"""Seconds until a check fails: within this and the interval a hanging ClickHouse is noticed, without an INSERT."""


class StoreGate:
    """Opens the store, and again after every outage. Nothing is flushed while it is closed."""

    def __init__(self, store: Store, observer: Observer) -> None:
        self._store = store
        self._observer = observer
        self._up = asyncio.Event()
        self._down = asyncio.Event()
        self._down.set()
        self._stopped = asyncio.Event()
        self._since = datetime.now(UTC)
        self._opened_at = 0.0
        self._error = "not connected yet"
        self._unreachable = False
        self._was_up = False
        self._repeats = RepeatedLines()

    @property
    def state(self) -> StoreState:
        """The present state."""
        return StoreState(kind=self._store.kind, up=self._up.is_set(), since=self._since, error=self._error)

    @property
    def is_away(self) -> bool:
        """Whether ClickHouse did not answer when it was last asked."""
        return self._unreachable and not self._up.is_set()

    @property
    def up_s(self) -> float:
        """Seconds since ClickHouse can be used, on the monotonic clock; 0 while it cannot."""
        return monotonic() - self._opened_at if self._up.is_set() else 0.0

    async def wait_up(self, *, timeout_s: float | None = None) -> None:
        """Return once ClickHouse can be used, or after ``timeout_s`` seconds."""
        await self._wait(self._up, timeout_s)

    def report(self, error: StoreError) -> None:
        """Close the gate because of an error; the watcher opens it again once the store opens without one."""
        self._observer.store_error(code=error.code)
        effect, code, message = "events are kept in the write-ahead log", error.code, error.message
        self._repeats.note(
            without_figures(message),
            lambda again: _log.error("clickhouse not usable", code=code, error=message, effect=effect, repeated=again),
        )
        if self._up.is_set():
            self._since = datetime.now(UTC)
        self._error = error.message
        self._unreachable = isinstance(error, StoreUnavailable)
        self._up.clear()
        self._down.set()

    def stop(self) -> None:
        """End :meth:`run` after its present statement, and release all who wait."""
        self._repeats.end()
        self._stopped.set()
        self._down.set()
        self._up.set()

    async def run(self) -> None:
        """Watch until stopped. A store that opens and then fails is also opened again at growing intervals."""
        tries = 0
        while not self._stopped.is_set():
            try:
                if self._down.is_set():
                    await self._store.open()
                    self._note_opened()
                else:
                    await self._check()
                    tries = 0
            except StoreError as error:
                self.report(error)
            except Exception as error:  # noqa: BLE001 - a watcher that ends would keep the gate closed for ever
                _log.exception("clickhouse watch failed", error=public_text(error))
                self.report(StoreFailed(public_text(error)))
            await self._wait(self._down, CHECK_INTERVAL_S)
            if self._down.is_set():
                await self._wait(self._stopped, backoff_s(tries))
                tries += 1

    async def _check(self) -> None:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await self._store.check()
        except TimeoutError:
            raise StoreUnavailable(f"no answer within {CHECK_TIMEOUT_S:g} s") from None

    @staticmethod
    async def _wait(event: asyncio.Event, timeout_s: float | None) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            return

    def _note_opened(self) -> None:
        if self._was_up:
            self._observer.reconnected()
        self._repeats.end()
        _log.info("clickhouse ready", kind=self._store.kind)
        self._was_up = True
        self._opened_at = monotonic()
        self._since = datetime.now(UTC)
        self._error = ""
        self._down.clear()
        self._up.set()

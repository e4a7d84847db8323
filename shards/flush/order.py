"""The order of receipts at a start: reserved before anything is accepted, and raised above what ClickHouse holds."""

import asyncio
from collections.abc import Sequence

from shards.clock import ReceiptClock
from shards.errors import StoreError, public_text
from shards.flush.gate import StoreGate
from shards.logger import get_logger
from shards.stores.base import Store
from shards.tasks.backoff import backoff_s
from shards.tasks.threads import Threads
from shards.wal.log import ShardLog

_log = get_logger(__name__)


class OrderStart:
    """The order's part of a start. :meth:`run` is its task, and returns when nothing is left to be done.

    1. Each log reserves an order with the checkpoint of its recovery. If none of these could be written, nothing is
       accepted (:class:`shards.wal.admission.Room`), and it is tried again here.
    2. If no checkpoint of before told of an order, because the data directory is new, lost its logs or was an older
       release's, the order is raised above the database's as soon as that answers. Until then a copy that is received
       now may win over one that was stored before, if this clock is behind the one that dated that.
    """

    def __init__(
        self, clock: ReceiptClock, logs: Sequence[ShardLog], *, store: Store, gate: StoreGate, threads: Threads
    ) -> None:
        self._clock = clock
        self._logs = logs
        self._store = store
        self._gate = gate
        self._threads = threads
        self._is_raised = any(log.found_order for log in logs)

    async def run(self) -> None:
        """Reserve, and raise if that is needed. Tries until both have succeeded."""
        tries = 0
        while not self._clock.reserved_ns or not self._is_raised:
            try:
                if not self._clock.reserved_ns:
                    await self._reserve()
                await self._raise()
            except (OSError, StoreError) as error:
                tries += 1
                if tries == 1:
                    _log.warning("order of receipts not settled", error=public_text(error), effect="it is tried again")
                await asyncio.sleep(backoff_s(tries))

    async def _reserve(self) -> None:
        await self._threads.run(self._logs[0].save)

    async def _raise(self) -> None:
        if self._is_raised:
            return
        await self._gate.wait_up()
        newest = await self._store.newest_order()
        if newest >= self._clock.last_ns:
            self._clock.raise_to(newest)
            await self._reserve()
            if newest:
                _log.info("order of receipts raised", to_ns=newest, reason="the database holds newer ones")
        self._is_raised = True

"""Erasures of matches: asked for, recorded, and known to everybody who has to know.

The answer to a request follows the fsync of its record, which holds the cut-off: in each shard's log the last number
that goes, and in ClickHouse the order up to which rows go. The log is cut there, so that no file holds rows from both
sides. From the request on the match is hidden from every read, and new events of it wait as pending rows, until
:mod:`shards.erasure.steps` has removed everything from before. Held back are rows beyond the last number that was
durable at the request, and, once the cut-off is known, rows beyond that: an event that was validated before and
appended behind the cut-off can have an order below it, and must not be in ClickHouse while something is deleted there.
"""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from functools import partial

import attrs
import msgspec

from shards.clock import ReceiptClock
from shards.erasure.records import Erasure, ErasureFile
from shards.errors import NotAccepting, WalFailed, public_text
from shards.logger import get_logger
from shards.settings import ShardSettings
from shards.shard import Shard, shard_of
from shards.snapshot import ErasureState
from shards.tasks.threads import Threads
from shards.wal.committer import Committer

_log = get_logger(__name__)

REFUSALS_CHECK_S = 60.0
"""Seconds after which the records are looked at whose matches need not be refused any more."""

Forget = Callable[[Collection[str]], None]


@attrs.define(eq=False)
class _Request:
    match_id: str
    refuse_for_s: float
    recorded: "asyncio.Future[Erasure]"


class Erasures:
    """The erasures of one data directory. Used in the event loop only."""

    def __init__(self, settings: ShardSettings, *, committer: Committer, clock: ReceiptClock) -> None:
        self._file = ErasureFile(settings.data_dir)
        self._shard_count = settings.shard_count
        self._committer = committer
        self._clock = clock
        self._threads = Threads()
        self._shards: Sequence[Shard] = ()
        self._asked: list[_Request] = []
        self._changing = asyncio.Lock()
        self._wake = asyncio.Event()
        self._open: dict[str, Erasure] = {}
        self._done: dict[str, Erasure] = {}
        self._of_match: dict[str, dict[str, Erasure]] = {}
        """The open ones of each match, the oldest first."""
        self._hidden: Counter[str] = Counter()
        self._refusals: dict[str, int] = {}
        self._steps: dict[str, str] = {}
        self._forget: list[Forget] = []
        self.error = ""
        """Reason why the last try failed; empty where it did not."""

    async def recover(self, shards: Sequence[Shard], *, log_is_another: bool) -> None:
        """Read the records, and hold the rows of their matches back, before any row is loaded. Raises OSError."""
        self._open, self._done, self._steps = {}, {}, {}  # a recovery may begin anew
        self._of_match, self._hidden, self._refusals = {}, Counter(), {}
        found = await asyncio.to_thread(self._file.read)
        ends = {} if log_is_another else {shard.index: shard.log.durable_seq for shard in shards}
        bounded = [erasure.bounded(ends) for erasure in found]
        if bounded != found:
            await asyncio.to_thread(self._file.replace, bounded)
        for erasure in bounded:
            self._enter(erasure)
        for shard in shards:
            for erasure in self._open.values():
                upto, pending = erasure.upto(shard.index), shard.pending
                pending.erasing[erasure.match_id] = max(upto, pending.erasing.get(erasure.match_id, 0))
                pending.held.setdefault(erasure.match_id, upto)  # that of the oldest one, because it is done first
        if self._open:
            _log.info("erasures go on", matches=len(self._open))

    def serve(self, shards: Sequence[Shard]) -> None:
        """Take requests from now on; all rows are where they belong."""
        self._shards = shards

    def tell(self, forget: Forget) -> None:
        """Have ``forget`` called with matches whose answers are to be forgotten, as each erasure begins and ends."""
        self._forget.append(forget)

    def __contains__(self, match_id: object) -> bool:
        """Say whether a match is being erased, so that reads must know nothing of it. Cheap."""
        return match_id in self._hidden

    def refused_until_ms(self, match_id: str) -> int:
        """Return until when events of a match are refused, ms since the epoch; 0: they are not. Cheap."""
        until_ms = self._refusals.get(match_id, 0)
        return until_ms if until_ms > _now_ms() else 0

    @property
    def states(self) -> tuple[ErasureState, ...]:
        """What is under way, the oldest first."""
        return tuple(
            ErasureState(id=one.id, match_id=one.match_id, at_ms=one.at_ms, step=self._steps[one.id], error=self.error)
            for one in self._open.values()
        )

    async def request(self, match_id: str, *, refuse_for_s: float = 0.0) -> Erasure:
        """Record that everything of a match that was appended before is erased; return once that is durable.

        Raises :class:`~shards.errors.Unavailable`: then it is not known whether it was recorded.

        Args:
            match_id: any; of one that is not known nothing is found.
            refuse_for_s: seconds for which events of the match are to be refused.
        """
        if not self._shards:
            raise NotAccepting("the write-ahead log is being recovered")
        request = _Request(match_id, refuse_for_s, asyncio.get_running_loop().create_future())
        self._asked.append(request)
        self._hidden[match_id] += 1
        await self._threads.finish(self._record_all())
        return await request.recorded

    async def _record_all(self) -> None:
        """Record all that is asked for by now, in one group."""
        async with self._changing:
            asked, self._asked = self._asked, []
            if not asked:
                return
            try:
                erasures = await self._record(asked)
            except Exception as error:  # noqa: BLE001 - whatever it was, all who asked wait for an answer
                _log.error("erasure not recorded", matches=len(asked), error=public_text(error))
                for request in asked:
                    self._unhide(request.match_id)
                    self._hold_as_needed(request.match_id)
                    request.recorded.set_exception(WalFailed("an erasure cannot be recorded", retry_after_s=5))
                return
            for request, erasure in zip(asked, erasures, strict=True):
                self._unhide(request.match_id)
                self._enter(erasure)
                self._hold_as_needed(request.match_id)
                request.recorded.set_result(erasure)
        self._tell_all({erasure.match_id for erasure in erasures})
        self._wake.set()

    async def _record(self, asked: Sequence[_Request]) -> list[Erasure]:
        homes = {shard_of(request.match_id, self._shard_count) for request in asked}
        for match_id in {request.match_id for request in asked}:
            home = self._shards[shard_of(match_id, self._shard_count)]
            if match_id not in home.pending.held:
                home.flusher.hold(match_id, beyond=home.pending.last_seq)
        cuts = await asyncio.gather(*(self._cut(shard, is_home=shard.index in homes) for shard in self._shards))
        cut_offs = {shard.index: seq for shard, seq in zip(self._shards, cuts, strict=True)}
        order_ns, now_ms = self._clock.order_ns(), _now_ms()
        erasures = [
            Erasure(
                id=secrets.token_hex(8),
                match_id=request.match_id,
                at_ms=now_ms,
                order_ns=order_ns,
                cut_offs=cut_offs,
                refuse_until_ms=now_ms + round(request.refuse_for_s * 1000) if request.refuse_for_s else 0,
            )
            for request in asked
        ]
        await self._threads.run(partial(self._file.add, erasures))
        return erasures

    async def _cut(self, shard: Shard, *, is_home: bool) -> int:
        """Cut a shard's log; one that is not the match's holds none of it but from before the start, if at all."""
        return await self._committer.cut(shard.log, upto=None if is_home else shard.log.recovered_seq)

    async def next_ones(self, most: int) -> list[Erasure]:
        """Return the oldest erasures, after a wait for the first. Raises OSError."""
        while not self._open:
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(REFUSALS_CHECK_S if self._done else None):
                    await self._wake.wait()
            if any(erasure.refuse_until_ms <= _now_ms() for erasure in self._done.values()):
                await self.finish([])
        return list(self._open.values())[:most]

    def note_step(self, step: str, erasures: Iterable[Erasure]) -> None:
        """Note how far some have come."""
        self._steps |= dict.fromkeys((erasure.id for erasure in erasures), step)

    async def finish(self, erasures: Sequence[Erasure]) -> None:
        """Remove the records of erasures that are carried out, and let go of matches that no other one hides.

        It comes to its end also if the caller is cancelled. Raises OSError: then nothing has changed.
        """
        await self._threads.finish(self._finish(erasures))

    async def _finish(self, erasures: Sequence[Erasure]) -> None:
        erasures = [erasure for erasure in erasures if erasure.id in self._open]  # not those of a call before
        ids, now_ms = {erasure.id for erasure in erasures}, _now_ms()
        done = _still_refusing((*self._done.values(), *erasures), now_ms)
        async with self._changing:
            open_ = {id_: one for id_, one in self._open.items() if id_ not in ids}
            await self._threads.run(partial(self._file.replace, [*open_.values(), *done.values()]))
            self._open, self._done = open_, done
        self._refusals = {}
        for one in (*done.values(), *open_.values()):
            self._note_refusal(one)
        self._leave(erasures)

    async def settled(self) -> None:
        """Return when no thread works any more."""
        await self._threads.settled()

    def _hold_as_needed(self, match_id: str) -> None:
        """Hold the rows of a match back as its oldest erasure needs it: rows beyond its cut-off. Without one: none.

        Rows up to there may go on, although they are dropped or deleted later: earlier erasures may wait for them.
        """
        oldest = next(iter(self._of_match.get(match_id, {}).values()), None)
        if oldest is None:
            self._of_match.pop(match_id, None)
        for shard in self._shards:
            beyond = None if oldest is None else oldest.upto(shard.index)
            if beyond is None:
                shard.pending.erasing.pop(match_id, None)
            if beyond != shard.pending.held.get(match_id):
                shard.flusher.hold(match_id, beyond=beyond)

    def _enter(self, erasure: Erasure) -> None:
        self._note_refusal(erasure)
        if erasure.done:
            self._done[erasure.id] = erasure
            return
        self._open[erasure.id] = erasure
        self._of_match.setdefault(erasure.match_id, {})[erasure.id] = erasure
        self._steps[erasure.id] = "wait"
        self._hidden[erasure.match_id] += 1

    def _leave(self, erasures: Sequence[Erasure]) -> None:
        """Let go of matches whose erasure is done, unless another one needs them."""
        match_ids = {erasure.match_id for erasure in erasures}
        for erasure in erasures:
            del self._steps[erasure.id]
            del self._of_match[erasure.match_id][erasure.id]
            self._unhide(erasure.match_id)
        self._tell_all(match_ids - self._hidden.keys())
        for match_id in match_ids:
            self._hold_as_needed(match_id)

    def _note_refusal(self, erasure: Erasure) -> None:
        if erasure.refuse_until_ms:
            until_ms = max(erasure.refuse_until_ms, self._refusals.get(erasure.match_id, 0))
            self._refusals[erasure.match_id] = until_ms

    def _unhide(self, match_id: str) -> None:
        self._hidden[match_id] -= 1
        if not self._hidden[match_id]:
            del self._hidden[match_id]

    def _tell_all(self, match_ids: Collection[str]) -> None:
        for forget in self._forget:
            forget(match_ids)


def _still_refusing(erasures: Iterable[Erasure], now_ms: int) -> dict[str, Erasure]:
    """Return what stays, by id, of those that are done: events of their matches are refused for a while yet."""
    refusing = (one for one in erasures if one.refuse_until_ms > now_ms)
    return {one.id: msgspec.structs.replace(one, done=True, cut_offs={}) for one in refusing}


def cut_offs_of(erasures: Iterable[Erasure], shard: int) -> dict[str, int]:
    """Return the last number of each match that goes in a shard's log."""
    cut_offs: dict[str, int] = {}
    for one in erasures:
        cut_offs[one.match_id] = max(one.upto(shard), cut_offs.get(one.match_id, 0))
    return cut_offs


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

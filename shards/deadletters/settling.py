"""The dead letters of all shards, as operators work with them: list, read, requeue, discard."""

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import attrs

from shards.deadletters.entries import FiledLetter, Place
from shards.deadletters.file import DeadLetterFile
from shards.deadletters.lines import Action
from shards.errors import KeyChanged, LetterSettled, UnknownLetter, WalFailed
from shards.events import Event, decode_row, encode_row
from shards.logger import get_logger
from shards.receipts import Receipt

_log = get_logger(__name__)


class DeadLetters:
    """The letters of every shard, retired shards included. Used in the event loop only.

    A requeue has two steps:

    1. The row is appended like any other, under a new sequence number.
    2. Once it is durable, the letter is noted as requeued.

    A crash in between leaves the letter open. Its row may then be sent twice, and counts once by its key.
    """

    def __init__(
        self, append: Callable[[Sequence[Event]], Awaitable[Receipt]], is_erasing: Callable[[str], bool]
    ) -> None:
        """Know no letters yet. A letter whose match ``is_erasing`` can only be read."""
        self._append = append
        self._is_erasing = is_erasing
        self._files: list[DeadLetterFile] = []
        self._settling: dict[str, asyncio.Task[None]] = {}

    def take(self, files: Sequence[DeadLetterFile]) -> None:
        """Take in the recovered letters of all shards."""
        self._files = list(files)

    async def newest(self, *, limit: int, before: Place | None = None, settled: bool = False) -> list[FiledLetter]:
        """Return letters, newest first; see :meth:`shards.deadletters.file.DeadLetterFile.newest`. Raises OSError."""
        return await asyncio.to_thread(self._newest, limit, before, settled)

    def _newest(self, limit: int, before: Place | None, settled: bool) -> list[FiledLetter]:
        found = (file.newest(limit=limit, before=before, settled=settled) for file in self._files)
        return heapq.nlargest(limit, (letter for page in found for letter in page), key=lambda letter: letter.place)

    async def read(self, letter_id: str) -> FiledLetter:
        """Return one letter. Raises UnknownLetter, OSError."""
        return await asyncio.to_thread(self._file_of(letter_id).read, letter_id)

    async def requeue(self, letter_id: str, event: Event | None = None) -> FiledLetter:
        """Append the letter's row again, or ``event`` in its place; return the letter with its settlement.

        Time and order of receipt stay the same, because the copy received first stands. A row that fails again becomes
        another letter.

        Raises:
            UnknownLetter: there is no letter with this id.
            LetterSettled: it was requeued or discarded before, or another request is settling it.
            KeyChanged: ``event`` has another match or event id.
            Unavailable: nothing was appended; but after WalFailed the row may be durable, with the letter still open.
        """
        return await self._settle(letter_id, "requeued", event)

    async def discard(self, letter_id: str) -> FiledLetter:
        """Give a letter up, and return it with its settlement; its text stays in the file. Raises as `requeue`."""
        return await self._settle(letter_id, "discarded", None)

    def _file_of(self, letter_id: str) -> DeadLetterFile:
        for file in self._files:
            if letter_id in file:
                return file
        raise UnknownLetter(letter_id)

    async def _settle(self, letter_id: str, action: Action, event: Event | None) -> FiledLetter:
        file = self._file_of(letter_id)
        if letter_id in self._settling:
            raise LetterSettled(letter_id, "being settled by another request")
        await self._run_to_end(letter_id, self._work(file, letter_id, action, event))
        return await self.read(letter_id)

    async def _run_to_end(self, letter_id: str, work: Coroutine[Any, Any, None]) -> None:
        """Run work to its end: a caller who leaves must not cut it off between the append and the note of it."""
        task = asyncio.create_task(work, name=f"settle-{letter_id}")
        self._settling[letter_id] = task
        task.add_done_callback(lambda _: self._settling.pop(letter_id))
        await asyncio.shield(task)

    async def _work(self, file: DeadLetterFile, letter_id: str, action: Action, event: Event | None) -> None:
        filed = await asyncio.to_thread(file.read, letter_id)
        if filed.settlement is not None:
            raise LetterSettled(letter_id, filed.settlement.action)
        row, again = b"", None
        if action == "requeued":
            sent = _event_to_append(letter_id, decode_row(filed.letter.row.encode()), event)
            if self._is_erasing(sent.match_id):
                raise UnknownLetter(letter_id)
            (stretch,) = (await self._append([sent])).stretches
            row, again = encode_row(sent), (stretch.shard, stretch.first)
        try:
            await file.settle(letter_id, action, row=row, again=again)
        except OSError as error:
            _log.error("dead letter not settled", letter=letter_id, action=action, error=str(error))
            raise WalFailed(error.strerror or str(error)) from error
        _log.info("dead letter settled", letter=letter_id, action=action)

    async def close(self) -> None:
        """Return when no letter is being settled any more."""
        await asyncio.gather(*self._settling.values(), return_exceptions=True)


def _event_to_append(letter_id: str, first: Event, event: Event | None) -> Event:
    if event is None:
        return first
    if (event.match_id, event.event_id) != (first.match_id, first.event_id):
        raise KeyChanged(letter_id)
    return attrs.evolve(event, received_ns=first.received_ns, order_ns=first.order_ns)

"""The journal of one shard: which attempt brought which rows into ClickHouse, for as long as that can be checked.

The journal is one file beside the checkpoint, of lines with a checksum. Rows are noted and fsynced here before a
checkpoint calls them done with; all others are sent again after a crash, and noted again. So a torn end never matters,
and it counts which sequence numbers are covered, not how often. A line that is damaged is passed over.

The file grows by about one line a checkpoint, and is rewritten when it has doubled. Then the attempts of an hour
become one entry, and all attempts that the ledger no longer shows become another.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from shards.logger import get_logger
from shards.runs import Run, joined, union
from shards.wal.files import LineFile, checked_line, text_of_line

_log = get_logger(__name__)

FILE_NAME = "confirmed"
KEEP_S = 29 * 86_400
"""Seconds for which an entry can be checked: a day less than the ledger keeps its rows, because clocks differ."""
MERGED_S = 3_600
REWRITE_BYTES = 1 << 20

Reason = Literal["expired", "no_journal", "not_noted", "damaged", "erased"]
"""Reasons why rows cannot be checked: the ledger has forgotten them; they are older than the journal; the disk took no
note of them; their records could not be read back from the log; they were erased with their match before they were
stored."""


class Confirmed(msgspec.Struct, frozen=True, kw_only=True, tag_field="what", tag="confirmed"):
    """Attempts with consecutive batch numbers that the ledger has shown whole, with the rows they brought.

    ``event_id`` is the id of one of these rows, empty if it was erased, and ``received_s`` its receipt.
    ``at_s`` is when the first attempt was confirmed. Both times are in s since the epoch.
    """

    writer: str
    first_batch: int
    last_batch: int
    rows: int
    runs: tuple[Run, ...]
    at_s: int
    event_id: str
    received_s: int


class Unprovable(msgspec.Struct, frozen=True, kw_only=True, tag_field="what", tag="unprovable"):
    """Rows that are done with but have no attempt to check; ``at_s`` is when the last was noted, s since the epoch."""

    reason: Reason
    runs: tuple[Run, ...]
    at_s: int

    @classmethod
    def noted_now(cls, reason: Reason, runs: tuple[Run, ...]) -> "Unprovable":
        """Return the entry, noted at the present moment of the wall clock."""
        return cls(reason=reason, runs=runs, at_s=int(time.time()))


Entry = Confirmed | Unprovable
_decode: Callable[[bytes], Entry] = msgspec.json.Decoder(Entry).decode


class Journal:
    """Entries of one shard. The event loop notes them; threads write and read the file."""

    def __init__(self, directory: Path, *, shard: int) -> None:
        self._file = LineFile(directory / FILE_NAME)
        self._shard = shard
        self._lock = threading.Lock()
        self._unwritten: list[Entry] = []
        self._rewrite_at = REWRITE_BYTES
        self.erased: tuple[Run, ...] = ()
        """Rows that were erased before they were stored."""

    def recover(
        self, *, written_upto: int, upto: int, beyond: Sequence[Run] = (), passed_over: Reason = "not_noted"
    ) -> None:
        """Note the rows that the journal does not cover. Blocking; called once, before anything else.

        A file that cannot be read or made durable stops no start and is left as it is: :meth:`entries` tries again,
        and raises as long as it fails.

        Args:
            written_upto: ``upto`` of the checkpoint as it was read.
            upto: number up to which all is done with; larger if segments were removed without a checkpoint.
            beyond: confirmed numbers behind ``upto``.
            passed_over: reason why the journal may lack the numbers between ``written_upto`` and ``upto``.
        """
        now_s = int(time.time())
        if not self._file.path.exists():
            if done := (*(((1, upto),) if upto else ()), *beyond):
                self.note(Unprovable(reason="no_journal", runs=done, at_s=now_s))
        else:
            try:
                found = self._read()
                self.erased = union(run for entry in found if _is_erased(entry) for run in entry.runs)
                self._rewrite(found)  # a file is made durable before it is read first
            except OSError as error:
                _log.warning("journal not recovered", shard=self._shard, error=str(error))
            if written_upto < upto:
                self.note(Unprovable(reason=passed_over, runs=((written_upto + 1, upto),), at_s=now_s))

    @property
    def is_written(self) -> bool:
        """Whether everything noted is durable."""
        return not self._unwritten

    def note(self, entry: Entry) -> None:
        """Take an entry; it is durable after the next :meth:`write`. Cheap."""
        self._unwritten.append(entry)
        if _is_erased(entry):
            self.erased = joined(self.erased, entry.runs)

    def write(self) -> None:
        """Make the noted entries durable. Blocking.

        Raises OSError; then all of them are kept, and due again.
        """
        with self._lock:
            taken = len(self._unwritten)
            if not taken:
                return
            entries = merged(self._unwritten[:taken])
            try:
                lines = b"".join(map(_line, entries))
                size = self._file.append(lines) + len(lines)
            except OSError:
                self._unwritten[:taken] = entries
                raise
            del self._unwritten[:taken]
            if size >= self._rewrite_at:
                self._rewrite(self._read())

    def forget(self, event_ids: Collection[str]) -> None:
        """Forget samples that were erased, durably; what was noted with them stays. Blocking; raises OSError."""
        with self._lock:
            unwritten = tuple(self._unwritten)  # more may be noted meanwhile
            entries = [*self._read(), *unwritten]
            kept = [_without_sample(entry) if _sample_of(entry) in event_ids else entry for entry in entries]
            if kept != entries:
                self._file.replace(b"".join(map(_line, merged(kept))))
                del self._unwritten[: len(unwritten)]

    def samples(self) -> set[str]:
        """Return the event ids that entries name. Blocking; raises OSError."""
        with self._lock:
            return {_sample_of(entry) for entry in (*self._read(), *self._unwritten)} - {""}

    def entries(self) -> list[Entry]:
        """Return every noted entry, written or not, as it can be checked now. Blocking; raises OSError."""
        with self._lock:
            return _checkable(_outermost([*self._read(), *self._unwritten]), now_s=int(time.time()))

    def _read(self) -> list[Entry]:
        found = (_entry(line) for line in self._file.read().split(b"\n"))
        return [entry for entry in found if entry is not None]

    def _rewrite(self, entries: list[Entry]) -> None:
        """Replace the file by a shorter one, durably and all or nothing; after a failure it stays as it is."""
        data = b"".join(map(_line, merged(_checkable(entries, now_s=int(time.time())))))
        try:
            self._file.replace(data)
        except OSError as error:
            _log.warning("journal not rewritten", shard=self._shard, error=str(error))
        self._rewrite_at = max(REWRITE_BYTES, 2 * len(data))


def _is_erased(entry: Entry) -> bool:
    return isinstance(entry, Unprovable) and entry.reason == "erased"


def _sample_of(entry: Entry) -> str:
    return entry.event_id if isinstance(entry, Confirmed) else ""


def _without_sample(entry: Entry) -> Entry:
    return msgspec.structs.replace(entry, event_id="")


def _line(entry: Entry) -> bytes:
    return checked_line(msgspec.json.encode(entry))


def _entry(line: bytes) -> Entry | None:
    """Return the entry of a line; None for one that is torn or damaged."""
    if (text := text_of_line(line)) is None:
        return None
    try:
        return _decode(text)
    except msgspec.DecodeError:
        return None


def merged(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries as fewer ones: one for consecutive attempts of an hour, and one for each reason."""
    confirmed: dict[tuple[str, int], list[Confirmed]] = {}
    unprovable: dict[Reason, Unprovable] = {}
    for entry in dict.fromkeys(entries):
        if isinstance(entry, Confirmed):
            confirmed.setdefault((entry.writer, entry.at_s // MERGED_S), []).append(entry)
        else:
            known = unprovable.get(entry.reason, entry)
            runs, at_s = union((*known.runs, *entry.runs)), max(known.at_s, entry.at_s)
            unprovable[entry.reason] = Unprovable(reason=entry.reason, runs=runs, at_s=at_s)
    result: list[Entry] = list(unprovable.values())
    for attempts in confirmed.values():
        result += _joined(sorted(attempts, key=lambda entry: entry.first_batch))
    return result


def _joined(attempts: Iterable[Confirmed]) -> list[Confirmed]:
    result: list[Confirmed] = []
    for entry in attempts:
        last = result[-1] if result else None
        if last is None or entry.first_batch != last.last_batch + 1:
            result.append(entry)
            continue
        result[-1] = Confirmed(
            writer=last.writer,
            first_batch=last.first_batch,
            last_batch=entry.last_batch,
            rows=last.rows + entry.rows,
            runs=union((*last.runs, *entry.runs)),
            at_s=min(last.at_s, entry.at_s),
            event_id=last.event_id,
            received_s=last.received_s,
        )
    return result


def _outermost(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries without attempts that another entry includes.

    They exist because a failed write may leave whole lines, and the next write joins the same attempts to others.
    """
    result: list[Entry] = [entry for entry in entries if isinstance(entry, Unprovable)]
    attempts = [entry for entry in entries if isinstance(entry, Confirmed)]
    reached: dict[str, int] = {}
    for attempt in sorted(attempts, key=lambda attempt: (attempt.first_batch, -attempt.last_batch)):
        if attempt.last_batch > reached.get(attempt.writer, 0):
            reached[attempt.writer] = attempt.last_batch
            result.append(attempt)
    return result


def _checkable(entries: Iterable[Entry], *, now_s: int) -> list[Entry]:
    """Return the entries; those that the ledger may have forgotten become unprovable.

    A time in the future, from a clock that was set wrong, becomes ``now_s``.
    """
    result: list[Entry] = []
    for entry in entries:
        if isinstance(entry, Confirmed) and entry.at_s < now_s - KEEP_S:
            result.append(Unprovable(reason="expired", runs=entry.runs, at_s=entry.at_s))
        elif entry.at_s > now_s:
            result.append(msgspec.structs.replace(entry, at_s=now_s))
        else:
            result.append(entry)
    return result

"""The unconfirmed rows of one shard that are in memory, and the count of those that are not.

Memory holds the oldest of them, up to a cap. Rows beyond the cap are only in the write-ahead log ("unread"), and are
loaded when there is room again. So an outage of ClickHouse costs disk, not memory.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Sequence
from itertools import islice
from time import monotonic, time_ns

from shards.errors import InvariantBroken
from shards.events import head_of
from shards.runs import Run, both, size
from shards.wal.record import Record

AGE_GRANULARITY_S = 1.0
AGES_MAX = 4_096

_UNKNOWN = ""
"""Stands for the matches of rows that were missed; no match has this id."""


class PendingRows:
    """Rows by sequence number, and by match for the reads. Used in the event loop only."""

    def __init__(self, *, max_rows: int, max_bytes: int) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._rows: OrderedDict[int, tuple[str, bytes]] = OrderedDict()
        self._by_match: dict[str, dict[int, bytes]] = {}
        self._bytes = 0
        self._unread: Counter[str] = Counter()
        self._unread_rows = 0
        self._unread_at: dict[str, int] = {}
        self._durable_since: deque[tuple[int, float]] = deque()
        self._unsaved_rows = 0
        self._unsaved_bytes = 0
        self.done_before: tuple[Run, ...] = ()
        """Rows still in the log that were done with before the start; emptied once loading has passed them."""
        self.erasing: dict[str, int] = {}
        """Matches that are being erased, each with the last number that goes: rows up to it are not loaded any more."""
        self.held: dict[str, int] = {}
        """Matches of which rows beyond a number are not to be sent for now."""
        self.loaded_seq = 0
        self.last_seq = 0

    def recover(
        self, *, upto: int, last_seq: int, unread: Counter[str], age_s: float, done: tuple[Run, ...] = ()
    ) -> None:
        """Start from a recovered log: all rows after ``upto``, except those in ``done``, are on disk only."""
        self.loaded_seq, self.last_seq, self.done_before = upto if unread else last_seq, last_seq, done
        self._unread, self._unread_rows = unread, unread.total()
        self._unread_at = dict.fromkeys(unread, time_ns() // 1_000_000)
        if unread:
            self._durable_since.append((upto + 1, monotonic() - age_s))

    def __len__(self) -> int:
        return len(self._rows) + self._unread_rows

    @property
    def unread(self) -> int:
        """Rows that are on disk only."""
        return self._unread_rows

    @property
    def held_back(self) -> int:
        """Rows in memory that are not to be sent for now."""
        return sum(seq > beyond for match_id, beyond in self.held.items() for seq in self._by_match.get(match_id, ()))

    @property
    def room(self) -> tuple[int, int]:
        """Rows, and bytes of rows, that memory may still take.

        Rows removed since the last checkpoint count as well, because after a crash they fill memory again, which then
        would not reach as far as before.
        """
        rows, bytes_ = len(self._rows) + self._unsaved_rows, self._bytes + self._unsaved_bytes
        return max(0, self._max_rows - rows), max(0, self._max_bytes - bytes_)

    @property
    def has_room(self) -> bool:
        """Whether memory may take more rows."""
        rows, bytes_ = len(self._rows) + self._unsaved_rows, self._bytes + self._unsaved_bytes
        return rows < self._max_rows and bytes_ < self._max_bytes

    @property
    def crowded(self) -> bool:
        """Whether more than half of the cap is used: time to have rows confirmed early."""
        return len(self._rows) * 2 > self._max_rows or self._bytes * 2 > self._max_bytes

    @property
    def done_upto(self) -> int:
        """Sequence number up to which every row is done with."""
        return next(iter(self._rows)) - 1 if self._rows else self.loaded_seq

    @property
    def oldest_age_s(self) -> float:
        """Seconds since the oldest unconfirmed row became durable, to about a second; 0 if there is none."""
        if not len(self):
            return 0.0
        oldest = self.done_upto + 1
        while len(self._durable_since) > 1 and self._durable_since[1][0] <= oldest:
            self._durable_since.popleft()
        return monotonic() - self._durable_since[0][1] if self._durable_since else 0.0

    def add_durable(self, first_seq: int, match_ids: Sequence[str], rows: Sequence[bytes]) -> None:
        """Take rows that have just become durable; those beyond the cap are left to the log.

        Rows before them that were missed, because taking them failed, are left to the log too: it holds every number.
        Raises InvariantBroken, with nothing taken, if a number was taken before.
        """
        if first_seq <= self.last_seq:
            raise InvariantBroken(f"row {first_seq} became durable after row {self.last_seq}")
        now = monotonic()
        if not len(self):
            self._durable_since.clear()
        if not self._durable_since or now - self._durable_since[-1][1] >= AGE_GRANULARITY_S:
            self._durable_since.append((first_seq, now))
            if len(self._durable_since) > AGES_MAX:  # in a long outage; the oldest one stays
                self._durable_since = deque(islice(self._durable_since, 0, None, 2))
        if missed := first_seq - self.last_seq - 1:
            self._unread[_UNKNOWN] += missed
            self._unread_rows += missed
        self.last_seq = first_seq + len(rows) - 1
        for seq, match_id, row in zip(range(first_seq, self.last_seq + 1), match_ids, rows, strict=True):
            if self._unread_rows or not self.has_room:
                self._unread[match_id] += 1
                self._unread_at[match_id] = time_ns() // 1_000_000
                self._unread_rows += 1
            else:
                self._add(seq, match_id, row)
                self.loaded_seq = seq

    def add_loaded(self, records: Iterable[Record]) -> tuple[list[int], list[int]]:
        """Take rows that were read back from the log; return their numbers, and those of rows that are to be erased.

        The latter are not taken.
        """
        loaded, dropped = [], []
        for record in records:
            match_id = head_of(record.payload).match_id
            self._unread_rows -= 1
            counted_as = match_id if match_id in self._unread else _UNKNOWN
            self._unread[counted_as] -= 1
            if not self._unread[counted_as]:
                del self._unread[counted_as]
                self._unread_at.pop(counted_as, None)
            self.loaded_seq = record.seq
            if record.seq <= self.erasing.get(match_id, 0):
                dropped.append(record.seq)
                continue
            self._add(record.seq, match_id, record.payload)
            loaded.append(record.seq)
        if self.done_before and self.done_before[-1][1] <= self.loaded_seq:
            self.done_before = ()
        return loaded, dropped

    def note_damaged(self, rows: int) -> None:
        """Stop counting rows that were on disk only and can no longer be read."""
        self._unread_rows -= rows

    def end_loading(self) -> None:
        """Note that the log holds no more rows up to :attr:`last_seq`."""
        self.loaded_seq = self.last_seq
        self._unread.clear()
        self._unread_at.clear()
        self._unread_rows = 0

    def _add(self, seq: int, match_id: str, row: bytes) -> None:
        self._rows[seq] = (match_id, row)
        self._by_match.setdefault(match_id, {})[seq] = row
        self._bytes += len(row)

    def remove(self, seqs: Iterable[int]) -> int:
        """Forget rows that are done with; return how many of them were still pending."""
        removed, bytes_before = 0, self._bytes
        for seq in seqs:
            found = self._rows.pop(seq, None)
            if found is None:
                continue
            match_id, row = found
            removed += 1
            self._bytes -= len(row)
            of_match = self._by_match[match_id]
            del of_match[seq]
            if not of_match:
                del self._by_match[match_id]
        self._unsaved_rows += removed
        self._unsaved_bytes += bytes_before - self._bytes
        return removed

    def note_saved(self) -> None:
        """Note that a checkpoint covers the removed rows, which makes room for others."""
        self._unsaved_rows = self._unsaved_bytes = 0

    def rows(self, seqs: Iterable[int]) -> list[bytes]:
        """Return the rows of sequence numbers that are in memory."""
        return [self._rows[seq][1] for seq in seqs]

    def seqs(self) -> list[int]:
        """Return the numbers of the rows in memory."""
        return list(self._rows)

    def holds(self, seq: int) -> bool:
        """Say whether a row is in memory and not done with."""
        return seq in self._rows

    def may_be_sent(self, seq: int) -> bool:
        """Say whether a row is in memory, not done with, and not held back."""
        found = self._rows.get(seq)
        return found is not None and (found[0] not in self.held or seq <= self.held[found[0]])

    def seqs_of(self, match_id: str) -> list[int]:
        """Return the numbers of a match's rows in memory, in order."""
        return list(self._by_match.get(match_id, ()))

    def size_of(self, seq: int) -> int:
        """Return the bytes of a row that is in memory."""
        return len(self._rows[seq][1])

    def count_between(self, first: int, last: int) -> int:
        """Return how many rows between two sequence numbers, both included, are not done with."""
        if last <= self.done_upto:
            return 0
        on_disk_first, on_disk_last = max(first, self.loaded_seq + 1), min(last, self.last_seq)
        on_disk_only = max(0, on_disk_last - on_disk_first + 1)
        if on_disk_only and self.done_before:
            on_disk_only -= size(both(self.done_before, ((on_disk_first, on_disk_last),)))
        if last - first < len(self._rows):
            return on_disk_only + sum(seq in self._rows for seq in range(first, last + 1))
        return on_disk_only + sum(first <= seq <= last for seq in self._rows)

    def of_match(self, match_id: str) -> tuple[Sequence[bytes], int]:
        """Return a match's rows in memory, and how many more are on disk only."""
        return tuple(self._by_match.get(match_id, {}).values()), self._unread.get(match_id, 0)

    def unread_at(self, match_id: str) -> int:
        """Return when the last of a match's rows on disk only came, ms since the epoch; 0: there is none."""
        return self._unread_at.get(match_id, 0)

    def matches(self) -> set[str]:
        """Return the matches with rows in memory or on disk only."""
        return (self._by_match.keys() | self._unread.keys()) - {_UNKNOWN}

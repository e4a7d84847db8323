"""Rows that have to be sent again, and when they are due."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from time import monotonic

from shards.tasks.backoff import backoff_s


class ReplayQueue:
    """Sequence numbers in the order in which they are due. After a failure all of them wait, longer each time."""

    def __init__(self) -> None:
        self._seqs: deque[int] = deque()
        self._due_at = 0.0
        self.failures = 0

    def __len__(self) -> int:
        return len(self._seqs)

    def __iter__(self) -> Iterator[int]:
        return iter(self._seqs)

    @property
    def delay_s(self) -> float | None:
        """Seconds until the first row may be sent; 0 or less: now; None: there is no row."""
        return self._due_at - monotonic() if self._seqs else None

    def extend(self, seqs: Iterable[int]) -> None:
        """Add rows behind the others; a pause holds for them too."""
        self._seqs.extend(seqs)

    def postpone(self, seqs: Iterable[int]) -> None:
        """Put rows behind all others."""
        last = set(seqs)
        self._seqs = deque(sorted(self._seqs, key=last.__contains__))

    def keep_only(self, wanted: Callable[[int], bool]) -> None:
        """Drop every row that is not ``wanted``."""
        self._seqs = deque(filter(wanted, self._seqs))

    def note_success(self) -> None:
        """End the pause."""
        self.failures = 0
        self._due_at = 0.0

    def note_failure(self) -> None:
        """Pause, longer with each failure in a row."""
        self.failures += 1
        self._due_at = monotonic() + backoff_s(self.failures)

    def forget(self, holds: Callable[[int], bool]) -> None:
        """Drop the first rows as long as ``holds`` says that they are no longer pending."""
        while self._seqs and not holds(self._seqs[0]):
            self._seqs.popleft()

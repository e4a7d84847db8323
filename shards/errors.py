"""Every exception of this package.

::

    ShardsError
    ├── Unavailable            nothing was appended, unless WalFailed; try again after ``retry_after_s``
    │   ├── NotAccepting       starting, recovering or shutting down
    │   ├── Saturated          a shard's queue to the disk is full
    │   ├── WalFull            ``WAL_MAX_BYTES`` or ``WAL_MIN_FREE_BYTES`` reached
    │   └── WalFailed          the disk refused a write or a sync
    ├── DataDirectoryLocked    another process works on this data directory
    ├── LetterError            a dead letter cannot be settled as asked
    │   ├── UnknownLetter      there is none with this id
    │   ├── LetterSettled      it was requeued or discarded before, or another request is settling it
    │   └── KeyChanged         a repair names another match or event
    ├── InvariantBroken        the service contradicts itself: a fault of ours
    └── StoreError             ClickHouse did not do what was asked
        ├── StoreUnavailable   not reachable, or it went away; retry
        │   └── TooManyReads   it was not asked, because too many others wait to ask; ask again
        ├── SchemaMismatch     a database object is not as needed; mend it, then retry
        ├── RowsRefused        these rows cannot be stored, however often they are sent
        └── StoreFailed        any other error of the server; retry with an alarm
            └── StoreBusy      the server's state is at fault, never the rows: read-only, out of memory, too many parts
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final, Literal, get_args

Refusal = Literal[
    "recovering",
    "unreadable",
    "stopping",
    "saturated",
    "log_full",
    "disk_short",
    "log_failed",
]
"""Why events are not taken, in a word: the log is being read, cannot be read, takes no more because of a shutdown;
too many wait for the disk; ``FANFINITY_WAL_MAX_BYTES`` or ``FANFINITY_WAL_MIN_FREE_BYTES`` is reached; the disk refuses
writes."""

REFUSALS: Final[tuple[Refusal, ...]] = get_args(Refusal)


class ShardsError(Exception):
    """Base of all errors of this package."""


class Unavailable(ShardsError):
    """The request was refused before anything was appended; only :class:`WalFailed` may come after a part was.

    ``reason`` is a sentence for operators, ``refusal`` a word for metrics, and for what clients are told.
    """

    usual_refusal: ClassVar[Refusal] = "log_failed"

    def __init__(self, reason: str, *, retry_after_s: int = 1, refusal: Refusal | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.refusal: Refusal = refusal or self.usual_refusal


class NotAccepting(Unavailable):
    """The shard set is starting, recovering or shutting down."""

    usual_refusal = "stopping"


class Saturated(Unavailable):
    """More bytes are waiting for the disk than may wait."""

    usual_refusal = "saturated"


class WalFull(Unavailable):
    """The write-ahead log has used its room, or the disk has too little left."""

    usual_refusal = "log_full"


class WalFailed(Unavailable):
    """The disk refused a write or a sync; part of the request may be durable."""


class DataDirectoryLocked(ShardsError):
    """Another process holds the lock of the data directory."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is in use by another fanfinity process; stop it, or set FANFINITY_DATA_DIR to another directory"
        )
        self.path = path


class ErasuresUnderWay(ShardsError):
    """Matches are to be erased of which the release before would know nothing."""

    def __init__(self, matches: int) -> None:
        super().__init__(f"{matches} erasures are under way: start this release, and let them come to an end first")


class InvariantBroken(ShardsError):
    """The log or a flusher found an invariant broken: a fault of ours, not of the disk or ClickHouse.

    Before an append it fails that group; before a confirmation the rows are sent again. Reads never raise it.
    """


class LetterError(ShardsError):
    """A dead letter cannot be settled as asked."""

    def __init__(self, letter_id: str, reason: str) -> None:
        super().__init__(f"dead letter {letter_id}: {reason}")
        self.letter_id = letter_id
        self.reason = reason


class UnknownLetter(LetterError):
    """There is no dead letter with this id."""

    def __init__(self, letter_id: str) -> None:
        super().__init__(letter_id, "there is none with this id")


class LetterSettled(LetterError):
    """The letter was settled, or is being settled; ``reason`` says how, for example ``requeued``."""


class KeyChanged(LetterError):
    """The repaired event has another match or event id, so it would count as another event."""

    def __init__(self, letter_id: str) -> None:
        super().__init__(letter_id, "a repair must keep its match and event id")


class StoreError(ShardsError):
    """ClickHouse did not do what was asked. ``code`` is ClickHouse's error code, 0 if there is none.

    ``message`` is for everybody: a sentence of ours, or code and name of ClickHouse's error. ``full_message`` is all
    that ClickHouse said. It may quote rows, whatever the error is, because a view may put their texts into any. So only
    dead letters hold it, which are for those who may read events.
    """

    def __init__(self, message: str, *, code: int = 0, full_message: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.full_message = full_message or message
        self.code = code


class ShardPaused(ShardsError):
    """A shard's rows are not sent, because somebody has paused it; the message says who."""


class StoreUnavailable(StoreError):
    """ClickHouse cannot be reached, or the connection was lost; whether an INSERT took effect is unknown."""


class TooManyReads(StoreUnavailable):
    """ClickHouse was not asked, because too many others wait to ask it; that says nothing about ClickHouse."""


class SchemaMismatch(StoreError):
    """Database objects differ from what is needed; each difference is one sentence that names the object."""

    def __init__(self, differences: Sequence[str], *, code: int = 0, full_message: str = "") -> None:
        super().__init__("; ".join(differences), code=code, full_message=full_message)
        self.differences = tuple(differences)


class RowsRefused(StoreError):
    """ClickHouse refuses the rows themselves; sending them again cannot help."""


class StoreFailed(StoreError):
    """Any other server error. The rows are retried together, and halved only after several failures."""


class StoreBusy(StoreFailed):
    """The server cannot store anything now: read-only, too many parts, memory limit. No row is at fault."""


def public_text(error: BaseException) -> str:
    """Return what everybody may know of an error: the text of one of ours, the system's reason, else only its type.

    Texts of other exceptions may quote what they failed on.
    """
    if isinstance(error, ShardsError):
        return str(error)
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__

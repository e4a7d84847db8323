"""Retention of ``events``: the TTL of the table, which follows a setting and so is no migration.

A row expires a number of days after its receipt. ClickHouse drops a part once all its rows have expired: that costs
nothing, while removing single rows would write the month's parts again and again. So a row may stay up to a month
longer. A part that has expired when it is inserted is not written, but the ledger counts its rows, because its view
sees the insert before the TTL does. So a replay of expired rows is confirmed like any other.
"""

import re

from shards.errors import SchemaMismatch
from shards.logger import get_logger

_log = get_logger(__name__)

DAYS_MAX = 3_650
QUIET_S = 15
"""Seconds without a write of another service after which its TTL is taken for one that nobody needs any more."""

_SETTINGS = "ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1"
_CLAUSE = re.compile(r" TTL (.+?)(?= SETTINGS |$)")
_OURS = re.compile(r"received_at \+ toIntervalDay\(\d+\)")


class Retention:
    """How long one service keeps events, where others may be on the same database.

    The table can have one TTL only. So a service that starts with another setting than that of one which writes is
    refused until they agree, and one that was there before never changes the TTL back, but tells.
    """

    def __init__(self, days: int, *, quiet_s: int = QUIET_S) -> None:
        self.days = days
        self._quiet_s = quiet_s
        self._is_settled = False
        self._differs = False

    def due(self, engine_full: str) -> tuple[str, ...]:
        """Return :func:`alterations` at the start of a service, afterwards nothing."""
        return () if self._is_settled else alterations(engine_full, days=self.days)

    def settle(self) -> None:
        """Note that the TTL is that of the setting: from now on it is another service that changes it."""
        self._is_settled = True

    def written_lately(self) -> str:
        """Return the condition of rows of the ledger that were written a moment ago, by the clock of ClickHouse."""
        return f"inserted_at > now('UTC') - toIntervalSecond({self._quiet_s})"

    def refusal(self, engine_full: str) -> SchemaMismatch:
        """Return the error of a start beside a service with another setting."""
        return SchemaMismatch(
            [
                f"table events keeps rows {_words(current(engine_full))}, another service has written to it within the "
                f"last {self._quiet_s} s, and FANFINITY_RETENTION_DAYS={self.days} is set here: give all services on "
                f"this database the same; after a change this one goes on {self._quiet_s} s after their last write"
            ]
        )

    def look(self, engine_full: str) -> None:
        """Tell, once each time, that the TTL is not that of the setting any more, and that it is again."""
        if not self._is_settled or (differs := _differs(engine_full, self.days)) == self._differs:
            return
        self._differs = differs
        found, wanted = _words(current(engine_full)), _words(ttl(self.days))
        if differs:
            remedy = "give FANFINITY_RETENTION_DAYS the same value in all services on this database"
            _log.warning("retention changed by another service", found=found, wanted=wanted, remedy=remedy)
        else:
            _log.info("retention as set again", found=found, wanted=wanted)


def ttl(days: int) -> str:
    """Return the TTL of rows that are kept for ``days``, as ClickHouse prints it; empty for 0, which is for ever."""
    return f"received_at + toIntervalDay({days})" if days else ""


def alterations(engine_full: str, *, days: int) -> tuple[str, ...]:
    """Return what ALTER TABLE has to do so that rows are kept for ``days``; nothing if they are already.

    A TTL that somebody set by hand is left alone, because it may also say when rows move to another disk.

    Args:
        engine_full: of ``system.tables``.
        days: 0 for ever.

    Raises:
        SchemaMismatch: the TTL was set by hand, and does not hold the needed one.
    """
    found, needed = current(engine_full), ttl(days)
    if found == needed:
        return ()
    if found and not _OURS.fullmatch(found):
        if not days or re.search(rf"{re.escape(needed)}(?=,|$)", found):
            return ()
        raise SchemaMismatch([f"table events has the TTL {found}, set by hand; it must hold {needed}"])
    if not days:
        return ("REMOVE TTL",)
    # Stored rows expire by the new TTL too; only their times are written, not the rows. Nobody waits for that, nor for
    # the mutations before it.
    return (f"MODIFY SETTING {_SETTINGS}", f"MODIFY TTL {needed} SETTINGS alter_sync = 0")


def current(engine_full: str) -> str:
    """Return the TTL of a table, empty if it has none."""
    clause = _CLAUSE.search(engine_full)
    return clause[1] if clause else ""


def _differs(engine_full: str, days: int) -> bool:
    """Say whether the table has another TTL than the needed one, and none that was set by hand."""
    found = current(engine_full)
    return found != ttl(days) and (not found or _OURS.fullmatch(found) is not None)


def _words(found: str) -> str:
    days = re.search(r"\d+", found)
    return f"for {days[0]} days" if days and _OURS.fullmatch(found) else found or "for ever"

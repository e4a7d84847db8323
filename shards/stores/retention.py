"""Retention of ``events``: the TTL of the table, which follows a setting and so is no migration.

A row expires a number of days after its receipt. ClickHouse drops a part once all its rows have expired: that costs
nothing, while removing single rows would write the month's parts again and again. So a row may stay up to a month
longer. A part that has expired when it is inserted is not written, but the ledger counts its rows, because its view
sees the insert before the TTL does. So a replay of expired rows is confirmed like any other.
"""

import re

from shards.errors import SchemaMismatch

DAYS_MAX = 3_650

_SETTINGS = "ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1"
_CLAUSE = re.compile(r" TTL (.+?)(?= SETTINGS |$)")
_OURS = re.compile(r"received_at \+ toIntervalDay\(\d+\)")


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

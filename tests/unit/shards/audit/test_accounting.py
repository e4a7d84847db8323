"""Sentences of the audit that need no ClickHouse to be shown."""

import pytest

from shards.audit.accounting import Books, audit
from shards.audit.evidence import Evidence

NOTHING = Evidence(ledger={}, events={}, samples=frozenset(), error="")


@pytest.mark.parametrize(
    ("upto", "named"),
    [
        (1, "row 1"),
        (3, "rows 1, 3"),
        (5, "rows 1, 3, 5"),
        (7, "rows 1, 3, 5 and 1 more"),
        (9, "rows 1, 3, 5 and 2 more"),
    ],
)
def test_the_first_three_runs_are_named_and_the_rows_of_the_others_counted(upto: int, named: str) -> None:
    book = Books(shard=0, appended=upto, upto=upto, dead=range(2, upto, 2), entries=())
    [difference] = audit([book], NOTHING, retention_days=0).differences
    assert difference.text == f"shard 0: {named}: counted as done with, but the journal names no attempt"

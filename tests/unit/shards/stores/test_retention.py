"""What is done to the TTL of a table, as far as no ClickHouse is needed to show it."""

import pytest

from shards.errors import SchemaMismatch
from shards.stores.retention import alterations, current

OURS = "received_at + toIntervalDay(30)"
WITH_TTL = f"ReplacingMergeTree(version) ORDER BY match_id TTL {OURS} SETTINGS index_granularity = 8192"


def test_the_ttl_of_a_table_is_the_clause_alone() -> None:
    assert current(WITH_TTL) == OURS
    assert current("MergeTree ORDER BY x") == ""


def test_a_ttl_that_is_as_needed_is_left_alone() -> None:
    assert alterations(WITH_TTL, days=30) == ()


def test_a_ttl_set_by_hand_without_the_needed_one_is_refused() -> None:
    with pytest.raises(SchemaMismatch, match="set by hand"):
        alterations("MergeTree ORDER BY x TTL received_at + toIntervalMonth(1)", days=30)

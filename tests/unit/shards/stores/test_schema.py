"""The steps of a migration, as far as no ClickHouse is needed to show them."""

from shards.reads.aggregates import MINUTE_MS
from shards.stores.schema import CURVE_BUCKET_MS, MIGRATIONS, VERSION


def test_whatever_a_step_adds_it_adds_only_where_it_is_missing_because_it_may_have_been_cut_off() -> None:
    adding = [text for step in MIGRATIONS for text in step.statements if ".events ADD " in text]
    assert adding
    for text in adding:
        assert text.split(".events ADD ")[1].split()[1:4] == ["IF", "NOT", "EXISTS"]


def test_a_minute_is_made_of_whole_buckets_because_minutes_are_summed_from_them() -> None:
    assert MINUTE_MS % CURVE_BUCKET_MS == 0


def test_the_steps_are_numbered_without_a_gap_up_to_the_present_version() -> None:
    assert [step.number for step in MIGRATIONS] == list(range(2, VERSION + 1))

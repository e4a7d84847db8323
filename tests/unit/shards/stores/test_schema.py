"""The steps of a migration, as far as no ClickHouse is needed to show them."""

from shards.stores.schema import MIGRATIONS


def test_whatever_a_step_adds_it_adds_only_where_it_is_missing_because_it_may_have_been_cut_off() -> None:
    adding = [text for step in MIGRATIONS for text in step.statements if ".events ADD " in text]
    assert adding
    for text in adding:
        assert text.split(".events ADD ")[1].split()[1:4] == ["IF", "NOT", "EXISTS"]

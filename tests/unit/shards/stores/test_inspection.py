"""Spellings of one table: servers print keys with and without parentheses and spaces."""

import pytest

from shards.stores.inspection import FoundObject, FoundObjects, differences
from shards.stores.schema import SCHEMA_VERSION


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("version", []),
        ("(version)", []),
        ("( `version` )", []),
        ("(versions)", ["table schema_version has ORDER BY (versions), needed version"]),
    ],
)
def test_parentheses_around_a_key_are_no_difference(key: str, expected: list[str]) -> None:
    found = FoundObject(
        name=SCHEMA_VERSION.name,
        engine="MergeTree",
        engine_full=f"MergeTree ORDER BY {key} SETTINGS {', '.join(SCHEMA_VERSION.required_settings)}",
        sorting_key=key,
        partition_key="",
        select="",
        create="",
        columns={name: (type_, "", "") for name, type_ in SCHEMA_VERSION.columns.items()},
    )
    objects = FoundObjects({found.name: found}, {})
    assert differences(objects, database="fan", shard_count=1, missing=False) == expected

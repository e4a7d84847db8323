"""The changes aimed at promises (tests/mutants/aimed.toml) can be made: each text stands in the code, exactly once."""

from tests.mutants.lists import aimed


def test_what_they_change_is_there() -> None:
    assert aimed()

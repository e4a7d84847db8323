"""Which parts are known, by the blocks in their names."""

import pytest

from shards.reads.large.known_parts import KnownParts


def known(*parts: str) -> KnownParts:
    made = KnownParts()
    made.add(parts)
    return made


@pytest.mark.parametrize(
    ("seen", "part"),
    [
        (["202601_1_1_0"], "202601_1_1_0"),
        (["202601_1_1_0", "202601_2_2_0"], "202601_1_2_1"),
        (["202601_2_2_0", "202601_1_1_0", "202601_3_7_2"], "202601_1_7_3"),
        (["202601_1_9_2"], "202601_4_5_1"),
        (["202601_1_9_2"], "202601_1_9_2_11"),
        (["all_1_1_0", "all_3_3_0", "all_2_2_0"], "all_1_3_1"),
    ],
)
def test_a_part_of_blocks_that_were_all_seen_is_known(seen: list[str], part: str) -> None:
    assert known(*seen).covers(part)


@pytest.mark.parametrize(
    ("seen", "part"),
    [
        ([], "202601_1_1_0"),
        (["202601_1_1_0"], "202602_1_1_0"),
        (["202601_1_1_0"], "202601_2_2_0"),
        (["202601_1_1_0", "202601_3_3_0"], "202601_1_3_1"),
        (["202601_1_1_0", "202601_3_3_0"], "202601_2_2_0"),
        (["202601_2_9_2"], "202601_1_9_3"),
    ],
)
def test_a_part_with_a_block_that_was_not_seen_is_not(seen: list[str], part: str) -> None:
    assert not known(*seen).covers(part)


@pytest.mark.parametrize("name", ["", "events", "202601_1_1", "202601_a_1_0"])
def test_a_part_of_another_name_is_never_known(name: str) -> None:
    assert not known(name, "202601_1_1_0").covers(name)


@pytest.mark.parametrize(
    ("seen", "present", "lost"),
    [
        (["all_1_1_0", "all_2_2_0"], ["all_1_2_1"], False),
        (["all_1_3_1"], ["all_1_3_1", "all_4_4_0"], False),
        (["all_1_3_1"], ["all_1_2_1"], True),
        (["all_0_0_0"], [], True),
        (["202601_1_1_0", "202602_2_2_0"], ["202601_1_1_0"], True),
        (["202601_1_1_0"], ["202601_1_1_0", "202602_2_2_0"], False),
        (["all_1_9_2"], ["all_3_9_0", "all_1_2_0", "events"], False),
        ([], [], False),
    ],
)
def test_blocks_are_lost_if_the_newest_of_a_partition_are_gone(seen: list[str], present: list[str], lost: bool) -> None:
    assert known(*seen).has_lost_blocks(present) == lost

"""The size of a page: the documented 4 MiB of metadata, and one event at least."""

import pytest

from shards.events import Event
from shards.reads.pages.pages import FoundEvent, _up_to_size


@pytest.mark.parametrize(
    ("sizes", "events"), [((2 << 20, 2 << 20, 1), 2), ((2 << 20, (2 << 20) + 1), 1), ((5 << 20, 1), 1)]
)
def test_a_page_ends_before_its_metadata_would_be_more_than_4_mib(sizes: tuple[int, ...], events: int) -> None:
    found = [FoundEvent(Event("m", str(n), "pass", 1, "", "", "x" * size, 1, 1), False) for n, size in enumerate(sizes)]
    assert list(_up_to_size(found)) == found[:events]

"""The text of a row, of this release and of the one before."""

import msgspec
import pytest

from shards.events import Event, current_row, decode_row, encode_row, head_of

EVENT = Event("m", "id", "pass", 1_700_000_000_000, "1", "p", '{"received_ns":1}', 17, 23)
BEFORE = (
    b'{"match_id":"m","event_id":"id","event_type":"pass","timestamp":1700000000000,"team_id":"1","player_id":"p",'
    b'"metadata":"{\\"received_ns\\":1}","received_ns":17'
)


def test_a_row_ends_with_its_order() -> None:
    assert encode_row(EVENT) == BEFORE + b',"order_ns":23}'
    assert decode_row(encode_row(EVENT)) == EVENT


def test_the_order_of_a_row_of_the_release_before_is_its_time_of_receipt() -> None:
    assert current_row(BEFORE + b"}") == BEFORE + b',"order_ns":17}'
    with pytest.raises(msgspec.ValidationError, match="order_ns"):
        decode_row(BEFORE + b"}")


@pytest.mark.parametrize("row", [encode_row(EVENT), b"", b"{}", b'{"match_id":"m","metadata":"received_ns"}'])
def test_another_row_stays_as_it_is(row: bytes) -> None:
    assert current_row(row) is row


def test_the_shortest_row_of_the_release_before() -> None:
    assert head_of(current_row(b'{"match_id":"m","received_ns":5}')).received_ns == 5
    assert current_row(b'{"match_id":"m","received_ns":5}') == b'{"match_id":"m","received_ns":5,"order_ns":5}'

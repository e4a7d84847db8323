"""Taking bodies apart into events."""

import json
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.schemas.batch import CHUNK_BYTES, RUNS_MAX, CheckedEvents, line_batches, validate
from app.schemas.elements import EVENTS_MAX, TooManyEventsError
from app.schemas.events import EventSchema, Origin
from app.schemas.faults import InvalidEventError
from shards.clock import ReceiptClock


async def lines(body: bytes) -> list[tuple[int, object]]:
    return list(chain(*await line_batches(body)))


async def test_lines_are_numbered_without_blank_ones() -> None:
    assert await lines(b"\n{}\r\n \n{}") == [(0, b"{}"), (1, b"{}")]


@given(st.lists(st.sampled_from([b"", b" ", b"{}", b"x" * 40_000, b"\n" * 40_000]), max_size=12))
async def test_lines_do_not_depend_on_where_they_are_taken_apart(rows: list[bytes]) -> None:
    whole = [row for row in rows if row.strip()]
    assert await lines(b"\n".join(rows)) == list(enumerate(whole))


async def test_of_too_many_lines_no_more_are_read_than_may_be() -> None:
    assert len(await lines(b"{}\n" * EVENTS_MAX + b"\n" * CHUNK_BYTES)) == EVENTS_MAX
    with pytest.raises(TooManyEventsError):
        await lines(b"{}\n" * (EVENTS_MAX + 1))


async def test_valid_events_are_kept_and_others_counted_up_to_a_limit() -> None:
    schema = EventSchema(clock=ReceiptClock())
    batch = CheckedEvents(errors_max=2)
    good, bad = b'{"matchId":"m","eventType":"view"}', b"{}"
    pieces = list(enumerate([good, bad, good, bad, bad] * 100))
    await validate(schema, pieces, origin=Origin(), into=batch)
    assert (len(batch.events), batch.rejected) == (200, 300)
    assert [rejection.index for rejection in batch.rejections] == [1, 3]
    view = batch.view()
    assert view["errorsTruncated"] is True
    assert view["rejectedIndexes"][:2] == [[4, 4], [6, 6]]
    assert view["rejectedIndexes"][-1] == [498, 499]


def test_without_many_rejections_there_is_no_word_of_others() -> None:
    batch = CheckedEvents(errors_max=2)
    for index in (3, 7):
        batch.reject(index, InvalidEventError())
    assert batch.view().keys() == {"rejected", "errors"}


def test_of_very_many_runs_the_last_one_spans_the_rest() -> None:
    batch = CheckedEvents(errors_max=0)
    for index in range(0, 4 * RUNS_MAX, 2):
        batch.reject(index, InvalidEventError())
    runs = batch.view()["rejectedIndexes"]
    assert (batch.rejected, len(runs)) == (2 * RUNS_MAX, RUNS_MAX)
    assert runs[-2:] == [[2 * RUNS_MAX - 4, 2 * RUNS_MAX - 4], [2 * RUNS_MAX - 2, 4 * RUNS_MAX - 2]]


GOOD = {"matchId": "m", "eventType": "view"}
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "matchId": st.sampled_from(["m", "", 1, None, "x" * 200]),
        "eventType": st.sampled_from(["view", "goal", "retraction", "nope", 7]),
        "eventId": st.sampled_from(["0190a6e4-7c1e-7d3a-9b5f-2f6f0c4d8e21", "1", 5]),
        "timestamp": st.sampled_from(["2024-01-15T14:00:00Z", "1999-01-15T14:00:00Z", "2024", 5]),
        "teamId": st.sampled_from(["217", 217, "", 2.5]),
        "playerId": st.sampled_from(["9", "", []]),
        "metadata": st.sampled_from([{}, {"a": 1}, 1, {"_unmapped": 1}, {"eventId": "1"}, {"a": "x" * 17_000}]),
        "more": st.sampled_from([1, "x" * 17_000]),
    },
)


@given(FIELDS | st.sampled_from([1, [], "x"]), st.sampled_from([None, "m", "n"]))
def test_an_event_is_refused_alike_whether_its_faults_are_told_or_not(event: object, match_id: str | None) -> None:
    schema = EventSchema(clock=ReceiptClock())
    origin = Origin(match_id=match_id, idempotency_key="key")
    outcomes: list[tuple[object, ...]] = []
    for explain in (True, False):
        try:
            taken = schema.parse(json.dumps(event).encode(), origin=origin, explain=explain)
            outcomes.append((taken.match_id, taken.event_type, taken.event_id, taken.team_id, taken.metadata))
        except InvalidEventError as error:
            outcomes.append(("refused", bool(error.faults) is explain))
    assert outcomes[0] == outcomes[1]

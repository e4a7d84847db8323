"""`metadata.replaces`: what it may name, in which spellings, and that what is refused says what to mend."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.schemas.event_types import BUILT_IN_TYPES
from app.schemas.events import EventSchema, Origin
from app.schemas.faults import InvalidEventError
from app.schemas.fields import NIL_UUID
from shards.clock import ReceiptClock
from shards.events import RETRACTION, Event

OWN = "3f2b1c00-0000-4000-8000-00000000abcd"
OTHER = "0f8fad5b-d9cb-469f-a165-70867728950e"
SCHEMA = EventSchema(clock=ReceiptClock())
NAMING = "$.metadata.replaces"


def parse(metadata: str, *, event_type: str = "goal", more: str = f',"eventId":"{OWN}"', **origin: Any) -> Event:
    text = f'{{"matchId":"m","eventType":"{event_type}","teamId":"1","metadata":{metadata}{more}}}'
    return SCHEMA.parse(text.encode(), origin=Origin(**origin))


def faults(metadata: str, **options: Any) -> dict[str, str]:
    with pytest.raises(InvalidEventError) as refused:
        parse(metadata, **options)
    assert len({fault.field for fault in refused.value.faults}) == len(refused.value.faults)
    return {fault.field: fault.message for fault in refused.value.faults}


@pytest.mark.parametrize("event_type", sorted(BUILT_IN_TYPES - {RETRACTION}))
def test_any_event_may_take_the_place_of_another(event_type: str) -> None:
    metadata = f'{{"minute":12,"replaces":"{OTHER}"}}'
    assert parse(metadata, event_type=event_type).metadata == metadata


@pytest.mark.parametrize(
    "metadata",
    [
        f'{{"replaces":"{OTHER.upper()}"}}',
        f'{{"repl\\u0061ces":"{OTHER}"}}',
        f'{{"replaces":"{OTHER}","n":[18446744073709551615,-9223372036854775808,1.5e300]}}',
        f'{{"replaces":"{OTHER}","about":{{"replaces":"x","replaces":1}}}}',
        '{"replaces":null}',
        '{"replaces":null,"n":1e999}',
        f'{{"replaces":null,"n":{"9" * 5000}}}',
        '{"about":{"replaces":"x"}}',
        '{"note":"replaces","Replaces":5}',
        '{"note":"\\u0061"}',
    ],
)
def test_what_is_understood_or_means_nothing_is_taken_as_it_was_sent(metadata: str) -> None:
    assert parse(metadata).metadata == metadata


def test_beside_the_metadata_it_is_a_field_like_any_other() -> None:
    assert json.loads(parse("{}", more=',"replaces":"x"').metadata) == {"_unmapped": {"replaces": "x"}}


@pytest.mark.parametrize("value", ['""', '"x"', f'"{OTHER[:-1]}"', f'"{{{OTHER}}}"', "5", "true", "[]", "{}", "1e999"])
@pytest.mark.parametrize("key", ["replaces", "\\u0072eplaces"])
def test_what_is_no_id_is_refused_with_an_example_of_one(key: str, value: str) -> None:
    found = faults(f'{{"{key}":{value}}}')
    assert "takes the place of, such as 0190a6e4" in found[NAMING]
    assert found.keys() - {"$.metadata"} == {NAMING}


def test_the_nil_uuid_is_refused() -> None:
    assert "nil UUID" in faults(f'{{"replaces":"{NIL_UUID}"}}')[NAMING]


@pytest.mark.parametrize("named", [OWN, OWN.upper()])
@pytest.mark.parametrize("own", [OWN, OWN.upper(), f"urn:uuid:{OWN}", OWN.replace("-", "")])
def test_an_event_cannot_take_its_own_place(named: str, own: str) -> None:
    found = faults(f'{{"replaces":"{named}"}}', more=f',"eventId":"{own}"')
    assert found == {
        NAMING: "names the event itself; name the one that it takes the place of, and give this one an id of its own"
    }


def test_nor_where_its_id_is_made_from_the_idempotency_key() -> None:
    made = parse("{}", more="", idempotency_key="k").event_id
    assert "itself" in faults(f'{{"replaces":"{made}"}}', more="", idempotency_key="k")[NAMING]
    assert parse(f'{{"replaces":"{made}"}}', more="", idempotency_key="other")


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        (f'{{"replaces":"{OTHER}","replaces":"{OTHER}"}}', "replaces twice"),
        (f'{{"replaces":"{OTHER}","repl\\u0061ces":"{OTHER}"}}', "replaces twice"),
        (f'{{"replaces":"{OTHER}","replaces":null}}', "replaces twice"),
        (f'{{"replaces":"{OTHER}","n":[1e999]}}', "1e999"),
        (f'{{"replaces":"{OTHER}","n":{{"y":18446744073709551616}}}}', "as a string"),
        (f'{{"replaces":"{OTHER}","n":{"9" * 5000}}}', "as a string"),
    ],
)
def test_what_clickhouse_would_not_read_is_refused(metadata: str, says: str) -> None:
    found = faults(metadata)
    assert found.keys() == {"$.metadata"}
    assert says in found["$.metadata"]
    if "twice" not in says:  # of numbers in unknown fields too, because they are kept in the metadata
        assert says in faults(f'{{"replaces":"{OTHER}"}}', more=f',"unknown":{metadata}')["$.metadata"]


def test_it_is_named_beside_the_faults_of_other_fields() -> None:
    assert faults('{"replaces":"x"}', more=',"playerId":{},"eventId":"x"').keys() == {
        NAMING,
        "$.playerId",
        "$.eventId",
    }


@pytest.mark.parametrize("metadata", ["5", '"replaces"', '["replaces",{"replaces":"x"}]', "true"])
@pytest.mark.parametrize("event_type", ["goal", RETRACTION])
def test_metadata_that_is_no_object_is_one_fault(event_type: str, metadata: str) -> None:
    for more in ("", ',"\\u0061":1'):
        assert "object" in faults(metadata, event_type=event_type, more=more)["$.metadata"]


def test_on_a_retraction_it_is_kept_and_means_nothing() -> None:
    metadata = f'{{"eventId":"{OTHER}","replaces":5}}'
    assert parse(metadata, event_type=RETRACTION).metadata == metadata


@given(st.dictionaries(st.text(max_size=3) | st.just("replaces"), st.integers() | st.uuids().map(str)), st.booleans())
def test_the_short_way_refuses_what_the_one_that_explains_refuses(metadata: dict[str, Any], escaped: bool) -> None:
    text = json.dumps(metadata)
    if escaped:
        text = text.replace("rep", "r\\u0065p")
    body = f'{{"matchId":"m","eventType":"view","metadata":{text}}}'
    outcomes = []
    for explain in (True, False):
        try:
            SCHEMA.parse(body.encode(), origin=Origin(), explain=explain)
            outcomes.append("taken")
        except InvalidEventError:
            outcomes.append("refused")
    assert outcomes[0] == outcomes[1]

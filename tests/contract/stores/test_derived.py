"""The columns that ClickHouse makes of a row's others: what they hold for each kind of row, on each engine."""

import json
import uuid
from itertools import count
from typing import Any

import pytest

from shards.events import HIGHLIGHT_TYPES, canonical_id, withdrawn_id
from shards.stores.base import Store
from shards.stores.derived import WEIGHTS
from tests.contract.rows import batch, event
from tests.statements import alter, execute

OTHER = "0f8fad5b-d9cb-469f-a165-70867728950e"
NOBODY = str(uuid.UUID(int=0))
numbers = count(1)


async def derived(store: Store, column: str, event_type: str, metadata: str, **fields: Any) -> Any:
    """What a column holds for a row."""
    sent = event(event_type=event_type, metadata=metadata, **fields)
    await store.insert_direct(batch([sent], number=next(numbers)))
    shown = f"toString({column})" if column == "target" else column
    [(found,)] = await store.fetch(f"SELECT {shown} FROM events WHERE toString(event_id) = '{sent.event_id}'")
    return found


@pytest.mark.parametrize(
    ("metadata", "milli"),
    [
        ("{}", 187),
        ('{"x":null}', 187),
        ('{"x":50}', 187),
        ('{"x":0}', 125),
        ('{"x":100}', 250),
        ('{"x":47.5}', 184),
        ('{"x":"47.5"}', 184),
        ('{"x" : 100}', 250),
        ('{"\\u0078":100}', 250),
        ('{"x":0,"x":100}', 125),
        ('{"x":-3}', 125),
        ('{"x":1000}', 250),
        ('{"x":1e400}', 187),
        ('{"x":"nan"}', 187),
        ('{"x":"inf"}', 187),
        ('{"x":"far"}', 187),
        ('{"x":""}', 187),
        ('{"x":[100]}', 187),
        ('{"x":{"x":100}}', 187),
        ('{"place":{"x":100}}', 187),
        ('{"X":100}', 187),
        ('{"x":true}', 126),
        ('{"x":10,"y":1e400}', 187),
        ('{"x":" 100 "}', 187),
        ('{"x":"1e1"}', 137),
    ],
)
async def test_momentum_is_scaled_by_how_far_forward_it_was(store: Store, metadata: str, milli: int) -> None:
    assert await derived(store, "momentum", "pass", metadata) == milli
    assert await derived(store, "momentum", "cheer", metadata) == 0


async def test_each_type_has_its_weight(store: Store) -> None:
    assert WEIGHTS == {
        "goal": 9_000,
        "penalty": 8_000,
        "shot": 7_000,
        "corner": 4_000,
        "free_kick": 1_500,
        "dribble": 1_000,
        "recovery": 600,
        "carry": 350,
        "pass": 250,
    }
    for event_type, weight in WEIGHTS.items():
        assert await derived(store, "momentum", event_type, '{"x":100}') == weight
        assert await derived(store, "momentum", event_type, "{}") == weight * 75 // 100
    for event_type in ("own_goal", "yellow_card", "view", "Goal", ""):
        assert await derived(store, "momentum", event_type, '{"x":100}') == 0


SPELLINGS = [
    *(OTHER, OTHER.upper(), OTHER.replace("-", ""), f"{{{OTHER}}}", f"urn:uuid:{OTHER}"),
    *(f"urn:uuid:{{{OTHER.upper()}}}", "", "no id", OTHER[:-1], f"{OTHER}0", f" {OTHER}", NOBODY),
    *(f"{OTHER[:8]}{{{OTHER[8:]}", f"URN:UUID:{OTHER}"),
]


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_a_target_is_read_in_the_spellings_that_a_retraction_is(store: Store, spelling: str) -> None:
    expected = canonical_id(spelling) or NOBODY
    assert await derived(store, "target", "retraction", json.dumps({"eventId": spelling})) == expected
    assert await derived(store, "target", "goal", json.dumps({"replaces": spelling})) == expected


@pytest.mark.parametrize(
    "metadata",
    [
        "{}",
        f'{{"eventId":null,"replaces":"{OTHER}"}}',
        '{"eventId":5}',
        f'{{"eventId":["{OTHER}"]}}',
        f'{{"other":{{"eventId":"{OTHER}"}}}}',
        f'{{"event\\u0049d":"{OTHER}"}}',
        f'{{"eventId":"{OTHER}","eventId":"{uuid.UUID(int=5)}"}}',
        f'{{"eventId":"{uuid.UUID(int=5)}","eventId":"{OTHER}"}}',
    ],
)
async def test_a_target_is_read_from_the_metadata_that_a_retraction_is(store: Store, metadata: str) -> None:
    assert await derived(store, "target", "retraction", metadata) == (withdrawn_id("retraction", metadata) or NOBODY)
    if "replaces" not in metadata:
        replacing = metadata.replace("eventId", "replaces").replace("event\\u0049d", "r\\u0065places")
        assert await derived(store, "target", "pass", replacing) == (withdrawn_id("pass", replacing) or NOBODY)


async def test_only_a_retraction_withdraws_by_event_id_and_only_others_replace(store: Store) -> None:
    assert await derived(store, "target", "pass", f'{{"eventId":"{OTHER}"}}') == NOBODY
    assert await derived(store, "target", "retraction", f'{{"replaces":"{OTHER}"}}') == NOBODY


async def test_texts_are_those_of_highlights(store: Store) -> None:
    for event_type in (*HIGHLIGHT_TYPES, "pass", "cards", ""):
        found = await derived(store, "texts", event_type, '{"a":"\\u0000"}', player_id="7\0")
        assert found == ('{"a":"\\u0000"}\x007\0' if event_type in HIGHLIGHT_TYPES else "")


@pytest.mark.parametrize(
    ("metadata", "held"),
    [
        (f'{{"replaces":"{OTHER}"}}', True),
        (f'{{"replaces":"{OTHER.upper()}"}}', True),
        (f'{{"r\\u0065places":"{OTHER}"}}', True),
        ('{"replaces":null}', True),
        (f'{{"other":{{"replaces":"{OTHER}"}}}}', False),
        ('{"is":"replaces"}', False),
        ('{"is":"\\u00e4"}', False),
    ],
)
async def test_texts_of_a_row_that_replaces_another_are_held_whatever_its_type(
    store: Store, metadata: str, held: bool
) -> None:
    assert await derived(store, "texts", "pass", metadata, player_id="7") == (f"{metadata}\x007" if held else "")


async def test_the_sums_of_all_parts_are_the_sums_of_all_rows(store: Store) -> None:
    """Before merges and after, with rows from a Buffer table among them."""
    types = [*WEIGHTS, "cheer"]
    for number in range(4):
        rows = [
            event(
                event_type=types[n % len(types)],
                team_id=str(n % 3),
                timestamp=1_705_327_200_000 + n * 700,
                metadata=json.dumps({"x": n % 120} if n % 4 else {}),
            )
            for n in range(300)
        ]
        await store.insert_buffered(batch(rows[:150], number=1_000 + number))
        await store.flush_buffer(0)
        await store.insert_direct(batch(rows[150:], number=2_000 + number))
    sums = "SELECT event_type, team_id, toInt64(count()), sum(momentum), bitNot(min(version)) FROM events"
    for statement in ("SELECT 1", "OPTIMIZE TABLE {db}.events FINAL", "DELETE FROM {db}.events WHERE team_id = '1'"):
        await execute(store, statement)
        grouped = f"{sums} GROUP BY event_type, team_id ORDER BY 1, 2 SETTINGS optimize_use_projections"
        by_parts = await store.fetch(f"{grouped} = 1, force_optimize_projection_name = 'tempo'")
        assert by_parts == await store.fetch(f"{grouped} = 0")
        assert sum(row[3] for row in by_parts) > 1_000_000
    order = "SELECT bitNot(min(version)) FROM events SETTINGS force_optimize_projection_name = 'tempo'"
    assert await store.fetch(order) == [(await store.newest_order(),)]
    await alter(store, "DROP PROJECTION tempo")
    assert await store.newest_order() == max(row[4] for row in by_parts)

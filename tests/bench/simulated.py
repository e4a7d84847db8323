"""Tables of millions of rows by the simulator's distribution, made inside ClickHouse.

A few matches that the simulator played are the sample. A match of any size has all of the play of one of them once,
and draws its fans' events from that one's, in the order of time. Ids are hashes of match and number, so the copy of an
event that a client's retry makes is the same row with a later time of receipt. A copy comes soon after its event: where
merges had their time, only those are left that lie in two of the large parts. In other parts none was merged yet.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import count

import attrs
import msgspec

from app.sending.simulator.match import simulate_match
from shards.stores.schema import EVENTS, insert_columns
from shards.stores.sql import rows_source
from tests.bench.engines import Engine, Row

SAMPLE = "simulated.moments"
TEMPLATES = 8
FANS_PER_MINUTE = 100
CHUNK = 2_000_000
RETRIED_ONE_IN = 100
LATER_MS = 2_500

_CREATE = f"""CREATE TABLE IF NOT EXISTS {SAMPLE} (template UInt8, n UInt32, own_id String, target String,
  offset_ms Int64, event_type String, team_id String, player_id String, metadata String) ENGINE = Memory"""
_SLICE = (
    "match_id String, template UInt8, kickoff_ms Int64, events UInt64, play UInt32, fans UInt32, "
    "start UInt64, stop UInt64"
)
_ID = "reinterpretAsUUID(sipHash128(m.match_id, {what}))"
_COPY_LAG = 4_000
_WITH_COPIES = "if(i % {one_in} = 7 AND i >= {lag}, [i, toUInt64(i - {lag})], [i])"
_ONCE = "if({condition}, [i], [])"
_FILL = f"""INSERT INTO {{database}}.{EVENTS.name} ({insert_columns()})
  SELECT m.match_id, {_ID.format(what="if(number < play, own_id, toString(number))")}, event_type,
    fromUnixTimestamp64Milli(kickoff_ms + offset_ms + jitter_ms AS happened_ms, 'UTC'), team_id, player_id,
    if(target = '', metadata, replaceOne(metadata, target, toString({_ID.format(what="target")}))),
    fromUnixTimestamp64Milli(happened_ms + 20 + chance % 400 + later_ms AS received_ms, 'UTC'),
    'bench', 0, {{batch}}, 18446744073709551615 - toUInt64(received_ms) * 1000000
  FROM (SELECT *, arrayJoin(range(start, stop)) AS i,
      arrayJoin({{rows}}) AS number, if(number = i, {{later_ms}}, {LATER_MS}) AS later_ms,
      cityHash64(match_id, number) AS chance,
      if(number < play, 0, toInt64(intDiv(chance, 1000) % 2000)) AS jitter_ms,
      toUInt32(if(number < play, number, play + intDiv((number - play) * fans, events - play))) AS n
    FROM {{slices}}) AS m
  INNER JOIN {SAMPLE} AS s ON s.template = m.template AND s.n = m.n
  SETTINGS log_queries = 0"""


@attrs.frozen(kw_only=True)
class Planned:
    """A match to be made: its events, without copies, and its kick-off in ms since the epoch."""

    match_id: str
    events: int
    kickoff_ms: int


@attrs.define(kw_only=True)
class SimulatedTables:
    """Fills tables ``events`` that are there already; one event in :data:`RETRIED_ONE_IN` has a copy."""

    engine: Engine
    seed: int
    _sizes: list[tuple[int, int]] = attrs.field(factory=list, init=False)
    _batches: Iterator[int] = attrs.field(factory=lambda: count(1), init=False)

    async def load_sample(self) -> None:
        """Have the simulator play, and put that into ClickHouse."""
        await self.engine.query("CREATE DATABASE IF NOT EXISTS simulated")
        await self.engine.query(_CREATE)
        for template in range(TEMPLATES):
            play, fans = _split(template, random.Random(self.seed + template))
            lines = b"\n".join(msgspec.json.encode(row | {"n": n}) for n, row in enumerate(play + fans))
            await self.engine.query(f"INSERT INTO {SAMPLE} FORMAT JSONEachRow\n{lines.decode()}")
            self._sizes.append((len(play), len(fans)))

    async def fill(self, database: str, matches: Sequence[Planned], *, apart: bool, chunk: int = CHUNK) -> None:
        """Write matches in the order given, ``chunk`` events an INSERT.

        Copies come with the events that were received next; ``apart``: in an INSERT, and so a part, of their own.
        """
        for slices in self._chunks(matches, chunk):
            if apart:
                await self._insert(database, slices, _ONCE.format(condition="1"))
                again = _ONCE.format(condition=f"i % {RETRIED_ONE_IN} = 7")
                await self._insert(database, slices, again, later_ms=LATER_MS)
            else:
                rows = _WITH_COPIES.format(one_in=RETRIED_ONE_IN, lag=_COPY_LAG)
                await self._insert(database, slices, rows)

    async def copy(self, database: str, match: Planned, *, percent: int, later_ms: int) -> None:
        """Write some of a match's events again, received later."""
        for slices in self._chunks([match], CHUNK):
            rows = _ONCE.format(condition=f"intDiv(cityHash64(match_id, i), 7) % 100 < {percent}")
            await self._insert(database, slices, rows, later_ms=later_ms)

    async def _insert(self, database: str, slices: Sequence[Row], rows: str, *, later_ms: int = 0) -> None:
        source = rows_source([msgspec.json.encode(one) for one in slices], _SLICE)
        await self.engine.query(
            _FILL.format(database=database, slices=source, rows=rows, later_ms=later_ms, batch=next(self._batches))
        )

    def _chunks(self, matches: Sequence[Planned], size: int) -> Iterator[list[Row]]:
        room, slices = size, []
        for match in matches:
            start = 0
            while start < match.events:
                stop = min(match.events, start + room)
                slices.append(self._slice(match, start, stop))
                room, start = room - (stop - start), stop
                if not room:
                    yield slices
                    room, slices = size, []
        if slices:
            yield slices

    def _slice(self, match: Planned, start: int, stop: int) -> Row:
        template = sum(match.match_id.encode()) % TEMPLATES
        play, fans = self._sizes[template]
        return attrs.asdict(match) | {"template": template, "play": play, "fans": fans, "start": start, "stop": stop}


def _split(template: int, rng: random.Random) -> tuple[list[Row], list[Row]]:
    """Return the play and the fans' part of a simulated match, as rows of the sample."""
    play: list[Row] = []
    fans: list[Row] = []
    for moment in simulate_match(rng, match_id="sample", fans_per_minute=FANS_PER_MINUTE):
        event = moment.event
        of_fan = "fan" in event["metadata"]
        row = {
            "template": template,
            "own_id": event["eventId"],
            "target": event["metadata"].get("eventId", ""),
            "offset_ms": int(moment.offset_s * 1000),
            "event_type": event["eventType"],
            "team_id": event.get("teamId", ""),
            "player_id": event.get("playerId", ""),
            "metadata": msgspec.json.encode(event["metadata"]).decode(),
        }
        (fans if of_fan else play).append(row)
    return play, fans

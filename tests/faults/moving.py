"""A wall clock that is moved all the time, while the service runs and between its starts; and what must not follow it.

Every event is sent twice: as a goal, and, once the clock was moved or the service restarted, as a pass. The goal
stands. Busy matches get events all the time; a silent one gets a single event. Both are judged by the steady clock.
A start cannot know how long ago something was received, so a match is judged from its first event behind it, and a
silent one counts as heard of when the service started last.
"""

import asyncio
import random
import sys
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import attrs

from tests.bench.sender import Account
from tests.faults.world import World

COMMAND = (sys.executable, "-m", "tests.faults.inside", "serve")
HOUR_S, DAY_S = 3_600, 86_400
MOVES_S = (-HOUR_S, HOUR_S, 30 * DAY_S)
PUT_RIGHT_BEYOND_S = 90 * DAY_S
RETENTION_DAYS = 400
MATCHES = tuple(f"busy-{n}" for n in range(5))

NOTICED_S = 2.5
"""Seconds after a move within which the service has noticed it: it looks once a second."""
CACHED_S = 2.0
"""Most seconds that an answer is old, with what it takes to give one."""
QUIET_S = 4.0
"""Seconds after which a match is quiet, in place of 15 minutes."""
JUST_NOW_S = 1.0
LOOKS = 4
SETTLE_S = 120.0
REQUEST_EVENTS = 10
PRECISION_S = 2.0


@attrs.define(eq=False)
class Sent:
    """One event: when it was sent first and acknowledged, by the true clock, and how far the clock was moved then."""

    id: str
    match_id: str
    sent_at: float = 0.0
    acknowledged_at: float = 0.0
    first_offset: int = 0  # index in the history of offsets
    last_offset: int = 0
    change: int = 0

    def body(self, event_type: str) -> dict[str, str]:
        return {"matchId": self.match_id, "eventId": self.id, "eventType": event_type, "teamId": "1"}


@attrs.define(eq=False)
class Silent:
    """A match with one event, acknowledged at this moment of the steady clock."""

    match_id: str
    at: float


@attrs.frozen(kw_only=True)
class Moved:
    """What one run has shown.

    Attributes:
        moves: by kind and seconds.
        passes: events whose second copy stands.
        clock_wrong: rows whose time of receipt is not what the wall clock showed.
        partitions: partitions that hold rows, by the month of their receipt.
        steps_missed: moves that were not logged once each, in their order.
        wrong: answers that a clock has changed.
        judged: answers by what was judged of them.
    """

    seconds: float
    moves: Counter[str]
    events: int
    passes: int
    clock_wrong: int
    partitions: int
    misplaced: int
    steps: int
    steps_missed: int
    wrong: tuple[str, ...]
    judged: Counter[str]
    account: Account

    @property
    def clean(self) -> bool:
        """Return whether nothing is amiss."""
        amiss = self.passes or self.clock_wrong or self.misplaced or self.steps_missed or self.wrong
        return self.account.clean and not amiss


@attrs.define(eq=False)
class Moving:
    """One run on a directory of its own. NoCompiler where the clock cannot be moved."""

    directory: Path
    seed: int
    events: int = 10_000
    world: World = attrs.field(init=False)
    _chance: random.Random = attrs.field(init=False)
    _moves: Counter[str] = attrs.field(factory=Counter)
    _offsets: list[int] = attrs.field(factory=lambda: [0])
    _steps: list[int] = attrs.field(factory=list)
    _change: int = 0
    _life: int = 0
    _life_began: float = 0.0
    _up: asyncio.Event = attrs.field(factory=asyncio.Event)
    _sent: list[Sent] = attrs.field(factory=list)
    _silent: list[Silent] = attrs.field(factory=list)
    _waiting: list[Sent] = attrs.field(factory=list)
    _heard: dict[str, tuple[float, float]] = attrs.field(factory=dict)  # in this life: without a gap since, and last
    _wrong: list[str] = attrs.field(factory=list)
    _judged: Counter[str] = attrs.field(factory=Counter)

    def __attrs_post_init__(self) -> None:
        environment = {
            "FAULTS_QUIET_MS": str(round(QUIET_S * 1000)),
            "FANFINITY_RETENTION_DAYS": str(RETENTION_DAYS),
        }
        self._chance = random.Random(self.seed)
        self.world = World(self.directory, seed=self.seed, environment=environment, moved_clock=True, command=COMMAND)

    async def run(self, seconds: float) -> Moved:
        """Move the clock for so long, and on until every event was sent twice; then take the account."""
        async with self.world as world:
            self._began_anew()
            began = time.monotonic()
            reading = asyncio.create_task(self._read())
            sending = asyncio.create_task(self._send_first(seconds))
            again = asyncio.create_task(self._send_again())
            try:
                while time.monotonic() - began < seconds or not again.done():
                    for task in (reading, sending, again):
                        if task.done():
                            task.result()
                    await self._silence()
                    await asyncio.sleep(self._chance.uniform(0.1, 1.5))
                    await self._cause()
                await asyncio.sleep(NOTICED_S)
            finally:
                for task in (reading, sending, again):
                    task.cancel()
                await asyncio.wait({reading, sending, again})
            ran_s = time.monotonic() - began
            await world.healthy(deadline_s=SETTLE_S)
            await world._confirmed(world.service, SETTLE_S)
            await world._audited(world.service)
            return await self._account(ran_s)

    def _began_anew(self) -> None:
        self._life += 1
        self._life_began = time.monotonic()
        self._heard.clear()
        self._up.set()

    async def _cause(self) -> None:
        """Move the clock while the service runs, or while it does not."""
        offset_s = self._offsets[-1]
        move_s = -offset_s if offset_s > PUT_RIGHT_BEYOND_S else self._chance.choice(MOVES_S)
        how = self._chance.choice((*["running"] * 6, "killed", "stopped"))
        self._moves[f"{how}, {_spoken(move_s)}"] += 1
        if how == "running":
            self._move(offset_s + move_s)
            self._steps.append(move_s)
        else:
            self._up.clear()
            service = self.world.service
            await (service.kill() if how == "killed" else service.stop())
            self._move(offset_s + move_s)
            await service.start()
            self._began_anew()
        self._change += 1
        await asyncio.sleep(NOTICED_S)

    def _move(self, offset_s: int) -> None:
        assert self.world.clock is not None
        self._offsets.append(offset_s)
        self.world.clock.move(offset_s)

    async def _send_first(self, seconds: float) -> None:
        pause_s = seconds * REQUEST_EVENTS / self.events * 0.9
        for start in range(0, self.events, REQUEST_EVENTS):
            count = min(REQUEST_EVENTS, self.events - start)
            events = [Sent(self._id(), MATCHES[n % len(MATCHES)]) for n in range(count)]
            await self._first(events)
            self._waiting += events
            await asyncio.sleep(pause_s)
        while True:  # so that the busy ones stay busy
            await self._first([Sent(self._id(), match_id) for match_id in MATCHES])
            await asyncio.sleep(min(pause_s, 0.3))

    def _id(self) -> str:
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))

    async def _first(self, events: list[Sent]) -> None:
        for one in events:
            one.sent_at, one.first_offset = time.time(), len(self._offsets) - 1
        self._sent += events
        await self._acknowledged([one.body("goal") for one in events])
        now = time.monotonic()
        for one in events:
            one.acknowledged_at, one.last_offset, one.change = time.time(), len(self._offsets) - 1, self._change
            since, last = self._heard.get(one.match_id, (now, now))
            self._heard[one.match_id] = (since if now - last < JUST_NOW_S else now, now)

    async def _send_again(self) -> None:
        """Send each event's second copy once there was a change behind the first; some wait for more than one."""
        done = 0
        while done < self.events:
            ready = [one for one in self._waiting if one.change < self._change and self._chance.random() < 0.7]
            for start in range(0, len(ready), REQUEST_EVENTS):
                copies = ready[start : start + REQUEST_EVENTS]
                await self._acknowledged([one.body("pass") for one in copies])
                done += len(copies)
            taken = set(map(id, ready))
            self._waiting = [one for one in self._waiting if id(one) not in taken]
            await asyncio.sleep(0.2)

    async def _silence(self) -> None:
        one = Sent(self._id(), f"silent-{len(self._silent)}")
        await self._first([one])
        self._silent.append(Silent(one.match_id, time.monotonic()))

    async def _acknowledged(self, events: list[dict[str, str]]) -> None:
        """Send events until they are acknowledged."""
        while True:
            await self._up.wait()
            try:
                async with self.world.service.session.post("/api/events", json=events) as reply:
                    body = await reply.text()
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(0.05)
                continue
            if reply.status == 202:
                return
            assert reply.status == 503, f"{reply.status}: {body}"
            await asyncio.sleep(0.1)

    async def _read(self) -> None:
        while True:
            for look in (self._look_at_busy, self._look_at_silent, self._look_at_list):
                await self._up.wait()
                await self._look(look)
            await asyncio.sleep(0.1)

    async def _look(self, look: Callable[[], Awaitable[list[str]]]) -> None:
        """Take a look, unless the service was restarted meanwhile."""
        life = self._life
        try:
            wrong = await look()
        except (aiohttp.ClientError, OSError):
            return
        if life == self._life and self._up.is_set():
            offset = _spoken(self._offsets[-1])
            self._wrong += [f"{one} (life {life}, clock at {offset}, {self._moves.total()} moves)" for one in wrong]

    async def _get(self, path: str) -> dict[str, Any] | None:
        async with self.world.service.session.get(path) as reply:
            return await reply.json() if reply.status == 200 else None

    def _is_busy(self, match_id: str) -> bool:
        """Say whether a match got events all the time, in this life, for longer than an answer may be old."""
        now = time.monotonic()
        since, last = self._heard.get(match_id, (now, now))
        return now - since > CACHED_S and now - last < JUST_NOW_S

    async def _look_at_busy(self) -> list[str]:
        match_id = self._chance.choice(MATCHES)
        is_busy = self._is_busy(match_id)
        found = await self._get(f"/api/matches/{match_id}/metrics")
        if found is None:
            return []
        wrong = []
        self._judged["the first copies stand"] += 1
        if found["goals"] != found["totalEvents"]:
            wrong.append(f"{match_id}: {found['goals']} goals of {found['totalEvents']} events")
        if is_busy:
            self._judged["a busy match is live"] += 1
            if found["status"] != "live":
                wrong.append(f"{match_id} got events all the time and is {found['status']}")
        return wrong

    def _silent_for(self, one: Silent) -> float:
        return time.monotonic() - max(one.at, self._life_began)

    async def _look_at_silent(self) -> list[str]:
        if not self._silent:
            return []
        one = self._chance.choice(self._silent[-4:])
        before_s = self._silent_for(one)
        found = await self._get(f"/api/matches/{one.match_id}/metrics")
        if found is None:
            return []
        if before_s > QUIET_S + CACHED_S:
            return await self._look_for_its_end(one)
        if one.at > self._life_began and self._silent_for(one) < QUIET_S - 0.2:
            self._judged["a match just heard of is live"] += 1
            return [] if found["status"] == "live" else [f"{one.match_id} is finished, silent for {before_s:.1f} s"]
        return []

    async def _look_for_its_end(self, one: Silent) -> list[str]:
        """Look at a match that should be finished, a few times: answers may be old while ClickHouse is slow."""
        self._judged["a silent match is finished"] += 1
        for _ in range(LOOKS):
            found = await self._get(f"/api/matches/{one.match_id}/metrics")
            if found is None or found["status"] == "finished":
                return []
            await asyncio.sleep(CACHED_S / LOOKS)
        return [f"{one.match_id} is live, silent for {self._silent_for(one):.1f} s"]

    async def _look_at_list(self) -> list[str]:
        busy = {match_id for match_id in MATCHES if self._is_busy(match_id)}
        silent = {one.match_id for one in self._silent if self._silent_for(one) > QUIET_S + 2 * CACHED_S}
        found = await self._get("/api/matches?active=true")
        if found is None:
            return []
        listed = {match["matchId"] for match in found["matches"]}
        self._judged["the list of live matches"] += 1
        return [
            *(f"{match_id} is not listed as live" for match_id in busy - listed),
            *(f"{match_id} is listed as live, although silent" for match_id in silent & listed),
        ]

    async def _account(self, ran_s: float) -> Moved:
        rows = await self.world.sql(
            "SELECT toString(event_id) AS id, any(event_type) AS type, count() AS copies, "
            "toUnixTimestamp64Milli(any(received_at)) / 1000 AS at FROM {db}.events FINAL GROUP BY id"
        )
        sent = {one.id: one for one in self._sent}
        known = [row for row in rows if row["id"] in sent]
        acknowledged = {one.id for one in self._sent if one.acknowledged_at}
        misplaced = (
            "SELECT countIf(_partition_id != toString(toYYYYMM(received_at))) "
            "+ countIf(abs(dateDiff('second', timestamp, received_at)) > 1) AS n, "
            "uniqExact(_partition_id) AS partitions FROM {db}.events"
        )
        (places,) = await self.world.sql(misplaced)
        logged = [line["seconds"] for line in self.world.service.log_lines if line["event"] == "wall clock stepped"]
        return Moved(
            seconds=ran_s,
            moves=self._moves,
            events=self.events,
            passes=sum(row["type"] != "goal" for row in known),
            clock_wrong=sum(not self._may_be_received(sent[row["id"]], float(row["at"])) for row in known),
            partitions=int(places["partitions"]),
            misplaced=int(places["n"]) + await self._kept_otherwise(),
            steps=len(self._steps),
            steps_missed=_differing(self._steps, logged),
            wrong=tuple(self._wrong),
            judged=self._judged,
            account=Account(
                lost=len(acknowledged - {row["id"] for row in rows}),
                extra=len(rows) - len(known),
                twice=sum(int(row["copies"]) > 1 for row in rows),
            ),
        )

    def _may_be_received(self, one: Sent, at: float) -> bool:
        until = one.acknowledged_at or time.time()
        offsets = self._offsets[one.first_offset : (one.last_offset if one.acknowledged_at else len(self._offsets)) + 1]
        return any(one.sent_at - PRECISION_S <= at - offset <= until + PRECISION_S for offset in offsets)

    async def _kept_otherwise(self) -> int:
        """Return how many parts expire at another time than the retention after their last receipt."""
        (row,) = await self.world.sql(
            "SELECT count() AS n FROM system.parts AS parts INNER JOIN "
            "(SELECT _part, max(received_at) AS last FROM {db}.events GROUP BY _part) AS held "
            "ON held._part = parts.name "
            "WHERE parts.database = '{db}' AND parts.table = 'events' AND parts.active "
            f"AND abs(dateDiff('second', parts.delete_ttl_info_max, last + toIntervalDay({RETENTION_DAYS}))) > 1"
        )
        return int(row["n"])


def _differing(moved: list[int], logged: list[float]) -> int:
    """Return how many of the steps were not logged as they were made, one by one."""
    agreeing = sum(abs(one - other) <= PRECISION_S for one, other in zip(moved, logged, strict=False))
    return max(len(moved), len(logged)) - agreeing


def _spoken(seconds: int) -> str:
    return f"{seconds / DAY_S:+.0f} days" if abs(seconds) >= DAY_S else f"{seconds / HOUR_S:+.0f} h"

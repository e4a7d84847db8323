"""Which faults come, in which order, alone or two at a time: all of it follows from the seed."""

import random
from collections.abc import Iterator

import attrs

from tests.faults import faults
from tests.faults.faults import Fault
from tests.faults.world import World

DAY_S = 86_400
TWO_AT_A_TIME = 0.6
HANG_S = 30.0
READ_ONLY_S = 60.0

ASKED: dict[str, tuple[int, tuple[type[Fault], ...]]] = {
    "kills of the service": (20, (faults.ServiceKilled,)),
    "kills of ClickHouse": (
        10,
        (faults.ClickHouseKilled, faults.KilledBeforeCheckpoint, faults.KilledInCheckpoint),
    ),
    "kills of both at once": (5, (faults.BothKilled,)),
    "cut connections": (5, (faults.Cut, faults.CutInAnswer)),
    "full disks": (3, (faults.DiskFull, faults.KilledOnFullDisk)),
}
"""What a long run has to hold: how many of which faults. One round of the deck has them all."""


def deck(world: World) -> list[Fault]:
    """Return one round of faults; those that this machine cannot cause are left out."""
    cards: list[Fault] = [
        *[faults.ServiceKilled()] * 20,
        *[faults.ClickHouseKilled()] * 4,
        *[faults.KilledBeforeCheckpoint()] * 3,
        *[faults.KilledInCheckpoint()] * 3,
        *[faults.BothKilled()] * 5,
        *[faults.Cut()] * 3,
        *[faults.CutInAnswer()] * 2,
        *[faults.ServiceTerminated()] * 3,
        faults.ClickHouseHangs(lasts_s=HANG_S),
        faults.Delayed(lasts_s=6.0),
        faults.Throttled(lasts_s=6.0),
        faults.WrongPassword(lasts_s=1.0),
        faults.MemoryLimit(lasts_s=1.0),
        attrs.evolve(faults.READ_ONLY, name=f"destination read-only for {READ_ONLY_S:g} s", lasts_s=READ_ONLY_S),
        faults.TOO_MANY_PARTS,
        faults.VIEW_FAILS,
        faults.VIEW_DROPPED,
        faults.VIEW_CHANGED,
        faults.LEDGER_DROPPED,
        faults.LEDGER_COLUMN,
        faults.BUFFER_DROPPED,
        faults.DESTINATION_COLUMN,
        faults.SYNC_TURNED_OFF,
    ]
    if world.disk is not None:
        cards += [*[faults.DiskFull(lasts_s=1.0)] * 2, faults.KilledOnFullDisk(lasts_s=1.0)]
    if world.clock is not None:
        cards += [faults.ClockMoved(40 * DAY_S), faults.ClockMoved(-40 * DAY_S)]
    return cards


def one_round(world: World, chance: random.Random) -> Iterator[tuple[Fault, ...]]:
    """Yield each fault of the deck once: alone, or a second one while the first lasts."""
    cards = deck(world)
    chance.shuffle(cards)
    while cards:
        first = cards.pop()
        second = _companion(first, cards) if chance.random() < TWO_AT_A_TIME else None
        yield (first,) if second is None else (first, second)


def _companion(first: Fault, cards: list[Fault]) -> Fault | None:
    """Take a card that can be healed while ``first`` lasts and does not need what that one has broken."""
    killable = (faults.ServiceKilled, faults.ServiceTerminated, faults.ClickHouseKilled)
    if isinstance(first, killable):
        return None
    for card in cards:
        if type(card) in killable and not card.touches & first.touches:
            cards.remove(card)
            return card
    return None

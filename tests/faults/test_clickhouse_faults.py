"""Everything that ClickHouse and the network do to the service, one after the other, under load.

After each: nothing lost, nothing extra, nothing twice, no dead letter, and who sends saw none of it.
"""

import asyncio

import pytest

from tests.faults import faults
from tests.faults.faults import Fault
from tests.faults.world import CLEAN, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE = 200.0
STEP = 60

UNSEEN: tuple[Fault, ...] = (
    faults.ClickHouseKilled(),
    faults.KilledBeforeCheckpoint(),
    faults.KilledInCheckpoint(),
    faults.ClickHouseHangs(),
    faults.Cut(),
    faults.CutInAnswer(),
    faults.Delayed(),
    faults.Throttled(),
    faults.READ_ONLY,
    faults.TOO_MANY_PARTS,
    faults.MemoryLimit(),
    faults.VIEW_FAILS,
    faults.VIEW_DROPPED,
    faults.VIEW_CHANGED,
    faults.LEDGER_DROPPED,
    faults.LEDGER_COLUMN,
    faults.BUFFER_DROPPED,
    faults.DESTINATION_COLUMN,
    faults.DESTINATION_RENAMED,
    faults.SYNC_TURNED_OFF,
)


@pytest.mark.parametrize("fault", UNSEEN, ids=lambda fault: fault.name.replace(" ", "-"))
async def test_who_sends_does_not_see_it(world: World, fault: Fault) -> None:
    async with world.load(rate=RATE) as load:
        await load.more(STEP)
        await fault.inject(world)
        await asyncio.sleep(fault.lasts_s)
        await load.more(STEP)
        if fault.says and not _mends_itself(fault):
            await world.says(fault.check, fault.says)
            await load.more(STEP)
        await fault.heal(world)
        await load.more(STEP)
    assert not load.statuses.keys() - {202}, load.statuses
    assert await world.settled() == CLEAN
    await world.healthy()


def _mends_itself(fault: Fault) -> bool:
    """Return whether the service makes what is missing anew before anybody could read that it is."""
    return isinstance(fault, faults.Statements) and not fault.mend

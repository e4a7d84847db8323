"""Power fails, alone or behind other faults: what was acknowledged is there, and every start tells the same."""

import logging
from collections.abc import Callable, Iterator

import attrs
import pytest

from tests.power.explorer import (
    AFTER,
    LETTERS,
    SETTLED_TWICE,
    SHORT,
    Totals,
    explore_next_start,
    explore_one,
    explore_plain,
    explore_short,
)
from tests.power.life import Fault, Step
from tests.syscalls import Operation

SYNCS = ("fsync", "fdatasync")
NEXT_SEGMENT = (Step("append", rows=(600,)), Step("confirm", rows=(9,)), Step("append"), Step("confirm", rows=(9,)))
"""Steps behind which the segments of before are removed by a checkpoint."""


@pytest.fixture(autouse=True)
def _no_lines() -> Iterator[None]:
    """Thousands of starts on torn files say so in as many lines."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def _assert_nothing_wrong(totals: Totals) -> None:
    assert totals.states > 1
    assert not totals.wrong, "\n\n".join([str(totals), *(f"{kind}: {at}" for kind, at in totals.examples.items())])


@pytest.mark.parametrize("name", SHORT)
def test_power_may_fail_at_any_moment_of_a_life(name: str) -> None:
    totals = explore_plain(name)
    _assert_nothing_wrong(totals)
    assert totals.cut_short == 0, "not all states were tried"


def _to(call: str, ending: str) -> Callable[[Operation], bool]:
    return lambda operation: operation.call == call and (operation.target or operation.path).endswith(ending)


def _syncs(ending: str) -> Callable[[Operation], bool]:
    return lambda operation: operation.call in SYNCS and operation.path.endswith(ending)


@attrs.frozen(kw_only=True)
class OneFault:
    """A life with a fault, ``later`` calls behind those that ``where`` tells of, and the life after it."""

    steps: tuple[Step, ...]
    where: Callable[[Operation], bool]
    fault: Fault
    later: int = 0
    after: tuple[Step, ...] = AFTER
    without_id: bool = False


ONE_LETTER = (Step("append"), Step("put aside"), Step("put aside"), Step("save"))
"""The second try is taken only where the first one failed, because there is one row."""
THREE_GROUPS = (Step("append"), Step("append"), Step("append"))
ONE_FAULT = {
    "killed between making a directory and syncing its name": OneFault(
        steps=LETTERS, where=_to("mkdir", ""), fault="kill", later=1
    ),
    "killed between naming a directory of an older release and syncing the id": OneFault(
        steps=(Step("append"),), where=_to("rename", "/id"), fault="kill", later=1, without_id=True
    ),
    "killed between writing a letter and syncing it": OneFault(
        steps=ONE_LETTER, where=_to("write", ".jsonl"), fault="kill", later=1, after=(*NEXT_SEGMENT, Step("save"))
    ),
    "a letter that was written in part is written again": OneFault(
        steps=ONE_LETTER, where=_to("write", ".jsonl"), fault="part"
    ),
    "a letter whose sync failed is written again": OneFault(steps=ONE_LETTER, where=_syncs(".jsonl"), fault="fail"),
    "a settlement whose sync failed, and another one after it": OneFault(
        steps=SETTLED_TWICE, where=_syncs(".jsonl"), fault="fail"
    ),
    "segments are removed while no checkpoint can be written": OneFault(
        steps=(*NEXT_SEGMENT, *NEXT_SEGMENT, Step("save"), Step("append")),
        where=_to("write", "checkpoint.json.new"),
        fault="full",
    ),
    "the sync of records fails, and the process ends": OneFault(steps=THREE_GROUPS, where=_syncs(".wal"), fault="fail"),
    "killed between writing records and syncing them": OneFault(steps=THREE_GROUPS, where=_syncs(".wal"), fault="kill"),
}


@pytest.mark.parametrize("name", ONE_FAULT, ids=lambda name: name.replace(" ", "-"))
def test_power_may_fail_behind_another_fault(name: str) -> None:
    one = ONE_FAULT[name]
    totals = explore_one(one.steps, one.after, one.fault, one.where, later=one.later, without_id=one.without_id)
    _assert_nothing_wrong(totals)


@pytest.mark.parametrize("fault", ["kill", "fail"])
def test_power_may_fail_behind_a_kill_and_a_fault_of_the_next_start(fault: Fault) -> None:
    _assert_nothing_wrong(explore_next_start(fault))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SHORT)
def test_power_may_fail_behind_a_fault_of_any_call(name: str) -> None:
    _assert_nothing_wrong(explore_short(name, until_wrong=True))

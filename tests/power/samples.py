"""Long histories at random, each from a seed of its own, so that each can be repeated alone."""

import logging
import multiprocessing
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

from tests.power.disk import MODELS, Disk
from tests.power.explorer import Explorer, Totals
from tests.power.life import At, Fault, History, Step, What
from tests.power.recovered import quick_directory

STATES_EACH = 60
CHUNK = 4
"""Histories that a process takes at a time."""
FAILURES_MAX = 3
FAULTS: tuple[Fault, ...] = ("kill", "fail", "part", "full")

_STEPS: tuple[What, ...] = (
    *("append",) * 6,
    *("confirm",) * 2,
    *("ahead", "put aside", "discarded", "requeued", "reopen"),
    *("save",) * 3,
)


def sampled(states: int, seed: int, *, processes: int) -> Totals:
    """Explore histories at random until so many states were recovered."""
    totals = Totals()
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, initializer=logging.disable, initargs=(logging.CRITICAL,)) as pool:
        for one in pool.imap(partial(explore, seed), range(1 << 31), chunksize=CHUNK):
            totals.add(one)
            if totals.states >= states:
                pool.terminate()
                break
    return totals


def explore(seed: int, number: int, directory: Path | None = None) -> Totals:
    """Make the history ``number`` of a seed, and check some of the states that it may leave."""
    if directory is None:
        with quick_directory() as found:
            return explore(seed, number, found)
    chance = Random(f"{seed}-{number}")
    explorer = Explorer(directory, shards=chance.choice((1, 1, 2)))
    history = explorer.history()
    history.told.append(f"python -m tests.power --seed {seed} --history {number}")
    for _ in range(chance.randint(0, FAILURES_MAX)):
        _live(history, chance, with_fault=True)
        if chance.random() < 0.3:
            _lose_power(explorer, history, chance)
    _live(history, chance, with_fault=chance.random() < 0.5)
    explorer.check_some(history, chance, count=STATES_EACH)
    return explorer.finish()


def _live(history: History, chance: Random, *, with_fault: bool) -> None:
    steps = [_step(history, chance) for _ in range(chance.randint(1, 14))]
    faults: dict[At, Fault] = {}
    if with_fault:
        calls = chance.choice((15, 40, 150))
        for _ in range(chance.choice((1, 1, 2, 3))):
            at = chance.randrange(calls) if chance.random() < 0.5 else f"sync {chance.randrange(calls // 3)}"
            faults[at] = chance.choice(FAULTS)
    history.live(steps, faults, clock_is_ahead=chance.random() < 0.5)


def _step(history: History, chance: Random) -> Step:
    what = chance.choice(_STEPS)
    shard = chance.randrange(history.shards)
    if what == "append":
        return Step(what, shard, tuple(chance.choice(_PADDINGS)(chance) for _ in range(chance.choice((1, 1, 2, 5)))))
    return Step(what, shard, (chance.choice((1, 1, 2, 4)),))


_PADDINGS: tuple[Callable[[Random], int], ...] = (
    lambda chance: chance.randrange(60),
    lambda chance: chance.randrange(60),
    lambda chance: chance.randrange(900),
)


def _lose_power(explorer: Explorer, history: History, chance: Random) -> None:
    """Let power fail at some moment of the last life, and go on with one of the states that this may leave."""
    count = chance.randint(history.began, len(history.operations))
    model = chance.choice(MODELS)
    disk = Disk(history.base, model)
    for operation in history.operations[:count]:
        disk.take(operation)
    (state,) = disk.some_states(chance, count=1)
    explorer.check(history, count, state, model)
    history.power_fails(count, state)

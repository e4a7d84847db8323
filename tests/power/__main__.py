"""``python -m tests.power``: what power failures leave, sampled: so many states, each recovered and checked.

Prints the totals, with an example of each kind of fault and the command that repeats it. Exits with 1 where anything is
wrong. ``--short`` checks all states of the short histories in place of samples, ``--ablate`` takes out one sync after
the other and lists those whose absence nothing notices.
"""

import logging
import os
import random
import sys
import time

import click

from tests.power import ablation, samples
from tests.power.explorer import SHORT, Totals, explore_short


def short(names: tuple[str, ...], *, until_wrong: bool) -> Totals:
    """Explore short histories with each fault at each call."""
    totals = Totals()
    for name in names:
        totals.add(explore_short(name, until_wrong=until_wrong))
        if until_wrong and totals.wrong:
            break
    return totals


@click.command
@click.option("--states", type=click.IntRange(1), default=100_000, show_default=True)
@click.option("--seed", type=int, default=None, help="Repeats an earlier run.  [default: a new one]")
@click.option("--processes", type=click.IntRange(1), default=os.cpu_count() or 1, show_default=True)
@click.option("--history", type=int, default=None, help="Only this history of the seed.")
@click.option("--short", "names", type=click.Choice(tuple(SHORT)), multiple=True, help="Short histories, every fault.")
@click.option("--until-wrong", is_flag=True, help="Stop the short histories at the first fault.")
@click.option("--ablate", is_flag=True, help="Take out each sync, one at a time.")
def main(
    states: int,
    seed: int | None,
    processes: int,
    history: int | None,
    names: tuple[str, ...],
    until_wrong: bool,
    ablate: bool,
) -> None:
    """Explore the states that power failures leave, and print the totals."""
    logging.disable(logging.CRITICAL)
    if ablate:
        sys.exit(ablation.run(processes))
    began = time.monotonic()
    seed = random.SystemRandom().randrange(1 << 31) if seed is None else seed
    if names:
        totals = short(names, until_wrong=until_wrong)
    elif history is not None:
        totals = samples.explore(seed, history)
    else:
        click.echo(f"seed {seed}")
        totals = samples.sampled(states, seed, processes=processes)
    seconds = time.monotonic() - began
    click.echo(f"{totals}\n{seconds:.0f} s, {totals.states / seconds:,.0f} states/s")
    for kind, example in totals.examples.items():
        click.echo(f"\n{kind}: {example}", err=True)
    sys.exit(1 if totals.wrong else 0)


if __name__ == "__main__":
    main()

"""Progress of a command that sends events: a bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

_LINE_EVERY_S: Final = 5.0


def plain_console(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is, because it may come from a file or from the service."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


@contextmanager
def progress(console: Console, label: str, *, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told how many more events are settled; ``total`` are expected."""
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("events"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(label, total=total)
            yield lambda settled: bar.update(task, advance=settled)
    else:
        yield _ProgressLines(console, label, total).add


class _ProgressLines:
    """Prints a line every few seconds and one at the end."""

    def __init__(self, console: Console, label: str, total: int) -> None:
        self._console = console
        self._label = label
        self._total = total
        self._settled = 0
        self._printed_at = time.monotonic()

    def add(self, settled: int) -> None:
        self._settled += settled
        now = time.monotonic()
        if now - self._printed_at >= _LINE_EVERY_S or self._settled == self._total:
            self._printed_at = now
            self._console.print(f"{self._label}: {self._settled:,} of {self._total:,} events")

"""Commands of the monitor's console: ``shards``, ``wal``, ``flush [SHARD]``, ``deadletters``, and some of aiomonitor.

The console has a thread and an event loop of its own, in which commands are called. Whatever touches the shard set runs
in the service's loop.
"""

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from copy import copy
from io import StringIO
from typing import Any, TypeVar

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from shards import FiledLetter, ShardsError, ShardSet, Snapshot

T = TypeVar("T")

# Commands of aiomonitor that stay, because they only show something; without noop it cannot take an empty line.
STOCK = ("exit", "help", "noop", "ps", "ps-terminated", "stacktrace", "where", "where-terminated")
WIDTH = 140
SHARD_COLUMNS = (
    *("shard", "appended", "confirmed", "dead letters", "requeued", "discarded", "pending"),
    *("depth", "in flight", "on disk only", "retries", "state"),
)
LETTER_COLUMNS = ("id", "put aside", "code", "error")
LETTERS_SHOWN = 20
_WORDS = ("state", "error")
WAL_COLUMNS = ("shard", "segments", "bytes", "oldest unconfirmed, s")


def console_group(stock: click.Group, own: Iterable[click.Command]) -> click.Group:
    """Return a group with those commands of aiomonitor's group ``stock`` that only show something, and with ``own``.

    ``signal``, ``cancel``, ``console`` and whatever a later aiomonitor adds are left out, because anybody who can
    connect could end tasks, or the service, with them. ``stock`` stays as it is.
    """
    group = copy(stock)
    kept = {name: command for name, command in stock.commands.items() if name in STOCK}
    group.commands = kept | {str(command.name): command for command in own}
    return group


def service_commands(shards: ShardSet, loop: asyncio.AbstractEventLoop) -> list[click.Command]:
    """Return the commands; ``loop`` is the one that ``shards`` works in."""

    async def snapshot() -> Snapshot:
        return shards.snapshot()

    async def show_shards() -> str:
        return shards_text(await _in(loop, snapshot()))

    async def show_wal() -> str:
        return wal_text(await _in(loop, snapshot()))

    async def show_letters() -> str:
        return letters_text(await _in(loop, shards.dead_letters(limit=LETTERS_SHOWN)), await _in(loop, snapshot()))

    async def flush(shard: int | None) -> str:
        await _in(loop, shards.flush(shard))
        return shards_text(await _in(loop, snapshot()))

    return [
        _command("shards", show_shards, "Show what each shard holds"),
        _command("wal", show_wal, "Show the write-ahead log"),
        _command("deadletters", show_letters, "Show the newest dead letters that nobody has settled"),
        _command(
            "flush",
            flush,
            "Store and confirm the events of all shards, or of one SHARD",
            click.Argument(["shard"], type=click.IntRange(min=0), required=False),
        ),
    ]


async def _in(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


def _command(name: str, work: Callable[..., Awaitable[str]], help_: str, *params: click.Parameter) -> click.Command:
    running: set[asyncio.Task[None]] = set()

    def start(**arguments: Any) -> None:
        # The console shows its prompt again once this event is set.
        done = importlib.import_module("aiomonitor.context").command_done.get()
        task = asyncio.get_running_loop().create_task(_print(work(**arguments), done))
        running.add(task)
        task.add_done_callback(running.discard)

    command = click.Command(name, params=list(params), callback=start, help=help_, add_help_option=False)
    # click's own --help would leave the console waiting for the event.
    importlib.import_module("aiomonitor.termui.commands").custom_help_option(command)
    return command


async def _print(text: Awaitable[str], done: asyncio.Event) -> None:
    try:
        click.echo(await text)
    except (ShardsError, OSError) as error:
        click.echo(f"failed: {error}")
    except IndexError:
        click.echo("failed: there is no such shard")
    finally:
        done.set()


def shards_text(snapshot: Snapshot) -> str:
    """Return the shards as a table, and what is known of ClickHouse in one line."""
    rows = (
        (
            shard.index,
            shard.appended,
            shard.confirmed,
            shard.dead_lettered,
            shard.requeued,
            shard.discarded,
            shard.pending,
            shard.depth,
            shard.in_flight,
            shard.unread,
            shard.retries,
            shard.last_error or ("paused" if shard.paused else "retired" if shard.retired else "ok"),
        )
        for shard in snapshot.shards
    )
    store = snapshot.store
    state = "up" if store.up else f"away: {store.error}"
    table = _table(SHARD_COLUMNS, rows)
    return f"{table}ClickHouse ({store.kind}) {state}, since {store.since:%Y-%m-%d %H:%M:%SZ}"


def wal_text(snapshot: Snapshot) -> str:
    """Return the log of each shard as a table, and whether it accepts in one line."""
    rows = (
        (
            shard.index,
            shard.wal_segments,
            shard.wal_bytes,
            f"{shard.oldest_unconfirmed_s:.1f}",
        )
        for shard in snapshot.shards
    )
    state = snapshot.wal_error or ("accepting" if snapshot.accepting else "not accepting")
    waiting = f"{snapshot.queued_bytes} more wait to be written"
    return f"{_table(WAL_COLUMNS, rows)}{snapshot.wal_bytes} bytes in all, {waiting}; {state}"


def letters_text(letters: Sequence[FiledLetter], snapshot: Snapshot) -> str:
    """Return dead letters as a table, and what became of all of them in one line."""
    rows = ((one.id, f"{one.letter.at:%Y-%m-%d %H:%M:%SZ}", one.letter.code, one.letter.error) for one in letters)
    counts = f"{snapshot.dead_lettered} open, {snapshot.requeued} requeued, {snapshot.discarded} discarded"
    return f"{_table(LETTER_COLUMNS, rows)}{counts}; see to them with: fanfinity deadletters"


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    table = Table(box=box.ASCII2)
    for column in columns:
        table.add_column(column, justify="left" if column in _WORDS else "right")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    text = StringIO()
    Console(file=text, width=WIDTH).print(table)
    return text.getvalue()

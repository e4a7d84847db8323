"""Commands of the console: counts for everybody who can reach it, names and acts for those who have logged in.

The console has a thread and an event loop of its own, in which commands are called. Whatever touches the service runs
in the service's loop.
"""

import asyncio
import importlib
import shlex
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from copy import copy
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from app.context import Context
from app.server.console.logins import WRONG_LOGIN, Logins, TooManyTries
from app.server.console.tables import (
    letters_text,
    matches_text,
    printable,
    settings_text,
    shards_text,
    terminal_width,
    wal_text,
)
from shards import ShardsError

T = TypeVar("T")

# Commands of aiomonitor that stay, because they only show something; without noop it cannot take an empty line.
OPEN = ("exit", "help", "noop")
# Names of tasks hold ids of matches.
NAMING = ("ps", "ps-terminated", "stacktrace", "where", "where-terminated")
STOCK = OPEN + NAMING
LETTERS_SHOWN = 20
MATCHES_COMPLETED = 20
ADDRESS = "console"
FLUSH_S = 5.0
NOT_LOGGED_IN = "log in first: login TOKEN, with the first line of admin-token, or a key of scope admin"


class NotLoggedIn(Exception):
    """A login ended before its command began."""


def console_group(stock: click.Group, own: Iterable[click.Command], logins: Logins) -> click.Group:
    """Return a group with those commands of aiomonitor's group ``stock`` that only show something, and with ``own``.

    Those that show more than counts are for those who have logged in.

    ``signal``, ``cancel``, ``console`` and whatever a later aiomonitor adds are left out, because anybody who can
    connect could end tasks, or the service, with them. ``stock`` stays as it is.
    """
    group = copy(stock)
    kept = {name: command for name, command in stock.commands.items() if name in OPEN}
    kept |= {name: _guarded(command, logins) for name, command in stock.commands.items() if name in NAMING}
    group.commands = kept | {str(command.name): command for command in own}
    return group


def _guarded(stock: click.Command, logins: Logins) -> click.Command:
    """Return one of aiomonitor's commands for those who have logged in; ``stock`` stays as it is."""
    guarded = copy(stock)

    def start(*given: Any, **arguments: Any) -> Any:
        return stock.callback(*given, **arguments) if _may_begin(logins) and stock.callback else None

    guarded.callback = start
    return guarded


def _may_begin(logins: Logins) -> bool:
    """Say whether the connection of the present command has logged in; if not, tell it, and end the command."""
    if logins.name(_connection()) is not None:
        return True
    click.echo(f"failed: {NOT_LOGGED_IN}")
    _done().set()
    return False


def _done() -> asyncio.Event:
    """Return the event after which the console shows its prompt again."""
    done: asyncio.Event = importlib.import_module("aiomonitor.context").command_done.get()
    return done


def service_commands(context: Context, logins: Logins, loop: asyncio.AbstractEventLoop) -> list[click.Command]:
    """Return the commands; ``loop`` is the one that the service works in."""
    return [
        *_shown(context, loop),
        *_acts(context, logins, loop),
        *_named(context, logins, loop),
        *_entering(logins),
    ]


def _shown(context: Context, loop: asyncio.AbstractEventLoop) -> list[click.Command]:
    """Return the commands that show counts, to everybody."""
    shards = context.shards

    async def show_shards() -> str:
        return shards_text(await _in(loop, _value(shards.snapshot)), terminal_width())

    async def show_wal() -> str:
        return wal_text(await _in(loop, _value(shards.snapshot)), terminal_width())

    async def show_viewers() -> str:
        return f"{await _in(loop, _value(lambda: context.live.viewers))} viewers of streams"

    return [
        _command("shards", show_shards, "Show what each shard holds"),
        _command("wal", show_wal, "Show the write-ahead log"),
        _command("viewers", show_viewers, "Show how many follow streams"),
    ]


def _acts(context: Context, logins: Logins, loop: asyncio.AbstractEventLoop) -> list[click.Command]:
    """Return the commands that change something: for those who have logged in."""
    shards = context.shards

    async def kept(act: str, shard: int | None) -> str:
        """Keep who does what before it is done; return the name."""
        who, subject = logins.name(_connection()), "all shards" if shard is None else f"shard {shard}"
        if who is None:
            raise NotLoggedIn
        if shard is not None and shard >= len((await _in(loop, _value(shards.snapshot))).shards):
            raise IndexError(shard)
        await _in(loop, context.acts.keep(who=who, address=ADDRESS, request_id="", act=act, subject=subject))
        return who

    async def state() -> str:
        return shards_text(await _in(loop, _value(shards.snapshot)), terminal_width())

    async def flush(shard: int | None) -> str:
        await kept("flush", shard)
        try:
            async with asyncio.timeout(FLUSH_S):
                await _in(loop, shards.flush(shard))
        except TimeoutError:
            return f"{await state()}\nnot all is stored after {FLUSH_S:g} s; the rest is kept, and goes on by itself"
        return await state()

    async def pause(shard: int) -> str:
        who = await kept("pause", shard)
        await _in(loop, _value(lambda: shards.pause(shard, by=who)))
        return await state()

    async def resume(shard: int) -> str:
        await kept("resume", shard)
        await _in(loop, _value(lambda: shards.resume(shard)))
        return await state()

    count = context.config.shards
    one, any_ = _shard_argument(count, required=True), _shard_argument(count, required=False)
    return [
        _command("flush", flush, "Store and confirm the events of all shards, or of one SHARD", [any_], logins=logins),
        _command("pause", pause, "Send nothing of a SHARD to ClickHouse until it is resumed", [one], logins=logins),
        _command("resume", resume, "Let a paused SHARD go on", [one], logins=logins),
    ]


def _named(context: Context, logins: Logins, loop: asyncio.AbstractEventLoop) -> list[click.Command]:
    """Return the commands that show settings, and names of matches and events: for those who have logged in."""
    names: dict[str, None] = {}

    async def show_letters() -> str:
        letters = await _in(loop, context.shards.dead_letters(limit=LETTERS_SHOWN))
        return letters_text(letters, await _in(loop, _value(context.shards.snapshot)), terminal_width())

    async def show_matches(match: str | None) -> str:
        overview = await _in(loop, context.live.overview())
        names.clear()
        names.update({one.match_id: None for one in overview.matches})
        return matches_text([one for one in overview.matches if match in (None, one.match_id)], terminal_width())

    async def show_config() -> str:
        return settings_text(context.config.shown(), terminal_width())

    def complete(_ctx: click.Context, _param: click.Parameter, begun: str) -> list[CompletionItem]:
        # The names that one connection has seen are not for another that has not logged in.
        return _beginning(map(shlex.quote, names), begun) if logins.name(_connection()) else []

    match = click.Argument(["match"], required=False, shell_complete=complete)
    matches_help = "Show the matches with the newest activity, or one MATCH"
    return [
        _command("config", show_config, "Show the settings in force, secrets masked", logins=logins),
        _command("deadletters", show_letters, "Show the newest dead letters that nobody has settled", logins=logins),
        _command("matches", show_matches, matches_help, [match], logins=logins),
    ]


def _entering(logins: Logins) -> list[click.Command]:
    async def log_in(token: str) -> str:
        try:
            name = logins.log_in(_connection(), token)
        except TooManyTries:
            return "failed: too many logins were wrong; try again in a minute"
        return f"logged in as {name}, until this connection ends" if name else f"failed: {WRONG_LOGIN}"

    async def log_out() -> str:
        logins.log_out(_connection())
        return "logged out"

    login = _command("login", log_in, "Log in by the admin token or a key of scope admin", [click.Argument(["token"])])
    login.ignore_unknown_options = True  # one of 64 tokens begins with a hyphen
    return [login, _command("logout", log_out, "Log out")]


async def _in(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


async def _value(of: Callable[[], T]) -> T:
    return of()


def _connection() -> object:
    """Return what the connection of the present command is known by."""
    connection: object = importlib.import_module("aiomonitor.context").current_stdout.get()
    return connection


def _shard_argument(count: int, *, required: bool) -> click.Argument:
    """Return the argument of a shard; completed are those in use, not retired ones."""

    def complete(_ctx: click.Context, _param: click.Parameter, begun: str) -> list[CompletionItem]:
        return _beginning(map(str, range(count)), begun)

    return click.Argument(["shard"], type=click.IntRange(min=0), required=required, shell_complete=complete)


def _beginning(names: Iterable[str], begun: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(begun)][:MATCHES_COMPLETED]


def _command(
    name: str,
    work: Callable[..., Awaitable[str]],
    help_: str,
    params: Iterable[click.Parameter] = (),
    *,
    logins: Logins | None = None,
) -> click.Command:
    """Return a command that prints what ``work`` returns; with ``logins`` for those who have logged in."""
    running: set[asyncio.Task[None]] = set()

    def start(**arguments: Any) -> None:
        if logins is not None and not _may_begin(logins):
            return
        task = asyncio.get_running_loop().create_task(_print(work(**arguments), _done()))
        running.add(task)
        task.add_done_callback(running.discard)

    return click.Command(name, params=[*params, _help_option()], callback=start, help=help_, add_help_option=False)


def _help_option() -> click.Option:
    """Return a ``--help`` after which the console goes on: not click's own, which says nothing to the console.

    Nor is it aiomonitor's, which says that any command is done before it has begun, and so shows the prompt too early.
    """

    def show(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
        if wanted:
            click.echo(ctx.get_help())
            _done().set()
            ctx.exit()

    words = "Show the help message"
    return click.Option(["--help"], is_flag=True, is_eager=True, expose_value=False, callback=show, help=words)


async def _print(text: Awaitable[str], done: asyncio.Event) -> None:
    try:
        click.echo(printable(await text))
    except (ShardsError, OSError) as error:
        click.echo(f"failed: {printable(str(error))}")
    except NotLoggedIn:
        click.echo(f"failed: {NOT_LOGGED_IN}")
    except IndexError:
        click.echo("failed: there is no such shard")
    finally:
        done.set()

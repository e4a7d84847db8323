"""``fanfinity deadletters``: what ClickHouse refused, listed, read, requeued or discarded, over HTTP."""

import json
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, BinaryIO, Final, TypeVar
from urllib.parse import quote

import attrs
import click
import msgspec
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.commands.options import EXIT_INCOMPLETE, operators_url
from app.sending.asking import ClientError, Refused, ServiceApi, ask

T = TypeVar("T")
_Command = TypeVar("_Command", bound=Callable[..., Any])

_TIMEOUT_S: Final = 30
_PAGE_MAX: Final = 100
_TRIES: Final = 5
_PATH: Final = "/api/deadletters"
_COLOURS: Final = {"open": "yellow", "requeued": "green", "discarded": "dim"}


class _LettersReply(msgspec.Struct, rename="camel"):
    dead_letters: list[msgspec.Raw]
    next_cursor: str | None


@attrs.frozen
class Letters:
    """The dead letters of one running service, as the JSON text it sends, so that numbers keep all their digits."""

    service: ServiceApi

    async def newest(self, *, limit: int | None, settled: bool = False) -> list[bytes]:
        """Return the newest letters, at most ``limit``."""
        found: list[bytes] = []
        query = {"all": str(settled).lower()}
        while True:
            wanted = _PAGE_MAX if limit is None else min(_PAGE_MAX, limit - len(found))
            answer = await self.service.ask("GET", _PATH, params=query | {"limit": str(wanted)})
            page = msgspec.json.decode(answer, type=_LettersReply)
            found += map(bytes, page.dead_letters)
            if page.next_cursor is None or len(found) == limit:
                return found
            query["cursor"] = page.next_cursor

    async def read(self, letter_id: str) -> bytes:
        """Return one letter."""
        return await self.service.ask("GET", _path_of(letter_id))

    async def retry(self, letter_id: str, event: bytes = b"") -> bytes:
        """Requeue one letter, as it was or as ``event``."""
        headers = {"Content-Type": "application/json"} if event else {}
        return await self.service.ask("POST", f"{_path_of(letter_id)}/retry", data=event or None, headers=headers)

    async def discard(self, letter_id: str) -> bytes:
        """Discard one letter."""
        return await self.service.ask("DELETE", _path_of(letter_id))


def _path_of(letter_id: str) -> str:
    return f"{_PATH}/{quote(letter_id, safe='')}"


def _options(command: _Command) -> _Command:
    command = click.option("--json", "as_json", is_flag=True, help="Print what the service says, as JSON.")(command)
    return operators_url(command)


@click.group
def deadletters() -> None:
    """See to events that ClickHouse refused: read why, repair and requeue them, or discard them.

    Finds the service and its token in the data directory (FANFINITY_DATA_DIR). Exits with 1 where something was
    refused, or nobody answers.
    """


@deadletters.command("list")
@_options
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Most to show.")
@click.option("--all", "settled", is_flag=True, help="Also those that were requeued or discarded.")
def list_(*, url: str, as_json: bool, limit: int, settled: bool) -> None:
    """List dead letters, newest first."""
    letters = _run(url, lambda letters: letters.newest(limit=limit, settled=settled))
    if as_json:
        _echo(b"[" + b",".join(letters) + b"]")
    else:
        _show_table(map(json.loads, letters), Console())


@deadletters.command
@_options
@click.option("--event", "only_event", is_flag=True, help="Print the event alone, to be mended and sent with retry.")
@click.argument("letter_id", metavar="ID")
def show(*, url: str, as_json: bool, only_event: bool, letter_id: str) -> None:
    """Show one dead letter."""
    letter = _run(url, lambda letters: letters.read(letter_id))
    if only_event:
        _echo(msgspec.json.decode(letter, type=dict[str, msgspec.Raw])["event"])
    elif as_json:
        _echo(letter)
    else:
        _show_letter(json.loads(letter), Console())


@deadletters.command
@_options
@click.option("--file", type=click.File("rb"), help="The repaired event, JSON; - for standard input.")
@click.argument("letter_id", metavar="ID")
def retry(*, url: str, as_json: bool, file: BinaryIO | None, letter_id: str) -> None:
    """Requeue one dead letter, as it is or repaired."""
    event = b"" if file is None else file.read().strip()
    if file is not None and not event:
        raise click.ClickException("the file is empty; leave --file out to requeue the event as it is")
    letter = _run(url, lambda letters: letters.retry(letter_id, event))
    if as_json:
        _echo(letter)
    else:
        click.echo(f"{letter_id} is requeued")


@deadletters.command("retry-all")
@_options
def retry_all(*, url: str, as_json: bool) -> None:
    """Requeue every open dead letter as it is, oldest first, once the cause is mended in ClickHouse."""
    outcome = _run(url, _retry_all)
    if as_json:
        click.echo(json.dumps(outcome, indent=2))
    else:
        click.echo(f"{len(outcome['requeued'])} requeued, {len(outcome['refused'])} refused")
        for letter_id, reason in outcome["refused"].items():
            click.echo(f"{letter_id}: {reason}", err=True)
    if outcome["refused"]:
        sys.exit(EXIT_INCOMPLETE)


@deadletters.command
@_options
@click.argument("letter_id", metavar="ID")
def discard(*, url: str, as_json: bool, letter_id: str) -> None:
    """Discard one dead letter for good: its event is never counted."""
    letter = _run(url, lambda letters: letters.discard(letter_id))
    if as_json:
        _echo(letter)
    else:
        click.echo(f"{letter_id} is discarded")


async def _retry_all(letters: Letters) -> dict[str, Any]:
    requeued: list[str] = []
    refused: dict[str, str] = {}
    # All are listed first, because one that fails again is a new letter, and would be met once more.
    open_ids = [json.loads(letter)["id"] for letter in await letters.newest(limit=None)]
    for letter_id in reversed(open_ids):
        try:
            await letters.retry(letter_id)
            requeued.append(letter_id)
        except Refused as error:
            refused[letter_id] = error.reason
    return {"requeued": requeued, "refused": refused}


def _run(url: str, work: Callable[[Letters], Awaitable[T]]) -> T:
    try:
        return ask(url, lambda service: work(Letters(service)), timeout_s=_TIMEOUT_S, tries=_TRIES)
    except ClientError as error:
        raise click.ClickException(str(error)) from error


def _echo(text: bytes | msgspec.Raw) -> None:
    click.echo(msgspec.json.format(bytes(text), indent=2))


def _show_table(letters: Iterable[Mapping[str, Any]], console: Console) -> None:
    table = Table("id", "put aside", "match", "type", "state", "error", box=box.SIMPLE, padding=(0, 0, 0, 1))
    table.columns[0].no_wrap = True
    for letter in letters:
        event, state = letter["event"], letter["status"]
        cells = (letter["id"], letter["at"][:19], event["matchId"], event["eventType"])
        colour = _COLOURS.get(state, "red")
        table.add_row(*map(escape, cells), f"[{colour}]{escape(state)}[/]", escape(_shortened(letter["error"])))
    if table.row_count:
        console.print(table)
    else:
        console.print("no dead letters")


def _shortened(error: str) -> str:
    return error if len(error) <= 120 else f"{error[:120]}…"


def _show_letter(letter: Mapping[str, Any], console: Console) -> None:
    state = letter["status"]
    since = f" at {letter['settledAt']}" if letter["settledAt"] else ""
    console.print(f"[bold]{escape(letter['id'])}[/]  [{_COLOURS.get(state, 'red')}]{escape(state)}[/]{escape(since)}")
    where = f"shard {letter['shard']}, number {letter['seq']}"
    console.print(escape(f"received {letter['receivedAt']}, put aside {letter['at']}, {where}"), highlight=False)
    console.print(escape(f"ClickHouse, code {letter['code']}: {letter['error']}"), highlight=False)
    console.print_json(data=letter["event"])
    if letter["requeuedAs"] not in (None, letter["event"]):
        console.print("requeued as")
        console.print_json(data=letter["requeuedAs"])

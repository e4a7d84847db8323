"""``fanfinity status``: how a running service is doing, asked over HTTP."""

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import aiohttp
import attrs
import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

_TIMEOUT_S: Final = 10
_EXIT_NOT_READY: Final = 1
_COLUMNS: Final = ("appended", "confirmed", "pending", "dead", "by hand", "unsent", "WAL bytes", "oldest s")
_COLOURS: Final = {"ready": "green", "degraded": "yellow"}


@attrs.frozen
class Answers:
    """What ``/ready`` and ``/api/status`` said."""

    ready: Mapping[str, Any]
    status: Mapping[str, Any]


@click.command
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="Root of the service.")
@click.option("--json", "as_json", is_flag=True, help="Print what /api/status says.")
def status(*, url: str, as_json: bool) -> None:
    """Show whether a running service can take events, what each shard holds, and how ClickHouse is.

    Exits with 1 where events cannot be made durable, or where nobody answers.
    """
    try:
        answers = asyncio.run(_ask(url.rstrip("/")))
    except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
        raise click.ClickException(f"{url} does not answer as the service does: {error}") from error
    if as_json:
        click.echo(json.dumps(answers.status, indent=2))
    else:
        _show(answers, Console())
    if answers.ready["status"] not in _COLOURS:
        sys.exit(_EXIT_NOT_READY)


async def _ask(url: str) -> Answers:
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        async with session.get(f"{url}/ready") as reply:
            ready = await reply.json()
        async with session.get(f"{url}/api/status", raise_for_status=True) as reply:
            status_ = await reply.json()
    if not isinstance(ready, dict) or not isinstance(status_, dict) or "status" not in ready:
        raise ValueError("these are not the answers of a Fanfinity service")
    return Answers(ready, status_)


def _show(answers: Answers, console: Console) -> None:
    word = str(answers.ready["status"])
    console.print(f"[bold {_COLOURS.get(word, 'red')}]{escape(word)}[/]")
    for name, state in answers.ready.get("checks", {}).items():
        console.print(f"  {name}: {escape(str(state))}", highlight=False)
    table = Table("shard", *_COLUMNS, "state", box=box.SIMPLE, padding=0, show_edge=False)
    for column in table.columns[:-1]:
        column.justify = "right"
        column.overflow = "fold"  # no digit is hidden where there is little room
    for shard in answers.status["shards"]:
        table.add_row(*_cells(shard["shard"], shard), escape(_state(shard)))
    if len(answers.status["shards"]) > 1:
        table.add_section()
        totals = {"accounting": answers.status["accounting"], "walBytes": answers.status["wal"]["bytes"]}
        table.add_row(*_cells("all", totals), "")
    console.print(table)


def _cells(name: object, row: Mapping[str, Any]) -> Iterator[str]:
    yield str(name)
    for key in ("appended", "confirmed", "pending", "deadLettered"):
        yield f"{row['accounting'][key]:,}"
    yield f"{row['accounting']['requeued'] + row['accounting']['discarded']:,}"
    for key in ("depth", "walBytes"):
        yield f"{row[key]:,}" if key in row else ""
    yield f"{row['oldestUnconfirmedSeconds']:.1f}" if "oldestUnconfirmedSeconds" in row else ""


def _state(shard: Mapping[str, Any]) -> str:
    words = [word for word in ("paused", "retired") if shard[word]]
    return shard["lastError"] or ", ".join(words) or "ok"

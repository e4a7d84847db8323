"""``fanfinity status``: how a running service is doing, asked over HTTP."""

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final, NoReturn

import attrs
import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.commands.options import DEFAULT_URL, operators_url
from app.sending.asking import ClientError, ServiceApi, ask
from app.times import iso_now

_TIMEOUT_S: Final = 10
_EXIT_NOT_READY: Final = 1
_COLUMNS: Final = ("appended", "confirmed", "pending", "dead", "by hand", "unsent", "WAL bytes", "oldest s")
_COLOURS: Final = {"ready": "green", "degraded": "yellow"}


@attrs.frozen
class StatusReplies:
    """The replies of ``/ready`` and ``/api/status``."""

    ready: Mapping[str, Any]
    status: Mapping[str, Any]


@click.command
@operators_url
@click.option(
    "--json", "as_json", is_flag=True, help="Print what /api/status says; with --watch in one line each time."
)
@click.option("--watch", is_flag=True, help="Show it again and again, until it is interrupted.")
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(min=0.1),
    default=2.0,
    show_default=True,
    help="Seconds between two looks of --watch.",
)
def status(*, url: str, as_json: bool, watch: bool, every_s: float) -> None:
    """Show whether a running service can take events, what each shard holds, and how ClickHouse is.

    Finds the service in the data directory (FANFINITY_DATA_DIR), else at http://127.0.0.1:8080. Exits with 1 where
    events cannot be made durable, or where nobody answers; with --watch it goes on until it is interrupted.
    """
    if watch:
        with contextlib.suppress(KeyboardInterrupt):
            _watch(url, as_json=as_json, every_s=every_s)
        return
    try:
        answers = _ask(url)
    except ClientError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(answers.status, indent=2))
    else:
        _show(answers, Console())
    if answers.ready["status"] not in _COLOURS:
        sys.exit(_EXIT_NOT_READY)


def _ask(url: str) -> StatusReplies:
    return ask(url, _answers, timeout_s=_TIMEOUT_S, otherwise=DEFAULT_URL)


def _watch(url: str, *, as_json: bool, every_s: float) -> NoReturn:
    """Show the state again and again; a service that does not answer is told, and asked again."""
    console = Console()
    while True:
        try:
            answers, trouble = _ask(url), ""
        except ClientError as error:
            answers, trouble = None, str(error)
        if as_json:
            click.echo(json.dumps({"time": iso_now(), "error": trouble} if answers is None else answers.status))
        else:
            console.clear()  # nothing where the output is no terminal
            console.print(f"{iso_now()}, every {every_s:g} s", highlight=False, style="dim")
            if answers is None:
                console.print(f"[bold red]no answer[/] {escape(trouble)}", soft_wrap=True, highlight=False)
            else:
                _show(answers, console)
        time.sleep(every_s)


async def _answers(service: ServiceApi) -> StatusReplies:
    return StatusReplies(
        ready=await service.json("/ready", holding=["status"], accepting=[HTTPStatus.SERVICE_UNAVAILABLE]),
        status=await service.json("/api/status", holding=["accounting", "wal", "shards"]),
    )


def _show(answers: StatusReplies, console: Console) -> None:
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
    if sentence := _erasures(answers.status.get("erasures") or {}):
        console.print(escape(sentence), highlight=False, soft_wrap=True)


def _erasures(state: Mapping[str, Any]) -> str:
    """Say how many matches are being erased, and how far the first is; empty where none is."""
    if not state.get("open"):
        return ""
    error = f"; last error: {state['lastError']}" if state["lastError"] else ""
    return f"erasures under way: {state['open']:,}, the first since {state['since']} (step {state['step']}){error}"


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
    if shard.get("stalledSeconds"):
        words.append(f"stalled for {shard['stalledSeconds']:.0f} s")
    return shard["lastError"] or ", ".join(words) or "ok"

"""``fanfinity audit``: have a running service check its accounting against ClickHouse, over HTTP."""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.commands.options import operators_url
from app.sending.asking import ClientError, ask

_TIMEOUT_S: Final = 120
_EXIT_DIFFERENT: Final = 1
_EXIT_NOT_CHECKED: Final = 2
_VERDICTS: Final = {"whole": ("green", 0), "different": ("red", _EXIT_DIFFERENT)}
_MEMBERS: Final = ("verdict", "shards", "clickhouse", "differences", "differencesTotal")
_COLUMNS: Final = {
    "appended": "appended",
    "checkpoint": "checkpoint",
    "confirmed": "confirmed",
    "deadLettered": "dead letters",
    "missing": "missing",
}
_UNCHECKABLE: Final = {
    "erased": "were erased with their match before they were stored",
    "damaged": "could not be read back from the log, because its disk had damaged them",
    "expired": "were confirmed, but so long ago that the ledger no longer shows them",
    "beforeJournal": "come from an earlier release without a journal, so that nothing tells their attempts",
    "notNoted": "went to ClickHouse while the disk could not note that",
}


class NotChecked(click.ClickException):
    """There is no verdict, because the service or its ClickHouse does not answer."""

    exit_code = _EXIT_NOT_CHECKED


@click.command
@operators_url
@click.option("--json", "as_json", is_flag=True, help="Print what /api/audit says.")
def audit(*, url: str, as_json: bool) -> None:
    """Check that ClickHouse holds every event that the service counts as stored, and name what differs.

    Finds the service and its token in the data directory (FANFINITY_DATA_DIR). Exits with 0 where all is there, 1 where
    something differs, 2 where it could not be checked.
    """
    try:
        found = ask(url, lambda service: service.json("/api/audit", holding=_MEMBERS), timeout_s=_TIMEOUT_S)
    except ClientError as error:
        raise NotChecked(str(error)) from error
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _show(found, Console())
    _, code = _VERDICTS.get(found["verdict"], ("", _EXIT_NOT_CHECKED))
    sys.exit(code)


def _show(found: Mapping[str, Any], console: Console) -> None:
    colour, _ = _VERDICTS.get(found["verdict"], ("yellow", 0))
    console.print(f"[bold {colour}]{escape(found['verdict'])}[/]")
    table = Table("shard", *_COLUMNS.values(), box=box.SIMPLE, padding=(0, 0, 0, 1), show_edge=False, pad_edge=False)
    for column in table.columns:
        column.justify = "right"
        column.overflow = "fold"  # no digit is hidden where there is little room
    for shard in found["shards"]:
        table.add_row(str(shard["shard"]), *(f"{shard[name]:,}" for name in _COLUMNS))
    console.print(table)
    for sentence in _remarks(found):
        console.print(escape(sentence), highlight=False, soft_wrap=True)
    for difference in found["differences"]:
        console.print(f"[red]{escape(difference['text'])}[/]", highlight=False, soft_wrap=True)
    if more := found["differencesTotal"] - len(found["differences"]):
        console.print(f"… and {more:,} more differences", highlight=False)


def _remarks(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield sentences on what is not a difference, and yet worth knowing."""
    if waiting := sum(shard["appended"] - shard["checkpoint"] for shard in found["shards"]):
        yield f"{waiting:,} events are beyond the checkpoints: the log still holds them"
    for name, sentence in _UNCHECKABLE.items():
        if rows := sum(shard[name] for shard in found["shards"]):
            yield f"{rows:,} events {sentence}"
    clickhouse = found["clickhouse"]
    if clickhouse["eventsRows"] is None:
        yield f"the table events could not be read: {clickhouse['eventsError']}"
    else:
        rows, shown = clickhouse["eventsRows"], clickhouse["ledgerRows"]
        yield f"the ledger shows {shown:,} rows, table events holds {rows:,} of them (of several copies it keeps one)"

"""``fanfinity erase``: have a running service erase a match, and watch until nothing of it is left."""

import asyncio
import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import click
import msgspec

from app.commands.options import EXIT_INCOMPLETE, operators_url
from app.commands.progress import plain_console
from app.sending.asking import ClientError, Refused, ServiceApi, ask

_TIMEOUT_S: Final = 30
_TRIES: Final = 30
_POLL_S: Final = 0.25
_STEPS: Final = {
    "wait": "waits for its turn",
    "settle": "settling what is on its way to ClickHouse",
    "delete": "deleting in ClickHouse",
    "truncate": "waiting until the log holds nothing of it",
    "wipe": "wiping dead letters and damaged files",
}


@click.command
@operators_url
@click.argument("match_id", metavar="MATCH")
@click.option(
    "--refuse-for",
    "refuse_for_s",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds for which events of the match are refused, so that retries do not begin it anew.",
)
@click.option("--yes", is_flag=True, help="Do not ask whether that is meant.")
@click.option("--no-wait", is_flag=True, help="Return once the erasure is recorded; the service carries it out.")
def erase(*, url: str, match_id: str, refuse_for_s: float | None, yes: bool, no_wait: bool) -> None:
    """Erase a match: everything of it that was sent before, wherever it is, for good.

    Finds the service and its token in the data directory (FANFINITY_DATA_DIR). Where the command is broken off, or
    ClickHouse is away, the erasure goes on by itself. Exits with 1 where it was recorded and could not be followed.
    """
    if not yes:
        _confirm(match_id)
    query = {} if refuse_for_s is None else {"refuse_for": f"{refuse_for_s:g}"}
    path = f"/api/matches/{quote(match_id, safe='')}"
    recorded = _asked(url, lambda service: service.ask("DELETE", path, params=query))
    erasure = msgspec.json.decode(recorded)["erasure"]
    if no_wait:
        click.echo(f"recorded as {erasure}; fanfinity status says whether one is under way")
        return
    try:
        _asked(url, lambda service: _follow(service, erasure, _StepsTold()))
    except click.ClickException as error:
        click.echo(f"the erasure is recorded, and goes on by itself: {error.message}", err=True)
        sys.exit(EXIT_INCOMPLETE)
    click.echo(f"{match_id} is erased")


def _confirm(match_id: str) -> None:
    if not sys.stdin.isatty():
        raise click.ClickException("nobody can be asked whether that is meant; say --yes")
    click.confirm(f"Erase everything of the match {match_id} for good?", abort=True)


def _asked(url: str, work: Callable[[ServiceApi], Any]) -> Any:
    try:
        return ask(url, work, timeout_s=_TIMEOUT_S, tries=_TRIES)
    except ClientError as error:
        raise click.ClickException(str(error)) from error


class _StepsTold:
    """Prints a line for each step, and for each error that is another one than before."""

    def __init__(self) -> None:
        self._console = plain_console(stderr=True)
        self._told: set[str] = set()

    def tell(self, state: dict[str, Any]) -> None:
        for line in (_STEPS.get(state["step"], state["step"]), state["lastError"]):
            if line and line not in self._told:
                self._told.add(line)
                self._console.print(line)


async def _follow(service: ServiceApi, erasure: str, told: _StepsTold) -> None:
    """Return when an erasure is done: then the service knows nothing of it any more."""
    while True:
        try:
            told.tell(await service.json(f"/api/erasures/{erasure}", holding=("step", "lastError")))
        except Refused as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return
            raise
        await asyncio.sleep(_POLL_S)

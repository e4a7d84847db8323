"""``fanfinity keys``: keys for those who send, read and operate."""

import json
from datetime import UTC, datetime

import click

from app.access.keys import ApiKey, KeyLineError, parse_scopes
from app.commands.options import MomentParam

_WHERE = "FANFINITY_API_KEYS (comma separated), or a line of the file that FANFINITY_API_KEYS_FILE names"


@click.group
def keys() -> None:
    """Make keys for those who send and read."""


@keys.command
@click.argument("name")
@click.option("--scopes", required=True, help="What the key is for: react, ingest, read, edge, admin, joined by +.")
@click.option("--matches", "prefixes", multiple=True, metavar="PREFIX", help="Only for match ids that begin so; often.")
@click.option("--until", type=MomentParam(), help="When the key ends, as 2027-01-31T00:00:00Z; left out: never.")
@click.option("--json", "as_json", is_flag=True, help="Print name, scopes, key and line as JSON.")
def new(*, name: str, scopes: str, prefixes: tuple[str, ...], until: datetime | None, as_json: bool) -> None:
    """Make a key, and print it once, with the line to configure. Nothing is kept, and no service is asked.

    NAME stands in logs and beside what was done with the key.
    """
    if until is not None and until <= datetime.now(UTC):
        raise click.BadParameter("this time is over, so the key would never be taken", param_hint="--until")
    try:
        text, key = ApiKey.new(name, parse_scopes(scopes, of="--scopes"), prefixes=prefixes, until=until)
    except KeyLineError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps({"name": name, "scopes": sorted(key.scopes), "key": text, "line": key.line()}))
        return
    click.echo(f"The key, for whoever is to use it. It is shown once:\n\n{text}\n")
    click.echo(f"The line to configure, in {_WHERE}:\n\n{key.line()}")

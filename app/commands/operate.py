"""``fanfinity operate``: a link to the operator's page that needs no key."""

import json
from typing import Any

import click

from app.commands.options import operators_url
from app.sending.asking import ClientError, ServiceApi, ask

_TIMEOUT_S = 10


@click.command
@operators_url
@click.option("--json", "as_json", is_flag=True, help="Print the link, and the seconds for which it works, as JSON.")
def operate(*, url: str, as_json: bool) -> None:
    """Print a link to the operator's page, which works once, within five minutes.

    Finds the service and its token in the data directory (FANFINITY_DATA_DIR). Exits with 1 where nobody answers.
    """
    try:
        made = ask(url, _link, timeout_s=_TIMEOUT_S)
    except ClientError as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(made) if as_json else made["url"])


async def _link(service: ServiceApi) -> dict[str, Any]:
    made = json.loads(await service.ask("POST", "/api/login-links"))
    return {"url": f"{service.url}{made['path']}", "expiresInSeconds": made["expiresInSeconds"]}

"""``fanfinity operate``: a link to the operator's page that needs no key."""

import json

import click

from app.commands.options import operators_url
from app.sending.asking import ClientError, ServiceApi, ask

_TIMEOUT_S = 10


@click.command
@operators_url
def operate(*, url: str) -> None:
    """Print a link to the operator's page, which works once, within five minutes."""
    try:
        click.echo(ask(url, _link, timeout_s=_TIMEOUT_S))
    except ClientError as error:
        raise click.ClickException(str(error)) from error


async def _link(service: ServiceApi) -> str:
    made = json.loads(await service.ask("POST", "/api/login-links"))
    return f"{service.url}{made['path']}"

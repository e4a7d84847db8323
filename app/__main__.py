"""The command line: ``fanfinity COMMAND``, or ``python -m app COMMAND``; without a command: ``serve``."""

import importlib

import click

from app.observability.version import version_text

COMMANDS = {
    "serve": "Run the service.",
    "simulate": "Send a lively made-up match, or many, to a running service.",
    "replay": "Send a recorded match to a running service.",
    "status": "Show how a running service is doing.",
    "config": "Show the settings in force here, and where each comes from.",
    "audit": "Check that ClickHouse holds what the service counts as stored.",
    "operate": "Print a link to the operator's page that works once.",
    "keys": "Make keys for those who send and read.",
    "deadletters": "See to events that ClickHouse refused: read, repair, requeue, discard.",
    "erase": "Erase a match: everything of it, wherever it is, for good.",
    "downgrade": "Give the data directory of a stopped service back to the release before.",
}


def load(name: str) -> click.Command:
    """Return the command ``name`` of the module ``app.commands.name``."""
    command: click.Command = getattr(importlib.import_module(f"app.commands.{name}"), name)
    return command


class Commands(click.Group):
    """A group that imports a command's module when it is called, so that the service imports only what it uses."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order of their help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name, imported, or None."""
        return load(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List every command with its line of help, without loading it."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"fanfinity {version_text()}")
        ctx.exit()


@click.group(cls=Commands, invoke_without_command=True)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and its commit.",
)
@click.pass_context
def main(ctx: click.Context) -> None:
    """Fanfinity analytics: real-time fan engagement from live match events.

    Without a command it serves. Settings are environment variables; 'fanfinity config' lists them, and 'fanfinity
    COMMAND --help' has the options of a command.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(load("serve"))


if __name__ == "__main__":
    main(prog_name="fanfinity")

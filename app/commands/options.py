"""Options and exit codes shared by the commands that talk to a running service."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import click

from app.sending.target import NoTarget, bearer_for

_Command = TypeVar("_Command", bound=Callable[..., Any])

EXIT_INCOMPLETE: Final = 1
"""Exit code where something was rejected, or could not be sent."""
EXIT_INTERRUPTED: Final = 130

DEFAULT_URL: Final = "http://127.0.0.1:8080"

_SERVICE: Final = (
    click.option("--url", default=DEFAULT_URL, show_default=True, help="Root of the service."),
    click.option(
        "--connections",
        type=click.IntRange(1, 1000),
        default=4,
        show_default=True,
        help="Most requests at once.",
    ),
    click.option(
        "--give-up-after",
        "give_up_after_s",
        type=click.FloatRange(min=0),
        default=120.0,
        show_default=True,
        help="Seconds to go on trying while the service does not take a request.",
    ),
)


def service_options(command: _Command) -> _Command:
    """Add ``--url``, ``--connections`` and ``--give-up-after`` to a command."""
    for option in reversed(_SERVICE):
        command = option(command)
    return command


def bearer_of(url: str) -> Callable[[], str]:
    """Return what finds the key for a service; it raises ClickException where the file of a key cannot be read."""

    def find() -> str:
        try:
            return bearer_for(url, os.environ)
        except NoTarget as error:
            raise click.ClickException(str(error)) from error

    return find


def operators_url(command: _Command) -> _Command:
    """Add ``--url`` to a command of operators; empty, its default, means the service of the data directory."""
    return click.option(
        "--url",
        default="",
        help="Root of the service.  [default: the address in the file admin-token of the data directory]",
    )(command)


class MomentParam(click.ParamType[datetime]):
    """A time with a zone in ISO 8601, or ``now``."""

    name = "time"

    def convert(self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the moment; fail with a sentence that says what is missing."""
        if isinstance(value, datetime):
            return value
        if value == "now":
            return datetime.now(UTC)
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a time like 2021-06-11T19:00:00Z", param, ctx)
        if moment.tzinfo is None:
            self.fail(f"{value!r} has no offset; add Z or +03:00", param, ctx)
        return moment

"""``fanfinity config``: the settings that a service started here would have, and where each comes from."""

import json
import os
import sys
from collections.abc import Mapping, Sequence

import click

from app.config import Config, settings
from app.setting_kinds.environment import PREFIX, ConfigError, is_passed_over

_EXIT_WRONG_SETTING = 2
_VALUE_CHARS = 24
"""Characters beyond which a value does not move the column of the sources."""


@click.command
@click.option(
    "--json", "as_json", is_flag=True, help="Print variable, value, unit, source and meaning of each as JSON."
)
def config(*, as_json: bool) -> None:
    """Show the settings that 'fanfinity serve' would have if it was started here, and where each comes from.

    A line each: the variable with its value, and its source: default, environment, or the file that a variable ending
    in _FILE names. Secrets are masked. A running service shows its own in the console ('config').

    Exits with 2 where a setting is wrong.
    """
    try:
        found, sources = Config.with_sources(os.environ)
    except ConfigError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(_EXIT_WRONG_SETTING)
    ours = {name: text for name, text in os.environ.items() if name.startswith(PREFIX)}
    passed_over = sorted(name for name, text in ours.items() if is_passed_over(name, text))
    if as_json:
        click.echo(json.dumps({"settings": _rows(found, sources), "passedOver": passed_over}, indent=2))
    else:
        _show(found.shown(), sources, passed_over)


def _rows(found: Config, sources: Mapping[str, str]) -> list[Mapping[str, str]]:
    shown = found.shown()
    return [
        {
            "variable": setting.variable,
            "value": shown[setting.variable],
            "unit": setting.kind.unit,
            "source": sources[setting.variable],
            "default": setting.default,
            "help": setting.help,
        }
        for setting in settings()
    ]


def _show(shown: Mapping[str, str], sources: Mapping[str, str], passed_over: Sequence[str]) -> None:
    width = max(len(f"{variable}={value}") for variable, value in shown.items() if len(value) < _VALUE_CHARS)
    for variable, value in shown.items():
        click.echo(f"{f'{variable}={value}':<{width}}  {sources[variable]}")
    for name in passed_over:
        click.echo(f"{name:<{width}}  passed over: no setting of the service")

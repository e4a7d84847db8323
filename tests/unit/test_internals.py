"""What is relied on of other packages that they do not promise: one test a package, each with what to do."""

import inspect
import warnings
from importlib import import_module
from typing import Any

import click

from app.server.monitor_commands import STOCK, console_group


def test_aiomonitor_has_what_the_console_relies_on() -> None:
    """An upgrade that fails here is not to be taken before app/server/monitor.py and its guard do without it."""
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # it uses a deprecated name of click
        commands = import_module("aiomonitor.termui.commands")
    monitor = import_module("aiomonitor.monitor")
    context = import_module("aiomonitor.context")
    telnet = import_module("prompt_toolkit.contrib.telnet.server")

    assert isinstance(commands.monitor_cli, click.Group), "give the console its commands, without signal, otherwise"
    names = {name for function in (commands.interact, commands.do_help.callback) for name in _globals_of(function)}
    assert "monitor_cli" in names, "the console takes its group from elsewhere: replace it there, or signal is back"
    gone = set(STOCK) - set(commands.monitor_cli.commands)
    assert gone == set(), f"{gone} are no commands any more: take them out of STOCK"
    assert hasattr(context, "command_done"), "find how a command tells the console that it is done"
    assert callable(commands.custom_help_option), "give the commands a --help that tells the console it is done"

    ui = _globals_of(monitor.Monitor._ui_main_async)
    assert "init_webui" in ui, "the web page is made elsewhere: put the checks of Host and Origin there"
    assert "TelnetServer" in ui, "the console has another telnet server: have it refuse HTTP"
    assert monitor.TelnetServer is telnet.TelnetServer, "the console has another telnet server: have it refuse HTTP"
    assert "TelnetConnection" in _globals_of(telnet.TelnetServer._accept), "make the server use CheckedConnection"
    used = _globals_of(telnet.TelnetConnection.run_application)
    assert {"feed", "close", "_ready", "interact"} <= used, "find where a connection takes bytes in, and how it ends"


def test_the_group_of_the_console_leaves_the_one_of_aiomonitor_alone() -> None:
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        stock = import_module("aiomonitor.termui.commands").monitor_cli
    before = dict(stock.commands)
    group = console_group(stock, [click.Command("shards")])
    assert set(group.commands) == {*STOCK, "shards"}
    assert stock.commands == before
    assert {"signal", "cancel", "console"} <= set(before)


def _globals_of(function: Any) -> set[str]:
    """Names that a function, or one within it, takes from its module or from an object."""
    code = [inspect.unwrap(function).__code__]
    names: set[str] = set()
    while code:
        one = code.pop()
        names.update(one.co_names)
        code += [constant for constant in one.co_consts if inspect.iscode(constant)]
    return names

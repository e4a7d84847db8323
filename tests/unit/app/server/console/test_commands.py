"""Commands of the console, called as the console calls them."""

import asyncio
import secrets
import warnings
from collections.abc import AsyncIterator
from importlib import import_module
from io import StringIO
from pathlib import Path

import click
import pytest

from app.config import Config
from app.context import Context
from app.server.console.commands import service_commands
from app.server.console.logins import Logins
from app.web.admin_token import AdminToken


class Console:
    """One connection of a console: what it was shown, and who has logged in there."""

    def __init__(self, context: Context) -> None:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of click, used by aiomonitor
            import_module("aiomonitor.monitor")
        self.state = import_module("aiomonitor.context")
        self.shown = StringIO()
        self.logins = Logins(context)
        self.commands = {one.name: one for one in service_commands(context, self.logins, asyncio.get_running_loop())}

    async def run(self, name: str, *arguments: str) -> str:
        """Return what was shown when the prompt would come back."""
        done = asyncio.Event()
        self.state.command_done.set(done)
        self.state.current_stdout.set(self.shown)
        self.shown.truncate(self.shown.seek(0))
        self.commands[name].main(arguments, prog_name="", standalone_mode=False)
        async with asyncio.timeout(30):
            await done.wait()
        return self.shown.getvalue()


@pytest.fixture
async def context(tmp_path: Path) -> AsyncIterator[Context]:
    one = Context.create(Config(data_dir=tmp_path, monitor=None))
    yield one
    one.admin.close()


@pytest.mark.parametrize("token", ["-abc", "--abc", "-h", "--help-me", "abc"])
async def test_a_token_that_begins_with_a_hyphen_is_no_option(
    context: Context, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setattr(secrets, "token_urlsafe", lambda _: token)
    context.admin.open("127.0.0.1", 1)
    console = Console(context)
    assert await console.run("login", token) == "logged in as admin-token, until this connection ends\n"
    assert console.logins.name(console.shown) == "admin-token"


async def test_the_prompt_comes_back_when_a_command_has_shown_all(context: Context) -> None:
    console = Console(context)
    assert "0 viewers" in await console.run("viewers")
    assert "log in first: login TOKEN" in await console.run("config")
    assert "log in first: login TOKEN" in await console.run("pause", "0")


async def test_whoever_has_logged_in_sees_the_settings(context: Context) -> None:
    context.admin.open("127.0.0.1", 1)
    console = Console(context)
    await console.run("login", AdminToken.read(context.config.data_dir).secret)
    assert "FANFINITY_SHARDS" in await console.run("config")


async def test_each_command_has_help_after_which_the_prompt_comes_back(context: Context) -> None:
    console = Console(context)
    for name, command in console.commands.items():
        shown = await console.run(str(name), "--help")
        assert str(command.help) in shown
        assert shown.startswith("Usage:")
    with pytest.raises(click.NoSuchOption):
        await console.run("pause", "--nothing")

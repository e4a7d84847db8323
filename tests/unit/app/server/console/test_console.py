"""Tables that fit, completion, and the logins of the console."""

import asyncio
import warnings
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

import attrs
import click
import pytest
from click.shell_completion import CompletionItem

from app.access.keys import ApiKey
from app.access.principal import Scope
from app.config import Config
from app.context import Context
from app.server.console import logins as logins_module
from app.server.console.commands import service_commands
from app.server.console.logins import Logins, TooManyTries
from app.server.console.tables import SHARD_COLUMNS, table_text

NUMBERS = [(0, *[123_456_789] * 10, "code 60 UNKNOWN_TABLE of a view that nobody knows any more")]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140, 200])
def test_a_table_breaks_no_number_and_fits_where_it_can(width: int) -> None:
    lines = table_text(SHARD_COLUMNS, NUMBERS, width).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert any("123456789" in line for line in lines)
    for name in ("shard", "appended", "confirmed", "pending", "state"):
        assert name in "".join(lines)
    if width >= 80:
        assert len(lines[0]) <= width


def test_a_wide_terminal_shows_all() -> None:
    text = table_text(SHARD_COLUMNS, NUMBERS, 200)
    assert all(word in text for name in SHARD_COLUMNS for word in name.split())


@pytest.fixture
def context(tmp_path: Path) -> tuple[Context, dict[str, str]]:
    boss, admin = ApiKey.new("boss", [Scope.ADMIN])
    some, of_some = ApiKey.new("some", [Scope.ADMIN], prefixes=["liga-"])
    viewer, reads = ApiKey.new("viewer", [Scope.READ])

    async def made() -> Context:
        return Context.create(Config(data_dir=tmp_path, monitor=None, api_keys=(admin, of_some, reads)))

    return asyncio.run(made()), {"boss": boss, "some": some, "viewer": viewer}


class Connection:
    """What a connection is known by."""


def test_only_operators_log_in_and_each_connection_by_itself(context: tuple[Context, dict[str, str]]) -> None:
    logins, (one, other) = Logins(context[0]), (Connection(), Connection())
    assert logins.log_in(one, context[1]["boss"]) == "boss"
    assert (logins.name(one), logins.name(other)) == ("boss", None)
    for name in ("some", "viewer"):
        assert logins.log_in(other, context[1][name]) is None
    logins.log_out(one)
    assert logins.name(one) is None
    session = logins.begin_session(context[1]["boss"])
    assert session is not None
    assert logins.has_session(session)
    assert not logins.has_session("")
    assert logins.begin_session("") is None


def test_a_login_ends_with_its_key(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    made = {name: ApiKey.new(name, [Scope.ADMIN]) for name in ("boss", "leaving", "changed", "ending", "demoted")}
    file.write_text("\n".join(key.line() for _, key in made.values()))

    async def lasting() -> set[str]:
        context = Context.create(Config(data_dir=tmp_path, monitor=None, api_keys_file=file))
        logins, connections = Logins(context), {name: Connection() for name in made}
        sessions = {}
        for name, (secret, _) in made.items():
            assert logins.log_in(connections[name], secret) == name
            sessions[name] = logins.begin_session(secret)
        ended = attrs.evolve(made["ending"][1], until=datetime.now(UTC) - timedelta(seconds=1))
        demoted = attrs.evolve(made["demoted"][1], scopes=frozenset({Scope.READ}))
        now = [made["boss"][1], ApiKey.new("changed", [Scope.ADMIN])[1], ended, demoted]
        file.write_text("\n".join(key.line() for key in now))
        context.keyring.start(context.shards.watch)
        context.keyring.look()
        async with asyncio.timeout(30):
            while context.keyring.named("leaving") is not None:
                await asyncio.sleep(0.01)
        await context.keyring.close()
        by_session = {name for name, session in sessions.items() if logins.has_session(session or "")}
        assert by_session == {name for name, one in connections.items() if logins.name(one)}
        return by_session

    assert asyncio.run(lasting()) == {"boss"}


def test_what_somebody_sent_steers_no_terminal() -> None:
    hostile = "\x1b]0;owned\x07\x1b[2J\r\x9b31m\u202e[bold]gone"
    lines = table_text(("id", "error"), [("0-1", hostile)], 120).splitlines()
    assert all(line.isprintable() for line in lines)
    assert r"\u001b]0;owned\u0007\u001b[2J\u000d\u009b31m\u202e[bold]gone" in lines[3]
    assert len({len(line) for line in lines}) == 1


def test_after_five_wrong_ones_even_the_right_one_waits_a_minute(
    context: tuple[Context, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    logins, one = Logins(context[0]), Connection()
    for _ in range(5):
        assert logins.log_in(one, "wrong") is None
    with pytest.raises(TooManyTries):
        logins.log_in(one, context[1]["boss"])
    now = logins_module.time.monotonic()
    monkeypatch.setattr(logins_module.time, "monotonic", lambda: now + 61)
    assert logins.log_in(one, context[1]["boss"]) == "boss"


def test_shards_are_completed_and_each_command_has_help(context: tuple[Context, dict[str, str]]) -> None:
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # it uses a deprecated name of click
        import_module("aiomonitor.monitor")
    made, loop = context[0], asyncio.new_event_loop()
    commands = {command.name: command for command in service_commands(made, Logins(made), loop)}
    loop.close()
    assert commands.keys() == {
        *("shards", "wal", "viewers", "config", "flush", "pause", "resume", "deadletters", "matches"),
        *("login", "logout"),
    }
    assert all(command.help for command in commands.values())
    for name in ("flush", "pause", "resume"):
        [argument] = [one for one in commands[name].params if isinstance(one, click.Argument)]
        found: list[CompletionItem] = argument.shell_complete(click.Context(commands[name]), "")
        assert [item.value for item in found] == ["0", "1", "2", "3"]
        assert [item.value for item in argument.shell_complete(click.Context(commands[name]), "2")] == ["2"]

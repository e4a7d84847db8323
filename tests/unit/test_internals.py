"""What is relied on of other packages that they do not promise: one test a package, each with what to do."""

import asyncio
import inspect
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from types import MemberDescriptorType
from typing import Any, cast

import click
import pytest
from aiohttp import StreamReader, web
from asynch.errors import NetworkError, ServerException
from asynch.proto.connection import Connection
from click.shell_completion import CompletionItem
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import DummyInput
from prompt_toolkit.output import DummyOutput

from app.context import Context
from app.server import connection as module
from app.server.console.commands import STOCK, console_group
from app.server.console.logins import Logins
from app.server.protocol import ServiceRunner
from app.web.event_stream import event_stream
from shards.stores.address import ServerAddress
from tests.clickhouse import free_port


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

    ui = _globals_of(monitor.Monitor._ui_main_async)
    assert "init_webui" in ui, "the web page is made elsewhere: put the checks of Host and Origin there"
    assert "TelnetServer" in ui, "the console has another telnet server: have it refuse HTTP"
    assert monitor.TelnetServer is telnet.TelnetServer, "the console has another telnet server: have it refuse HTTP"
    assert "TelnetConnection" in _globals_of(telnet.TelnetServer._accept), "make the server use CheckedConnection"
    used = _globals_of(telnet.TelnetConnection.run_application)
    assert {"feed", "close", "_ready", "interact"} <= used, "find where a connection takes bytes in, and how it ends"


def test_aiomonitor_has_what_logins_completion_and_tables_rely_on() -> None:
    """An upgrade that fails here is not to be taken before app/server/console does without what is gone."""
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # it uses a deprecated name of click
        commands = import_module("aiomonitor.termui.commands")
    telnet = import_module("prompt_toolkit.contrib.telnet.server")
    current = import_module("prompt_toolkit.application.current")

    used = _globals_of(commands.interact)
    assert {"current_stdout", "stdout"} <= used, "tell otherwise which connection a command is of: see _connection"
    stdout = telnet._ConnectionStdout
    assert stdout.__hash__ is object.__hash__, "two connections may be taken for one: know them by something else"
    assert hasattr(stdout, "__weakref__"), "a login would outlive its connection: end it otherwise"
    assert "get_app_session" in vars(current), "find the terminal of a command, for its width, otherwise"
    used = _globals_of(telnet.TelnetConnection.run_application)
    assert "create_app_session" in used, "a command sees another connection's terminal: find its width otherwise"

    for command in ("ps", "ps-terminated"):
        used = _globals_of(commands.monitor_cli.commands[command].callback)
        assert {"AsciiTable", "table"} <= used, f"{command} makes its table otherwise: have it fit the terminal there"

    shard = click.Argument(["shard"], shell_complete=lambda *_: [CompletionItem("0"), CompletionItem("12")])
    completer = commands.ClickCompleter(click.Group("", commands={"pause": click.Command("pause", params=[shard])}))
    found = [one.text for one in completer.get_completions(Document("pause "), CompleteEvent())]
    assert found == ["0", "12"], "the tabulator asks no shell_complete any more: complete shards and matches otherwise"


def test_what_one_types_in_the_console_is_in_nobody_elses_history() -> None:
    """A token of ``login`` would be there."""
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        commands = import_module("aiomonitor.termui.commands")
    names = {name for names in commands.interact.__code__.co_consts if isinstance(names, tuple) for name in names}
    assert "completer" in names, "the arguments of the prompt stand elsewhere: look there for a history"
    assert "history" not in names, "the console has a history of its own: keep login out of it"
    one, other = (commands.PromptSession(input=DummyInput(), output=DummyOutput()) for _ in range(2))
    assert one.history is not other.history
    assert type(one.history) is InMemoryHistory


def test_the_group_of_the_console_leaves_the_one_of_aiomonitor_alone() -> None:
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        stock = import_module("aiomonitor.termui.commands").monitor_cli
    before = dict(stock.commands)
    group = console_group(stock, [click.Command("shards")], Logins(cast(Context, None)))
    assert set(group.commands) == {*STOCK, "shards"}
    assert stock.commands == before
    assert {"signal", "cancel", "console"} <= set(before)


@asynccontextmanager
async def _served(handler: Any) -> AsyncIterator[tuple[Any, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A server of ours with this handler for ``GET /``, and one connection to it."""
    app = web.Application()
    app.router.add_get("/", handler)
    runner = ServiceRunner(app, access_log=None)
    await runner.setup()
    await runner.listen("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*runner.addresses[0])
    try:
        yield runner, reader, writer
    finally:
        writer.close()
        await runner.cleanup()


async def _come_true(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def test_aiohttp_has_what_the_server_relies_on() -> None:
    """An upgrade that fails here is not to be taken before app/server/connection.py does without what is gone."""
    asked, answer = asyncio.Event(), asyncio.Event()

    async def handler(_: web.Request) -> web.Response:
        asked.set()
        await answer.wait()
        return web.Response(text="answered")

    async with _served(handler) as (runner, reader, writer):
        server = runner.server
        assert isinstance(server, module.Server), "a runner makes its server elsewhere: give it ours there"
        assert {"keepalive_timeout", "lingering_time", "auto_decompress"} <= server._kwargs.keys(), (
            "the options of a runner reach a connection another way: hand on _kwargs as Server.__call__ does now"
        )
        assert server._loop is asyncio.get_running_loop(), "give each connection its event loop otherwise"
        await _come_true(lambda: server.connections)
        assert list(server._connections) == server.connections, "count the open connections in _Server.full otherwise"
        [connection] = server.connections
        assert isinstance(connection, module._ClientConnection), "connections are made elsewhere: have it make ours"
        assert isinstance(connection._loop, asyncio.AbstractEventLoop), "give the timers their event loop otherwise"

        await _come_true(lambda: connection._waiter is not None)
        assert not connection._waiter.done(), "find out otherwise whether a connection waits for a request"
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asked.wait()
        assert connection._waiter is None or connection._waiter.done(), (
            "the limit for the head of a request must stand still while a handler runs: find out otherwise when it does"
        )
        answer.set()
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(8) == b"answered"

        await _come_true(lambda: connection._waiter is not None and not connection._waiter.done())
        assert connection._request_count == connection._answers == 1, "count the requests and the answers otherwise"
        assert connection._current_request is None, "find the request in progress, and whether it streams, otherwise"
        assert not connection._messages, "find the requests that wait for their turn otherwise"
        assert isinstance(StreamReader._buffer, MemberDescriptorType), "find what of a body is not read yet otherwise"
        connection._force_close = True
        connection.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not connection._waiter.done(), (
            "who was refused for want of room is read all the same: find what else has the bytes thrown away"
        )


async def test_a_connection_of_aiohttp_has_no_name_that_ours_takes() -> None:
    """An attribute of both would be overwritten: then give ours another name."""
    plain: Any = web.RequestHandler(web.Server(_never), loop=asyncio.get_running_loop())
    assert [name for name in module._ClientConnection.__slots__ if hasattr(plain, name)] == []
    called = ("connection_made", "connection_lost", "data_received", "eof_received", "finish_response")
    for method in (*called, "pause_writing", "resume_writing", "start"):
        assert callable(getattr(web.RequestHandler, method)), f"{method} is not called any more: find what is"
    parameters = list(inspect.signature(web.RequestHandler.finish_response).parameters)
    assert parameters == ["self", "request", "resp", "start_time"], "finish_response is called otherwise: follow"
    parameters = list(inspect.signature(web.RequestHandler.handle_error).parameters)
    assert parameters == ["self", "request", "status", "exc", "message"], "handle_error is called otherwise: follow"
    for name in (
        "timeouts",
        "connections_max",
        "is_full",
        "refuse",
        "spare",
        "turns",
        "awaits_somebody",
    ):
        assert not hasattr(web.Server(_never), name), f"a server has a {name} of its own: call ours otherwise"


async def test_aiohttp_sse_has_what_the_streams_rely_on() -> None:
    """An upgrade that fails here is not to be taken before app/web/event_stream.py does it by itself."""
    written = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = event_stream(request, ping_interval=0.01, send_timeout=30)
        await response.prepare(request)
        async with response:
            await written.wait()
        tasks = {task for task in asyncio.all_tasks() if "_ping" in repr(task.get_coro())}
        assert not tasks, "the pings of a stream that ended go on: end them in app/web/event_stream.py"
        return response

    async with _served(handler) as (_, reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Transfer-Encoding: chunked" in head, "nothing tells a viewer the end of a stream: have it chunked"
        assert b"Cache-Control: no-cache" in head, "a cache would keep the stream: set the header"
        assert await reader.readuntil(b"\n\n") == b"8\r\n: ping\n\n", "send heartbeats in app/web/event_stream.py"
        written.set()
        async with asyncio.timeout(30):
            await reader.readuntil(b"\r\n0\r\n\r\n")


class _Noted(Connection):
    """A connection of asynch that notes which of its own methods it calls."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.called: list[str] = []

    async def connect(self) -> None:
        self.called.append("connect")
        await super().connect()

    async def ping(self) -> bool:
        self.called.append("ping")
        return bool(await super().ping())


async def test_asynch_has_what_the_connection_relies_on(clickhouse_url: str) -> None:
    """An upgrade that fails here is not to be taken before shards/stores/server.py does without what is gone."""
    address = ServerAddress.parse(clickhouse_url)
    connection: Any = _Noted(host=address.host, port=address.port)
    assert list(await connection.execute("SELECT 1")) == [(1,)]
    assert connection.called == ["connect"], "a statement connects otherwise: set TCP_USER_TIMEOUT there"
    assert list(await connection.execute("SELECT 2")) == [(2,)]
    assert connection.called == ["connect", "ping"], "a connection is tried otherwise: have _Client trust it there"

    reader, writer = connection.reader.reader, connection.writer.writer
    assert isinstance(reader, asyncio.StreamReader), "find out otherwise whether the server ended the connection"
    assert isinstance(writer, asyncio.StreamWriter), "find the transport, to cut a connection that hangs, otherwise"
    with pytest.raises(ServerException) as refused:
        await connection.execute("SELECT nothing")
    assert refused.value.code == 47, "find the code of an error, by which it is judged, otherwise"
    assert "nothing" in refused.value.message, "find the text of an error otherwise"
    assert list(await connection.execute("SELECT 3")) == [(3,)], "an error ends the connection: see _reusable"

    writer.transport.abort()
    await _come_true(reader.at_eof)
    assert not await connection.ping(), "a connection that was cut passes for a whole one: see _Client.ping"
    await connection.disconnect()

    nobody: Any = _Noted(host="127.0.0.1", port=free_port())
    with pytest.raises(NetworkError) as away:
        await nobody.execute("SELECT 1")
    assert isinstance(away.value.__cause__, OSError), "find why a server is not reached, for _reason, otherwise"


async def _never(_: web.BaseRequest) -> web.StreamResponse:
    raise AssertionError("nobody asks")


def _globals_of(function: Any) -> set[str]:
    """Names that a function, or one within it, takes from its module or from an object."""
    code = [inspect.unwrap(function).__code__]
    names: set[str] = set()
    while code:
        one = code.pop()
        names.update(one.co_names)
        code += [constant for constant in one.co_consts if inspect.iscode(constant)]
    return names

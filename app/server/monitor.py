"""The aiomonitor console on loopback, with the service's own commands: see :mod:`app.server.console.commands`.

The console shows; only the service's own commands change anything. Its Python console is off, because that would ask
nobody for a key. :mod:`app.server.console.guard` keeps the pages of a browser out.

aiomonitor has no parameters for that, so three of its names are replaced while it runs, and one of prompt_toolkit,
whose telnet server it uses. `tests/unit/test_internals.py` names everything of both that is relied on.
"""

import asyncio
import importlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing, contextmanager
from types import ModuleType
from typing import Any

import structlog
from aiohttp import web

from app.context import CONTEXT, Context
from app.server.console.commands import console_group, service_commands
from app.server.console.logins import Logins
from app.server.console.task_table import TaskTable
from app.setting_kinds import Address

_log = structlog.stdlib.get_logger(__name__)


async def monitor_context(app: web.Application) -> AsyncIterator[None]:
    """Run the monitor while the application runs; go on without it where its ports are taken."""
    context = app[CONTEXT]
    address = context.config.monitor
    if address is None or not _can_listen(address):
        yield
        return
    with _hardened(context, address):
        monitor = _started(address)
        yield
        await asyncio.to_thread(monitor.close)


def _can_listen(address: Address) -> bool:
    # aiomonitor tells nobody when its console cannot listen, and waits for ever if its web page cannot.
    for port in (address.port, address.port + 1):
        if reason := _why_taken(address.host, port):
            wanted = Address(address.host, port)
            remedy = "set FANFINITY_MONITOR to another address, or to nothing to do without the monitor"
            _log.warning("monitor not started", address=str(wanted), error=reason, remedy=remedy)
            return False
    return True


@contextmanager
def _hardened(context: Context, address: Address) -> Iterator[None]:
    """Have aiomonitor use our commands and checks in this block. Enter it in the loop that the service works in."""
    # Imported late, because importing aiomonitor replaces the streams that click writes to.
    guard = importlib.import_module("app.server.console.guard")
    monitor = importlib.import_module("aiomonitor.monitor")
    commands = importlib.import_module("aiomonitor.termui.commands")
    telnet = importlib.import_module("prompt_toolkit.contrib.telnet.server")
    logins = Logins(context)
    own = service_commands(context, logins, asyncio.get_running_loop())
    group = console_group(commands.monitor_cli, own, logins)
    web_page = Address(address.host, address.port + 1)
    with ExitStack() as stack:
        stack.enter_context(_replaced(commands, "monitor_cli", group))
        stack.enter_context(_replaced(commands, "AsciiTable", TaskTable))
        stack.enter_context(_replaced(monitor, "init_webui", guard.guarded(monitor.init_webui, web_page, logins)))
        stack.enter_context(_replaced(telnet, "TelnetConnection", guard.CheckedConnection))
        yield


@contextmanager
def _replaced(module: ModuleType, name: str, value: object) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def _started(address: Address) -> Any:
    monitor = importlib.import_module("aiomonitor").Monitor(
        asyncio.get_running_loop(),
        host=address.host,
        termui_port=address.port,
        webui_port=address.port + 1,
        console_enabled=False,
        hook_task_factory=False,
    )
    monitor.prompt = "fanfinity >>> "
    monitor.start()
    return monitor


def _why_taken(host: str, port: int) -> str:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError as error:
            return error.strerror or str(error)
    return ""

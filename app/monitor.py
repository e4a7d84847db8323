"""The aiomonitor console on loopback, with the service's own commands: see :mod:`app.monitor_commands`.

Its Python console is off: it would ask nobody for a key.
"""

import asyncio
import importlib
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

from aiohttp import web

from app.keys import CONTEXT
from app.monitor_commands import service_commands
from app.setting_kinds import Address
from shards.shardset import ShardSet

_log = logging.getLogger(__name__)


async def monitor_context(app: web.Application) -> AsyncIterator[None]:
    """Run the monitor while the application runs; go on without it where its ports are taken."""
    context = app[CONTEXT]
    monitor = _started(context.shards, context.config.monitor) if context.config.monitor else None
    yield
    if monitor is not None:
        await asyncio.to_thread(monitor.close)


def _started(shards: ShardSet, address: Address) -> Any | None:
    # aiomonitor tells nobody when its console cannot listen, and waits for ever if its web page cannot.
    for port in (address.port, address.port + 1):
        if reason := _why_taken(address.host, port):
            wanted = Address(address.host, port)
            _log.warning("no monitor: %s: %s; FANFINITY_MONITOR names another, or empty for none", wanted, reason)
            return None
    # Imported late: importing it replaces the streams that click writes to.
    aiomonitor = importlib.import_module("aiomonitor")
    loop = asyncio.get_running_loop()
    for command in service_commands(shards, loop):
        aiomonitor.monitor_cli.add_command(command)
    monitor = aiomonitor.Monitor(
        loop,
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

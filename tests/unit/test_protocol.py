"""How connections are accepted, on the event loop of the service."""

import asyncio
import socket
from contextlib import ExitStack
from itertools import pairwise

import uvloop
from aiohttp import web

from app.protocol import LISTENERS, ServiceRunner


def test_a_crowd_is_accepted_many_at_a_time_while_the_loop_is_busy() -> None:
    async def accepted_by_round() -> list[int]:
        runner = ServiceRunner(web.Application())
        await runner.setup()
        await runner.listen("127.0.0.1", 0)
        assert runner.server is not None
        with ExitStack() as clients:
            for _ in range(4 * LISTENERS):
                clients.enter_context(socket.create_connection(runner.addresses[0]))
            counts = [0]
            async with asyncio.timeout(30):
                while counts[-1] < 4 * LISTENERS:
                    await asyncio.sleep(0)
                    counts.append(len(runner.server.connections))
        await runner.cleanup()
        return counts

    counts = uvloop.run(accepted_by_round())
    assert max(after - before for before, after in pairwise(counts)) == LISTENERS > 1

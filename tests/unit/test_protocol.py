"""How connections are accepted, on the event loop of the service."""

import asyncio
import socket
from contextlib import ExitStack
from itertools import pairwise

import pytest
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


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_listens_at_all_addresses_of_a_name(host: str) -> None:
    async def listened_at() -> set[str]:
        runner = ServiceRunner(web.Application())
        await runner.setup()
        await runner.listen(host, 0)
        addresses = runner.addresses
        for address in addresses:
            socket.create_connection(address[:2]).close()
        await runner.cleanup()
        return {address[0] for address in addresses}

    found = {str(address[0]) for *_, address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    assert uvloop.run(listened_at()) == found

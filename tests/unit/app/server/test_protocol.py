"""How connections are accepted, on the event loop of the service."""

import asyncio
import socket
from contextlib import ExitStack
from itertools import pairwise

import pytest
import uvloop
from aiohttp import web

from app.server.protocol import LISTENERS, ServiceRunner


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


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_before_the_port_opens_it_is_known_and_nobody_can_connect(host: str) -> None:
    told: list[tuple[str, int]] = []

    def opening(address: str, port: int) -> None:
        told.append((address, port))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))

    async def listened_at() -> tuple[str, int]:
        runner = ServiceRunner(web.Application())
        await runner.setup()
        await runner.listen(host, 0, opening=opening)
        address: tuple[str, int] = runner.addresses[0]
        socket.create_connection(("127.0.0.1", address[1])).close()
        await runner.cleanup()
        return address

    assert [uvloop.run(listened_at())] == told
    assert told[0][0] == host


def test_a_port_in_use_is_an_error_and_nothing_is_announced() -> None:
    told: list[tuple[str, int]] = []

    async def listen() -> None:
        runner = ServiceRunner(web.Application())
        await runner.setup()
        try:
            with socket.create_server(("127.0.0.1", 0)) as taken:
                await runner.listen(*taken.getsockname(), opening=lambda *address: told.append(address))
        finally:
            await runner.cleanup()

    with pytest.raises(OSError, match="in use"):
        uvloop.run(listen())
    assert told == []


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


@pytest.mark.parametrize("port", [0, None])
def test_the_address_of_all_serves_both_families_at_one_port(port: int | None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        wanted = free.getsockname()[1] if port is None else port
    told: list[tuple[str, int]] = []

    async def asked_at() -> set[str]:
        runner = ServiceRunner(web.Application())
        await runner.setup()
        await runner.listen("::", wanted, opening=lambda *address: told.append(address))
        [at] = {address[1] for address in runner.addresses}
        assert told == [("0.0.0.0", at)]
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, at)) as client:
                assert client.getpeername()[0] == host
        found = {address[0] for address in runner.addresses}
        await runner.cleanup()
        return found

    assert uvloop.run(asked_at()) == {"::", "0.0.0.0"}


def test_where_one_family_is_taken_nothing_listens() -> None:
    async def listen() -> None:
        runner = ServiceRunner(web.Application())
        await runner.setup()
        try:
            with socket.create_server(("0.0.0.0", 0)) as taken:
                await runner.listen("::", taken.getsockname()[1])
        finally:
            assert runner.addresses == []
            await runner.cleanup()

    with pytest.raises(OSError, match="in use"):
        uvloop.run(listen())

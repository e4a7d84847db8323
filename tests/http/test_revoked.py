"""Requests that go on for long while their key is taken away."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from app.access.keys import ApiKey
from app.access.principal import Scope
from app.config import Config
from tests.http.service import Service, eventually, running

EVENT = {"matchId": "cup-1", "eventType": "cheer"}
LINE = b'{"matchId":"cup-1","eventType":"cheer"}\n'


class Doors:
    """A service whose pages need a key, and its file of keys: two keys, and one more that stays."""

    def __init__(self, service: Service, file: Path) -> None:
        self.service, self._file = service, file
        self.keys = {name: ApiKey.new(name, [Scope.INGEST, Scope.READ]) for name in ("one", "boss")}

    def headers(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[name][0]}"}

    async def configure(self, *lines: str) -> None:
        """Write the file, and wait until the service knows it."""
        self._file.write_text("\n".join([self.keys["boss"][1].line(), *lines]))
        ring = self.service.context.keyring
        ring.look()

        async def known() -> bool:
            return ring._text == self._file.read_bytes()

        await eventually(known, lambda: ring.trouble)


@pytest_asyncio.fixture
async def doors(tmp_path: Path) -> AsyncIterator[Doors]:
    file = tmp_path / "keys"
    file.write_text("")
    config = Config(data_dir=tmp_path / "data", port=0, monitor=None, api_keys_file=file, public_read=False)
    async with running(config) as service:
        doors = Doors(service, file)
        await doors.configure(doors.keys["one"][1].line())
        yield doors


async def _cheer(doors: Doors) -> None:
    reply = await doors.service.request("POST", "/api/events", json=EVENT, headers=doors.headers("boss"))
    assert reply.status == 202


@pytest.mark.parametrize("change", ["revoked", "another of the same name", "narrowed"])
async def test_a_stream_of_lines_ends_with_its_key(doors: Doors, change: str) -> None:
    key = doors.keys["one"][1]
    lines = {
        "revoked": [],
        "another of the same name": [ApiKey.new("one", [Scope.INGEST, Scope.READ])[1].line()],
        "narrowed": [f"{key.line()}:matches=liga"],
    }[change]
    go_on = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield LINE
        await go_on.wait()
        yield LINE * 2

    headers = doors.headers("one") | {"Content-Type": "application/x-ndjson"}
    sending = asyncio.create_task(doors.service.request("POST", "/api/events/bulk", data=body(), headers=headers))

    async def is_durable() -> bool:
        return doors.service.appended == 1

    await eventually(is_durable, lambda: str(doors.service.appended))
    await doors.configure(key.line(), "# the same keys, so all goes on")
    await doors.configure(*lines)
    go_on.set()
    reply = await sending
    assert (reply.status, reply.json["durableLines"]) == (401, 1)
    assert "was revoked, or its time is over" in reply.json["detail"]
    assert doors.service.appended == 1


@pytest.mark.parametrize("path", ["/api/matches/cup-1/stream", "/matches/cup-1/stream", "/stream"])
async def test_a_viewer_sees_nothing_more_when_its_key_is_over(doors: Doors, path: str) -> None:
    await _cheer(doors)
    async with ClientSession() as session, session.get(doors.service.url + path, headers=doors.headers("one")) as reply:
        assert reply.status == 200
        assert await reply.content.readany()
        await doors.configure(doors.keys["one"][1].line(), "# the same")
        await _cheer(doors)
        assert await reply.content.readany(), "its key is as it was"
        key = doors.keys["one"][1]
        ended = datetime.now(UTC) - timedelta(seconds=1)
        await doors.configure(f"{key.line()}:until={ended:%Y%m%dT%H%M%SZ}")
        await _cheer(doors)
        async with asyncio.timeout(20):
            await reply.content.read()

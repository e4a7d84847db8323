"""A running service for tests: the real application on a real socket, and a client that hides nothing."""

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
from aiohttp import ClientSession, TCPConnector, web

from app.access.needs import Need
from app.config import Config
from app.context import CONTEXT, Context
from app.server.application import create_app
from app.server.authorization import NEEDED
from app.server.protocol import ServiceRunner
from app.web.admin_token import AdminToken

LARGE_BYTES = 1 << 19

DEADLINE_S = 30
"""How long to wait for what must become true."""


@attrs.frozen
class Reply:
    """A whole response."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.text)


@attrs.frozen
class Service:
    """The service, and one client session."""

    app: web.Application
    session: ClientSession
    host: str
    port: int

    @property
    def context(self) -> Context:
        """Everything the service depends on."""
        return self.app[CONTEXT]

    @property
    def url(self) -> str:
        """Where the service listens."""
        return f"http://{self.host}:{self.port}"

    @property
    def admin(self) -> dict[str, str]:
        """The header of operators, with the token that the service wrote for them."""
        return {"Authorization": f"Bearer {AdminToken.read(self.context.config.data_dir).secret}"}

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs to know to find the service."""
        return {"FANFINITY_DATA_DIR": str(self.context.config.data_dir)}

    @property
    def appended(self) -> int:
        """Events made durable so far."""
        return self.context.shards.snapshot().appended

    async def request(self, method: str, path: str, **options: Any) -> Reply:
        """Send a request as aiohttp's client would."""
        async with self.session.request(method, f"{self.url}{path}", **options) as response:
            return Reply(response.status, response.headers.copy(), await response.text())

    async def get(self, path: str, **options: Any) -> Reply:
        """Send a GET."""
        return await self.request("GET", path, **options)

    async def post(
        self, path: str, body: Any, *, content_type: str | None = "application/json", **headers: str
    ) -> Reply:
        """Send a POST; what is not bytes becomes JSON; ``Content_Encoding="gzip"`` is a header."""
        data = body if isinstance(body, bytes) or hasattr(body, "__aiter__") else json.dumps(body).encode()
        if isinstance(data, bytes) and len(data) > LARGE_BYTES:
            data = io.BytesIO(data)  # aiohttp warns of larger bodies in one piece
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if content_type is not None:
            sent["Content-Type"] = content_type
        skipped = ["Content-Type"] if content_type is None else []
        return await self.request("POST", path, data=data, headers=sent, skip_auto_headers=skipped)

    async def send_raw(self, *parts: bytes) -> Reply:
        """Send bytes over a connection of their own; return the first response."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            return await _read_response(reader)
        finally:
            writer.close()
            await writer.wait_closed()

    async def send_and_leave(self, *parts: bytes) -> None:
        """Send bytes over a connection of their own, and close it without waiting for an answer."""
        _, writer = await asyncio.open_connection(self.host, self.port)
        for part in parts:
            writer.write(part)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def metrics(self, match_id: str, *, total: int) -> dict[str, Any]:
        """Return the metrics of a match once they count ``total`` events."""
        found: dict[str, Any] = {}

        async def counted() -> bool:
            reply = await self.get(f"/api/matches/{match_id}/metrics")
            found.clear()
            found.update(reply.json)
            return reply.status == 200 and found["totalEvents"] >= total

        await eventually(counted, lambda: f"{match_id}: {found}")
        assert found["totalEvents"] == total
        return found


async def eventually(condition: Callable[[], Any], state: Callable[[], str]) -> None:
    """Wait until the condition holds; fail with ``state()`` if it does not within `DEADLINE_S`."""
    deadline = time.monotonic() + DEADLINE_S
    while not await condition():
        assert time.monotonic() < deadline, state()
        await asyncio.sleep(0.05)


@asynccontextmanager
async def running(
    config: Config, *, routes: Iterable[web.RouteDef] = (), reuse: bool = True, **options: Any
) -> AsyncIterator[Service]:
    """Run the service, with some more routes and options of its runner, until the block ends.

    The client reuses connections, unless told not to: one that the service closes for its idleness at the moment of a
    POST breaks that off, and nobody can send a POST again unasked.
    """
    app = create_app(config)
    app[NEEDED].update(dict.fromkeys(app.add_routes(routes), Need.NOTHING))
    runner = ServiceRunner(app, access_log=None, shutdown_timeout=1, **options)
    await runner.setup()
    try:
        await runner.listen(config.host, config.port, opening=app[CONTEXT].admin.open)
        host, port = runner.addresses[0][:2]
        async with ClientSession(connector=TCPConnector(force_close=not reuse)) as session:
            yield Service(app, session, host, port)
    finally:
        await runner.cleanup()


async def _read_response(reader: asyncio.StreamReader) -> Reply:
    async with asyncio.timeout(DEADLINE_S):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        status, *fields = head.strip().split("\r\n")
        headers = dict(field.split(": ", 1) for field in fields)
        body = await reader.readexactly(int(headers.get("Content-Length", "0")))
    return Reply(int(status.split(" ")[1]), headers, body.decode())

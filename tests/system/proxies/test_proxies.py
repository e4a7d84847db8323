"""What is for operators stays closed behind proxies that say nothing of who is asking."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from app.web.admin_token import AdminToken
from tests.e2e.process import Start
from tests.http.admin import WITHOUT_PROOF, admin_requests
from tests.system.proxies.in_front import PROXIES, in_front_of


@pytest.fixture(params=PROXIES)
async def outside(request: pytest.FixtureRequest, start: Start, tmp_path: Path) -> AsyncIterator[str]:
    """Address of a proxy, and of the service behind it."""
    service = await start()
    async with in_front_of(await service.url(), request.param, tmp_path) as url:
        yield url


async def test_everything_for_operators_is_closed_whatever_headers_are_sent(
    outside: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with http.get(f"{outside}/api/matches") as reply:
        assert reply.status == 200, "what is open comes through"
    for headers in WITHOUT_PROOF:
        for method, path in admin_requests():
            async with http.request(method, outside + path, headers=headers) as reply:
                assert reply.status == 401, (method, path, headers)
                assert reply.headers["WWW-Authenticate"] == "Bearer"
                assert reply.content_type == "application/problem+json"
    proof = {"Authorization": f"Bearer {AdminToken.read(tmp_path / 'data').secret}"}
    async with http.get(f"{outside}/api/deadletters", headers=proof) as reply:
        assert reply.status == 200

"""Behind a proxy that shows the service under a path: whatever a page, a reply or a cookie names is below that path."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from app.web.admin_token import AdminToken
from tests.e2e.asking import MATCH, post
from tests.e2e.process import Start
from tests.system.proxies.in_front import NGINX_BELOW, in_front_of

ROOT = "/fans"
PAGE = {"Accept": "text/html"}
PAGES = ("/", f"/matches/{MATCH}", "/matches/unknown", "/docs", "/login")
_NAMED = re.compile(r'(?:href|src|action|data-stream)="(/[^"]*)"')


@pytest.fixture
async def outside(start: Start, tmp_path: Path) -> AsyncIterator[str]:
    """Address of nginx, under whose path the service is; with one match."""
    service = await start(ROOT_PATH=ROOT)
    url = await service.url()
    async with aiohttp.ClientSession() as http, in_front_of(url, "nginx", tmp_path, template=NGINX_BELOW) as proxy:
        await post(http, f"{proxy}{ROOT}", 3)
        yield proxy
    assert service.faults == []


async def test_all_that_pages_name_is_there(outside: str, http: aiohttp.ClientSession) -> None:
    named: set[str] = set()
    for page in PAGES:
        async with http.get(f"{outside}{ROOT}{page}", headers=PAGE) as reply:
            assert reply.status == (404 if "unknown" in page else 200), page
            found = set(_NAMED.findall(await reply.text()))
            assert found, page
            named |= found
    assert {f"{ROOT}/", f"{ROOT}/matches/{MATCH}", f"{ROOT}/static/js/live.js", f"{ROOT}/stream"} <= named
    for path in sorted(named):
        assert path.startswith(f"{ROOT}/"), path
        async with http.get(outside + path, headers=PAGE) as reply:
            assert reply.status in (200, 401), path
            assert await reply.content.readany(), path


async def test_programs_are_told_the_path(outside: str, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{outside}{ROOT}/openapi.json") as reply:
        assert (await reply.json())["servers"] == [{"url": ROOT}]


async def test_a_login_stays_below_the_path(outside: str, http: aiohttp.ClientSession, tmp_path: Path) -> None:
    async with http.get(f"{outside}{ROOT}/operate", headers=PAGE, allow_redirects=False) as reply:
        assert (reply.status, reply.headers["Location"]) == (303, f"{ROOT}/login?next=/operate")
    form = {"key": AdminToken.read(tmp_path / "data").secret, "next": "/operate"}
    own = PAGE | {"Origin": outside}
    async with http.post(f"{outside}{ROOT}/login", data=form, headers=own, allow_redirects=False) as reply:
        assert (reply.status, reply.headers["Location"]) == (303, f"{ROOT}/operate")
        assert f"Path={ROOT};" in reply.headers["Set-Cookie"]
    async with http.get(f"{outside}{ROOT}/operate", headers=PAGE) as reply:
        assert reply.status == 200
        assert all(path.startswith(f"{ROOT}/") for path in _NAMED.findall(await reply.text()))
    async with http.post(f"{outside}{ROOT}/logout", headers=own, allow_redirects=False) as reply:
        assert reply.headers["Location"] == f"{ROOT}/login"
        assert f"Path={ROOT}" in reply.headers["Set-Cookie"]
    async with http.get(f"{outside}{ROOT}/operate", headers=PAGE, allow_redirects=False) as reply:
        assert reply.status == 303


async def test_a_cookie_for_tls_is_for_that_path(outside: str, http: aiohttp.ClientSession, tmp_path: Path) -> None:
    form = {"key": AdminToken.read(tmp_path / "data").secret}
    own = {"Origin": "https://club.example", "Host": "club.example"}
    async with http.post(f"{outside}{ROOT}/login", data=form, headers=own, allow_redirects=False) as reply:
        cookie = reply.headers["Set-Cookie"]
    assert cookie.startswith("__Secure-fanfinity-session=")
    assert f"Path={ROOT};" in cookie
    assert "Secure" in cookie
    headers = PAGE | {"Host": "club.example", "Cookie": cookie.partition(";")[0]}
    async with http.get(f"{outside}{ROOT}/operate", headers=headers) as reply:
        assert reply.status == 200


@pytest.mark.parametrize(
    ("origins", "ancestors"),
    [("", "'none'"), ("https://b.example,https://a.example", "https://a.example https://b.example")],
)
async def test_pages_without_forms_may_be_framed_by_the_origins_that_are_named(
    start: Start, http: aiohttp.ClientSession, origins: str, ancestors: str
) -> None:
    url = await (await start(FRAME_ORIGINS=origins)).url()
    for page in ("/", "/docs", f"/matches/{MATCH}"):
        async with http.get(url + page) as reply:
            assert f"; frame-ancestors {ancestors}; form-action 'none'" in reply.headers["Content-Security-Policy"]
            assert "X-Frame-Options" not in reply.headers
    async with http.get(f"{url}/login") as reply:
        assert "; frame-ancestors 'none'; form-action 'self'" in reply.headers["Content-Security-Policy"]
        assert reply.headers["X-Frame-Options"] == "DENY"

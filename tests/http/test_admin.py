"""What is for operators needs the token of the file, whatever else a request says of where it comes from."""

import asyncio
from pathlib import Path

import attrs
import pytest

from app.config import Config
from app.web.admin_token import AdminToken
from tests.http.admin import PLACEHOLDERS, WITHOUT_PROOF, admin_requests
from tests.http.problem import assert_problem
from tests.http.service import Service, running
from tests.logged import lines_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

LETTERS = "/api/deadletters"
LETTER = f"{LETTERS}/0-1"


async def test_what_the_document_names_is_all_that_asks_for_a_token(service: Service) -> None:
    assert set(admin_requests()) == {
        *(("GET", LETTERS), ("GET", LETTER), ("DELETE", LETTER), ("POST", f"{LETTER}/retry")),
        *(("GET", "/api/audit"), ("GET", "/api/acts"), ("GET", "/operate"), ("POST", "/api/login-links")),
        *(("POST", f"/api/shards/0/{act}") for act in ("pause", "resume", "flush")),
        ("POST", "/operate/shards/0/pause"),
        *(("DELETE", "/api/matches/m"), ("GET", "/api/erasures"), ("GET", "/api/erasures/0-1")),
    }
    asking = set()
    for route in service.app.router.routes():
        assert route.resource is not None
        path = route.resource.canonical
        for name, value in PLACEHOLDERS.items():
            path = path.replace(name, value)
        async with service.session.request(route.method, service.url + path) as reply:
            if reply.status == 401:
                asking.add((route.method, path))
    implied = {("HEAD", path) for method, path in admin_requests() if method == "GET"}
    assert asking == set(admin_requests()) | implied


@pytest.mark.parametrize("headers", WITHOUT_PROOF, ids=str)
async def test_nothing_but_the_token_lets_anybody_in(service: Service, headers: dict[str, str]) -> None:
    for method, path in admin_requests():
        reply = await service.request(method, path, headers=headers)
        problem = assert_problem(reply, 401, says="the file admin-token in the service's data directory")
        assert reply.headers["WWW-Authenticate"] == "Bearer"
        assert problem["type"] == "/problems/unauthorized"
        assert str(service.context.config.data_dir) not in reply.text


async def test_the_token_lets_in_also_from_pages_and_through_proxies(service: Service) -> None:
    for odd in ({}, {"X-Forwarded-For": "192.0.2.1"}, {"Host": "elsewhere.example"}, {"Origin": "https://a.example"}):
        assert (await service.get(LETTERS, headers=service.admin | odd)).status == 200
    for scheme in ("bearer", "BEARER", "Bearer "):
        given = service.admin["Authorization"].replace("Bearer", scheme)
        assert (await service.get(LETTERS, headers={"Authorization": given})).status == 200
    assert (await service.request("HEAD", "/api/audit", headers=service.admin)).status == 200


async def test_a_token_that_is_nearly_right_is_wrong(service: Service) -> None:
    right = service.admin["Authorization"].encode()
    wrong = [right[:-1], right + b"A", right.replace(b"Bearer ", b""), right.replace(b"Bearer", b"Token")]
    wrong += [
        right.swapcase(),
        right + b", " + right,
        right.replace(b" ", b"\t"),
        b"Bearer \xff\xfe",
        b"\xff " + right[7:],
    ]
    heads = [b"Authorization: " + value for value in wrong]
    heads.append(b"Authorization: " + right + b"\r\nAuthorization: Bearer x")
    for head in heads:
        reply = await service.send_raw(b"GET /api/deadletters HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n\r\n")
        assert_problem(reply, 401)


async def test_the_token_is_asked_for_before_anything_else_is_looked_at(service: Service) -> None:
    """So nobody learns which letters there are, nor has a body read."""
    assert_problem(await service.get(f"{LETTERS}?limit=none"), 401)
    assert_problem(await service.get(f"{LETTERS}/none"), 401)
    large = await service.post(f"{LETTER}/retry", b" " * (2 << 20))
    assert_problem(large, 401)


async def test_over_the_networks_address_it_is_no_different(config: Config) -> None:
    own = next((address for address in await own_addresses() if not address.startswith("127.")), None)
    if own is None:
        pytest.skip("this machine has no address but loopback")
    elsewhere = attrs.evolve(config, data_dir=config.data_dir / "elsewhere", host="0.0.0.0")
    async with running(elsewhere) as service:
        assert AdminToken.read(elsewhere.data_dir).url == f"http://127.0.0.1:{service.port}"
        away = attrs.evolve(service, host=own)
        assert_problem(await away.get(LETTERS), 401)
        assert (await away.get(LETTERS, headers=service.admin)).status == 200


async def own_addresses() -> list[str]:
    process = await asyncio.create_subprocess_exec("hostname", "-I", stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return [address for address in out.decode().split() if "." in address]


async def test_where_the_file_cannot_be_written_nobody_is_let_in(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    alone = attrs.evolve(config, data_dir=config.data_dir / "unwritable")
    (alone.data_dir / "admin-token").mkdir(parents=True)
    async with running(alone) as service:
        for authorization in ("Bearer ", "Bearer", "Bearer None"):
            assert_problem(await service.get(LETTERS, headers={"Authorization": authorization}), 401, says="log")
        assert (await service.get("/api/status")).status == 200
    [said] = lines_of(caplog, "admin token not written")
    assert (said["path"], said["error"]) == (str(alone.data_dir / "admin-token"), "Is a directory")
    assert left_over(alone.data_dir) == ["admin-token"]


def left_over(data_dir: Path) -> list[str]:
    return [path.name for path in data_dir.iterdir() if "admin" in path.name]


async def test_the_end_removes_the_file(config: Config) -> None:
    alone = attrs.evolve(config, data_dir=config.data_dir / "ended")
    async with running(alone):
        assert left_over(alone.data_dir) == ["admin-token"]
    assert left_over(alone.data_dir) == []

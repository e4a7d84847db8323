"""How commands find the service, and to whom they give the token, against servers that note what they are sent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import attrs
import pytest
from aiohttp import web

from app.sending.asking import NoService, Refused, ServiceApi, ask
from app.sending.target import NoTarget, Target
from app.web.admin_token import AdminToken
from tests.clickhouse import free_port

Handler = Callable[[web.Request], web.Response]
SECRET = "right"
KEY = "ff_me_key"


@attrs.define
class Server:
    """Answers by a handler, and notes the proof that each request carried; empty where it carried none."""

    handler: Handler
    url: str = ""
    proofs: list[str] = attrs.field(factory=list)

    async def _handle(self, request: web.Request) -> web.Response:
        self.proofs.append(request.headers.get("Authorization", ""))
        return self.handler(request)

    @contextlib.asynccontextmanager
    async def running(self) -> "AsyncIterator[Server]":
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()


def for_operators(request: web.Request) -> web.Response:
    """Answer as the service does: to the right token only."""
    if request.headers.get("Authorization") == f"Bearer {SECRET}":
        return web.json_response({"path": request.path})
    return web.json_response({"detail": "for operators"}, status=401, headers={"WWW-Authenticate": "Bearer"})


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FANFINITY_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("FANFINITY_API_KEY", raising=False)
    return tmp_path


async def asked(url: str = "", *, tries: int = 1, otherwise: str = "") -> bytes:
    return await asyncio.to_thread(
        ask, url, lambda service: service.ask("GET", "/x"), timeout_s=10, tries=tries, otherwise=otherwise
    )


async def test_service_and_token_are_those_of_the_file(data_dir: Path) -> None:
    async with Server(for_operators).running() as server:
        AdminToken(SECRET, server.url).write(data_dir)
        assert await asked() == b'{"path": "/x"}'
        for url in (server.url, f"{server.url}/", server.url.replace("127.0.0.1", "localhost")):
            assert await asked(url) == b'{"path": "/x"}'
        assert set(server.proofs) == {f"Bearer {SECRET}"}


async def test_another_address_gets_no_token(data_dir: Path) -> None:
    async with Server(for_operators).running() as own, Server(for_operators).running() as other:
        AdminToken(SECRET, own.url).write(data_dir)
        with pytest.raises(Refused) as refused:
            await asked(other.url)
        assert other.proofs == [""]
        assert own.proofs == []
    assert "no token was sent: FANFINITY_API_KEY is not set, and the service found in" in str(refused.value)
    assert SECRET not in str(refused.value)


async def test_another_address_gets_the_key_of_the_environment(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANFINITY_API_KEY", f" {KEY}\n")
    async with Server(for_operators).running() as own, Server(lambda _: web.Response()).running() as other:
        AdminToken(SECRET, own.url).write(data_dir)
        await asked(other.url)
        await asked(own.url)
        assert other.proofs == [f"Bearer {KEY}"]
        assert own.proofs == [f"Bearer {SECRET}"]


async def test_where_only_a_guess_is_left_it_gets_nothing(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANFINITY_API_KEY", KEY)
    async with Server(lambda _: web.Response(text="open")).running() as server:
        assert await asked(otherwise=server.url) == b"open"
        assert server.proofs == [""]


async def test_an_answer_that_leads_elsewhere_is_not_followed_with_the_token(data_dir: Path) -> None:
    async with Server(lambda _: web.Response()).running() as other:

        def lead_away(_request: web.Request) -> web.Response:
            return web.Response(status=307, headers={"Location": f"{other.url}/x"})

        async with Server(lead_away).running() as server:
            AdminToken(SECRET, server.url).write(data_dir)
            with pytest.raises(Refused, match="answered 307"):
                await asked()
        assert other.proofs == []


async def test_after_a_401_the_file_is_read_again(data_dir: Path) -> None:
    """As where the service was started anew between reading the file and asking."""

    def restarted(request: web.Request) -> web.Response:
        AdminToken(SECRET, server.url).write(data_dir)
        return for_operators(request)

    async with Server(restarted).running() as server:
        AdminToken("of the run before", server.url).write(data_dir)
        assert await asked() == b'{"path": "/x"}'
        assert server.proofs == ["Bearer of the run before", f"Bearer {SECRET}"]


async def test_after_a_401_the_new_token_goes_to_the_new_address_only(data_dir: Path) -> None:
    async with Server(for_operators).running() as new:

        def moved(_request: web.Request) -> web.Response:
            AdminToken(SECRET, new.url).write(data_dir)
            return web.json_response({"detail": "no"}, status=401)

        async with Server(moved).running() as old:
            AdminToken("old", old.url).write(data_dir)
            assert await asked() == b'{"path": "/x"}'
            assert (old.proofs, new.proofs) == (["Bearer old"], [f"Bearer {SECRET}"])
            AdminToken("old", old.url).write(data_dir)
            with pytest.raises(Refused, match="its token is for no other address"):
                await asked(old.url)
            assert old.proofs == ["Bearer old", "Bearer old", ""]


async def test_a_401_that_nothing_changes_is_final(data_dir: Path) -> None:
    async with Server(for_operators).running() as server:
        AdminToken("wrong", server.url).write(data_dir)
        with pytest.raises(Refused, match=f"{server.url}/x answered 401: for operators$"):
            await asked()
        assert server.proofs == ["Bearer wrong"]

        def shut_down(request: web.Request) -> web.Response:
            (data_dir / "admin-token").unlink()
            return for_operators(request)

        server.handler = shut_down
        with pytest.raises(Refused, match="answered 401"):
            await asked()


async def test_without_a_file_it_says_where_it_looked_and_what_to_do(data_dir: Path) -> None:
    with pytest.raises(NoService) as missing:
        await asked()
    assert str(missing.value) == (
        f"no running service found in {data_dir}: there is no file admin-token; set FANFINITY_DATA_DIR to its data"
        " directory, or run this as the user who runs the service"
    )
    (data_dir / "admin-token").mkdir()
    with pytest.raises(NoService, match=r"admin-token cannot be read \(Is a directory\); set FANFINITY_DATA_DIR"):
        await asked()


async def test_no_room_is_waited_for_as_long_as_the_service_asks(data_dir: Path) -> None:
    answers = iter((503, 503, 200))

    def full(_request: web.Request) -> web.Response:
        return web.json_response({"detail": "full"}, status=next(answers), headers={"Retry-After": "1"})

    async with Server(full).running() as server:
        AdminToken(SECRET, server.url).write(data_dir)
        with pytest.raises(Refused, match="answered 503: full"):
            await asked()
        assert await asked(tries=2)
        assert len(server.proofs) == 3


async def test_every_fault_of_a_refusal_is_told(data_dir: Path) -> None:
    problem = {"detail": "rules", "errors": [{"field": "$.a", "message": "is b"}, {"field": "$.c", "message": "is d"}]}
    async with Server(lambda _: web.json_response(problem, status=400)).running() as server:
        AdminToken(SECRET, server.url).write(data_dir)
        with pytest.raises(Refused) as refused:
            await asked()
    assert refused.value.reason == "rules\n  $.a: is b\n  $.c: is d"


@pytest.mark.parametrize("body", ["<html>", "[]", '{"other":1}', '{"wanted":'])
async def test_an_answer_that_is_not_the_services_is_told_in_a_line(data_dir: Path, body: str) -> None:
    async def wanted(service: ServiceApi) -> object:
        return await service.json("/x", holding=["wanted"])

    async with Server(lambda _: web.Response(text=body)).running() as server:
        AdminToken(SECRET, server.url).write(data_dir)
        with pytest.raises(NoService, match=f"^{server.url} does not answer as the service does: .+$"):
            await asyncio.to_thread(ask, "", wanted, timeout_s=10)


async def test_nobody_there_is_told_in_a_line(data_dir: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    AdminToken(SECRET, url).write(data_dir)
    with pytest.raises(NoService, match=rf"^{url} does not answer: cannot connect \(Connection refused\)$"):
        await asked()
    with pytest.raises(NoService, match=r"^not/a/url does not answer: not a URL$"):
        await asked("not/a/url/")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080//", "http://127.0.0.1:8080"),
        ("HTTP://LOCALHOST:8080/", "http://127.0.0.1:8080"),
        ("http://localhost:8080", "http://[::1]:8080"),
        ("http://127.0.0.1", "http://127.0.0.1:80"),
        ("http://192.0.2.7:9/", "http://192.0.2.7:9"),
    ],
)
def test_the_same_address_in_other_words_gets_the_token_where_the_file_says(
    tmp_path: Path, url: str, address: str
) -> None:
    AdminToken(SECRET, address).write(tmp_path)
    assert Target.find(url, {"FANFINITY_DATA_DIR": str(tmp_path)}) == Target(address, SECRET)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8081",
        "https://127.0.0.1:8080",
        "http://127.0.0.1:8080/prefix",
        "http://127.0.0.2:8080",
        "http://[::1]:8080",
        "http://localhost.example:8080",
        "http://127.0.0.1:8080@elsewhere.example",
        "http://127.0.0.1:8080.elsewhere.example",
        "http://127.0.0.1:99999",
        "http://[127.0.0.1:8080",
        "http://127.0.0.1",
        "127.0.0.1:8080",
        "//127.0.0.1:8080",
    ],
)
def test_what_is_not_certainly_the_same_address_gets_nothing(tmp_path: Path, url: str) -> None:
    AdminToken(SECRET, "http://127.0.0.1:8080").write(tmp_path)
    found = Target.find(url, {"FANFINITY_DATA_DIR": str(tmp_path)})
    assert (found.url, found.bearer) == (url, "")
    assert SECRET not in repr(Target("http://x", SECRET))


def test_the_directory_is_the_one_the_service_would_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    AdminToken(SECRET, "http://127.0.0.1:1").write(tmp_path / "data")
    assert Target.find("", {"FANFINITY_WRONG": "is not for commands to refuse"}).bearer == SECRET
    with pytest.raises(NoTarget, match="FANFINITY_DATA_DIR='' is not allowed"):
        Target.find("", {"FANFINITY_DATA_DIR": ""})

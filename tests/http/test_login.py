"""The login: its cookie, its links, its forms, and how it ends."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession, CookieJar

from app.access import sessions as sessions_module
from app.access.keys import ApiKey
from app.access.principal import Scope
from app.config import Config
from app.web.admin_token import AdminToken
from tests.http.problem import assert_problem
from tests.http.service import Service, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def keys() -> dict[str, tuple[str, ApiKey]]:
    scopes = {"boss": [Scope.ADMIN], "viewer": [Scope.READ], "feed": [Scope.INGEST]}
    return {name: ApiKey.new(name, of) for name, of in scopes.items()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    keys: dict[str, tuple[str, ApiKey]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """A service whose pages need a key, with its keys in a file."""
    directory = tmp_path_factory.mktemp("data")
    file = directory.with_name("keys")
    file.write_text("\n".join(key.line() for _, key in keys.values()))
    config = Config(data_dir=directory, port=0, monitor=None, api_keys_file=file, public_read=False)
    async with running(config) as service:
        yield service


class Browser:
    """A browser as far as cookies and forms go."""

    def __init__(self, service: Service, session: ClientSession) -> None:
        self._service = service
        self.session = session
        self.origin = service.url

    async def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
        async with self.session.get(self._service.url + path, headers=PAGE | headers, allow_redirects=False) as reply:
            return reply.status, dict(reply.headers), await reply.text()

    async def post(self, path: str, fields: dict[str, str], **headers: str) -> tuple[int, dict[str, str], str]:
        async with self.session.post(
            self._service.url + path,
            data=fields,
            headers=PAGE | {"Origin": self.origin} | headers,
            allow_redirects=False,
        ) as reply:
            return reply.status, dict(reply.headers), await reply.text()


@pytest_asyncio.fixture(loop_scope="module")
async def browser(service: Service) -> AsyncIterator[Browser]:
    service.context.sessions._tries.clear()
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
        yield Browser(service, session)


async def test_a_page_leads_to_the_login_and_back(service: Service, browser: Browser, keys: Any) -> None:
    status, headers, _ = await browser.get("/?a=b")
    assert (status, headers["Location"]) == (303, "/login?next=/?a%3Db")
    status, headers, text = await browser.get(headers["Location"])
    assert status == 200
    assert 'value="/?a=b"' in text
    status, headers, _ = await browser.post("/login", {"key": keys["viewer"][0], "next": "/?a=b"})
    assert (status, headers["Location"]) == (303, "/?a=b")
    assert (await browser.get("/?a=b"))[0] == 200
    assert (await browser.get("/api/status"))[0] == 200


async def test_a_key_that_is_not_for_a_page_is_told_so(browser: Browser, keys: Any) -> None:
    _, headers, _ = await browser.post("/login", {"key": keys["viewer"][0], "next": ""})
    assert headers["Location"] == "/", "the operator's page would lead back to the login"
    status, headers, _ = await browser.get("/operate")
    assert (status, headers["Location"]) == (303, "/login?next=/operate")
    status, _, text = await browser.get(headers["Location"])
    assert status == 200
    assert "You are logged in as viewer, and that key is not for the page that you asked for." in text
    assert "You are logged in" not in (await browser.get("/login"))[2]


async def test_a_stream_ends_with_the_session_that_it_began_with(service: Service, browser: Browser, keys: Any) -> None:
    await browser.post("/login", {"key": keys["viewer"][0]})
    async with browser.session.get(f"{service.url}/stream") as stream:
        assert await stream.content.readany()
        assert (await browser.post("/logout", {}))[0] == 303
        event = {"matchId": "a", "eventType": "cheer"}
        headers = {"Authorization": f"Bearer {keys['feed'][0]}"}
        assert (await service.request("POST", "/api/events", json=event, headers=headers)).status == 202
        async with asyncio.timeout(20):
            await stream.content.read()


async def test_after_a_wrong_key_one_comes_to_where_one_wanted(browser: Browser) -> None:
    for status in (403, 403, 403, 403, 403, 429):
        reply = await browser.post("/login", {"key": "wrong", "next": "/matches/a"})
        assert reply[0] == status
        assert 'name="next" value="/matches/a"' in reply[2]


async def test_a_key_in_a_url_is_not_passed_on_to_the_login(browser: Browser, keys: Any) -> None:
    key = keys["boss"][0]
    _, headers, _ = await browser.get(f"/operate?key={key}&a=b")
    assert headers["Location"] == "/login?next=/operate?a%3Db"


async def test_the_cookie_is_for_this_service_alone(service: Service, browser: Browser, keys: Any) -> None:
    own = [(f"{name}:{service.port}", False) for name in ("127.0.0.1", "localhost")]
    for host, secure in (*own, ("a.example", True)):
        _, headers, _ = await browser.post("/login", {"key": keys["boss"][0]}, Host=host, Origin=f"https://{host}")
        cookie = headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert "Path=/" in cookie
        assert "Max-Age=43200" in cookie
        assert ("Secure" in cookie) == secure
        assert cookie.startswith("__Host-fanfinity-session=" if secure else "fanfinity-session=")
        assert keys["boss"][0] not in cookie


async def test_an_operator_operates_by_key_or_token(service: Service, browser: Browser, keys: Any) -> None:
    token = AdminToken.read(service.context.config.data_dir).secret
    for secret, name in ((keys["boss"][0], "boss"), (token, "admin-token")):
        assert (await browser.post("/login", {"key": f" {secret} "}))[1]["Location"] == "/operate"
        status, headers, text = await browser.get("/operate", **{"Accept-Encoding": "gzip"})
        assert status == 200
        assert f"Log out {name}" in text
        assert "Content-Encoding" not in headers
        assert headers["Cache-Control"] == "no-store, no-transform"
        assert headers["X-Frame-Options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert secret not in text


@pytest.mark.parametrize("secret", ["", "nothing", "ff_boss_AAAAAAAAAAAAAAAAAAAAAAAAAAA", "feed"])
async def test_who_may_neither_read_nor_operate_gets_no_session(browser: Browser, keys: Any, secret: str) -> None:
    secret = keys["feed"][0] if secret == "feed" else secret
    status, headers, text = await browser.post("/login", {"key": secret})
    assert status == 403
    assert "A key with scope read or admin is needed" in text
    assert "Set-Cookie" not in headers
    assert not secret or secret not in text


async def test_after_five_wrong_keys_no_other_is_looked_at(browser: Browser, keys: Any) -> None:
    for _ in range(5):
        assert (await browser.post("/login", {"key": "wrong"}))[0] == 403
    status, headers, text = await browser.post("/login", {"key": keys["boss"][0]})
    assert (status, headers["Retry-After"]) == (429, "60")
    assert "Wait a minute" in text
    assert "Set-Cookie" not in headers


@pytest.mark.parametrize("origin", [None, "null", "http://[::1", "https://evil.example", "http://127.0.0.1:1"])
async def test_a_foreign_form_does_nothing(service: Service, keys: Any, origin: str | None) -> None:
    headers = {"Origin": origin} if origin else {}
    for path in ("/login", "/logout"):
        reply = await service.request("POST", path, data={"key": keys["boss"][0]}, headers=headers)
        assert_problem(reply, 403, says="not sent by a page of this service")
        assert "Set-Cookie" not in reply.headers


@pytest.mark.parametrize("path", ["https://e.example/", "//e.example", "/\\e.example", "evil", "/a b", "", "/\n"])
async def test_a_login_leads_nowhere_else(browser: Browser, keys: Any, path: str) -> None:
    _, headers, _ = await browser.post("/login", {"key": keys["boss"][0], "next": path})
    assert headers["Location"] == "/operate"


async def test_a_form_of_too_many_fields_is_refused(browser: Browser) -> None:
    status, _, text = await browser.post("/login", {f"f{number}": "x" for number in range(40)})
    assert status == 413
    assert "more fields than the 32" in text


async def test_a_session_is_no_key_for_changes(service: Service, browser: Browser, keys: Any) -> None:
    await browser.post("/login", {"key": keys["boss"][0]})
    assert (await browser.get("/api/deadletters"))[0] == 200
    for method, path in (("DELETE", "/api/deadletters/0-1"), ("POST", "/api/events"), ("POST", "/api/login-links")):
        async with browser.session.request(method, service.url + path, json={}) as reply:
            assert reply.status == 401


async def test_a_session_ends_by_logout_with_its_key_and_with_time(
    service: Service, browser: Browser, keys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def logged_in() -> bool:
        return (await browser.get("/operate"))[0] == 200

    await browser.post("/login", {"key": keys["boss"][0]})
    [stolen] = [cookie.value for cookie in browser.session.cookie_jar]
    assert await logged_in()
    status, headers, _ = await browser.post("/logout", {})
    assert (status, headers["Location"]) == (303, "/login")
    assert not await logged_in()
    assert (await browser.get("/operate", Cookie=f"fanfinity-session={stolen}"))[0] == 303

    await browser.post("/login", {"key": keys["boss"][0]})
    assert await logged_in()
    [text] = [cookie.value for cookie in browser.session.cookie_jar]
    now = sessions_module.time.time()
    assert service.context.sessions.visitor(text)
    with monkeypatch.context() as patched:
        patched.setattr(sessions_module.time, "time", lambda: now + 12 * 3600 + 1)
        assert not service.context.sessions.visitor(text)
    assert await logged_in()

    file = service.context.config.api_keys_file
    assert file is not None
    lines = file.read_text()
    other = ApiKey.new("boss", [Scope.ADMIN])[1].line()
    try:
        file.write_text("\n".join([*(line for line in lines.splitlines() if not line.startswith("boss:")), other]))
        service.context.keyring.look()
        for _ in range(1000):
            if not await logged_in():
                break
        assert not await logged_in()
    finally:
        file.write_text(lines)
        service.context.keyring.look()
        for _ in range(1000):
            if service.context.keyring.find(keys["boss"][0]):
                break
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("change", [lambda text: text[:-1] + "01"[text[-1] == "0"], lambda _: "x.y", str.upper])
async def test_a_session_that_was_made_up_is_none(service: Service, browser: Browser, keys: Any, change: Any) -> None:
    await browser.post("/login", {"key": keys["boss"][0]})
    [text] = [cookie.value for cookie in browser.session.cookie_jar]
    browser.session.cookie_jar.clear()
    assert (await browser.get("/operate", Cookie=f"fanfinity-session={text}"))[0] == 200
    assert (await browser.get("/operate", Cookie=f"fanfinity-session={change(text)}"))[0] == 303


async def test_the_forms_of_the_page_act_for_its_session_alone(service: Service, browser: Browser, keys: Any) -> None:
    def state() -> str | None:
        paused = service.context.shards.snapshot().shards[0].paused
        return paused.by if paused else None

    path = "/operate/shards/0/pause"
    await browser.post("/login", {"key": keys["boss"][0]})
    [masked, *_] = re.findall(r'name="masked" value="([0-9a-f]+)"', (await browser.get("/operate"))[2])
    assert (await browser.post(path, {}))[0] == 403
    assert (await browser.post(path, {"masked": masked[:-1] + "x"}))[0] == 403
    assert (await browser.post(path, {"masked": masked}, Origin="https://evil.example"))[0] == 403
    by_key = {"Authorization": f"Bearer {keys['boss'][0]}"}
    assert (await browser.post(path, {"masked": masked}, **by_key))[0] == 403
    assert state() is None
    status, headers, _ = await browser.post(path, {"masked": masked})
    assert (status, headers["Location"]) == (303, "/operate")
    assert state() == "boss"
    text = (await browser.get("/operate"))[2]
    assert "paused by boss" in text
    assert (await browser.post("/operate/shards/0/flush", {"masked": masked}))[0] == 409
    assert (await browser.post("/operate/shards/77/resume", {"masked": masked}))[0] == 404
    assert (await browser.post("/operate/shards/0/resume", {"masked": masked}))[0] == 303
    assert state() is None
    assert (await browser.post("/operate/shards/0/flush", {"masked": masked}))[0] == 303


async def test_a_link_works_once(service: Service, browser: Browser, keys: Any) -> None:
    headers = {"Authorization": f"Bearer {keys['boss'][0]}"}
    made = await service.request("POST", "/api/login-links", headers=headers)
    assert made.status == 201
    looked_at = await service.request("HEAD", made.json["path"])  # as programs do that show what a link is
    assert (looked_at.status, "Set-Cookie" in looked_at.headers) == (200, False)
    status, replied, _ = await browser.get(made.json["path"])
    assert (status, replied["Location"]) == (303, "/operate")
    assert "Log out boss" in (await browser.get("/operate"))[2]
    status, replied, text = await browser.get(made.json["path"])
    assert status == 403
    assert "This link was used before" in text
    assert "Set-Cookie" not in replied
    assert (await service.request("POST", "/api/login-links")).status == 401


async def test_a_masked_token_is_another_each_time_and_only_its_own_sessions(service: Service) -> None:
    sessions = service.context.sessions
    one, again = sessions.masked("a"), sessions.masked("a")
    assert one != again
    assert sessions.is_masked(one, "a")
    assert sessions.is_masked(again, "a")
    for wrong in ("", "00", one[:-2], one + "00", "zz" * 32, "00" * 32):
        assert not sessions.is_masked(wrong, "a")
    assert not sessions.is_masked(one, "b")

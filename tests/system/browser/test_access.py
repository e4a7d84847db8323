"""Pages of other sites, and the login, as a real browser treats them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, BrowserContext, Page, expect

from app.access.keys import ApiKey
from app.access.principal import Scope
from tests.clickhouse import free_port
from tests.system.browser.conftest import running_site
from tests.system.browser.pages import DEADLINE_MS, Site

pytestmark = pytest.mark.asyncio(loop_scope="module")

FETCH = """async ([url, body, type, method]) => {
    const headers = type ? {"Content-Type": type} : {};
    try { return (await fetch(url, {method, headers, body})).status } catch (error) { return String(error) }
}"""
BEACON = "([url, body]) => navigator.sendBeacon(url, body)"


@attrs.frozen
class Guarded:
    """A service with keys, and two sites: the pages of one may send."""

    site: Site
    fans: str
    foreign: str
    keys: dict[str, str]

    def sending(self, key: str = "fans") -> str:
        return f"{self.site.url}/api/events?key={self.keys[key]}"

    async def counted(self, match_id: str) -> int:
        headers = {"Authorization": f"Bearer {self.keys['boss']}"}
        async with self.site.session.get(f"{self.site.url}/api/matches/{match_id}/metrics", headers=headers) as reply:
            return int((await reply.json())["totalEvents"]) if reply.status == 200 else 0


async def _serve(port: int) -> web.AppRunner:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>elsewhere</title>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    scopes = {"fans": [Scope.REACT], "feed": [Scope.INGEST], "boss": [Scope.ADMIN], "viewer": [Scope.READ]}
    made = {name: ApiKey.new(name, of) for name, of in scopes.items()}
    directory: Path = tmp_path_factory.mktemp("guarded")
    file = directory / "keys"
    file.write_text("\n".join(key.line() for _, key in made.values()))
    ports = free_port(), free_port()
    runners = [await _serve(port) for port in ports]
    fans, foreign = (f"http://127.0.0.1:{port}" for port in ports)
    settings = {"API_KEYS_FILE": file, "CORS_ORIGINS": fans, "PUBLIC_READ": "false"}
    async with running_site(directory / "data", **settings) as site:
        yield Guarded(site, fans, foreign, {name: text for name, (text, _) in made.items()})
    for runner in runners:
        await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="module")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context()
    context.set_default_timeout(DEADLINE_MS)
    yield context
    await context.close()


def _event(match_id: str, event_type: str) -> str:
    return f'{{"matchId":"{match_id}","eventType":"{event_type}","teamId":"1"}}'


async def _fetch(page: Page, url: str, body: str | None, type_: str = "", method: str = "POST") -> int | str:
    status: int | str = await page.evaluate(FETCH, [url, body, type_, method])
    return status


async def test_a_page_of_an_allowed_origin_sends_cheers_and_nothing_else(
    guarded: Guarded, context: BrowserContext
) -> None:
    page = await context.new_page()
    await page.goto(guarded.fans)
    cheer, goal = _event("allowed", "cheer"), _event("allowed", "goal")
    for url in (guarded.sending(), f"{guarded.site.url}/api/events"):
        assert await _fetch(page, url, cheer, "application/json") == 202
        assert await _fetch(page, url, cheer, "text/plain") == 202
        assert await page.evaluate(BEACON, [url, cheer])
        assert await _fetch(page, url, goal, "application/json") == 403
        assert await page.evaluate(BEACON, [url, goal])
    async with asyncio.timeout(DEADLINE_MS / 1000):
        while await guarded.counted("allowed") < 6:
            await asyncio.sleep(0.1)
    assert await guarded.counted("allowed") == 6
    assert await _fetch(page, guarded.sending("feed"), goal, "application/json") == 403
    assert "TypeError" in str(await _fetch(page, f"{guarded.site.url}/api/status", None, method="GET"))
    assert "TypeError" in str(await _fetch(page, f"{guarded.site.url}/api/deadletters/0-1", None, method="DELETE"))


async def test_a_page_of_another_origin_sends_nothing_at_all(guarded: Guarded, context: BrowserContext) -> None:
    page = await context.new_page()
    await page.goto(guarded.foreign)
    cheer = _event("foreign", "cheer")
    for type_ in ("application/json", "text/plain", ""):
        assert "TypeError" in str(await _fetch(page, guarded.sending(), cheer, type_))
    await page.evaluate(BEACON, [guarded.sending(), cheer])
    await page.evaluate(
        "([url, body]) => fetch(url, {method: 'POST', mode: 'no-cors', body})", [guarded.sending(), cheer]
    )
    await asyncio.sleep(1.5)
    assert await guarded.counted("foreign") == 0


async def _log_in(page: Page, guarded: Guarded, path: str, key: str) -> None:
    await page.goto(guarded.site.url + path)
    await expect(page).to_have_title("Log in · Fanfinity")
    await page.get_by_label("A key with scope").fill(guarded.keys.get(key, key))
    await page.get_by_role("button", name="Log in").click()


async def test_a_person_logs_in_looks_and_logs_out(guarded: Guarded, context: BrowserContext) -> None:
    page = await context.new_page()
    await _log_in(page, guarded, "/operate", "wrong")
    await expect(page.get_by_role("alert")).to_contain_text("This key is not known")
    await _log_in(page, guarded, "/", "viewer")
    await expect(page).to_have_title("Matches now · Fanfinity")
    [cookie] = await context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    await _log_in(page, guarded, "/operate", "boss")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Service")
    await page.get_by_role("button", name="Log out boss").click()
    await expect(page).to_have_title("Log in · Fanfinity")
    await page.goto(f"{guarded.site.url}/operate")
    await expect(page).to_have_title("Log in · Fanfinity")


async def test_a_cookie_that_is_over_leads_to_the_login(guarded: Guarded, context: BrowserContext) -> None:
    page = await context.new_page()
    await _log_in(page, guarded, "/operate", "boss")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Service")
    [cookie] = await context.cookies()
    assert 12 * 3600 - 60 < cookie["expires"] - await page.evaluate("Date.now() / 1000") < 12 * 3600 + 60
    await context.add_cookies([{**cookie, "value": cookie["value"][:-1] + "x"}])  # type: ignore[list-item]
    await page.reload()
    await expect(page).to_have_title("Log in · Fanfinity")


async def test_a_foreign_page_can_neither_frame_nor_fill_the_forms(guarded: Guarded, context: BrowserContext) -> None:
    page = await context.new_page()
    await _log_in(page, guarded, "/operate", "boss")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Service")
    await page.goto(guarded.foreign)
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    await page.evaluate(
        """(url) => new Promise((done) => {
            const frame = document.createElement("iframe");
            frame.onload = done; frame.src = url; document.body.append(frame);
        })""",
        f"{guarded.site.url}/login",
    )
    assert any("frame-ancestors" in text or "X-Frame-Options" in text for text in refused), refused
    async with page.expect_navigation():
        await page.evaluate(
            """(url) => {
                const form = document.createElement("form");
                form.method = "post"; form.action = url; document.body.append(form); form.submit();
            }""",
            f"{guarded.site.url}/logout",
        )
    assert "not sent by a page of this service" in await page.content()
    await page.goto(f"{guarded.site.url}/operate")
    await expect(page.get_by_role("button", name="Log out boss")).to_be_visible()


async def test_an_operator_pauses_a_shard_and_is_named(guarded: Guarded, context: BrowserContext) -> None:
    page = await context.new_page()
    await _log_in(page, guarded, "/operate", "boss")
    await page.get_by_role("button", name="pause shard 1").click()
    await expect(page.get_by_role("cell", name="paused by boss")).to_be_visible()
    await expect(page.locator(".acts li").first).to_contain_text("boss pause shard 1")
    await page.get_by_role("button", name="resume shard 1").click()
    await expect(page.get_by_role("cell", name="paused by boss")).to_have_count(0)
    await expect(page.get_by_text("degraded")).to_have_count(0)

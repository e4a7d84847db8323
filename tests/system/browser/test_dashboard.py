"""The dashboard as a person sees it: a real browser, the real service, events sent over HTTP."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from playwright.async_api import Page, expect
from yarl import URL

from tests.system.browser.pages import DEADLINE_MS, Pages, Site

pytestmark = pytest.mark.asyncio(loop_scope="module")

ATTACK = "<script>window.hit=1</script>\"'><img src=x onerror='window.hit=1'>"
PHONE = {"viewport": {"width": 320, "height": 700}}
REGIONS = ("state", "momentum", "figures", "curve", "minutes", "types", "teams", "feed")

expect.set_options(timeout=DEADLINE_MS)


async def text_of(page: Page, region: str) -> str:
    return " ".join((await page.locator(f'[data-region="{region}"]').text_content() or "").split())


async def live(page: Page) -> None:
    await expect(page.locator('[data-connection="live"]')).to_have_count(1)


async def test_without_a_match_the_overview_says_what_to_do(site: Site, pages: Pages) -> None:
    """First of the module: the service has not seen an event yet."""
    page = await pages.open("/")
    await expect(page.get_by_text("No match yet.")).to_be_visible()
    await expect(page.get_by_text("fanfinity simulate")).to_be_visible()
    await live(page)
    await site.kick_off("first", "Al-Ahli", "Al-Ittihad")
    await expect(page.get_by_role("link", name="Al-Ahli 0, Al-Ittihad 0")).to_be_visible()
    await expect(page.get_by_text("No match yet.")).to_have_count(0)
    await expect(page.locator(".sum")).to_contain_text("1 kept = ")


async def test_goal_appears_without_a_reload(site: Site, pages: Pages) -> None:
    await site.kick_off("goal")
    page = await pages.open("/matches/goal")
    await live(page)
    await page.evaluate("window.sameDocument = true")
    goal = {"eventType": "goal", "teamId": 2, "metadata": {"minute": 12, "player": "Cristiano Ronaldo"}}
    await site.post("goal", goal)
    await expect(page.get_by_role("heading", level=1, name="Al-Hilal 0, Al-Nassr 1")).to_be_visible()
    await expect(page).to_have_title("Al-Hilal 0:1 Al-Nassr · Fanfinity")
    feed = page.get_by_role("region", name="Highlights, newest first").get_by_role("listitem")
    await expect(feed.first).to_contain_text("Goal Cristiano Ronaldo · Al-Nassr")
    await expect(page.locator(".curve-marks .mark-goal")).to_have_count(1)
    assert await page.evaluate("window.sameDocument") is True


async def test_goal_taken_back_is_struck_out_and_leaves_the_score(site: Site, pages: Pages) -> None:
    await site.kick_off("taken-back")
    (goal,) = await site.post("taken-back", {"eventType": "goal", "teamId": "1"})
    page = await pages.open("/matches/taken-back")
    await expect(page.get_by_role("heading", level=1, name="Al-Hilal 1, Al-Nassr 0")).to_be_visible()
    await live(page)
    await site.post("taken-back", {"eventType": "retraction", "metadata": {"eventId": goal}})
    await expect(page.get_by_role("heading", level=1, name="Al-Hilal 0, Al-Nassr 0")).to_be_visible()
    await expect(page.locator(f'[data-key="{goal}"] s')).to_have_text("Goal")
    await expect(page.locator(".curve-marks .mark-goal")).to_have_count(0)


async def test_who_drives_the_match_and_when_it_peaked_follow_the_events(site: Site, pages: Pages) -> None:
    await site.kick_off("driven")
    await site.post("driven", *[{"eventType": "pass", "teamId": 1}] * 3)
    page = await pages.open("/matches/driven")
    momentum = page.locator('[data-region="momentum"]')
    await expect(momentum).to_contain_text("most by Al-Hilal; Al-Hilal 100\u202f%, Al-Nassr 0\u202f%.")
    await live(page)
    early = (datetime.now(UTC) - timedelta(minutes=20)).isoformat()
    await site.post("driven", *[{"eventType": "pass", "teamId": 1, "timestamp": early}] * 60)
    await expect(page.locator('[data-region="teams"]').get_by_role("cell")).to_have_text(["63", "100\u202f%"])
    await expect(page.locator(".curve-bars .band")).to_have_count(1)
    await expect(page.get_by_role("img", name="Peak periods: ")).to_be_visible()
    await site.post("driven", *[{"eventType": "pass", "teamId": 2}] * 9)
    await expect(momentum).to_contain_text("most by Al-Nassr; Al-Hilal 25\u202f%, Al-Nassr 75\u202f%.")
    await expect(momentum.locator(".momentum-part[data-leads]")).to_have_text("75\u202f%")


async def test_page_kept_current_equals_the_page_loaded_anew(site: Site, pages: Pages) -> None:
    await site.kick_off("same")
    page = await pages.open("/matches/same")
    await live(page)
    passes = [{"eventType": "pass", "teamId": index % 2 + 1} for index in range(30)]
    await site.post("same", *passes, {"eventType": "yellow_card", "teamId": 1, "metadata": {"minute": 3}})
    await site.post("same", {"eventType": "own_goal", "teamId": 1}, {"eventType": "cheer"})
    await expect(page.locator('[data-region="figures"] dd').first).to_have_text("34")
    kept = {region: await text_of(page, region) for region in (*REGIONS, "score")}
    await page.reload()
    assert kept == {region: await text_of(page, region) for region in (*REGIONS, "score")}


async def test_everything_a_client_sends_is_shown_as_text(site: Site, pages: Pages) -> None:
    match_id = f"m{ATTACK}"
    await site.kick_off(match_id, ATTACK, f"other {ATTACK}", competition=ATTACK)
    page = await pages.open(f"/matches/{quote(match_id, safe='')}")
    await live(page)
    shown = {"minute": 4, "player": ATTACK, "assist": ATTACK}
    await site.post(match_id, {"eventType": "goal", "teamId": "1", "playerId": "9", "metadata": shown})
    await site.post(match_id, {"eventType": "foul", "teamId": "</td><script>window.hit=1</script>"})
    await expect(page.locator("h1 .result")).to_have_text("1:0")
    await expect(page.locator("h1 .home")).to_have_text(ATTACK)
    await expect(page.locator(".feed")).to_contain_text(f"assist {ATTACK}")
    await expect(page.locator('[data-region="teams"]')).to_contain_text("<script>")
    overview = await pages.open("/")
    await expect(overview.locator(".card").filter(has_text=f"other {ATTACK}")).to_have_count(1)
    for opened in (page, overview):
        assert await opened.evaluate("window.hit") is None
        assert await opened.locator("main script, main img").count() == 0


async def test_page_is_complete_without_javascript(site: Site, pages: Pages) -> None:
    await site.kick_off("plain", competition="Saudi Pro League")
    await site.post("plain", {"eventType": "goal", "teamId": 1, "metadata": {"minute": 1, "player": "Malcom"}})
    page = await pages.open("/matches/plain", java_script_enabled=False)
    await expect(page.get_by_role("heading", level=1, name="Al-Hilal 1, Al-Nassr 0")).to_be_visible()
    await expect(page.get_by_text("Saudi Pro League")).to_be_visible()
    await expect(page.get_by_text("Momentum ").last).to_be_visible()
    await expect(page.locator(".feed")).to_contain_text("Malcom")
    assert await page.locator(".curve-bars rect").count() >= 1
    await expect(page.get_by_text("Loads again every 5 s")).to_be_visible()
    assert await page.locator('meta[http-equiv="refresh"]').get_attribute("content") == "5"
    await site.post("plain", {"eventType": "goal", "teamId": 1})
    await expect(page.get_by_role("heading", level=1, name="Al-Hilal 2, Al-Nassr 0")).to_be_visible()


async def test_nothing_is_wider_than_a_phone(site: Site, pages: Pages) -> None:
    await site.kick_off("narrow-" + "x" * 100, "Borussia Verein für Leibesübungen Mönchengladbach", "W" * 64)
    await site.post("narrow-" + "x" * 100, {"eventType": "goal", "teamId": "1", "metadata": {"player": "P" * 200}})
    await site.post("y" * 128, {"eventType": "foul", "teamId": "Z" * 64})
    for path in ("/", "/docs", "/matches/narrow-" + "x" * 100, "/matches/" + "y" * 128, "/matches/" + "q" * 128):
        page = await pages.open(path, java_script_enabled=False, **PHONE)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 320, path
    # The last of them is a page of a match that does not exist.
    assert all("404" in complaint for complaint in pages.complaints)
    pages.complaints.clear()


async def test_unknown_match_is_a_page_that_says_so(site: Site, pages: Pages) -> None:
    async with site.session.get(f"{site.url}/matches/nobody%3Cb%3E") as reply:
        assert reply.status == 404
        assert reply.content_type == "text/html"
        html = await reply.text()
    assert "nobody&lt;b&gt;" in html
    assert "<b>" not in html


@pytest.mark.parametrize("path", ["%00", "%0A", "%FF", "%ED%A0%80", "x" * 129, "%F0%9F%98%80", "%2F"])
async def test_odd_match_ids_are_unknown_matches(site: Site, path: str) -> None:
    for suffix in ("", "/stream"):
        async with site.session.get(URL(f"{site.url}/matches/{path}{suffix}", encoded=True)) as reply:
            assert reply.status == 404, await reply.text()


async def test_pages_forbid_what_they_do_not_need(site: Site, pages: Pages) -> None:
    for path in ("/", "/matches/nobody"):
        async with site.session.get(site.url + path) as reply:
            policy = reply.headers["Content-Security-Policy"].split("; ")
            assert {"default-src 'none'", "script-src 'self'", "style-src 'self'", "form-action 'none'"} <= set(policy)
            assert reply.headers["X-Content-Type-Options"] == "nosniff"
    for path in ("/static/../base.html", "/static/%2e%2e/base.html", "/static/..%2fbase.html", "/static/js/none.js"):
        async with site.session.get(site.url + path) as reply:
            assert reply.status == 404, path


async def test_the_api_is_shown_to_read_to_link_to_and_by_keyboard(site: Site, pages: Pages) -> None:
    page = await pages.open("/", java_script_enabled=False)
    await page.get_by_role("contentinfo").get_by_role("link", name="API").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Fanfinity analytics")
    metrics = page.locator("#getMatchMetrics")
    await expect(metrics.get_by_role("heading", level=3)).to_contain_text("GET /api/matches/{matchId}/metrics")
    await page.get_by_role("navigation").get_by_role("link", name="GET /api/matches/{matchId}/metrics").press("Enter")
    await expect(metrics).to_be_in_viewport()
    await metrics.get_by_role("link", name="MatchMetrics").press("Enter")
    await expect(page.locator("#schema-MatchMetrics")).to_be_in_viewport()
    ids = await page.evaluate("[...document.querySelectorAll('[id]')].map(each => each.id)")
    assert len(ids) == len(set(ids))
    links = await page.evaluate("[...document.querySelectorAll('a[href^=\"#\"]')].map(each => each.hash.slice(1))")
    assert set(links) <= set(ids)
    async with site.session.get(f"{site.url}/docs") as reply:
        policy = reply.headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "style=" not in await reply.text()


async def test_keyboard_reaches_content_and_matches(site: Site, pages: Pages) -> None:
    await site.kick_off("keys", "Keyboard United", "Tab Rovers")
    page = await pages.open("/")
    await live(page)
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    link = page.get_by_role("link", name="Keyboard United 0, Tab Rovers 0")
    await link.focus()
    await site.post("keys", {"eventType": "goal", "teamId": 1})
    changed = page.get_by_role("link", name="Keyboard United 1, Tab Rovers 0")
    await expect(changed).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1, name="Keyboard United 1, Tab Rovers 0")).to_be_visible()


async def test_looks_follow_the_settings_of_the_person(site: Site, pages: Pages) -> None:
    grounds = set()
    for scheme in ("light", "dark"):
        page = await pages.open("/", color_scheme=scheme, reduced_motion="reduce")
        await live(page)
        grounds.add(await page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))
        moving = "document.getAnimations().filter(each => each.playState === 'running').length"
        assert await page.evaluate(moving) == 0
    assert len(grounds) == 2


async def test_figures_that_grow_old_are_called_stale(site: Site, pages: Pages) -> None:
    await site.kick_off("stale")
    page = await pages.open("/matches/stale")
    await live(page)
    await page.evaluate("const now = Date.now; Date.now = () => now() + 60_000")
    await expect(page.locator('[data-connection="stale"]')).to_contain_text("Stale: last update 6")


async def test_without_clickhouse_pages_say_what_works_and_what_does_not(site_without_clickhouse: Site) -> None:
    site = site_without_clickhouse
    await site.kick_off("kept")
    pages = {"/": "The matches cannot be read now", "/matches/kept": "This match cannot be read now"}
    for path, sentence in pages.items():
        async with site.session.get(site.url + path) as reply:
            html = await reply.text()
            assert reply.status == 503
            assert reply.content_type == "text/html"
            assert int(reply.headers["Retry-After"]) > 0
            assert sentence in html
            assert "kept safe on disk" in html
    async with site.session.get(f"{site.url}/stream") as reply:
        assert reply.status == 200
        assert "cannot be read now" in (await reply.content.readuntil(b"\n\n")).decode()


async def test_page_says_that_it_is_cut_off_and_comes_back(site: Site, pages: Pages) -> None:
    await site.kick_off("cut-off")
    page = await pages.open("/matches/cut-off")
    await live(page)
    await site.stop()
    await expect(page.locator("[data-connection]")).to_contain_text("Disconnected: last update")
    await expect(page.get_by_role("heading", level=1, name="Al-Hilal 0, Al-Nassr 0")).to_be_visible()
    await site.start()
    await site.post("cut-off", {"eventType": "goal", "teamId": 1})
    await expect(page.get_by_role("heading", level=1, name="Al-Hilal 1, Al-Nassr 0")).to_be_visible()
    await live(page)
    # The browser itself reports the refused connections.
    refused = [complaint for complaint in pages.complaints if "ERR_" in complaint or "503" in complaint]
    assert pages.complaints == refused
    pages.complaints.clear()

"""A real browser in front of the real service, which runs as a process of its own."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, async_playwright

from tests.clickhouse import free_port
from tests.e2e.process import Process
from tests.system.browser.pages import Pages, Site

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def _executable() -> str:
    """Return the browser's path; without one the test is skipped by name, but in CI it fails."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        missing = f"no Chromium found; looked for {', '.join(NAMES)}"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    executable = _executable()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        yield browser
        await browser.close()


@asynccontextmanager
async def running_site(data_dir: Path, **settings: object) -> AsyncIterator[Site]:
    """Run the service on a port that it keeps over restarts."""
    port = free_port()
    fixed = {"PORT": port, "DATA_DIR": data_dir, "MONITOR": "", "SHARDS": 2, "LOG_FORMAT": "json"}
    async with aiohttp.ClientSession() as session:
        site = Site(session, f"http://127.0.0.1:{port}", lambda: Process.start("serve", settings=fixed | settings))
        await site.start()
        try:
            yield site
        finally:
            await site.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """One service for the tests of a module, each with matches of its own."""
    async with running_site(tmp_path_factory.mktemp("service")) as site:
        yield site


@pytest_asyncio.fixture(loop_scope="module")
async def site_without_clickhouse(tmp_path: Path) -> AsyncIterator[Site]:
    """A service whose ClickHouse never answers: nothing listens at its address."""
    url = f"clickhouse://default@127.0.0.1:{free_port()}/fanfinity"
    async with running_site(tmp_path, CLICKHOUSE_URL=url, SHUTDOWN_TIMEOUT_S=1) as site:
        yield site


@pytest_asyncio.fixture(loop_scope="module")
async def pages(browser: Browser, site: Site) -> AsyncIterator[Pages]:
    """Opens pages. At the end none may have written an error to its console, nor shown a dialog."""
    contexts: list[BrowserContext] = []
    pages = Pages(browser, site.url, contexts)
    yield pages
    for context in contexts:
        await context.close()
    assert pages.complaints == []

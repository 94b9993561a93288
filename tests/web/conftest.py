"""The pages in a real browser: Debian's chromium, driven by Playwright, one for all tests."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from tests.conftest import DEADLINE
from tests.machine import program
from tests.process.conftest import ServerProcess

SAMPLES = Path(__file__).parents[2] / "samples"
AXE = Path(__file__).parent / "vendor/axe-core-4.14.1/axe.min.js"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
# Of a phone, a tablet on edge and flat, around where the layouts change, and of a wall of 4K.
WIDTHS = (360, 640, 737, 768, 992, 1280, 3840)
PAPER = "getComputedStyle(document.documentElement).backgroundColor"
# How long something may take to be seen while other tests keep the machine busy.
SEEN_MS = 1000 * DEADLINE

# Browser and service are of one loop, and so is each test that uses them.
session_loop = pytest.mark.asyncio(loop_scope="session")

OpenPage = Callable[..., AbstractAsyncContextManager[Page]]

expect.set_options(timeout=SEEN_MS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test with a browser runs on the session's loop."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(session_loop, append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    chromium = program("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """The service for every test; each begins without files."""
    server = ServerProcess(tmp_path_factory.mktemp("pages"))
    await server.start()
    yield server
    await server.stop()


@dataclass
class Site:
    """The service as a test speaks to it beside the browser."""

    server: ServerProcess
    http: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return self.server.url

    async def upload(self, data: bytes, name: str = "readings.csv") -> str:
        """Upload the bytes under that name; returns the file's id."""
        form = aiohttp.FormData()
        form.add_field("file", io.BytesIO(data), filename=name)
        async with self.http.post(f"{self.url}/files", data=form) as answer:
            assert answer.status == 202
            return str((await answer.json())["file_id"])

    async def get(self, path: str) -> Any:
        async with self.http.get(self.url + path) as answer:
            assert answer.status == 200
            return await answer.json()

    async def finished(self, *file_ids: str) -> None:
        """Wait until these files have come to their end."""
        async with asyncio.timeout(DEADLINE):
            for file_id in file_ids:
                while (await self.get(f"/files/{file_id}"))["processed_at"] is None:
                    await asyncio.sleep(0.05)

    async def delete(self, file_id: str) -> None:
        async with self.http.delete(f"{self.url}/files/{file_id}") as answer:
            assert answer.status == 204

    async def clear(self) -> None:
        """Delete every file."""
        while items := (await self.get("/files?limit=200"))["items"]:
            for item in items:
                await self.delete(item["file_id"])


@pytest_asyncio.fixture(loop_scope="session")
async def site(service: ServerProcess) -> AsyncIterator[Site]:
    async with aiohttp.ClientSession() as http:
        site = Site(service, http)
        await site.clear()
        yield site


@dataclass
class Complaints:
    """What the browser complained about, and what it asked of others than the service."""

    console: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext, origin: str) -> None:
        context.on(
            "console",
            lambda m: self.console.append(m.text) if m.type in ("error", "warning") else None,
        )
        context.on("weberror", lambda e: self.console.append(str(e.error)))
        context.on(
            "request",
            lambda r: self.elsewhere.append(r.url) if not is_of(origin, r.url) else None,
        )


def is_of(origin: str, url: str) -> bool:
    """Whether it is asked of the service, or of what a page made itself of what it had from it."""
    return url.removeprefix("blob:").startswith(origin)


@asynccontextmanager
async def opened(
    browser: Browser,
    origin: str,
    path: str,
    *,
    script: bool = True,
    refused: int = 0,
    **options: Any,
) -> AsyncIterator[Page]:
    """A page of that server, which must bring no complaint but of `refused` requests."""
    context = await browser.new_context(java_script_enabled=script, **options)
    context.set_default_timeout(SEEN_MS)
    complaints = Complaints()
    complaints.watch(context, origin)
    page = await context.new_page()
    await page.goto(origin + path)
    yield page
    await context.close()
    assert complaints.elsewhere == []
    assert [text.partition(":")[0] for text in complaints.console] == [
        "Failed to load resource"
    ] * refused


@pytest.fixture
def open_page(browser: Browser, site: Site) -> OpenPage:
    """Opens a page of the service as `opened` does."""
    return lambda path="/ui", **options: opened(browser, site.url, path, **options)


THEMES: dict[Literal["light", "dark"], dict[str, Any]] = {
    "light": {},
    "dark": {"runOnly": ["color-contrast", "link-in-text-block"]},  # what a theme can break
}
TO_AXE = {"bypass_csp": True, "reduced_motion": "reduce"}
"""Options of a page that axe-core is to judge: it may run there, and no colour is in between."""


async def violations(page: Page, *themes: Literal["light", "dark"]) -> list[str]:
    """What axe-core finds wrong with the page as it is, in either theme or in those named."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE.read_text())
    found = []
    for theme in themes or THEMES:
        await page.emulate_media(color_scheme=theme)
        options = {"resultTypes": ["violations"], "preload": False, **THEMES[theme]}
        judged = await page.evaluate("options => axe.run(document, options)", options)
        found += [
            f"{theme}: {each['id']}: {node['html'][:200]} {node['failureSummary']}"
            for each in judged["violations"]
            for node in each["nodes"]
        ]
    return found

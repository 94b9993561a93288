"""The pages in a real browser: Debian's chromium, driven by Playwright."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from tests.machine import program
from tests.process.conftest import ServerProcess, http, upload

__all__ = ["http"]

SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    server = ServerProcess(tmp_path)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    chromium = program("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser
        await browser.close()


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
            lambda r: self.elsewhere.append(r.url) if not r.url.startswith(origin) else None,
        )


@asynccontextmanager
async def open_page(
    browser: Browser, server: ServerProcess, *, script: bool = True, refused: int = 0
) -> AsyncIterator[Page]:
    """A page of the service, which must bring no complaint but of `refused` requests."""
    context = await browser.new_context(java_script_enabled=script)
    context.set_default_timeout(10_000)
    complaints = Complaints()
    complaints.watch(context, server.url)
    page = await context.new_page()
    await page.goto(f"{server.url}/ui")
    yield page
    await context.close()
    assert complaints.elsewhere == []
    assert [text.partition(":")[0] for text in complaints.console] == [
        "Failed to load resource"
    ] * refused


async def choose_and_upload(page: Page, *paths: Path) -> None:
    await page.get_by_label("Upload CSV files").set_input_files(list(paths))
    await page.get_by_role("button", name="Upload", exact=True).click()


async def download(page: Page, link: str) -> bytes:
    async with page.expect_download() as downloading:
        await page.get_by_role("link", name=link).click()
    return (await (await downloading.value).path()).read_bytes()


async def assert_shows_readings(page: Page) -> None:
    """The page of samples/readings.csv: its figures, its bad row, its downloads."""
    await expect(page.get_by_role("heading", name="readings.csv")).to_be_visible()
    for term, figure in (
        ("Readings", "5"),
        ("Sensors", "3"),
        ("Min", "19.87"),
        ("Max", "42"),
        ("Mean", "25.02"),
    ):
        shown = page.locator("dl div", has=page.get_by_text(term, exact=True))
        await expect(shown.locator("dd")).to_have_text(figure)
    first = page.locator("dl div", has=page.get_by_text("First reading")).locator("time")
    await expect(first).to_have_attribute("datetime", "2025-10-01T08:00:00Z")
    await expect(page.get_by_role("cell", name="missing timestamp")).to_be_visible()
    (line,) = (await download(page, "errors as NDJSON")).splitlines()
    assert json.loads(line)["reason"] == "missing timestamp"
    rows = (await download(page, "errors as CSV")).splitlines()
    assert rows[1] == b"6,7,timestamp,missing timestamp,"
    content = await download(page, "the file as it was uploaded")
    assert content == (SAMPLES / "readings.csv").read_bytes()


async def test_upload_two_watch_both_to_the_end_open_one_and_download_its_errors(
    browser: Browser, server: ServerProcess
) -> None:
    async with open_page(browser, server) as page:
        await choose_and_upload(page, SAMPLES / "readings.csv", SAMPLES / "clean.csv")
        await expect(page.get_by_role("row", name="readings.csv")).to_contain_text("partial")
        await expect(page.get_by_role("row", name="clean.csv")).to_contain_text("processed")
        await page.get_by_role("link", name="readings.csv").click()
        await assert_shows_readings(page)


async def test_the_same_without_javascript(browser: Browser, server: ServerProcess) -> None:
    async with open_page(browser, server, script=False) as page:
        await choose_and_upload(page, SAMPLES / "readings.csv", SAMPLES / "clean.csv")
        for name, status in (("readings.csv", "partial"), ("clean.csv", "processed")):
            while not await page.get_by_role("row", name=name).get_by_text(status).count():
                await page.reload()
        await page.get_by_role("link", name="readings.csv").click()
        await assert_shows_readings(page)


async def test_what_others_upload_appears_by_itself(
    browser: Browser, server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    async with open_page(browser, server) as page:
        await expect(page.get_by_text("No files yet")).to_be_visible()
        file_id = await upload(http, server, (SAMPLES / "clean.csv").read_bytes())
        await expect(page.get_by_role("row", name="readings.csv")).to_contain_text("processed")
        async with http.delete(f"{server.url}/files/{file_id}") as answer:
            assert answer.status == 204
        await expect(page.get_by_text("No files yet")).to_be_visible()


async def test_a_long_file_is_watched_to_its_end_on_its_page(
    browser: Browser, server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    await server.stop()
    await server.start(PROCESSOR_ENGINE="rows")  # slow enough to be watched
    rows = b"".join(b"s,2025-10-01T00:00:00Z,%d\n" % row for row in range(300_000))
    file_id = await upload(http, server, b"sensor_id,timestamp,value\n" + rows)
    async with open_page(browser, server) as page:
        await page.goto(f"{server.url}/ui/files/{file_id}")
        await expect(page.get_by_role("progressbar")).to_be_visible()
        await expect(page.get_by_text("processed", exact=True)).to_be_visible(timeout=30_000)
        await expect(page.locator("dl")).to_contain_text("300,000")


async def test_where_event_streams_fail_the_page_is_polled(
    browser: Browser, server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    context = await browser.new_context()
    await context.route("**/events", lambda route: route.abort())
    page = await context.new_page()
    await page.goto(f"{server.url}/ui")
    await upload(http, server, (SAMPLES / "clean.csv").read_bytes())
    await expect(page.get_by_role("row", name="readings.csv")).to_contain_text(
        "processed", timeout=10_000
    )
    await context.close()


async def test_filter_search_pages_reprocess_and_delete(
    browser: Browser, server: ServerProcess
) -> None:
    async with open_page(browser, server) as page:
        broken = sorted((SAMPLES / "broken").glob("*.csv"))
        await choose_and_upload(page, *(path for path in broken if path.stat().st_size))
        await choose_and_upload(page, *SAMPLES.glob("*.csv"))
        await expect(page.get_by_text("2 processed")).to_be_visible()
        await page.get_by_role("link", name="Older").click()
        await expect(page.get_by_role("row")).not_to_have_count(26)
        await page.get_by_role("link", name="Newest").click()
        await page.get_by_label("Status").select_option("processed")
        await page.get_by_label("Name contains").fill("CLEAN")
        await page.get_by_role("button", name="Show").click()
        await expect(page.get_by_role("row")).to_have_count(2)
        await page.get_by_role("link", name="clean.csv").click()
        await page.get_by_role("button", name="Process again").click()
        await expect(page.get_by_text("processed", exact=True)).to_be_visible()
        await page.get_by_text("Delete", exact=True).click()
        await page.get_by_role("button", name="Delete").click()
        await expect(page.get_by_role("heading", name="Files")).to_be_visible()
        await expect(page.get_by_role("row", name="clean.csv")).to_have_count(0)


async def test_a_form_with_an_empty_file_says_so_and_keeps_the_others(
    browser: Browser, server: ServerProcess
) -> None:
    async with open_page(browser, server, refused=1) as page:
        await choose_and_upload(page, SAMPLES / "broken" / "empty.csv", SAMPLES / "clean.csv")
        await expect(page.get_by_role("alert")).to_contain_text("empty.csv: the file is empty")
        await expect(page.get_by_role("row", name="clean.csv")).to_be_visible()

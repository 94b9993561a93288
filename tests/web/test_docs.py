"""/docs and /redoc in a real browser: they work from this server alone, under their policy."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Browser, Page, expect

from aggsvc.api.descriptions import GET_SENSORS
from aggsvc.api.routes import ROUTES
from tests.process.conftest import ServerProcess, http, listed
from tests.web.test_browser import SAMPLES, Complaints, browser, server
from web.docs import REDOC, SWAGGER_UI
from web.render import FOLDER

__all__ = ["browser", "http", "server"]


@asynccontextmanager
async def open_docs(browser: Browser, server: ServerProcess, path: str) -> AsyncIterator[Page]:
    """The page, which may complain of nothing: no policy, no other server, no error."""
    context = await browser.new_context()
    context.set_default_timeout(20_000)
    complaints = Complaints()
    complaints.watch(context, server.url)
    page = await context.new_page()
    await page.goto(server.url + path)
    yield page
    await context.close()
    assert complaints.console == []
    # What ReDoc makes of a blob it has from here.
    own = f"blob:{server.url}/"
    assert [url for url in complaints.elsewhere if not url.startswith(own)] == []


async def test_swagger_ui_uploads_a_file_and_redoc_finds_a_call(
    browser: Browser, server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    """Both show every call; no request leaves the origin, and no policy is broken."""
    async with open_docs(browser, server, "/docs") as page:
        await page.locator("#operations-files-submit_file").get_by_role("button").first.click()
        await page.locator("input[type=file]").set_input_files(SAMPLES / "readings.csv")
        await page.get_by_role("button", name="Execute").click()
        answer = page.locator(".live-responses-table")
        await expect(answer).to_contain_text("202")
        await expect(answer).to_contain_text('"filename": "readings.csv"')
        await expect(page.locator(".opblock")).to_have_count(len(ROUTES))
    (record,) = await listed(http, server)
    assert record["size_bytes"] == (SAMPLES / "readings.csv").stat().st_size
    async with open_docs(browser, server, "/redoc") as page:
        await expect(page.get_by_role("heading", name="Upload a CSV file")).to_be_visible()
        await page.get_by_role("textbox").first.fill("sensors")
        await expect(page.get_by_role("search")).to_contain_text(GET_SENSORS.summary)
        for call in ROUTES:
            await expect(page.get_by_role("heading", name=call.operation.summary)).to_be_attached()


@pytest.mark.parametrize("folder", [SWAGGER_UI, REDOC])
def test_a_vendored_library_has_its_licence_and_is_in_the_table(folder: str) -> None:
    """The folder's name has the version that the table tells."""
    package, _, version = Path(folder).name.rpartition("-")
    path = FOLDER / "static" / folder
    assert (path / "LICENSE.txt").stat().st_size > 500
    table = (path.parent / "README.md").read_text()
    assert f"| {package} | {version} |" in table

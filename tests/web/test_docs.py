"""/docs and /redoc in a real browser: they work from this server alone, under their policy."""

from pathlib import Path

import pytest
from playwright.async_api import expect

from aggsvc.api.descriptions import GET_SENSORS
from aggsvc.api.routes import ROUTES
from tests.web.conftest import SAMPLES, OpenPage, Site, violations
from web.docs import REDOC, SWAGGER_UI
from web.render import FOLDER


async def test_swagger_ui_uploads_a_file(open_page: OpenPage, site: Site) -> None:
    """It shows every call; no request leaves the origin, and no policy is broken.

    Nor does axe-core find anything wrong with it, which is light whatever the theme.
    """
    async with open_page("/docs", reduced_motion="reduce") as page:
        await page.locator("#operations-files-submit_file").get_by_role("button").first.click()
        await page.locator("input[type=file]").set_input_files(SAMPLES / "readings.csv")
        await page.get_by_role("button", name="Execute").click()
        answer = page.locator(".live-responses-table")
        await expect(answer).to_contain_text("202")
        await expect(answer).to_contain_text('"filename": "readings.csv"')
        await expect(page.locator(".opblock")).to_have_count(len(ROUTES))
        assert await violations(page, "light") == []
    (record,) = (await site.get("/files"))["items"]
    assert record["size_bytes"] == (SAMPLES / "readings.csv").stat().st_size


async def test_redoc_shows_and_finds_the_calls(open_page: OpenPage) -> None:
    """From this server alone, as Swagger UI; axe-core finds nothing wrong with it."""
    async with open_page("/redoc", reduced_motion="reduce") as page:
        for call in ROUTES:
            await expect(page.get_by_role("heading", name=call.operation.summary)).to_be_attached()
        assert await violations(page, "light") == []
        await page.get_by_role("textbox").first.fill("sensors")
        await expect(page.get_by_role("search")).to_contain_text(GET_SENSORS.summary)


@pytest.mark.parametrize("folder", [SWAGGER_UI, REDOC])
def test_a_vendored_library_has_its_licence_and_is_in_the_table(folder: str) -> None:
    """The folder's name has the version that the table tells."""
    package, _, version = Path(folder).name.rpartition("-")
    path = FOLDER / "static" / folder
    assert (path / "LICENSE.txt").stat().st_size > 500
    table = (path.parent / "README.md").read_text()
    assert f"| {package} | {version} |" in table

"""The page of one file in a real browser."""

import json

from playwright.async_api import Page, expect

from tests.web.conftest import SAMPLES, OpenPage, Site

READINGS = (SAMPLES / "readings.csv").read_bytes()


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
    assert await download(page, "the file as it was uploaded") == READINGS


async def test_a_file_shows_its_figures_and_bad_rows_and_can_be_downloaded(
    open_page: OpenPage, site: Site
) -> None:
    """With and without JavaScript."""
    file_id = await site.upload(READINGS)
    await site.finished(file_id)
    for script in (True, False):
        async with open_page(f"/ui/files/{file_id}", script=script) as page:
            await assert_shows_readings(page)


async def test_a_file_is_processed_again_and_deleted_on_its_page(
    open_page: OpenPage, site: Site
) -> None:
    file_id = await site.upload(READINGS)
    await site.finished(file_id)
    async with open_page(f"/ui/files/{file_id}") as page:
        await page.get_by_role("button", name="Process again").click()
        await expect(page.locator("#notice")).to_have_text("1 file queued to be processed again")
        await expect(page.get_by_text("partial", exact=True)).to_be_visible()
        await page.get_by_role("button", name="Delete").click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await expect(page.locator("#notice")).to_have_text("1 file deleted")
        await expect(page.get_by_role("heading", name="No files yet")).to_be_visible()


async def test_a_long_file_is_watched_to_its_end_on_its_page(
    open_page: OpenPage, site: Site
) -> None:
    rows = b"".join(b"s,2025-10-01T00:00:00Z,%d\n" % row for row in range(500_000))
    file_id = await site.upload(b"sensor_id,timestamp,value\n" + rows)
    async with open_page(f"/ui/files/{file_id}") as page:
        await expect(page.get_by_text("processed", exact=True)).to_be_visible(timeout=30_000)
        await expect(page.locator("dl")).to_contain_text("500,000")

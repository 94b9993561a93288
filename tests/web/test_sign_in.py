"""Signing in, working and signing out in a real browser, where everybody is asked for a token."""

from pathlib import Path

import pytest
from playwright.async_api import async_playwright, expect

from aggsvc.tokens import Scope, TokenFile
from tests.machine import program
from tests.process.conftest import ServerProcess, server

__all__ = ["server"]

SAMPLE = Path(__file__).parents[2] / "samples/readings.csv"


@pytest.mark.parametrize("script", [True, False])
async def test_sign_in_upload_reprocess_delete_and_sign_out(
    server: ServerProcess, tmp_path: Path, script: bool
) -> None:
    """All of it works by the session's cookie, also without JavaScript."""
    text = TokenFile(tmp_path / "auth").create("ada", Scope.WRITE, None)[1]
    await server.start(AUTH="on", AUTH_PATH=str(tmp_path / "auth"))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program("chromium"),
            args=["--no-sandbox", "--disable-background-networking"],
        )
        context = await browser.new_context(java_script_enabled=script)
        context.set_default_timeout(15_000)
        complaints: list[str] = []
        context.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page = await context.new_page()
        await page.goto(f"{server.url}/ui?status=partial")
        await page.get_by_label("Token").fill("wrong")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_contain_text("the token is not known")
        complaints.clear()  # of the 401
        await page.get_by_label("Token").fill(text)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page).to_have_url(f"{server.url}/ui?status=partial")

        await page.goto(f"{server.url}/ui")
        await page.locator("input[type=file]").first.set_input_files(SAMPLE)
        upload = page.get_by_role("button", name="Upload", exact=True)
        if await upload.is_visible():
            await upload.click()
        link = page.get_by_role("link", name="readings.csv")
        await expect(link.first).to_be_visible()
        await link.first.click()
        again = page.get_by_role("button", name="Process again")
        asking = again if script else page.locator("summary", has_text="Process again")
        while not await asking.count():
            await page.reload()
        await asking.first.click()
        await again.last.click()
        await expect(page.get_by_text("readings.csv").first).to_be_visible()

        await page.get_by_role("button", name="Sign out ada").click()
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        await page.goto(f"{server.url}/ui")
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        assert complaints == []
        await browser.close()

"""Signing in, working and signing out in a real browser, where everybody is asked for a token."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from aggsvc.tokens import Scope, TokenFile
from tests.process.conftest import ServerProcess
from tests.web.conftest import SAMPLES, TO_AXE, opened, violations


@dataclass
class Guarded:
    """A service that asks for a token, and the tokens that it knows."""

    server: ServerProcess
    tokens: TokenFile

    @property
    def url(self) -> str:
        return self.server.url

    def token(self, name: str, scope: Scope) -> str:
        return self.tokens.create(name, scope, None)[1]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    server = ServerProcess(folder)
    await server.start(AUTH="on", AUTH_PATH=str(folder / "auth"))
    yield Guarded(server, TokenFile(folder / "auth"))
    await server.stop()


async def sign_in(page: Page, token: str) -> None:
    await page.get_by_label("Token").fill(token)
    await page.get_by_role("button", name="Sign in").click()


@pytest.mark.parametrize("script", [True, False])
async def test_sign_in_upload_reprocess_delete_and_sign_out(
    browser: Browser, guarded: Guarded, script: bool
) -> None:
    """All of it works by the session's cookie, also without JavaScript, and Swagger UI by it."""
    name = "ada" if script else "bob"
    token = guarded.token(name, Scope.WRITE)
    async with opened(browser, guarded.url, "/ui?status=partial", script=script, refused=1) as page:
        await sign_in(page, "wrong")
        await expect(page.get_by_role("alert")).to_contain_text("the token is not known")
        await sign_in(page, token)
        await expect(page).to_have_url(f"{guarded.url}/ui?status=partial")

        if script:
            await page.goto(f"{guarded.url}/docs")
            await page.locator("#operations-files-submit_file").get_by_role("button").first.click()
            await page.locator("input[type=file]").set_input_files(SAMPLES / "clean.csv")
            await page.get_by_role("button", name="Execute").click()
            await expect(page.locator(".live-responses-table")).to_contain_text("202")

        await page.goto(f"{guarded.url}/ui")
        await page.locator("input[type=file]").first.set_input_files(SAMPLES / "readings.csv")
        upload = page.get_by_role("button", name="Upload", exact=True)
        if await upload.is_visible():
            await upload.click()
        link = page.get_by_role("link", name="readings.csv")
        await link.first.click()
        again = page.get_by_role("button", name="Process again")
        asking = again if script else page.locator("summary", has_text="Process again")
        while not await asking.count():
            await page.reload()
        await asking.first.click()
        await again.last.click()
        await expect(page.locator("#notice")).to_have_text("1 file queued to be processed again")
        await page.get_by_role("button", name="Delete").click()
        await page.get_by_role("button", name="Delete").last.click()
        await expect(page.locator("#notice")).to_have_text("1 file deleted")

        await page.get_by_role("button", name=f"Sign out {name}").click()
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        await page.goto(f"{guarded.url}/ui")
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_everybody_can_sign_in_and_look(browser: Browser, guarded: Guarded) -> None:
    """axe-core finds nothing wrong with a refusal, nor with the page of who may only look."""
    token = guarded.token("eve", Scope.READ)
    async with opened(browser, guarded.url, "/ui", refused=1, **TO_AXE) as page:
        await sign_in(page, "wrong")
        await expect(page.get_by_role("alert")).to_be_visible()
        assert await violations(page) == []
        await sign_in(page, token)
        await expect(page.get_by_text("You may only look")).to_be_visible()
        assert await violations(page) == []

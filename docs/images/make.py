"""Write each page in both themes, and at 360 px, into this folder: `make screenshots`."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import async_playwright

FOLDER = Path(__file__).parent
SAMPLES = (
    "clean.csv",
    "broken/utf-16.csv",
    "broken/stray-quote.csv",
    "broken/header-only.csv",
    "readings.csv",
    "partial.csv",
)
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1200, "height": 800}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1200, "height": 800}},
    "360px": {"color_scheme": "light", "viewport": {"width": 360, "height": 800}},
}
# What a page does after it was loaded: its charts are drawn, its stream is opened.
SETTLE_MS = 1_500


@contextmanager
def service(data: str) -> Iterator[str]:
    """A service with its data in that folder; gives its address."""
    settings = {
        "PORT": "0",
        "MOCK_S3_ROOT_PATH": f"{data}/s3",
        "MOCK_DYNAMODB_PERSISTENCE_PATH": f"{data}/db.json",
    }
    command = [sys.executable, "-m", "aggsvc"]
    with subprocess.Popen(command, env=os.environ | settings, stdout=subprocess.PIPE) as process:  # noqa: S603
        yield process.stdout.readline().split()[3].decode()
        process.terminate()


def upload(url: str) -> str:
    """Upload the samples, one after the other; returns the id of the last."""
    for name in SAMPLES:
        command = [sys.executable, "-m", "cli", "--base-url", url, "--json", "upload", "--wait"]
        done = subprocess.run([*command, f"samples/{name}"], check=False, stdout=subprocess.PIPE)  # noqa: S603
    return str(json.loads(done.stdout)["file_id"])


async def shoot(url: str, pages: dict[str, str]) -> None:
    """Take a picture of the top of each page in each look."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        for look, options in LOOKS.items():
            page = await browser.new_page(**options)
            for name, path in pages.items():
                await page.goto(url + path)
                await page.wait_for_timeout(SETTLE_MS)
                await page.screenshot(path=FOLDER / f"{name}-{look}.png")
            await page.close()
        await browser.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as data, service(data) as url:
        asyncio.run(shoot(url, {"empty": "/ui"}))
        file_id = upload(url)
        pages = {
            "dashboard": "/ui",
            "file": f"/ui/files/{file_id}",
            "error": "/ui/files/unknown",
        }
        asyncio.run(shoot(url, pages))

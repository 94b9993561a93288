"""Take the README's screenshots from the samples: `.venv/bin/python docs/images/make.py`.

Run by hand, in the project's folder. Make the pictures small afterwards: pngquant, then optipng.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.async_api import async_playwright

FOLDER = Path(__file__).parent
WIDTH = 1100
SAMPLES = (
    "clean.csv",
    "broken/utf-16.csv",
    "broken/stray-quote.csv",
    "broken/header-only.csv",
    "readings.csv",
    "partial.csv",
)


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
    """Take a picture of each page, as high as it is."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        page = await browser.new_page(viewport={"width": WIDTH, "height": 700})
        for name, path in pages.items():
            await page.goto(url + path)
            await page.screenshot(path=FOLDER / name, full_page=True)
        await browser.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as data, service(data) as url:
        file_id = upload(url)
        asyncio.run(shoot(url, {"files.png": "/ui", "file.png": f"/ui/files/{file_id}"}))

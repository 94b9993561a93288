"""Write the pages in both themes, and at 360 px, into this folder: `make screenshots`."""

import asyncio
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, async_playwright

FOLDER = Path(__file__).parent
SAMPLES = (
    "clean.csv",
    "broken/utf-16.csv",
    "broken/stray-quote.csv",
    "broken/header-only.csv",
    "readings.csv",
    "partial.csv",
    "broken/semicolons.csv",
)
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1200, "height": 800}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1200, "height": 800}},
    "360px": {"color_scheme": "light", "viewport": {"width": 360, "height": 800}},
}
# The page that has more to show than its top.
TALL, TALL_PX = "file", 1_000
# What a page does after it was loaded: its charts are drawn, its stream is opened.
SETTLE_MS = 1_500
HEADER = "sensor_id,timestamp,value,site,note\n"
START = datetime(2025, 9, 29, tzinfo=UTC)
ROOMS = 48
BAD = (
    "room-{:02},2025-10-32T08:00:00Z,21.4,north,\n",
    "room-{:02},,21.9,north,clock lost\n",
    "room-{:02},2025-10-01T08:00:00Z,N/A,south,\n",
    "room-{:02},2025-10-01T08:05:00Z,,south,\n",
    ",2025-10-01T08:10:00Z,22.1,north,\n",
    "room-{:02},2025-10-01T08:15:00Z\n",
    "room-{:02},2025-10-01T08:20:00Z,-inf,north,\n",
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


def write_week(path: Path) -> None:
    """A reading of each room every ten minutes of a week, and bad rows here and there."""
    lines = [HEADER]
    for step in range(7 * 144):
        time = (START + timedelta(minutes=10 * step)).strftime("%Y-%m-%dT%H:%M:%SZ")
        for room in range(ROOMS):
            wave = 4 * math.sin((step - 50) * math.tau / 144) + math.sin(step * 0.9 + room * 7)
            value = 17 + room / 12 + wave * (0.6 + room % 5 / 8)
            lines.append(
                f"room-{room + 1:02},{time},{value:.2f},{'north' if room % 2 else 'south'},\n"
            )
        if step % 9 == 0:
            lines.append(BAD[(step * step // 81) % len(BAD)].format(step % ROOMS + 1))
    path.write_text("".join(lines))


def upload(url: str, path: Path) -> str:
    """Upload the file and wait for its end; returns its id."""
    command = [sys.executable, "-m", "cli", "--base-url", url, "--json", "upload", "--wait"]
    done = subprocess.run([*command, str(path)], check=False, stdout=subprocess.PIPE)  # noqa: S603
    return str(json.loads(done.stdout)["file_id"])


async def shoot(browser: Browser, url: str, pages: dict[str, str]) -> None:
    """Take a picture of each page in each look."""
    for look, options in LOOKS.items():
        page = await browser.new_page(**options)
        for name, path in pages.items():
            window = dict(options["viewport"])
            if name == TALL:
                window["height"] = TALL_PX
            await page.set_viewport_size(window)
            await page.goto(url + path)
            await page.wait_for_timeout(SETTLE_MS)
            await page.screenshot(path=FOLDER / f"{name}-{look}.png")
        await page.close()


async def shoot_all(url: str, folder: Path) -> None:
    """The pages, from the empty one to that of a file with much in it."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        await shoot(browser, url, {"empty": "/ui"})
        *_, failed = [upload(url, Path("samples") / name) for name in SAMPLES]
        week = upload(url, folder / "building-week.csv")
        pages = {"failed": f"/ui/files/{failed}", "file": f"/ui/files/{week}"}
        await shoot(browser, url, {"dashboard": "/ui", **pages})
        await browser.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as data:
        write_week(Path(data) / "building-week.csv")
        with service(data) as url:
            asyncio.run(shoot_all(url, Path(data)))

"""Write the pages in both themes, and at 360 px, into this folder: `make screenshots`."""

import asyncio
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

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
# How high the window is for a page that has more, or less, to show.
HEIGHTS = {"file": 1_000, "sign-in": 520, "processing": 640}
# Half a year takes the lane of plain Python so long that there is time to look.
LONG_WEEKS, SLOW = 26, {"PROCESSOR_ENGINE": "rows"}
HALF_WAY = re.compile(r"\([5-9]\d %\)")
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
def service(data: Path, **changes: str) -> Iterator[str]:
    """A service with its data in that folder; gives its address."""
    settings = {
        "PORT": "0",
        "MOCK_S3_ROOT_PATH": f"{data}/s3",
        "MOCK_DYNAMODB_PERSISTENCE_PATH": f"{data}/db.json",
        "AUTH_PATH": f"{data}/auth",
        **changes,
    }
    command = [sys.executable, "-m", "aggsvc"]
    with subprocess.Popen(command, env=os.environ | settings, stdout=subprocess.PIPE) as process:
        try:
            yield process.stdout.readline().split()[3].decode()
        finally:
            process.terminate()


def write_weeks(path: Path, weeks: int) -> None:
    """A reading of each room every ten minutes of the weeks, and bad rows here and there."""
    lines = [HEADER]
    for step in range(weeks * 7 * 144):
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


def upload(url: str, path: Path, *options: str) -> str:
    """Upload the file and return its id; with `--wait`, when it has come to its end."""
    command = [sys.executable, "-m", "cli", "--base-url", url, "--json", "upload", *options]
    # Not checked: of a file with bad rows the status is no 0.
    done = subprocess.run([*command, str(path)], check=False, stdout=subprocess.PIPE)
    return str(json.loads(done.stdout)["file_id"])


@asynccontextmanager
async def opened(browser: Browser, look: str, name: str, address: str) -> AsyncIterator[Page]:
    """The page in that look, its window as high as the page of that name wants it."""
    options = LOOKS[look]
    page = await browser.new_page(**options)
    width, height = options["viewport"].values()
    await page.set_viewport_size({"width": width, "height": HEIGHTS.get(name, height)})
    await page.goto(address)
    yield page
    await page.screenshot(path=FOLDER / f"{name}-{look}.png")
    await page.close()


async def shoot(browser: Browser, url: str, pages: dict[str, str]) -> None:
    """Take a picture of each page in each look."""
    for name, path in pages.items():
        for look in LOOKS:
            async with opened(browser, look, name, url + path) as page:
                await page.wait_for_timeout(SETTLE_MS)


async def shoot_half_way(browser: Browser, url: str, path: Path) -> None:
    """Take a picture of the page of a file in each look, each time half of it is processed."""
    for look in LOOKS:
        address = f"{url}/ui/files/{upload(url, path)}"
        async with opened(browser, look, "processing", address) as page:
            await page.get_by_text(HALF_WAY).wait_for(timeout=120_000)


async def shoot_all(folder: Path) -> None:
    """The pages, from the empty one to that of a file with much in it."""
    week, half_year = folder / "building-week.csv", folder / "building-half-year.csv"
    write_weeks(week, 1)
    write_weeks(half_year, LONG_WEEKS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        with service(folder / "guarded", AUTH="on") as url:
            await shoot(browser, url, {"sign-in": "/ui/sign-in"})
        with service(folder / "slow", **SLOW) as url:
            await shoot_half_way(browser, url, half_year)
        with service(folder / "open") as url:
            await shoot(browser, url, {"empty": "/ui"})
            *_, failed = [upload(url, Path("samples") / name, "--wait") for name in SAMPLES]
            file = upload(url, week, "--wait")
            pages = {"failed": f"/ui/files/{failed}", "file": f"/ui/files/{file}"}
            await shoot(browser, url, {"dashboard": "/ui", **pages})
        await browser.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(shoot_all(Path(folder)))

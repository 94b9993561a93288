"""The page of one file in a real browser: charts, sensors, bad rows, history, and what is done."""

import csv
import io
import itertools
import json
import math
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from aggsvc.model import FileRecord, Progress, Status
from tests.web.conftest import PAPER, TO_AXE, WIDTHS, OpenPage, Site, violations
from web.advice import ADVICE, advice_on
from web.file import _Pace, _Page

README = Path(__file__).parents[2] / "README.md"
HEADER = "sensor_id,timestamp,value,site\n"
SENSORS = 60


def a_day() -> bytes:
    """A reading of each sensor every half hour of a day, and six bad rows of four kinds."""
    lines = [HEADER]
    for half_hours in range(48):
        time = f"2025-10-01T{half_hours // 2:02}:{half_hours % 2 * 30:02}:00Z"
        for sensor in range(SENSORS):
            value = 20 + sensor / 10 + 5 * math.sin(half_hours / 8)
            lines.append(f"room-{sensor:02},{time},{value:.3f},north\n")
    bad = ["room-01,2025-10-32,1,north\n", "room-02,,1,north\n", "room-03,2025-10-01,N/A,north\n"]
    lines[4:4] = [*bad, *bad[:2], "room-04,2025-10-01\n"]
    return "".join(lines).encode()


@pytest_asyncio.fixture(loop_scope="session")
async def file_id(site: Site) -> str:
    file_id = await site.upload(a_day(), "day.csv")
    await site.finished(file_id)
    return file_id


# What is left right of the chart for the half of a label that a tick at its end has there.
BESIDE_THE_CHART = """() => {
  const canvas = document.querySelector("#chart canvas"), context = canvas.getContext("2d");
  context.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
  const half = context.measureText("Jan 31, 2025").width / devicePixelRatio / 2;
  const over = document.querySelector("#chart .u-over").getBoundingClientRect();
  return canvas.getBoundingClientRect().right - over.right - half; }"""


async def saved(page: Page, link: str) -> bytes:
    async with page.expect_download() as downloading:
        await page.get_by_role("link", name=link).first.click()
    return (await (await downloading.value).path()).read_bytes()


async def assert_tells_all(page: Page) -> None:
    """What the page says of a_day(), with scripts and without."""
    await expect(page.get_by_role("heading", name="day.csv", level=1)).to_be_visible()
    for term, figure in (("Readings", "2,880"), ("Sensors", "60"), ("Minimum", "15.004")):
        shown = page.locator(".headlines div", has=page.get_by_text(term, exact=True))
        await expect(shown.locator("dd")).to_have_text(figure)
    await expect(page.locator("#sensors caption")).to_contain_text("1 to 25 of 60")
    await expect(page.locator("#errors mark")).to_have_count(6)
    row = page.locator(".rows tr", has_text="missing timestamp").first
    await expect(row.locator("td").nth(3)).to_have_text("room-02")
    await expect(row.locator("mark")).to_have_text("empty")
    await expect(page.locator(".history li")).to_have_count(3)


async def test_the_page_tells_all_and_lets_it_be_saved(
    open_page: OpenPage, site: Site, file_id: str
) -> None:
    async with open_page(f"/ui/files/{file_id}", locale="en-US", accept_downloads=True) as page:
        await assert_tells_all(page)
        await expect(page.locator("#chart .u-over")).to_be_visible()
        await expect(page.locator("#chart .u-legend")).to_contain_text("Readings60")
        assert await page.evaluate(BESIDE_THE_CHART) >= 0
        errors = await saved(page, "Row errors as NDJSON")
        assert len(errors.splitlines()) == 6
        assert len((await saved(page, "Row errors as CSV")).splitlines()) == 7
        one = await saved(page, "missing timestamp as NDJSON")
        assert {json.loads(line)["reason"] for line in one.splitlines()} == {"missing timestamp"}
        sensors = csv.DictReader(io.StringIO((await saved(page, "Sensors as CSV")).decode()))
        assert len(list(sensors)) == SENSORS
        summary = json.loads(await saved(page, "Summary as JSON"))
        assert summary["aggregates"]["row_count"] == 2_880
        assert await saved(page, "The file as it was uploaded") == a_day()
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await page.get_by_role("button", name="the curl line").click()
        await expect(page.get_by_role("status").get_by_text("Copied")).to_be_visible()
        copied = await page.evaluate("navigator.clipboard.readText()")
        assert copied == f"curl -s {site.url}/files/{file_id}"


async def test_zoom_pick_a_sensor_search_and_sort_stay_in_the_address(
    open_page: OpenPage, file_id: str
) -> None:
    async with open_page(f"/ui/files/{file_id}") as page:
        chart, title = page.locator("#chart .u-over"), page.locator("#series-title")
        await page.get_by_role("searchbox").fill("ROOM-3")
        await page.get_by_role("button", name="Search").click()
        await expect(page.locator("#sensors caption")).to_contain_text("1 to 10 of 10")
        await page.get_by_role("columnheader", name="Mean").get_by_role("link").click()
        first = page.locator("#sensors tbody th").first
        await expect(first).to_have_text("room-39")
        await page.get_by_role("link", name="room-37").click()
        await expect(title).to_have_text("Readings of room-37")
        await expect(page.locator("#sensors [aria-current]")).to_have_text("room-37")
        await expect(page.locator("#series .figures dd").first).to_have_text("48")
        await expect(chart).to_be_in_viewport()
        box = await chart.bounding_box()
        assert box is not None
        await page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 50)
        await page.mouse.down()
        await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60, steps=4)
        await page.mouse.up()
        await expect(page.locator("#series .figures dd").first).to_have_text(re.compile("^1[0-4]$"))
        for name in ("sensor=room-37", "from=", "to=", "q=ROOM-3", "sort=-mean_value"):
            assert name in page.url
        await page.get_by_role("link", name="missing timestamp", exact=True).click()
        await expect(page.locator("#errors mark")).to_have_count(2)
        assert "sensor=room-37" in page.url
        await page.reload()
        await expect(title).to_have_text("Readings of room-37")
        await expect(page.locator("#errors mark")).to_have_count(2)
        await page.get_by_role("link", name="Later").click()
        await expect(page.locator("#chart .u-over")).to_be_visible()
        await page.locator("#chart .u-over").dblclick()
        await expect(page.locator("#series .figures dd").first).to_have_text("48")
        await page.get_by_role("link", name="All sensors").click()
        await expect(title).to_have_text("Readings of all sensors")
        await page.go_back()
        await expect(title).to_have_text("Readings of room-37")
        await expect(page.locator("#chart .u-over")).to_be_visible()
        await page.go_forward()
        await expect(title).to_have_text("Readings of all sensors")
        await expect(page.locator("#chart .u-over")).to_be_visible()


async def test_all_but_the_liveliness_is_there_without_scripts(
    open_page: OpenPage, file_id: str
) -> None:
    async with open_page(f"/ui/files/{file_id}", script=False) as page:
        await assert_tells_all(page)
        await expect(page.locator("#chart svg path.line")).to_be_visible()
        await page.get_by_role("link", name="Next").click()
        await expect(page.locator("#sensors caption")).to_contain_text("26 to 50 of 60")
        await page.get_by_role("link", name="room-30").click()
        await expect(page.locator("#series-title")).to_have_text("Readings of room-30")
        await page.get_by_role("link", name="Zoom in").click()
        await expect(page.locator("#series .figures dd").first).to_have_text("24")
        await page.get_by_text("The series as a table").click()
        rows = page.get_by_role("region", name="The series as a table").get_by_role("row")
        await expect(rows).to_have_count(25)
        await page.locator("summary", has_text="Process again").click()
        await page.get_by_role("button", name="Process again").click()
        await expect(page.locator("#notice")).to_contain_text("1 file queued")
        await page.get_by_role("button", name="Delete").click()
        await expect(page.get_by_role("heading", name="Delete day.csv?")).to_be_visible()
        await page.get_by_role("button", name="Delete").click()
        await expect(page.locator("#notice")).to_contain_text("1 file deleted")


async def test_reprocess_and_delete_ask_first(
    open_page: OpenPage, site: Site, file_id: str
) -> None:
    async with open_page(f"/ui/files/{file_id}") as page:
        await page.get_by_role("button", name="Process again").click()
        asking = page.get_by_role("dialog")
        await asking.get_by_role("button", name="Leave as it is").click()
        await expect(asking).to_have_count(0)
        await page.get_by_role("button", name="Process again").click()
        await page.get_by_role("dialog").get_by_role("button", name="Process again").click()
        await expect(page.locator(".history li")).to_have_count(6)
        await expect(page.locator(".history")).to_contain_text("to be processed again")
        await page.get_by_role("button", name="Delete").click()
        await expect(page.get_by_role("button", name="Keep")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        assert (await site.get(f"/files/{file_id}"))["status"] == "partial"
        await page.get_by_role("button", name="Delete").click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await expect(page.locator("#notice")).to_contain_text("1 file deleted")
        assert (await site.get("/files"))["items"] == []


async def seen_in_process(site: Site, data: bytes) -> tuple[str, str]:
    """The address of a new file's page, and what it was while the file was processed."""
    for _ in range(20):
        path = f"/ui/files/{await site.upload(data, 'long.csv')}"
        async with site.http.get(site.url + path) as answer:
            page = await answer.text()
        if "<progress" in page:
            return path, page
        await site.delete(Path(path).name)  # a busy machine was too late
    raise AssertionError("each was done before it was looked at")


async def test_the_page_fills_in_while_the_file_is_processed(
    open_page: OpenPage, site: Site
) -> None:
    """The browser gets the page as it was at first, however soon the file is done.

    Nor does axe-core find anything wrong with it.
    """
    rows = b"".join(b"s%d,2025-10-01T00:00:%02dZ,%d\n" % (n % 7, n % 60, n) for n in range(99_999))
    path, first = await seen_in_process(site, b"sensor_id,timestamp,value\n" + rows * 6)
    async with open_page("/ui", **TO_AXE) as page:
        await page.route(site.url + path, lambda route: route.fulfill(body=first))
        await page.goto(site.url + path)
        assert await violations(page) == []
        await expect(page.get_by_role("progressbar")).to_be_visible()
        live = page.locator("#live")
        await live.evaluate("live => live.dataset.listens = 'since the page was opened'")
        async with page.expect_response(site.url + path):
            pass
        await expect(live).to_have_attribute("data-listens", re.compile("since"))
        await page.unroute(site.url + path)
        await expect(page.locator(".headlines")).to_be_visible()
        await expect(page.locator("#chart .u-over")).to_be_visible()
        await expect(page.get_by_role("progressbar")).to_have_count(0)
        await expect(page.locator("[sse-connect]")).to_have_count(0)
        await expect(page.locator(".history li")).to_have_count(3)


async def test_a_page_of_a_file_that_is_deleted_meanwhile_says_so_and_asks_no_more(
    open_page: OpenPage, site: Site
) -> None:
    """The browser gets the page as it was at first; the stream and one question find no file."""
    rows = b"s,2025-10-01,1,north\n" * 300_000
    path, first = await seen_in_process(site, HEADER.encode() + rows)
    await site.delete(Path(path).name)
    async with open_page("/ui", refused=2) as page:
        await page.route(site.url + path, lambda route: route.fulfill(body=first), times=1)
        await page.clock.install()
        await page.goto(site.url + path)
        await expect(page.get_by_role("alert")).to_have_text(re.compile("The file is gone"))
        await expect(page).to_have_title("Deleted - aggsvc")
        for name in ("Download", "Being processed"):
            await expect(page.get_by_text(name)).to_have_count(0)
        await expect(page.locator("#live-state")).to_be_hidden()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await page.clock.fast_forward(60_000)
        await page.evaluate("fetch('/health/live')")
        assert asked == [f"{site.url}/health/live"]


async def test_a_file_in_process_tells_its_pace() -> None:
    begun = (datetime.now(UTC) - timedelta(seconds=1_000)).isoformat()
    file = FileRecord("1", "a.csv", 1_000_000, "", begun, Status.PROCESSING, begun)
    assert _Pace.of(file) is None
    pace = _Pace.of(replace(file, progress=Progress(250_000, 10_000)))
    assert pace is not None
    assert pace.bytes_per_second == pytest.approx(250, rel=0.05)
    assert pace.ms_left == pytest.approx(3_000_000, rel=0.05)


async def test_a_share_of_bad_rows_is_all_or_none_only_where_it_is() -> None:
    file = FileRecord("1", "a.csv", 1, "", "2025-10-01T00:00:00Z", Status.PARTIAL)
    told = {
        (bad, rows): _Page(
            replace(file, error_count=bad, progress=Progress(1, rows)), {}
        ).bad_percent
        for bad, rows in ((1, 1_000_000), (1, 3), (999_999, 1_000_000), (7, 7))
    }
    assert list(told.values()) == [0.0001, 33, 99.9, 100]


async def test_a_picked_sensor_of_a_large_file_comes_after_the_page(
    open_page: OpenPage, site: Site
) -> None:
    rows = b"".join(b"s%d,2025-10-01T00:00:%02dZ,%d\n" % (n % 7, n % 60, n) for n in range(99_999))
    file_id = await site.upload(b"sensor_id,timestamp,value\n" + rows * 4, "large.csv")
    await site.finished(file_id)
    path = f"/ui/files/{file_id}?sensor=s3"
    async with site.http.get(site.url + path) as answer:
        assert "This is read again from the file" in await answer.text()
    async with open_page(path, locale="en-US") as page:
        await expect(page.locator("#series .figures dd").first).to_have_text("57,144")
        assert "now" not in page.url
        await page.set_viewport_size({"width": 1200, "height": 700})
        await page.get_by_role("link", name="s5").click()
        await expect(page.locator("#series-title")).to_have_text("Readings of s5")
        await expect(page.locator("#chart .u-over")).to_be_in_viewport(ratio=1)
    async with open_page(path, script=False) as page:
        await page.get_by_role("link", name="Read it").click()
        await expect(page.locator("#series .figures dd").first).to_have_text("57,144")


async def test_nothing_is_wider_than_the_window_nor_cut_on_paper(
    open_page: OpenPage, file_id: str
) -> None:
    """What can be done with the file stands in one line, and the headlines leave no gap.

    On paper the charts are those drawn in its colours, and there is nothing to click.
    """
    path = f"/ui/files/{file_id}?sensor=room-01"
    async with open_page(path, color_scheme="dark") as page:
        await expect(page.locator("#chart .u-over")).to_be_visible()
        for width in WIDTHS:
            await page.set_viewport_size({"width": width, "height": 800})
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            buttons = await page.locator(".masthead .actions > :visible").all()
            boxes = [await button.bounding_box() for button in buttons]
            assert len({box and box["y"] for box in boxes}) == 1
            assert await page.evaluate(BESIDE_THE_HEADLINES) <= 2
        await page.emulate_media(media="print", color_scheme="dark")
        await expect(page.locator("#chart path.line")).to_be_visible()
        for name in ("#chart canvas", "button", "input"):
            await expect(page.locator(f"{name}:visible")).to_have_count(0)
        assert await page.evaluate(PAPER) == "rgb(255, 255, 255)"
        table = page.locator("#sensors .scrolling")
        assert await table.evaluate("e => getComputedStyle(e).overflowX") == "visible"


# How wide the gap is right of the last headline.
BESIDE_THE_HEADLINES = """() => { const right = (e) => e.getBoundingClientRect().right;
  const all = document.querySelector(".headlines");
  return right(all) - right(all.lastElementChild); }"""

# Records where each text stands that a chart draws, from the left and from above.
TELL_TEXTS = """const draw = CanvasRenderingContext2D.prototype.fillText; window.texts = [];
CanvasRenderingContext2D.prototype.fillText = function (text, x, y, ...rest) {
  const wide = this.measureText(text).width;
  const left = x - ({ center: wide / 2, right: wide, end: wide }[this.textAlign] ?? 0);
  window.texts.push({ text, left, right: left + wide, top: y, room: this.canvas.width });
  return draw.call(this, text, x, y, ...rest); };"""


@pytest.mark.parametrize("width", [360, 1280])
async def test_the_time_is_told_to_the_microsecond_where_readings_are_that_close(
    open_page: OpenPage, site: Site, width: int
) -> None:
    """No label of a chart runs into another or out of it; one reading is shown amid its minute."""
    rows = "".join(f"s,2025-10-01T08:00:00.{n:06}Z,{n}\n" for n in range(300))
    close = await site.upload(f"sensor_id,timestamp,value\n{rows}".encode(), "close.csv")
    one = await site.upload(b"sensor_id,timestamp,value\ns,2025-10-01T08:00:00Z,1\n", "one.csv")
    await site.finished(close, one)
    look = {"viewport": {"width": width, "height": 800}, "locale": "en-US", "timezone_id": "UTC"}
    async with open_page("/ui", **look) as page:
        await page.add_init_script(TELL_TEXTS)
        for file_id, wanted in (
            (close, {"+0 µs", "8:00:00 AM", "Oct 1, 2025"}),
            (one, {"8:00:00 AM"}),
        ):
            await page.goto(f"{site.url}/ui/files/{file_id}")
            await expect(page.locator("#chart .u-over")).to_be_visible()
            texts = await page.evaluate("texts")
            assert wanted <= {each["text"] for each in texts}
            assert all(each["left"] >= 0 and each["right"] <= each["room"] for each in texts)
            lines = itertools.groupby(
                sorted(texts, key=lambda t: (t["top"], t["left"])), lambda t: t["top"]
            )
            for _, line in lines:
                assert all(a["right"] <= b["left"] for a, b in itertools.pairwise(line))
        await page.goto(f"{site.url}/ui/files/{close}")
        last = page.locator(".figures time").nth(1)
        await expect(last).to_have_text("Oct 1, 2025, 8:00:00.000299 AM")
        await expect(last).to_have_attribute("title", "2025-10-01 08:00:00.000299 UTC")


async def test_figures_of_any_size_and_names_that_hide_fit_the_page(
    open_page: OpenPage, site: Site
) -> None:
    """Figures beyond reading have a power of ten; what turns a name around is spelt out."""
    rows = "".join(
        f"{name},2025-10-0{n}T08:00:00Z,{(-1) ** n * 1.7e308}\n"
        for n, name in enumerate(("a", "\u202egnp", "\u200b"), 1)
    )
    file_id = await site.upload(f"sensor_id,timestamp,value\n{rows}".encode(), "far.csv")
    await site.finished(file_id)
    async with open_page(f"/ui/files/{file_id}", locale="en-US") as page:
        await expect(page.locator(".headlines")).to_contain_text("-1.7E308")
        await expect(page.locator("#chart path.line")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth") <= 1280
        await expect(page.locator("#sensors tbody th")).to_have_text(["a", "\\u200b", "\\u202egnp"])


async def test_a_finished_page_hears_what_is_done_to_its_file_elsewhere(
    open_page: OpenPage, site: Site, file_id: str
) -> None:
    """It asks every 5 seconds, not while hidden, and gets nothing while all is as it was."""
    path = f"{site.url}/ui/files/{file_id}"
    async with open_page("/ui", refused=1) as page:
        await page.clock.install()
        await page.goto(f"{path}?reason=missing%20timestamp")
        await expect(page.locator("#errors mark")).to_have_count(2)
        async with page.expect_response(lambda answer: answer.url.startswith(path)) as asked:
            await page.clock.fast_forward(5_000)
        assert (await asked.value).status == 204
        async with site.http.post(f"{site.url}/files/{file_id}/reprocess") as answer:
            assert answer.status == 202
        await site.finished(file_id)
        await page.clock.fast_forward(5_000)
        await expect(page.locator(".history li")).to_have_count(6)
        await expect(page.locator("#errors mark")).to_have_count(2)
        await site.delete(file_id)
        await page.evaluate(HIDE)
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        await page.clock.fast_forward(60_000)
        await page.evaluate("fetch('/health/live')")
        assert requests == [f"{site.url}/health/live"]
        await page.evaluate(SHOW)
        await expect(page.get_by_role("alert")).to_have_text(re.compile("The file is gone"))


HIDE = "Object.defineProperty(document, 'hidden', { configurable: true, value: true })"
SHOW = "delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))"


async def test_what_cannot_be_shown_says_why(open_page: OpenPage, site: Site, file_id: str) -> None:
    path = f"/ui/files/{file_id}"
    async with open_page(f"{path}?sensor=nobody") as page:
        await expect(page.locator("#series [role=alert]")).to_contain_text(
            "no readings of a sensor"
        )
        await page.get_by_role("link", name="All sensors").click()
        await expect(page.locator("#chart .u-over")).to_be_visible()
    async with open_page(f"{path}?from=yesterday&cursor=x&sort=size") as page:
        await expect(page.locator("#series [role=alert]")).to_contain_text("invalid timestamp")
        await expect(page.locator("#sensors [role=alert]")).to_be_visible()
        await expect(page.locator("#sensors caption")).to_contain_text("1 to 25 of 60")
    async with open_page(f"{path}?from=2030-01-01T00:00:00Z") as page:
        await expect(page.locator("#series")).to_contain_text("no reading in this stretch")
    failed = await site.upload(b"a;b\n1;2\n", "failed.csv")
    await site.finished(failed)
    async with open_page(f"/ui/files/{failed}") as page:
        await expect(page.locator(".verdict")).to_contain_text("the header has no column sensor_id")
        await expect(page.locator(".verdict")).to_contain_text("Name the missing columns")
    bad = await site.upload(HEADER.encode() + b"a,,1,north\n" * 40, "bad.csv")
    await site.finished(bad)
    async with open_page(f"/ui/files/{bad}", locale="en-US") as page:
        await expect(page.locator(".headlines .bad")).to_contain_text("40 100 %")
        await expect(page.locator(".verdict")).to_contain_text("the row errors say why")


async def test_everybody_can_use_the_page(open_page: OpenPage, site: Site, file_id: str) -> None:
    """axe-core finds nothing wrong with it, whatever it shows, in either theme."""
    failed = await site.upload(b"a;b\n1;2\n", "failed.csv")
    await site.finished(failed)
    picked = f"/ui/files/{file_id}?sensor=room-01&q=room&reason=missing%20timestamp"
    async with open_page(picked, **TO_AXE) as page:
        await expect(page.locator(".history li")).to_have_count(3)
        assert await violations(page) == []
        await page.goto(f"{site.url}/ui/files/{failed}")
        assert await violations(page) == []
        await page.get_by_role("button", name="Process again").click()
        assert await violations(page) == []


async def test_the_advice_is_that_of_the_readme() -> None:
    """One message, one advice, wherever it is read."""
    table = README.read_text().partition("### A file is `failed`")[2].partition("\n\nAfter")[0]
    rows = re.findall(r"^\| `(.+)` \| (.+) \|$", table, re.MULTILINE)
    plain = {message: re.sub(r"`|\[(.*?)\]\(.*?\)", r"\1", advice) for message, advice in rows}
    assert plain == ADVICE
    assert advice_on("the header has no column value; columns found: 'a'") == advice_on(
        "the header has no column sensor_id and no value; columns found: 'b', 'c'"
    )
    assert advice_on("something new") is None

"""The dashboard in a real browser."""

import asyncio
import re
from pathlib import Path

from playwright.async_api import Page, expect

from tests.conftest import GOOD_ROW, HEADER
from tests.web.conftest import PAPER, SAMPLES, TO_AXE, WIDTHS, OpenPage, Site, violations

CLEAN, READINGS = SAMPLES / "clean.csv", SAMPLES / "readings.csv"


def row(page: Page, name: str) -> object:
    return page.get_by_role("row", name=re.compile(re.escape(name)))


async def names(page: Page) -> list[str]:
    """The files of the table, from top to bottom."""
    return await page.locator("table.files tbody th a").all_inner_texts()


async def wait_for_names(page: Page, *expected: str) -> None:
    await expect(page.locator("table.files tbody th a")).to_have_text(list(expected))


async def store(site: Site, *names: str, data: bytes = HEADER + GOOD_ROW) -> list[str]:
    """Files of these names that have been processed, the last the newest."""
    file_ids = [await site.upload(data, name) for name in names]
    await site.finished(*file_ids)
    return file_ids


async def drop(page: Page, *paths: Path) -> None:
    """Drop what is on the disk, as the desktop does: to the browser a folder is a folder."""
    box = await page.locator("#drop").bounding_box()
    assert box
    devtools = await page.context.new_cdp_session(page)
    event = {
        "x": box["x"] + box["width"] / 2,
        "y": box["y"] + box["height"] / 2,
        "data": {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1},
    }
    for step in ("dragEnter", "dragOver", "drop"):
        await devtools.send("Input.dispatchDragEvent", {"type": step, **event})
        if step == "dragOver":
            await expect(page.locator("#drop")).to_have_class(re.compile("over"))
    await expect(page.locator("#drop")).not_to_have_class(re.compile("over"))


async def test_files_are_uploaded_by_picker_and_by_drop_and_followed_to_their_end(
    open_page: OpenPage, site: Site, tmp_path: Path
) -> None:
    """Each has its line with the result; one that is refused says why; the table follows live."""
    dropped = tmp_path / "dropped.csv"
    async with open_page(refused=1) as page:
        all_bad = {"name": "bad.csv", "mimeType": "text/csv", "buffer": HEADER + b"a,,1\n"}
        await page.set_input_files("#file", [CLEAN, READINGS, SAMPLES / "broken/empty.csv"])
        await page.set_input_files("#file", all_bad)
        uploads = page.locator("#upload-list li")
        await expect(uploads.filter(has_text="clean.csv")).to_contain_text("200 rows")
        await expect(uploads.filter(has_text="readings.csv")).to_contain_text(
            "partial · 6 rows, 1 with errors"
        )
        await expect(uploads.filter(has_text="empty.csv")).to_contain_text(
            "The file is empty; send a CSV file with at least a header", use_inner_text=True
        )
        await expect(uploads.filter(has_text="bad.csv")).to_contain_text("failed · No valid rows")
        await expect(page.get_by_role("row", name="clean.csv")).to_contain_text("processed")
        await expect(page.locator("#uploads-sum")).to_have_text(
            "3 finished · 1 with bad rows · 1 failed · 1 refused"
        )
        dropped.write_bytes(HEADER + GOOD_ROW)
        await drop(page, dropped)
        await expect(uploads.filter(has_text="dropped.csv")).to_contain_text("processed · 1 row")
        await expect(page.get_by_role("row", name="dropped.csv")).to_contain_text("processed")
        await expect(page.locator(".filter .of-processed")).to_contain_text("2")
        await page.locator(".filter .of-partial").click()
        await wait_for_names(page, "readings.csv")
        await page.go_back()
        await expect(page.locator("table.files tbody tr")).to_have_count(4)
        await expect(uploads).to_have_count(5)
        for figure in await page.locator("#now dd data").all():
            await expect(figure).not_to_have_attribute("value", "0")
        await uploads.get_by_role("link", name="readings.csv").click()
        await expect(page.get_by_role("heading", name="readings.csv")).to_be_visible()


async def test_a_folder_is_uploaded_without_what_is_no_csv(
    open_page: OpenPage, site: Site, tmp_path: Path
) -> None:
    """Picked or dropped, with the folders within; of files beside it each was meant.

    How many were left out is told.
    """
    folder = tmp_path / "export"
    (folder / "within").mkdir(parents=True)
    (folder / "a.csv").write_bytes(HEADER + GOOD_ROW)
    (folder / "within/b.CSV").write_bytes(HEADER + GOOD_ROW)
    (folder / "thumbs.db").write_bytes(b"\0")
    async with open_page() as page:
        await page.set_input_files("#folder", folder)
        await expect(page.locator("#uploads-sum")).to_have_text("2 finished · 1 left out as no CSV")
        await expect(page.locator(".filter")).to_contain_text("all 2")
        (tmp_path / "beside.log").write_bytes(HEADER + GOOD_ROW)
        await drop(page, folder, tmp_path / "beside.log")
        await expect(page.locator("#uploads-sum")).to_have_text("5 finished · 2 left out as no CSV")
        await page.get_by_role("button", name="Clear finished").click()
        await expect(page.locator("#uploads")).to_be_hidden()
        await page.get_by_role("link", name="Name", exact=True).click()
        await wait_for_names(page, "a.csv", "a.csv", "b.CSV", "b.CSV", "beside.log")


async def test_an_upload_is_cancelled_and_tried_again(open_page: OpenPage, site: Site) -> None:
    """Cancelled while it is sent nothing of it is kept; tried again it is, once.

    So it is when the connection broke, and many are tried again at once.
    """
    async with open_page(refused=2) as page:
        held: list[asyncio.Event] = [asyncio.Event()]

        async def hold(route: object) -> None:
            await held[0].wait()
            await route.continue_()  # type: ignore[attr-defined]

        await page.route("**/files", hold)
        await page.set_input_files("#file", CLEAN)
        upload = page.locator("#upload-list li")
        await expect(upload.get_by_role("progressbar")).to_be_visible()
        await upload.get_by_role("button", name="Cancel").click()
        await expect(upload).to_contain_text("Cancelled")
        held[0].set()
        await upload.get_by_role("button", name="Retry").click()
        await expect(upload).to_contain_text("200 rows")
        assert len((await site.get("/files"))["items"]) == 1
        await page.unroute("**/files")
        await page.route("**/files", lambda route: route.abort("connectionreset"))
        await page.set_input_files("#file", [READINGS, SAMPLES / "partial.csv"])
        await expect(page.locator("#uploads-sum")).to_have_text("1 finished · 2 refused")
        await expect(upload.first).to_contain_text("The connection broke")
        await page.unroute("**/files")
        await page.get_by_role("button", name="Retry all").click()
        await expect(page.locator("#uploads-sum")).to_have_text("3 finished · 2 with bad rows")
        assert len((await site.get("/files"))["items"]) == 3


async def test_a_long_upload_shows_what_is_sent_then_what_is_processed(
    open_page: OpenPage, site: Site
) -> None:
    """Cancelled while it is processed the file is deleted."""
    data = HEADER + GOOD_ROW * 300_000
    async with open_page() as page:
        seen = await page.evaluate_handle(
            """() => { const seen = new Set();
              new MutationObserver(() => seen.add(
                document.querySelector("#upload-list li")?.dataset.state))
                .observe(document.getElementById("upload-list"), {subtree: true, childList: true,
                  attributes: true});
              return seen; }"""
        )
        await page.set_input_files(
            "#file", {"name": "long.csv", "mimeType": "text/csv", "buffer": data}
        )
        upload = page.locator("#upload-list li")
        await expect(upload).to_contain_text("300,000 rows")
        assert await seen.evaluate("seen => [...seen].filter(Boolean)") == [
            "sending",
            "processing",
            "done",
        ]


async def test_the_table_is_filtered_searched_sorted_and_paged_and_keeps_its_address(
    open_page: OpenPage, site: Site
) -> None:
    await store(site, *(f"many-{number:02}.csv" for number in range(28)))
    await store(site, "small.csv", data=HEADER)
    await store(site, "bad.csv", data=HEADER + b"a,,1\n")
    async with open_page() as page:
        await page.get_by_role("link", name="failed").click()
        await wait_for_names(page, "bad.csv")
        await expect(page).to_have_url(f"{site.url}/ui?status=failed")
        await page.get_by_role("link", name=re.compile("^all")).click()
        await page.get_by_label("Search by name").press_sequentially("ANY-2", delay=20)
        await wait_for_names(page, *(f"many-{number}.csv" for number in range(27, 19, -1)))
        await expect(page).to_have_url(f"{site.url}/ui?q=ANY-2")
        await expect(page.get_by_label("Search by name")).to_be_focused()
        await page.get_by_role("link", name="Name", exact=True).click()
        await wait_for_names(page, *(f"many-{number}.csv" for number in range(20, 28)))
        await expect(page.get_by_role("columnheader", name="Name")).to_have_attribute(
            "aria-sort", "ascending"
        )
        await expect(page).to_have_url(f"{site.url}/ui?q=ANY-2&sort=filename")
        await page.get_by_label("Search by name").fill("")
        await expect(page).to_have_url(f"{site.url}/ui?sort=filename")
        await page.go_back()
        await wait_for_names(page, *(f"many-{number}.csv" for number in range(20, 28)))
        await expect(page.get_by_label("Search by name")).to_have_value("ANY-2")
        await page.go_forward()
        await expect(page.get_by_label("Search by name")).to_have_value("")
        await page.get_by_role("link", name="Next page").click()
        await wait_for_names(page, *(f"many-{n}.csv" for n in range(24, 28)), "small.csv")
        address = page.url
        await page.reload()
        assert page.url == address
        await wait_for_names(page, *(f"many-{n}.csv" for n in range(24, 28)), "small.csv")
        await page.go_back()
        await expect(page.locator("table.files tbody tr")).to_have_count(25)
        await page.get_by_role("link", name="50", exact=True).click()
        await expect(page.locator("table.files tbody tr")).to_have_count(30)
        await page.get_by_role("link", name="Size").click()
        await expect(page.locator("table.files tbody th a").last).to_have_text("small.csv")
        await page.get_by_label("Search by name").fill("nothing like it")
        await expect(page.get_by_role("heading", name="No file matches")).to_be_visible()
        await page.get_by_role("link", name="Show all 30 files").click()
        await expect(page.locator("table.files tbody tr")).to_have_count(25)


async def test_what_others_do_is_seen_live(open_page: OpenPage, site: Site) -> None:
    """From the empty page on, and back to it; what was chosen stays so meanwhile."""
    async with open_page() as page:
        await expect(page.locator("#live-state")).to_have_text("Live")
        await expect(page.get_by_role("heading", name="No files yet")).to_be_visible()
        first = await site.upload(CLEAN.read_bytes(), "first.csv")
        await expect(page.get_by_role("row", name="first.csv")).to_contain_text("processed")
        await page.get_by_label("Select first.csv").check()
        second = await site.upload(CLEAN.read_bytes(), "second.csv")
        await wait_for_names(page, "second.csv", "first.csv")
        await expect(page.get_by_label("Select first.csv")).to_be_checked()
        await expect(page.locator("#chosen-count")).to_have_text("1 of 2 on this page selected")
        await site.delete(second)
        await wait_for_names(page, "first.csv")
        await site.delete(first)
        await expect(page.get_by_role("heading", name="No files yet")).to_be_visible()


async def test_where_event_streams_fail_the_page_asks_and_says_so(
    open_page: OpenPage, site: Site
) -> None:
    async with open_page() as page:
        await page.route("**/events", lambda route: route.fulfill(status=204, body=""))
        await page.reload()
        await site.upload(CLEAN.read_bytes(), "asked.csv")
        await expect(page.get_by_role("row", name="asked.csv")).to_contain_text("processed")
        await expect(page.locator("#live-state")).to_have_text("Not live: asking every 2 s")
        await page.set_input_files("#file", READINGS)
        await expect(page.locator("#upload-list li")).to_contain_text("6 rows, 1 with errors")


# Promises that a page has been told of a file's end, and has had the time to follow it.
TOLD = """() => ({ deleted: new Promise((done) => document.addEventListener("file:deleted",
  () => setTimeout(done, 700), { once: true })) })"""


async def test_many_files_are_deleted_and_processed_again_at_once(
    open_page: OpenPage, site: Site
) -> None:
    """Deleting asks first; what it asks about stays, and what is gone already is told apart."""
    gone, *_ = await store(site, "a.csv", "b.csv", "c.csv", "keep.csv")
    async with open_page("/ui?sort=filename") as page:
        again = page.get_by_role("button", name="Process again")
        await expect(again).to_be_disabled()
        await page.get_by_label("Select all on this page").check()
        await page.get_by_label("Select keep.csv").uncheck()
        await again.click()
        await expect(page.locator("#notice")).to_have_text("3 files queued to be processed again")
        await expect(page.locator(".filter .of-processed")).to_contain_text("4")
        await page.get_by_role("button", name="Delete").click()
        ask = page.get_by_role("dialog")
        await expect(ask).to_contain_text("Delete 3 files?")
        await expect(ask.get_by_role("button", name="Keep")).to_be_focused()
        await page.keyboard.press("Escape")
        await expect(ask).to_be_hidden()
        told = await page.evaluate_handle(TOLD)
        await page.get_by_role("button", name="Delete").click()
        await site.delete(gone)  # by another, a moment before
        await told.evaluate("told => told.deleted")
        await ask.get_by_role("button", name="Delete").click()
        await expect(page.locator("#notice")).to_have_text("2 files deleted, 1 was gone already")
        await wait_for_names(page, "keep.csv")
        await expect(page).to_have_url(f"{site.url}/ui?sort=filename")


async def test_without_javascript_all_but_the_live_updates_works(
    open_page: OpenPage, site: Site
) -> None:
    async with open_page(script=False, refused=1) as page:
        await page.get_by_role("button", name="Try it with a sample").click()
        await expect(page.get_by_role("heading", name="readings.csv")).to_be_visible()
        await page.goto(f"{site.url}/ui")
        await page.set_input_files("#file", [CLEAN, SAMPLES / "partial.csv"])
        await page.get_by_role("button", name="Upload", exact=True).click()
        await wait_for_names(page, "partial.csv", "clean.csv", "readings.csv")
        files = (await site.get("/files"))["items"]
        await site.finished(*(file["file_id"] for file in files))
        await page.get_by_label("Search by name").fill("clean")
        await page.get_by_role("button", name="Search").click()
        await wait_for_names(page, "clean.csv")
        await page.get_by_role("link", name="Age").click()
        assert "q=clean" in page.url
        await page.get_by_role("link", name=re.compile("^processed")).click()
        await page.get_by_label("Select clean.csv").check()
        await page.get_by_role("button", name="Process again").click()
        await expect(page.locator("#notice")).to_have_text("1 file queued to be processed again")
        await page.goto(f"{site.url}/ui?sort=filename")
        for name in ("clean.csv", "readings.csv"):
            await page.get_by_label(f"Select {name}").check()
        await page.get_by_role("button", name="Delete").click()
        await expect(page.get_by_role("heading", name="Delete 2 files?")).to_be_visible()
        await page.get_by_role("button", name="Delete").click()
        await expect(page.locator("#notice")).to_have_text("2 files deleted")
        await wait_for_names(page, "partial.csv")
        await page.get_by_role("button", name="Delete").click()
        await expect(page.get_by_role("alert")).to_contain_text("No file was selected")


async def test_axe_finds_no_violation_on_any_page(open_page: OpenPage, site: Site) -> None:
    """Empty, with files of every end and an upload, asking in both ways, finding none, failing."""
    async with open_page(refused=2, **TO_AXE) as page:
        assert await violations(page) == []
        await store(site, "b.csv", data=HEADER + GOOD_ROW + b"a,,1\n")
        await store(site, "c.csv", data=b"no header\n")
        await page.set_input_files("#file", [CLEAN, SAMPLES / "broken/empty.csv"])
        await expect(page.get_by_role("row", name="clean.csv")).to_contain_text("processed")
        await expect(page.locator("#upload-list")).to_contain_text("200 rows")
        await page.get_by_label("Select clean.csv").check()
        assert await violations(page) == []
        await page.get_by_role("button", name="Delete").click()
        assert await violations(page) == []
        await page.evaluate("document.getElementById('chosen').submit()")  # as without scripts
        await expect(page.get_by_role("heading", name="Delete clean.csv?")).to_be_visible()
        assert await violations(page) == []
        await page.goto(f"{site.url}/ui?q=nothing")
        assert await violations(page) == []
        await page.goto(f"{site.url}/ui/files/none")
        assert await violations(page) == []


async def test_a_theme_is_remembered_and_times_are_the_readers(
    open_page: OpenPage, site: Site
) -> None:
    """Numbers and times are those of the reader's locale and zone; UTC is on hover."""
    await store(site, "many.csv", data=HEADER + GOOD_ROW * 1_234)
    options = {"color_scheme": "light", "locale": "de-DE", "timezone_id": "Asia/Tokyo"}
    async with open_page(**options) as page:
        await expect(page.get_by_role("row", name="many.csv")).to_contain_text("1.234")
        moment = page.locator("table.files time")
        await expect(moment).to_have_text(re.compile("vor|jetzt"))
        await expect(moment).to_have_attribute("title", re.compile(r"\(\d{4}-\d\d-\d\d .* UTC\)$"))
        root, button = page.locator("html"), page.get_by_role("button", name="Theme")
        light = await page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        await button.click()
        await button.click()
        await expect(root).to_have_attribute("data-theme", "dark")
        await page.reload()
        await expect(root).to_have_attribute("data-theme", "dark")
        assert (
            await page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
            != light
        )


async def test_nothing_runs_over_the_page_on_any_screen_nor_on_paper(
    open_page: OpenPage, site: Site
) -> None:
    """On paper there is the table, dark on white whatever the theme, and nothing to click."""
    await store(site, "a-name-without-any-space-" + "x" * 200 + ".csv")
    async with open_page(color_scheme="dark") as page:
        await expect(page.locator("table.files tbody tr")).to_have_count(1)
        for width in WIDTHS:
            await page.set_viewport_size({"width": width, "height": 800})
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
        await page.emulate_media(media="print", color_scheme="dark")
        await expect(page.locator("table.files")).to_be_visible()
        await expect(page.locator(":is(button, input):visible")).to_have_count(0)
        assert await page.evaluate(PAPER) == "rgb(255, 255, 255)"


async def test_every_control_is_reached_by_keyboard(open_page: OpenPage, site: Site) -> None:
    """In the order of the page, from the link that skips to its content on.

    What was reached stays so when the table is fetched anew, for whatever reason.
    """
    await store(site, "a.csv")
    async with open_page() as page:
        await expect(page.locator("#live-state")).to_have_text("Live")
        reached = []
        for _ in range(26):
            await page.keyboard.press("Tab")
            reached.append(
                await page.evaluate(
                    "(document.activeElement.ariaLabel || document.activeElement.innerText ||"
                    " document.activeElement.placeholder || '').trim().split('\\n')[0]"
                )
            )
        wanted = ["Skip to the content", "aggsvc", "Theme: system", "Choose files"]
        wanted += ["Choose a folder", "Search by name", "Select all on this page", "Name"]
        wanted += ["Select a.csv", "a.csv", "50"]
        positions = [reached.index(name) for name in wanted]
        assert positions == sorted(positions), reached
        for link in ("#by-size_bytes", "#of-processed"):
            await page.locator(link).focus()
            await page.keyboard.press("Enter")
            await expect(page).to_have_url(re.compile("size_bytes" if "by" in link else "status"))
            await expect(page.locator(link)).to_be_focused()
        link = page.get_by_role("link", name="a.csv")
        await link.focus()
        await store(site, "b.csv")
        await wait_for_names(page, "b.csv", "a.csv")
        await expect(link).to_be_focused()
        await page.get_by_label("Select a.csv").check()
        await page.locator("#delete-chosen").press("Enter")
        await page.keyboard.press("Escape")
        await expect(page.locator("#delete-chosen")).to_be_focused()

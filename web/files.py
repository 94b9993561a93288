"""The dashboard: uploads, what is under way, and one page of the files, filtered and sorted."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import urlencode

from aiohttp import web

from aggsvc.errors import InvalidRequest
from aggsvc.http.routing import Route, Scope
from aggsvc.http.uploads import open_form
from aggsvc.keys import ADMISSION, SERVICE, THROUGHPUT
from aggsvc.model import Status
from web.render import FOLDER, render

LIMITS = (25, 50, 100)
SAMPLE = FOLDER / "samples/readings.csv"
# A status with any file at all has at least this share of the bar, in percent.
LEAST_SHARE = 1.5


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table: by what it is sorted, and how at first."""

    title: str
    sort: str = ""
    is_figure: bool = False

    def next_sort(self, sort: str) -> str:
        """The sort that its head leads to from this one: figures begin with the largest."""
        first, other = (
            (f"-{self.sort}", self.sort) if self.is_figure else (self.sort, f"-{self.sort}")
        )
        return other if sort == first else first

    def direction(self, sort: str) -> str:
        """How the column is sorted, in the words of aria-sort."""
        directions = {self.sort: "ascending", f"-{self.sort}": "descending"}
        return directions.get(sort, "none") if self.sort else "none"


@dataclass(frozen=True, slots=True)
class AgeColumn(Column):
    """The age: what is newest first has its ages ascending."""

    def next_sort(self, sort: str) -> str:
        """Newest first, and oldest first from there."""
        return "" if sort else "uploaded_at"

    def direction(self, sort: str) -> str:
        """As of any column, but of the age."""
        return {"": "ascending", "uploaded_at": "descending"}.get(sort, "none")


COLUMNS = (
    Column("Name", "filename"),
    Column("Status", "status"),
    Column("Rows", is_figure=True),
    Column("Errors", "error_count", is_figure=True),
    Column("Size", "size_bytes", is_figure=True),
    Column("Duration", "processing_ms", is_figure=True),
    AgeColumn("Age", is_figure=True),
)


@dataclass(frozen=True, slots=True)
class Listing:
    """What of the files is shown, as the page's address tells it."""

    status: Status | None = None
    q: str = ""
    sort: str = ""
    limit: int = LIMITS[0]
    cursor: str = ""

    @classmethod
    def of(cls, request: web.Request) -> Self:
        """The listing of that address; what makes no sense in it counts as left out."""
        query = request.query
        status, limit = query.get("status", ""), query.get("limit", "")
        return cls(
            Status(status) if status in set(Status) else None,
            query.get("q", ""),
            query.get("sort", ""),
            int(limit) if limit in map(str, LIMITS) else LIMITS[0],
            query.get("cursor", ""),
        )

    @property
    def order(self) -> str:
        """How the files are sorted, in words."""
        if self.sort in ("", "-uploaded_at"):
            return "newest first"
        column = next(column for column in COLUMNS if column.direction(self.sort) != "none")
        return f"sorted by {column.title.lower()}, {column.direction(self.sort)}"

    def url(self, **changes: Any) -> str:
        """The address of the listing with these changes, from its first page on."""
        query = self.query(**{"cursor": "", **changes})
        return f"/ui?{urlencode(query)}" if query else "/ui"

    def query(self, **changes: Any) -> dict[str, Any]:
        """What the address says of the listing with these changes."""
        wanted = replace(self, **changes)
        return {
            name: getattr(wanted, name)
            for name in self.__slots__
            if getattr(wanted, name) and getattr(wanted, name) != getattr(Listing(), name)
        }


async def to_files(_request: web.Request) -> web.Response:
    """GET /: the files page."""
    raise web.HTTPFound("/ui")


async def files_page(request: web.Request) -> web.Response:
    """GET /ui: the upload form and one page of files."""
    return await show_files(request, [])


async def upload_files(request: web.Request) -> web.Response:
    """POST /ui: keep each file of the form; refusals are shown above the list."""
    refused, accepted = [], 0
    async with open_form(request) as form:
        async for upload in form.uploads:
            try:
                await request.app[SERVICE].submit(upload.filename, upload.chunks)
                accepted += 1
            except InvalidRequest as error:
                refused.append(f"{upload.filename}: {error}")
    if not refused and not accepted:
        refused.append("Choose a CSV file first")
    if refused:
        return await show_files(request, refused, HTTPStatus.BAD_REQUEST)
    raise web.HTTPSeeOther("/ui")


async def try_sample(request: web.Request) -> web.Response:
    """POST /ui/sample: upload a sample and show its page."""
    with request.app[ADMISSION].upload():
        record = await request.app[SERVICE].submit(SAMPLE.name, _content_of_sample())
    raise web.HTTPSeeOther(f"/ui/files/{record.file_id}")


async def show_files(
    request: web.Request, refused: list[str], status: HTTPStatus = HTTPStatus.OK
) -> web.Response:
    """The files page, with what was refused."""
    service, listing = request.app[SERVICE], Listing.of(request)
    page = await service.list(
        status=listing.status,
        search=listing.q,
        sort=listing.sort,
        limit=listing.limit,
        cursor=listing.cursor or None,
    )
    counts = await service.count_by_status()
    context = {
        "files": page.items,
        "listing": listing,
        "columns": COLUMNS,
        "limits": LIMITS,
        "statuses": list(Status),
        "counts": counts,
        "total": sum(counts.values()),
        "shares": _shares(counts),
        "throughput": request.app[THROUGHPUT],
        "next_cursor": page.cursor,
        "refused": refused,
    }
    return render("files.html", request, context, status)


def _shares(counts: dict[str, int]) -> list[tuple[Status, float, float]]:
    """Each status that occurs, with the start and the width of its part of a bar of 100."""
    total = sum(counts.values())
    occurring = [status for status in Status if counts.get(status)]
    widths = [max(LEAST_SHARE, counts[status] / total * 100) for status in occurring]
    scale = 100 / sum(widths) if widths else 0
    shares, start = [], 0.0
    for status, width in zip(occurring, widths, strict=True):
        shares.append((status, round(start, 2), round(width * scale, 2)))
        start += width * scale
    return shares


async def _content_of_sample() -> AsyncIterator[bytes]:
    yield await asyncio.to_thread(SAMPLE.read_bytes)


ROUTES = (
    Route("GET", "/", to_files, "home", None),
    Route("GET", "/ui", files_page, "files_page", Scope.READ),
    Route("POST", "/ui", upload_files, "upload_files", Scope.WRITE, takes_files=True),
    Route("POST", "/ui/sample", try_sample, "try_sample", Scope.WRITE),
)
"""The dashboard's routes."""

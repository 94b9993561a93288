"""A multipart body: its parts in turn, each handed on as it comes and none of it kept."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp.helpers import parse_mimetype
from aiohttp.http import HeadersParser
from aiohttp.http_exceptions import HttpProcessingError

from aggsvc.errors import InvalidUpload

MAX_BOUNDARY = 70
MAX_LINE = 8190
MAX_FIELDS = 128  # header fields of one part
# Lines of the body that are no part's content: boundaries and headers.
MAX_LINES = 10_000
LINES_A_TURN = 64
# What may be skipped: the preamble, and what nobody wanted of the parts.
MAX_SKIPPED_BYTES = 1024 * 1024
HOW = "send multipart/form-data with the CSV in the field 'file'"


class Multipart:
    """Reads the body from front to end; raises InvalidUpload where it is none.

    `receive` gives the bytes that come next, b"" at the end.
    """

    def __init__(self, content_type: str, receive: Callable[[], Awaitable[bytes]]) -> None:
        self._mark = b"--" + _boundary(content_type)
        self._delimiter = b"\r\n" + self._mark
        self._receive = receive
        self._data = b""
        self._at = 0  # what comes before has been read
        self._lines = 0
        self._skipped = 0
        self._begun = False
        self._inside = False
        self._ended = False

    async def next_part(self) -> Mapping[str, str] | None:
        """The next part's header; None behind the last. What was not read of a part is skipped."""
        if not self._begun:
            self._begun = True
            await self._begin_content()  # the preamble's
        await self.skip()
        if not self._ended:
            self._ended = await self._is_last()
        if self._ended:
            return None
        header = await self._header()
        await self._begin_content()
        return header

    async def read(self) -> bytes:
        """The bytes of the part that come next, b"" at its end."""
        while self._inside:
            end = self._data.find(self._delimiter, self._at)
            if end >= 0:
                return self._end_content(end)
            if content := self._take(self._certain_end()):
                return content
            await self._more()
        return b""

    async def skip(self, keep: int = 0) -> bytes:
        """Read past what is left of the part; its first `keep` bytes."""
        kept = b""
        while content := await self.read():
            self._skipped += len(content)
            if self._skipped > MAX_SKIPPED_BYTES:
                raise InvalidUpload(f"what comes beside the field 'file' is too large; {HOW}")
            kept += content[: keep - len(kept)]
        return kept

    async def _begin_content(self) -> None:
        """A boundary may come at once, its line end being the one that was read last."""
        while len(self._data) - self._at < len(self._mark):
            await self._more()
        self._inside = not self._data.startswith(self._mark, self._at)
        if not self._inside:
            self._at += len(self._mark)

    def _end_content(self, end: int) -> bytes:
        self._inside = False
        content = self._take(end)
        self._at += len(self._delimiter)
        return content

    def _certain_end(self) -> int:
        """Where the data end, or where something begins that may become the delimiter."""
        size = len(self._data)
        start = self._data.rfind(b"\r", max(self._at, size - len(self._delimiter)))
        return start if start >= 0 and self._delimiter.startswith(self._data[start:]) else size

    async def _is_last(self) -> bool:
        """Read what follows a boundary: whether it ends the body."""
        rest = (await self._line(may_end=True)).rstrip()
        if rest not in (b"", b"--"):
            raise broken(f"{rest[:40]!r} behind a boundary")
        return rest == b"--"

    async def _header(self) -> Mapping[str, str]:
        lines = []
        while line := (await self._line()).rstrip(b"\r\n"):
            lines.append(line)
            if len(lines) > MAX_FIELDS:
                raise broken(f"a part has more than {MAX_FIELDS} header fields")
        try:
            return HeadersParser().parse_headers([*lines, b""])[0]
        except HttpProcessingError as error:
            raise broken(error) from None

    async def _line(self, *, may_end: bool = False) -> bytes:
        """The next line; with `may_end` what there is of it where the body ends."""
        self._lines += 1
        if self._lines > MAX_LINES:
            raise broken(f"more than {MAX_LINES:,} lines outside of its parts' content")
        if self._lines % LINES_A_TURN == 0:
            await asyncio.sleep(0)  # lines that are there already are read without a pause
        while (end := self._data.find(b"\n", self._at, self._at + MAX_LINE) + 1) == 0:
            if len(self._data) - self._at > MAX_LINE:
                raise broken(f"a line of more than {MAX_LINE:,} bytes")
            if may_end and not await self._fetch():
                return self._take(len(self._data))
            if not may_end:
                await self._more()
        return self._take(end)

    def _take(self, end: int) -> bytes:
        taken = self._data[self._at : end]
        self._at = end
        if end == len(self._data):  # so that it is not kept until more comes
            self._data, self._at = b"", 0
        return taken

    async def _more(self) -> None:
        if not await self._fetch():
            raise broken("it ends before its last boundary")

    async def _fetch(self) -> bool:
        more = await self._receive()
        self._data, self._at = self._data[self._at :] + more, 0
        return bool(more)


def broken(why: object) -> InvalidUpload:
    """The refusal of a body that cannot be read."""
    reason = str(why).splitlines()[-1].strip() if str(why) else "unreadable"
    return InvalidUpload(f"the multipart body is broken or cut short ({reason}); send it again")


def _boundary(content_type: str) -> bytes:
    boundary = parse_mimetype(content_type).parameters.get("boundary", "")
    if not 0 < len(boundary) <= MAX_BOUNDARY:
        raise InvalidUpload(
            f"the Content-Type names no boundary of 1 to {MAX_BOUNDARY} characters; {HOW}"
        )
    return boundary.encode("utf-8", "surrogateescape")

"""Uploads: the field `file` of a multipart body as a stream, and nothing else of it kept."""

import asyncio
import re
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import BodyPartReader, HttpVersion11, MultipartReader, StreamReader, web
from aiohttp.hdrs import CONTENT_ENCODING, CONTENT_TRANSFER_ENCODING, EXPECT
from aiohttp.http_exceptions import HttpProcessingError

from aggsvc.errors import InvalidRequest, TooLarge, UnknownExpectation, UnsupportedMedia
from aggsvc.http.pace import Pace
from aggsvc.keys import ADMISSION, SETTINGS, TRANSFERS

FIELD = "file"
# Handed on in pieces of about this size. Each upload under way holds a few of them.
CHUNK_BYTES = 64 * 1024
# What other fields may hold altogether; they are read past.
OTHER_FIELDS_BYTES = 1024 * 1024
# What a body may hold beside the file: the other fields, boundaries and headers.
BESIDE_BYTES = 2 * OTHER_FIELDS_BYTES
# Lines of the body that are no part's content: preamble, boundaries, headers.
MAX_LINES = 10_000
LINES_A_TURN = 8
MAX_FILENAME_CHARS = 255
UNNAMED = "unnamed.csv"
PLAIN_ENCODINGS = ("", "7bit", "8bit", "binary")
# What aiohttp raises for a multipart body that is not one.
BROKEN = (ValueError, AssertionError, RuntimeError, RuntimeWarning, HttpProcessingError)
HOW = "send multipart/form-data with the CSV in the field 'file'"


@dataclass(frozen=True, slots=True)
class Upload:
    """One file on its way in; its chunks raise InvalidRequest where the body is not right."""

    filename: str
    chunks: AsyncIterator[bytes]


@asynccontextmanager
async def open_upload(request: web.Request, *, is_replay: bool = False) -> AsyncIterator[Upload]:
    """The one field `file`; raises InvalidRequest, UnsupportedMedia, TooLarge, TooSlow, Busy.

    What the request's head tells to be refused is so before any of the body is read.
    """
    most = request.app[SETTINGS].max_upload_bytes
    with request.app[ADMISSION].upload(is_replay=is_replay):
        if (request.content_length or 0) > most + BESIDE_BYTES:
            raise _too_large(most)
        async with _open_body(request) as body:
            part = await body.next_file()
            if part is None:
                raise InvalidRequest(f"the body has no field 'file'; {HOW}")
            yield Upload(clean_filename(part.filename), body.only(part))


@asynccontextmanager
async def open_uploads(request: web.Request) -> AsyncIterator[AsyncIterator[Upload]]:
    """Each field `file` in turn, to be read before the next; raises as open_upload does."""
    request.app[ADMISSION].job()
    async with _open_body(request) as body, aclosing(_each(request, body)) as uploads:
        yield uploads


async def _each(request: web.Request, body: "_Body") -> AsyncGenerator[Upload]:
    while (part := await body.next_file()) is not None:
        with request.app[ADMISSION].upload():
            yield Upload(clean_filename(part.filename), body.chunks(part))


@asynccontextmanager
async def _open_body(request: web.Request) -> AsyncIterator["_Body"]:
    if not request.content_type.startswith("multipart/"):
        raise UnsupportedMedia(f"the body is {request.content_type}; {HOW}")
    settings = request.app[SETTINGS]
    with request.app[TRANSFERS].begin(settings.min_upload_rate, settings.body_timeout) as pace:
        reader = _multipart(request, pace)
        await _continue(request)
        yield _Body(reader, settings.max_upload_bytes)


async def _continue(request: web.Request) -> None:
    expected = request.headers.get(EXPECT)
    if expected is None or request.version < HttpVersion11:
        return
    if expected.lower() != "100-continue":
        raise UnknownExpectation(f"Expect: {expected[:40]!r} is not known; it is 100-continue")
    if not request.content.is_eof():
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun


def _multipart(request: web.Request, pace: Pace) -> MultipartReader:
    try:
        return MultipartReader(request.headers, _Stream(request.content, pace))  # type: ignore[arg-type]
    except BROKEN as error:
        raise InvalidRequest(f"the multipart body cannot be read ({error}); {HOW}") from None


class _Stream:
    """A body's stream that is read at its client's pace, a bounded number of lines of it."""

    def __init__(self, stream: StreamReader, pace: Pace) -> None:
        self._stream = stream
        self._pace = pace
        self._count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def read(self, size: int = -1) -> bytes:
        return await self._arrived(self._stream.read(size))

    async def readline(self, **options: Any) -> bytes:
        self._count += 1
        if self._count > MAX_LINES:
            raise ValueError(f"more than {MAX_LINES:,} lines outside of its parts' content")
        if self._count % LINES_A_TURN == 0:
            await asyncio.sleep(0)  # lines that are there already are read without a pause
        return await self._arrived(self._stream.readline(**options))

    async def _arrived(self, reading: Awaitable[bytes]) -> bytes:
        if self._stream.is_eof():  # all of it is here, so there is nobody to wait for
            return await reading
        return await self._pace.receive(reading)


class _Body:
    """A multipart body that is read once, from front to end."""

    def __init__(self, reader: MultipartReader, max_file_bytes: int) -> None:
        self._reader = reader
        self._max_file_bytes = max_file_bytes
        self._others = 0

    async def next_file(self) -> BodyPartReader | None:
        """The next part named `file`, or None at the end of the body."""
        while (part := await self._next_part()) is not None:
            if _name_of(part) == FIELD:
                return part
            await self._skip(part)
        return None

    async def chunks(self, part: BodyPartReader) -> AsyncIterator[bytes]:
        """The part's bytes, counted whatever Content-Length says."""
        _require_plain(part)
        size = 0
        async for chunk in _read(part):
            size += len(chunk)
            if size > self._max_file_bytes:
                raise _too_large(self._max_file_bytes)
            yield chunk

    async def only(self, part: BodyPartReader) -> AsyncIterator[bytes]:
        """The part's bytes; then the rest of the body is read, to see that all of it is right."""
        async for chunk in self.chunks(part):
            yield chunk
        if await self.next_file() is not None:
            raise InvalidRequest("the body has more than one field 'file'; send one file a request")

    async def _next_part(self) -> BodyPartReader | None:
        try:
            part = await self._reader.next()
        except BROKEN as error:
            raise _broken(error) from None
        if isinstance(part, MultipartReader):
            raise InvalidRequest(f"the body has a multipart within the multipart; {HOW}")
        return part

    async def _skip(self, part: BodyPartReader) -> None:
        async for chunk in _read(part):
            self._others += len(chunk)
            if self._others > OTHER_FIELDS_BYTES:
                raise InvalidRequest(f"fields other than 'file' are too large; {HOW}")


async def _read(part: BodyPartReader) -> AsyncIterator[bytes]:
    """The part's bytes in chunks of about CHUNK_BYTES."""
    gathered = bytearray()
    try:
        while chunk := await part.read_chunk(CHUNK_BYTES):
            gathered += chunk
            if len(gathered) >= CHUNK_BYTES:
                yield bytes(gathered)
                gathered.clear()
    except BROKEN as error:
        raise _broken(error) from None
    if not part.at_eof():
        raise _broken(ValueError("it ends before its last boundary"))
    if gathered:
        yield bytes(gathered)


def _name_of(part: BodyPartReader) -> str | None:
    with warnings.catch_warnings(action="error"):  # aiohttp warns and goes on without the name
        try:
            name, _readable = part.name, part.filename
        except (RuntimeWarning, ValueError):
            raise InvalidRequest("a field's Content-Disposition is malformed") from None
    return name


def _require_plain(part: BodyPartReader) -> None:
    encoding = part.headers.get(CONTENT_TRANSFER_ENCODING, "").lower()
    if encoding not in PLAIN_ENCODINGS or CONTENT_ENCODING in part.headers:
        raise InvalidRequest("the field 'file' is encoded; send its bytes as they are")


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"the file is larger than {most:,} bytes, the most that is taken; split it")


def _broken(error: Exception) -> InvalidRequest:
    why = str(error).splitlines()[-1].strip() if str(error) else "unreadable"
    return InvalidRequest(f"the multipart body is broken or cut short ({why}); send it again")


def clean_filename(name: str | None) -> str:
    """The last part of the path that a client gave, as text that can be shown and stored."""
    last = (name or "").replace("\\", "/").rpartition("/")[2]
    readable = re.sub("[\ud800-\udfff]", "\ufffd", last)
    printable = "".join(char for char in readable if char.isprintable()).strip()
    return printable[:MAX_FILENAME_CHARS] or UNNAMED

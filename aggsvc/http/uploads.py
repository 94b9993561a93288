"""Uploads: the field `file` of a multipart body as a stream, and nothing else of it kept."""

import io
import re
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from aiohttp import (
    HttpVersion11,
    StreamReader,
    content_disposition_filename,
    parse_content_disposition,
    web,
)
from aiohttp.hdrs import (
    CONTENT_DISPOSITION,
    CONTENT_ENCODING,
    CONTENT_TRANSFER_ENCODING,
    CONTENT_TYPE,
    EXPECT,
)
from aiohttp.http_exceptions import HttpProcessingError

from aggsvc.errors import InvalidUpload, TooLarge, UnknownExpectation, UnsupportedMedia
from aggsvc.http.admission import Admission
from aggsvc.http.forms import check_upload_token
from aggsvc.http.multipart import HOW, MAX_SKIPPED_BYTES, Multipart, broken
from aggsvc.http.pace import Pace
from aggsvc.keys import ADMISSION, SETTINGS, TRANSFERS

FIELD = "file"
# A file is handed on in pieces, of which each upload under way holds a few. The fewer uploads, the
# larger the pieces, for each costs some hops between threads.
MIN_PIECE, MAX_PIECE = 64 * 1024, 1024 * 1024
PIECES_BYTES = 16 * 1024 * 1024
# What a body may hold beside the file: what is read past, boundaries and headers.
BESIDE_BYTES = 2 * MAX_SKIPPED_BYTES
# Text fields that come before the file are kept while they hold no more than this altogether.
FIELDS_BYTES = 16 * 1024
MAX_FILENAME_CHARS = 255
UNNAMED = "unnamed.csv"
PLAIN_ENCODINGS = ("", "7bit", "8bit", "binary")
# What aiohttp raises for a body whose framing is broken, or that its client breaks off.
BROKEN = (ValueError, RuntimeError, HttpProcessingError)


@dataclass(frozen=True, slots=True)
class Upload:
    """One file on its way in; its chunks raise InvalidUpload where the body is not right."""

    filename: str
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Form:
    """A page's form: the text fields that came before its first file, and its files in turn."""

    fields: Mapping[str, str]
    uploads: AsyncIterator[Upload]


@asynccontextmanager
async def open_upload(request: web.Request, *, is_replay: bool = False) -> AsyncIterator[Upload]:
    """The one field `file`; raises InvalidUpload, UnsupportedMedia, TooLarge, TooSlow, Busy.

    What the request's head tells to be refused is so before any of the body is read.
    """
    most = request.app[SETTINGS].max_upload_bytes
    with request.app[ADMISSION].upload(is_replay=is_replay):
        if (request.content_length or 0) > most + BESIDE_BYTES:
            raise _too_large(most)
        async with _open_body(request) as body:
            if not await body.next_file():
                raise InvalidUpload(f"the body has no field 'file'; {HOW}", FIELD)
            check_upload_token(request, body.fields)
            yield Upload(body.filename, body.only())


@asynccontextmanager
async def open_form(request: web.Request) -> AsyncIterator[Form]:
    """Each field `file` in turn, to be read before the next; raises as open_upload does."""
    request.app[ADMISSION].job()
    async with _open_body(request) as body:
        is_file = await body.next_file()
        check_upload_token(request, body.fields)
        async with aclosing(_each(body, is_file, request.app[ADMISSION])) as uploads:
            yield Form(body.fields, uploads)


async def _each(body: "_Body", is_file: bool, admission: Admission) -> AsyncGenerator[Upload]:
    while is_file:
        with admission.upload():
            yield Upload(body.filename, body.chunks())
        is_file = await body.next_file()


@asynccontextmanager
async def _open_body(request: web.Request) -> AsyncIterator["_Body"]:
    if not request.content_type.startswith("multipart/"):
        raise UnsupportedMedia(f"the body is {request.content_type}; {HOW}", CONTENT_TYPE)
    settings, admission = request.app[SETTINGS], request.app[ADMISSION]
    with request.app[TRANSFERS].begin(settings.min_upload_rate, settings.body_timeout) as pace:
        body = Multipart(request.headers[CONTENT_TYPE], _receiver(request.content, pace))
        await _continue(request)
        yield _Body(body, settings.max_upload_bytes, admission)


async def _continue(request: web.Request) -> None:
    expected = request.headers.get(EXPECT)
    if expected is None or request.version < HttpVersion11:
        return
    if expected.lower() != "100-continue":
        raise UnknownExpectation(
            f"Expect: {expected[:40]!r} is not known; it is 100-continue", EXPECT
        )
    if not request.content.is_eof():
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun


def _receiver(stream: StreamReader, pace: Pace) -> Callable[[], Awaitable[bytes]]:
    """What reads the stream at its client's pace."""

    async def receive() -> bytes:
        try:
            if stream.is_eof():  # all of it is here, so there is nobody to wait for
                return await stream.readany()
            return await pace.receive(stream.readany())
        except BROKEN as error:
            raise broken(error) from None

    return receive


class _Body:
    """A multipart body that is read once, from front to end, one file of it at a time."""

    def __init__(self, parts: Multipart, max_file_bytes: int, admission: Admission) -> None:
        self._parts = parts
        self._max_file_bytes = max_file_bytes
        self._admission = admission
        self._header: Mapping[str, str] = {}
        self._room = FIELDS_BYTES
        self.filename = ""
        self.fields: dict[str, str] = {}

    async def next_file(self) -> bool:
        """Go on to the next part named `file`, past others; False at the end of the body."""
        while (header := await self._parts.next_part()) is not None:
            if header.get(CONTENT_TYPE, "").strip().lower().startswith("multipart/"):
                raise InvalidUpload(f"the body has a multipart within the multipart; {HOW}")
            name, filename = _names(header)
            if name == FIELD:
                self._header, self.filename = header, clean_filename(filename)
                return True
            if name and not self.filename:
                await self._keep(name)
        return False

    async def chunks(self) -> AsyncIterator[bytes]:
        """The file's bytes, counted whatever Content-Length says."""
        _require_plain(self._header)
        room, piece = self._max_file_bytes, io.BytesIO()
        while size := piece.write(await self._parts.read()):
            room -= size
            if room < 0:
                raise _too_large(self._max_file_bytes)
            if piece.tell() >= self._piece_bytes():
                yield piece.getvalue()
                piece = io.BytesIO()
        if piece.tell():
            yield piece.getvalue()

    async def only(self) -> AsyncIterator[bytes]:
        """The file's bytes; then the rest of the body is read, to see that all of it is right."""
        async for chunk in self.chunks():
            yield chunk
        if await self.next_file():
            raise InvalidUpload(
                "the body has more than one field 'file'; send one file a request", FIELD
            )

    async def _keep(self, name: str) -> None:
        """Keep a field's text if there is room for it."""
        value = await self._parts.skip(keep=self._room + 1)
        if len(name) + len(value) <= self._room:
            self._room -= len(name) + len(value)
            self.fields.setdefault(name, value.decode(errors="replace"))

    def _piece_bytes(self) -> int:
        return min(MAX_PIECE, max(MIN_PIECE, PIECES_BYTES // max(1, self._admission.uploads)))


def _names(header: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The names of a part and of its file."""
    with warnings.catch_warnings(action="error"):  # aiohttp warns and goes on without the name
        try:
            parameters = parse_content_disposition(header.get(CONTENT_DISPOSITION))[1]
            name = content_disposition_filename(parameters, "name")
            return name, content_disposition_filename(parameters)
        except (RuntimeWarning, ValueError):
            raise InvalidUpload("a field's Content-Disposition is malformed") from None


def _require_plain(header: Mapping[str, str]) -> None:
    encoding = header.get(CONTENT_TRANSFER_ENCODING, "").lower()
    if encoding not in PLAIN_ENCODINGS or CONTENT_ENCODING in header:
        raise InvalidUpload("the field 'file' is encoded; send its bytes as they are", FIELD)


def _too_large(most: int) -> TooLarge:
    return TooLarge(
        f"the file is larger than {most:,} bytes, the most that is taken; split it", FIELD
    )


def clean_filename(name: str | None) -> str:
    """The last part of the path that a client gave, as text that can be shown and stored."""
    last = (name or "").replace("\\", "/").rpartition("/")[2]
    readable = re.sub("[\ud800-\udfff]", "\ufffd", last)
    printable = "".join(char for char in readable if char.isprintable()).strip()
    return printable[:MAX_FILENAME_CHARS] or UNNAMED

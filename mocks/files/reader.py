"""Files read as they were when they were opened, and their last bytes."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, Self

import aiofiles
from aiofiles.threadpool.binary import AsyncBufferedReader

from aggsvc.errors import StoreUnavailable
from mocks.files.failures import FileMissing, available
from mocks.files.pool import Pool

SMALL = 256 * 1024  # what is read whole, in one hop


class FileEnd(NamedTuple):
    """The last bytes of a file, its size and its time of change in ns."""

    tail: bytes
    size: int
    modified: int


class Reader:
    """An open file: it stays as it was when opened, also when replaced or removed meanwhile."""

    def __init__(self, path: Path, file: AsyncBufferedReader, end: FileEnd) -> None:
        self.end = end
        self._path = path
        self._file = file

    async def chunks(self, start: int, length: int, size: int) -> "Chunks":
        """The bytes asked for, in chunks of at most that size; the file must have them."""
        with available("read", self._path):
            await self._file.seek(start)
        return Chunks(self._path, self._file, length, size)


class Chunks:
    """Bytes of an open file: in chunks, or put into memory that is given."""

    def __init__(self, path: Path, file: AsyncBufferedReader, length: int, size: int) -> None:
        self._path = path
        self._file = file
        self._left = length
        self._size = size

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        with available("read", self._path):
            chunk = await self._file.read(min(self._size, self._left))
        self._take(len(chunk))
        return chunk

    async def readinto(self, buffer: memoryview) -> int:
        """Put the next bytes into the buffer, as many as have room; returns how many."""
        if not self._left:
            return 0
        with available("read", self._path):
            size = await self._file.readinto(buffer[: self._left]) or 0
        self._take(size)
        return size

    def _take(self, size: int) -> None:
        if not size:
            raise StoreUnavailable(f"{self._path} became shorter while it was read")
        self._left -= size


class WholeFile:
    """A small file in memory, read as a Reader is."""

    def __init__(self, data: bytes, modified: int, tail: int) -> None:
        self.end = FileEnd(data[-tail:], len(data), modified)
        self._data = data

    async def chunks(self, start: int, length: int, size: int) -> AsyncIterator[bytes]:
        """The bytes asked for, in chunks of at most that size; the file must have them."""
        return self._chunks(start, length, size)

    async def _chunks(self, start: int, length: int, size: int) -> AsyncIterator[bytes]:
        for place in range(start, start + length, size):
            yield self._data[place : min(place + size, start + length)]


@asynccontextmanager
async def reading(pool: Pool, path: Path, tail: int) -> AsyncIterator[Reader | WholeFile]:
    """Open a file as it is now, with its last bytes; raises FileMissing.

    A small file is read whole, in one hop.
    """
    with available("read", path):
        whole = await pool.run(_read_small, path, tail)
    if whole is not None:
        yield whole
        return
    opening = pool.spawn(_open(pool, path))
    try:
        file = await asyncio.shield(opening)
        with available("read", path):
            end = await pool.run(_read_end, file.fileno(), tail)
        yield Reader(path, file, end)
    finally:
        await pool.finish(_close_opened(opening))


def read_ends(paths: Sequence[Path], tail: int) -> list[FileEnd | None]:
    """The last bytes of each file, None where there is none."""
    return [_read_end_of(path, tail) for path in paths]


async def _open(pool: Pool, path: Path) -> AsyncBufferedReader:
    try:
        return await aiofiles.open(path, "rb", executor=pool.executor)
    except FileNotFoundError as error:
        raise FileMissing(f"{path} is missing") from error
    except OSError as error:
        raise StoreUnavailable(f"cannot read {path}: {error.strerror}") from error


async def _close_opened(opening: asyncio.Task[AsyncBufferedReader]) -> None:
    await asyncio.wait({opening})
    if not opening.cancelled() and not opening.exception():
        await opening.result().close()


def _read_small(path: Path, tail: int) -> WholeFile | None:
    """The file if it is small, else None."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise FileMissing(f"{path} is missing") from error
    try:
        stat = os.fstat(fd)
        if stat.st_size > SMALL:
            return None
        return WholeFile(os.pread(fd, stat.st_size, 0), stat.st_mtime_ns, tail)
    finally:
        os.close(fd)


def _read_end(fd: int, tail: int) -> FileEnd:
    stat = os.fstat(fd)
    start = max(0, stat.st_size - tail)
    return FileEnd(os.pread(fd, stat.st_size - start, start), stat.st_size, stat.st_mtime_ns)


def _read_end_of(path: Path, tail: int) -> FileEnd | None:
    with available("read", path):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            return _read_end(fd, tail)
        finally:
            os.close(fd)

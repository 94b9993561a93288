"""NewFile: a file that appears whole or not at all."""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from mocks.files.failures import available, synced
from mocks.files.pool import Pool

P = ParamSpec("P")
T = TypeVar("T")

CHUNK = 256 * 1024  # bytes written per hop at least
# Who gives a new file so much at a time need not take little memory: it is written behind.
LARGE = 2 * CHUNK
# So much of a new file is left to the last sync at most, in whose time its client waits.
UNWRITTEN = 8 * 1024 * 1024


class NewFile:
    """A file written under a temporary name, then published whole or dropped."""

    def __init__(self, pool: Pool, temporary: Path) -> None:
        self._pool = pool
        self._disk = pool.disk
        self._temporary = temporary
        self._fd: int | None = None
        self._exists = False
        self._dropped = False
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._writing: asyncio.Task[int | None] | None = None
        self._size = 0
        self._written_back = 0
        self._turn = asyncio.Lock()

    async def write(self, data: bytes) -> None:
        """Append data, which may wait in memory until there is a chunk of it.

        What comes in large pieces is written behind: if that fails, the next call tells.
        """
        self._buffer.append(bytes(data))
        self._buffered += len(data)
        if self._buffered >= CHUNK:
            await self._settle()
            self._writing = self._pool.spawn(self._take_turn(self._flush, self._gathered()))
            if len(data) < LARGE:
                await self._settle()

    async def publish(self, path: Path) -> int:
        """Give the file its own name, durably; its time of change in ns.

        Once dropped it raises CancelledError and publishes nothing.
        """
        await self._settle()
        rest = self._gathered()
        modified = await self._pool.finish(self._take_turn(self._put_in_place, rest, path))
        if modified is None:
            raise asyncio.CancelledError
        await self._pool.sync_folder(path.parent)
        return modified

    async def drop(self) -> None:
        """Remove what was written, unless it has been published already."""
        self._dropped = True
        if self._writing or self._turn.locked() or self._exists:
            await self._pool.finish(self._take_turn(self._remove))

    async def _settle(self) -> None:
        """Wait until what is being written is written; raises what kept it from that."""
        if self._writing:
            await asyncio.shield(self._writing)

    def _gathered(self) -> list[bytes]:
        gathered, self._buffer, self._buffered = self._buffer, [], 0
        return gathered

    async def _take_turn(self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        async with self._turn:
            return await self._pool.run(step, *args, **kwargs)

    def _flush(self, data: list[bytes]) -> int | None:
        if self._dropped:
            return None
        with available("write", self._temporary):
            if self._fd is None:
                self._fd = self._disk.create(self._temporary)
                self._exists = True
            self._disk.write(self._fd, b"".join(data))
        self._size += sum(map(len, data))
        self._write_back(self._fd)
        return self._fd

    def _write_back(self, fd: int) -> None:
        size = self._size - self._written_back
        if size >= UNWRITTEN:
            self._disk.begin_writeback(fd, self._written_back, size)
            self._written_back = self._size

    def _put_in_place(self, data: list[bytes], path: Path) -> int | None:
        fd = self._flush(data)
        if fd is None:
            return None
        with synced(self._temporary):
            self._disk.sync(fd)
        with available("write", path):
            modified = os.fstat(fd).st_mtime_ns
            self._close()
            if self._dropped:
                return None
            self._disk.rename(self._temporary, path)
        self._exists = False
        return modified

    def _remove(self) -> None:
        # What cannot be removed now has a temporary name: the next start removes it.
        with contextlib.suppress(OSError):
            if self._exists:
                self._disk.unlink(self._temporary)
        with contextlib.suppress(OSError):
            self._close()
        self._exists = False

    def _close(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            self._disk.close(fd)


def temporary(folder: Path, prefix: str) -> Path:
    """A name that no other file has: the prefix and 32 hexadecimal digits."""
    return folder / f"{prefix}{secrets.token_hex(16)}"

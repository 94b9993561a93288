"""AppendFile: a log whose appends are durable."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from aggsvc.errors import StoreUnavailable
from mocks.files.disk import Disk
from mocks.files.failures import SyncFailed, available, synced
from mocks.files.pool import Pool


class AppendFile:
    """A log: each append is on disk whole when it returns, or not in the file at all."""

    def __init__(self, pool: Pool, path: Path, fd: int, size: int) -> None:
        self.path = path
        self.size = size
        self._pool = pool
        self._disk = pool.disk
        self._fd = fd
        self._clean = True
        self._closed = False

    @classmethod
    async def create(cls, pool: Pool, path: Path) -> "AppendFile":
        """Create an empty file durably and open it; on failure there is none."""
        log = cls(pool, path, await pool.run(_create, pool.disk, path), 0)
        try:
            await pool.sync_folder(path.parent)
        except StoreUnavailable:
            await log.close()
            await pool.run(_discard, pool.disk, path)
            raise
        return log

    @classmethod
    async def reopen(cls, pool: Pool, path: Path, size: int) -> "AppendFile":
        """Open an existing file, cut to size and durable as it stands."""
        log = cls(pool, path, await pool.run(_reopen, pool.disk, path, size), size)
        await pool.sync_folder(path.parent)
        return log

    async def append(self, make: Callable[[int], bytes]) -> None:
        """Append make(size), called in the pool, and fsync it."""
        await self._pool.finish(self._pool.run(self._append, make))

    async def close(self) -> None:
        """Close the file; all that was appended is on disk already."""
        if not self._closed:
            self._closed = True
            with contextlib.suppress(OSError):
                await self._pool.finish(self._pool.run(self._disk.close, self._fd))

    def _append(self, make: Callable[[int], bytes]) -> None:
        data = make(self.size)
        with available("write", self.path):
            self._cut_back()
            self._clean = False
            try:
                self._disk.write(self._fd, data)
            except OSError:
                self._try_to_cut_back()
                raise
        self._sync()
        self._clean = True
        self.size += len(data)

    def _sync(self) -> None:
        try:
            with synced(self.path):
                self._disk.sync(self._fd)
        except SyncFailed:
            # So that at least a restart without a power loss does not find what was refused.
            with contextlib.suppress(OSError):
                self._disk.truncate(self._fd, self.size)
            raise

    def _try_to_cut_back(self) -> None:
        # Where even this fails, the next append begins with it.
        with contextlib.suppress(OSError):
            self._cut_back()

    def _cut_back(self) -> None:
        if not self._clean:
            self._disk.truncate(self._fd, self.size)
            self._sync()
            self._clean = True


def _create(disk: Disk, path: Path) -> int:
    with available("create", path):
        fd = disk.create(path)
    try:
        with synced(path):
            disk.sync(fd)
    except SyncFailed:
        disk.close(fd)
        _discard(disk, path)
        raise
    return fd


def _reopen(disk: Disk, path: Path, size: int) -> int:
    with available("open", path):
        fd = disk.reopen(path)
    try:
        with available("cut", path):
            if os.fstat(fd).st_size > size:
                disk.truncate(fd, size)
        with synced(path):
            disk.sync(fd)
    except StoreUnavailable:
        disk.close(fd)
        raise
    return fd


def _discard(disk: Disk, path: Path) -> None:
    with contextlib.suppress(OSError):
        disk.unlink(path)

"""Reserve: room held on the disk for what will make room."""

import contextlib
import os
import secrets
from pathlib import Path

from mocks.files.pool import Pool

# What a reserve is filled with: bytes that no file system keeps in less room.
FILLING = secrets.token_bytes(64 * 1024)
# What is given up of it at a time: some entries of a log, in whole blocks of the disk.
PIECE = 16 * 1024


class Reserve:
    """Room on the disk, held for what makes room: a file without a name, which no crash leaves.

    Nothing is promised, neither that there is room to hold nor that nobody takes what is given up.
    """

    def __init__(self, pool: Pool, temporary: Path) -> None:
        self._pool = pool
        self._disk = pool.disk
        self._temporary = temporary
        self._fd: int | None = None
        self._held = 0

    async def take(self) -> None:
        """Hold all of it again, or as much as there is room for."""
        if self._held < len(FILLING):
            await self._pool.finish(self._pool.run(self._take))

    async def give(self) -> bool:
        """Give a piece of it up; whether any was held."""
        if self._fd is None or not self._held:
            return False
        return await self._pool.finish(self._pool.run(self._give, self._fd))

    async def close(self) -> None:
        """Give up all of it."""
        fd, self._fd, self._held = self._fd, None, 0
        if fd is not None:
            with contextlib.suppress(OSError):
                await self._pool.finish(self._pool.run(self._disk.close, fd))

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            if self._fd is None:
                self._fd = self._disk.create(self._temporary)
                self._disk.unlink(self._temporary)
            try:
                self._disk.write(self._fd, FILLING[self._held :])
            finally:
                self._held = os.fstat(self._fd).st_size

    def _give(self, fd: int) -> bool:
        rest = max(0, self._held - PIECE)
        with contextlib.suppress(OSError):
            self._disk.truncate(fd, rest)
            self._held = rest
            return True
        return False

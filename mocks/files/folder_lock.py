"""FolderLock: a folder for one process alone."""

import fcntl
import os
from pathlib import Path

from aggsvc.errors import DataLocked
from mocks.files.failures import FULL, starting
from mocks.files.pool import Pool


class FolderLock:
    """A folder held against other processes until released, or until this process ends."""

    def __init__(self, pool: Pool, fd: int) -> None:
        self._pool = pool
        self._fd = fd
        self._held = True

    @classmethod
    async def acquire(cls, pool: Pool, folder: Path, description: str, name: str) -> "FolderLock":
        """Lock the file of that name in the folder; raises DataLocked, naming the holder."""
        with starting("lock", folder / name):
            return cls(pool, await pool.finish(pool.run(_lock, folder, name, description)))

    async def release(self) -> None:
        """Let others have the folder; a second release does nothing."""
        if self._held:
            self._held = False
            await self._pool.finish(self._pool.run(os.close, self._fd))


def _lock(folder: Path, name: str, description: str) -> int:
    fd = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _name_holder(fd, f"{os.getpid()} {description}\n".encode())
    except BlockingIOError:
        holder = os.pread(fd, 200, 0).decode(errors="replace").strip()
        os.close(fd)
        raise DataLocked(_in_use(folder, holder)) from None
    except OSError:
        os.close(fd)
        raise
    return fd


def _name_holder(fd: int, holder: bytes) -> None:
    try:
        os.ftruncate(fd, os.pwrite(fd, holder, 0))
    except OSError as error:
        if error.errno not in FULL:  # the lock holds without a name
            raise


def _in_use(folder: Path, holder: str) -> str:
    pid, _, description = holder.partition(" ")
    return (
        f"{folder} is in use by process {pid or 'unknown'} ({description or 'no description'}); "
        "stop it, or choose other data folders"
    )

"""Durable file operations off the loop: the one place where the mock stores touch the disk.

Every promise takes as few hops to the thread pool as it can. A caller may be cancelled at any
await: what a thread has begun is finished or undone, never left half done.
"""

import contextlib
import errno
import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from mocks.files.append_file import AppendFile
from mocks.files.disk import Disk
from mocks.files.failures import (
    FileFull,
    FileMissing,
    SyncFailed,
    WriteGate,
    available,
    starting,
    synced,
)
from mocks.files.folder_lock import FolderLock
from mocks.files.new_file import NewFile, temporary
from mocks.files.pool import Pool
from mocks.files.reader import FileEnd, Reader, WholeFile, read_ends, reading
from mocks.files.reserve import Reserve

__all__ = [
    "AppendFile",
    "Disk",
    "FileEnd",
    "FileFull",
    "FileMissing",
    "Files",
    "FolderLock",
    "NewFile",
    "SyncFailed",
    "WriteGate",
    "starting",
]

# What must have room for a store to be called well: more than most records take.
PROBE = bytes(64 * 1024)


class Files(Pool):
    """What the stores do with files and folders.

    Failures are StoreUnavailable: StoreFull where there is no room, SyncFailed where it was an
    fsync.
    """

    def new_file(self, folder: Path, prefix: str) -> NewFile:
        """A file that appears whole under its own name or not at all; until then the prefix and 32
        hexadecimal digits are its name.
        """
        return NewFile(self, temporary(folder, prefix))

    def reserve(self, folder: Path, prefix: str) -> Reserve:
        """Room to be held on the disk of that folder; prefix as for new_file."""
        return Reserve(self, temporary(folder, prefix))

    async def create_log(self, path: Path) -> AppendFile:
        """Create an empty file durably and open it for appending; on failure there is none."""
        return await AppendFile.create(self, path)

    async def reopen_log(self, path: Path, size: int) -> AppendFile:
        """Open an existing file for appending, cut to size and durable as it stands."""
        return await AppendFile.reopen(self, path, size)

    def reading(self, path: Path, tail: int) -> AbstractAsyncContextManager[Reader | WholeFile]:
        """Open a file as it is now, with its last bytes; raises FileMissing."""
        return reading(self, path, tail)

    async def read_ends(self, paths: Sequence[Path], tail: int) -> list[FileEnd | None]:
        """The last bytes of each file, None where there is none, all in one hop."""
        return await self.run(read_ends, paths, tail)

    async def remove(self, paths: Iterable[Path], folder: Path) -> None:
        """Remove files of one folder durably; missing ones are no error."""
        with available("remove files in", folder):
            await self.run(self._unlink_all, paths)
        await self.sync_folder(folder)

    async def make_folder(self, folder: Path) -> None:
        """Create the folder and its parents durably; existing ones are no error."""
        with available("create the folder", folder):
            await self.run(self._make_folder, folder)

    async def names(self, folder: Path) -> list[tuple[str, bool]]:
        """The folder's names, each with whether it is a folder."""
        with available("read the folder", folder):
            return await self.run(_names, folder)

    async def probe(self, folder: Path, prefix: str) -> None:
        """Write PROBE and remove it, named as new_file names its; raises StoreUnavailable."""
        with available("write in", folder):
            await self.run(self._probe, temporary(folder, prefix))

    async def lock_folder(self, folder: Path, description: str, name: str = ".lock") -> FolderLock:
        """Hold the folder against other processes; raises DataLocked, naming the holder."""
        return await FolderLock.acquire(self, folder, description, name)

    def _unlink_all(self, paths: Iterable[Path]) -> None:
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                self.disk.unlink(path)

    def _make_folder(self, folder: Path) -> None:
        if not folder.exists():
            self._make_folder(folder.parent)
            self.disk.mkdir(folder)
        elif not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
        elif not _is_ours(folder):
            return
        # Also of one that was found: who made it may have been killed, or be about to do this.
        with synced(folder.parent):
            self.disk.sync_folder(folder.parent)

    def _probe(self, path: Path) -> None:
        fd = self.disk.create(path)
        try:
            self.disk.write(fd, PROBE)
        finally:
            self.disk.close(fd)
            self.disk.unlink(path)


def _is_ours(folder: Path) -> bool:
    """Whether a process like this one can have made the folder: it is no mount point, say."""
    above = folder.parent
    return os.access(above, os.R_OK) and above.stat().st_dev == folder.stat().st_dev


def _names(folder: Path) -> list[tuple[str, bool]]:
    with os.scandir(folder) as entries:
        return [(entry.name, entry.is_dir()) for entry in entries]

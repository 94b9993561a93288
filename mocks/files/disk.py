"""Disk: the seam between the stores and the file system."""

import ctypes
import os
from pathlib import Path
from threading import Lock

# Not every system has fdatasync; fsync promises all that it does.
_sync = getattr(os, "fdatasync", os.fsync)
# Python has no name for it, and not every system has it.
_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)
_SYNC_FILE_RANGE_WRITE = 2


class Disk:
    """The blocking calls that change the disk.

    A test gives Files another one to simulate a full or failing disk, or power loss.
    """

    def __init__(self) -> None:
        self._folders: dict[Path, int] = {}
        self._opening = Lock()

    def create(self, path: Path) -> int:
        """Create the file, which must not exist, and open it for appending."""
        return os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o666
        )

    def reopen(self, path: Path) -> int:
        """Open an existing file for appending."""
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def write(self, fd: int, data: bytes) -> None:
        """Append all of data."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]

    def begin_writeback(self, fd: int, start: int, size: int) -> None:
        """Let the system begin to bring these bytes to the disk, where it can be told to.

        That promises nothing: a sync tells whether they got there.
        """
        if _sync_file_range:
            _sync_file_range(
                fd, ctypes.c_int64(start), ctypes.c_int64(size), _SYNC_FILE_RANGE_WRITE
            )

    def truncate(self, fd: int, size: int) -> None:
        """Cut the file to size."""
        os.ftruncate(fd, size)

    def sync(self, fd: int) -> None:
        """Make the file's bytes and size durable."""
        _sync(fd)

    def close(self, fd: int) -> None:
        """Close the file."""
        os.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        """Move source over target."""
        os.replace(source, target)

    def unlink(self, path: Path) -> None:
        """Remove the file's name."""
        os.unlink(path)

    def mkdir(self, path: Path) -> None:
        """Create the folder unless it is there."""
        path.mkdir(exist_ok=True)

    def sync_folder(self, path: Path) -> None:
        """Make the folder's names durable.

        The folder stays open: to find no descriptor left only when a file in it has got its name
        would look like a failed fsync.
        """
        os.fsync(self._open_folder(path))

    def close_folders(self) -> None:
        """Close the folders that were kept open."""
        while self._folders:
            os.close(self._folders.popitem()[1])

    def _open_folder(self, path: Path) -> int:
        with self._opening:
            fd = self._folders.get(path)
            if fd is not None and os.path.samestat(os.fstat(fd), path.stat()):
                return fd
            fresh = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._folders[path] = fresh
            if fd is not None:
                os.close(fd)
            return fresh

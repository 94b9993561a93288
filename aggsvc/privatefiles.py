"""Small files that only the service's own user may read, each there whole or not at all.

The calls block: the service makes them in a thread.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MODE = 0o600
FOLDER_MODE = 0o700


def replace(path: Path, data: bytes) -> None:
    """Give the file these bytes, durably; a crash leaves the old ones or the new."""
    with _written(path, data) as temporary:
        os.replace(temporary, path)
    _sync_folder(path.parent)


def create(path: Path, data: bytes) -> bool:
    """Make the file durably; False, and nothing done, where there is one."""
    try:
        with _written(path, data) as temporary:
            os.link(temporary, path)
    except FileExistsError:
        return False
    _sync_folder(path.parent)
    return True


def make_folder(folder: Path) -> None:
    """Create the folder and its parents; the folder itself is for this user only."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(FOLDER_MODE)
        _sync_folder(folder.parent)


@contextmanager
def _written(path: Path, data: bytes) -> Iterator[Path]:
    """A new file of these bytes, on disk, that goes unless it is given another name."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    try:
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

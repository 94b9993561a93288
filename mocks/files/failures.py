"""What the disk refuses, in the service's words, and what a failed fsync means from then on."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aggsvc.errors import StartRefused, StoreFull, StoreReadOnly, StoreUnavailable

# No room, no quota, or the file larger than this process may make it (RLIMIT_FSIZE).
FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


class SyncFailed(StoreReadOnly):
    """An fsync failed: what it was for may be lost, and a second one could not tell."""


class FileFull(StoreFull):
    """The file is as large as this process may make one (RLIMIT_FSIZE), however much room there is.

    So none that is made elsewhere is of any use to it.
    """


class FileMissing(StoreUnavailable):
    """there is no file of this name."""


@contextmanager
def available(doing: str, path: Path) -> Iterator[None]:
    """Translate an OSError into StoreUnavailable, StoreFull among it."""
    try:
        yield
    except OSError as error:
        raise _kind_of(error)(f"cannot {doing} {path}: {error.strerror}") from error


def _kind_of(error: OSError) -> type[StoreUnavailable]:
    if error.errno == errno.EFBIG:
        return FileFull
    return StoreFull if error.errno in FULL else StoreUnavailable


@contextmanager
def synced(path: Path) -> Iterator[None]:
    """Translate the OSError of an fsync into SyncFailed."""
    try:
        yield
    except OSError as error:
        raise SyncFailed(f"the disk failed to keep {path}: {error.strerror}") from error


@contextmanager
def starting(doing: str, path: Path) -> Iterator[None]:
    """Translate what keeps a store from opening into StartRefused."""
    try:
        yield
    except (OSError, StoreUnavailable) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        reason = cause.strerror if isinstance(cause, OSError) else str(error)
        is_full = isinstance(cause, OSError) and cause.errno in FULL
        remedy = "make room on its disk" if is_full else "let this user read and write there"
        raise StartRefused(
            f"cannot {doing} {path}: {reason}; {remedy}, or choose another place for the data"
        ) from error


class WriteGate:
    """Lets writes through until the first failed fsync, then never again."""

    def __init__(self, store: str) -> None:
        self._store = store
        self._cause: SyncFailed | None = None

    def check(self) -> None:
        """Raise StoreReadOnly if the gate is shut."""
        if self._cause:
            raise StoreReadOnly(
                f"{self._store} is read-only since an fsync failed ({self._cause}); "
                "check the disk, then restart the service"
            ) from self._cause

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Shut the gate if an fsync fails inside."""
        try:
            yield
        except SyncFailed as error:
            self._cause = self._cause or error
            raise

"""Durable file operations off the loop: the one place where the mock stores touch the disk.

Every promise takes as few hops to the thread pool as it can. A caller may be cancelled at any
await: what a thread has begun is finished or undone, never left half done.
"""

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import os
import secrets
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Sequence,
)
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, ParamSpec, Self, TypeVar

import aiofiles
import aiofiles.os
from aiofiles.threadpool.binary import AsyncBufferedReader

from aggsvc.errors import (
    DataLocked,
    StartRefused,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)

P = ParamSpec("P")
T = TypeVar("T")

# No room, no quota, or the file larger than this process may make it (RLIMIT_FSIZE).
FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
CHUNK = 256 * 1024  # bytes written per hop at least, and what is read whole
# What must have room for a store to be called well: more than most records take.
PROBE = bytes(64 * 1024)
# Who gives a new file so much at a time need not take little memory: it is written behind.
LARGE = 2 * CHUNK
# So much of a new file is left to the last sync at most, in whose time its client waits.
UNWRITTEN = 8 * 1024 * 1024
# What a reserve is filled with: bytes that no file system keeps in less room.
FILLING = secrets.token_bytes(64 * 1024)
# What is given up of it at a time: some entries of a log, in whole blocks of the disk.
PIECE = 16 * 1024


class SyncFailed(StoreReadOnly):
    """An fsync failed: what it was for may be lost, and a second one could not tell."""


class FileMissing(StoreUnavailable):
    """there is no file of this name."""


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


@contextmanager
def _available(doing: str, path: Path) -> Iterator[None]:
    """Translate an OSError into StoreUnavailable, StoreFull among it."""
    try:
        yield
    except OSError as error:
        kind = StoreFull if error.errno in FULL else StoreUnavailable
        raise kind(f"cannot {doing} {path}: {error.strerror}") from error


@contextmanager
def _synced(path: Path) -> Iterator[None]:
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


class Files:
    """The pool of threads for file I/O and what is done in it. Close it last.

    Failures are StoreUnavailable: StoreFull where there is no room, SyncFailed where it was an
    fsync.
    """

    def __init__(self, *, threads: int = 8, disk: Disk | None = None) -> None:
        self.disk = disk or Disk()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="files")
        self._tasks: set[asyncio.Task[Any]] = set()
        self._folders: dict[Path, _SharedSync] = {}

    async def close(self) -> None:
        """Wait for what is under way, then end the threads."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await asyncio.to_thread(self._pool.shutdown)
        self.disk.close_folders()

    async def run(self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking step in the pool; if cancelled, it may still run to its end."""
        hop = aiofiles.os.wrap(step)
        result: T = await hop(*args, executor=self._pool, **kwargs)
        return result

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start work that close() waits for."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work to its end, even if the caller is cancelled."""
        task = self.spawn(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task})
            raise

    def new_file(self, folder: Path, prefix: str) -> "NewFile":
        """A file that appears whole under its own name or not at all; until then the prefix and 32
        hexadecimal digits are its name.
        """
        return NewFile(self, _temporary(folder, prefix))

    def reserve(self, folder: Path, prefix: str) -> "Reserve":
        """Room to be held on the disk of that folder; prefix as for new_file."""
        return Reserve(self, _temporary(folder, prefix))

    async def create_log(self, path: Path) -> "AppendFile":
        """Create an empty file durably and open it for appending; on failure there is none."""
        fd = await self.run(self._create_log, path)
        log = AppendFile(self, path, fd, 0)
        try:
            await self.sync_folder(path.parent)
        except StoreUnavailable:
            await log.close()
            await self.run(self._discard, path)
            raise
        return log

    async def reopen_log(self, path: Path, size: int) -> "AppendFile":
        """Open an existing file for appending, cut to size and durable as it stands."""
        fd = await self.run(self._reopen_log, path, size)
        log = AppendFile(self, path, fd, size)
        await self.sync_folder(path.parent)
        return log

    @asynccontextmanager
    async def reading(self, path: Path, tail: int) -> AsyncIterator["Reader | WholeFile"]:
        """Open a file as it is now, with its last bytes; raises FileMissing.

        A small file is read whole, in one hop.
        """
        with _available("read", path):
            whole = await self.run(_read_small, path, tail)
        if whole is not None:
            yield whole
            return
        opening = self.spawn(self._open(path))
        try:
            file = await asyncio.shield(opening)
            with _available("read", path):
                end = await self.run(_read_end, file.fileno(), tail)
            yield Reader(path, file, end)
        finally:
            await self.finish(_close_opened(opening))

    async def read_ends(self, paths: Sequence[Path], tail: int) -> list["FileEnd | None"]:
        """The last bytes of each file, None where there is none, all in one hop."""
        return await self.run(_read_ends, paths, tail)

    async def remove(self, paths: Iterable[Path], folder: Path) -> None:
        """Remove files of one folder durably; missing ones are no error."""
        with _available("remove files in", folder):
            await self.run(self._unlink_all, paths)
        await self.sync_folder(folder)

    async def make_folder(self, folder: Path) -> None:
        """Create the folder and its parents durably; existing ones are no error."""
        with _available("create the folder", folder):
            await self.run(self._make_folder, folder)

    async def sync_folder(self, folder: Path) -> None:
        """Make the folder's names durable; whoever waits shares one fsync."""
        shared = self._folders.setdefault(folder, _SharedSync(self, folder))
        await shared.sync()

    async def names(self, folder: Path) -> list[tuple[str, bool]]:
        """The folder's names, each with whether it is a folder."""
        with _available("read the folder", folder):
            return await self.run(_names, folder)

    async def probe(self, folder: Path, prefix: str) -> None:
        """Write PROBE and remove it, named as new_file names its; raises StoreUnavailable."""
        with _available("write in", folder):
            await self.run(self._probe, _temporary(folder, prefix))

    async def lock_folder(
        self, folder: Path, description: str, name: str = ".lock"
    ) -> "FolderLock":
        """Hold the folder against other processes; raises DataLocked, naming the holder."""
        with starting("lock", folder / name):
            fd = await self.finish(self.run(_lock, folder, name, description))
        return FolderLock(self, fd)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as seen: the caller may have been cancelled

    async def _open(self, path: Path) -> AsyncBufferedReader:
        try:
            return await aiofiles.open(path, "rb", executor=self._pool)
        except FileNotFoundError as error:
            raise FileMissing(f"{path} is missing") from error
        except OSError as error:
            raise StoreUnavailable(f"cannot read {path}: {error.strerror}") from error

    def _create_log(self, path: Path) -> int:
        with _available("create", path):
            fd = self.disk.create(path)
        try:
            with _synced(path):
                self.disk.sync(fd)
        except SyncFailed:
            self.disk.close(fd)
            self._discard(path)
            raise
        return fd

    def _reopen_log(self, path: Path, size: int) -> int:
        with _available("open", path):
            fd = self.disk.reopen(path)
        try:
            with _available("cut", path):
                if os.fstat(fd).st_size > size:
                    self.disk.truncate(fd, size)
            with _synced(path):
                self.disk.sync(fd)
        except StoreUnavailable:
            self.disk.close(fd)
            raise
        return fd

    def _discard(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            self.disk.unlink(path)

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
        with _synced(folder.parent):
            self.disk.sync_folder(folder.parent)

    def _probe(self, path: Path) -> None:
        fd = self.disk.create(path)
        try:
            self.disk.write(fd, PROBE)
        finally:
            self.disk.close(fd)
            self.disk.unlink(path)


class NewFile:
    """A file written under a temporary name, then published whole or dropped."""

    def __init__(self, files: Files, temporary: Path) -> None:
        self._files = files
        self._disk = files.disk
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
            self._writing = self._files.spawn(self._take_turn(self._flush, self._gathered()))
            if len(data) < LARGE:
                await self._settle()

    async def publish(self, path: Path) -> int:
        """Give the file its own name, durably; its time of change in ns.

        Once dropped it raises CancelledError and publishes nothing.
        """
        await self._settle()
        rest = self._gathered()
        modified = await self._files.finish(self._take_turn(self._put_in_place, rest, path))
        if modified is None:
            raise asyncio.CancelledError
        await self._files.sync_folder(path.parent)
        return modified

    async def drop(self) -> None:
        """Remove what was written, unless it has been published already."""
        self._dropped = True
        if self._writing or self._turn.locked() or self._exists:
            await self._files.finish(self._take_turn(self._remove))

    async def _settle(self) -> None:
        """Wait until what is being written is written; raises what kept it from that."""
        if self._writing:
            await asyncio.shield(self._writing)

    def _gathered(self) -> list[bytes]:
        gathered, self._buffer, self._buffered = self._buffer, [], 0
        return gathered

    async def _take_turn(self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        async with self._turn:
            return await self._files.run(step, *args, **kwargs)

    def _flush(self, data: list[bytes]) -> int | None:
        if self._dropped:
            return None
        with _available("write", self._temporary):
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
        with _synced(self._temporary):
            self._disk.sync(fd)
        with _available("write", path):
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


class AppendFile:
    """A log: each append is on disk whole when it returns, or not in the file at all."""

    def __init__(self, files: Files, path: Path, fd: int, size: int) -> None:
        self.path = path
        self.size = size
        self._files = files
        self._disk = files.disk
        self._fd = fd
        self._clean = True
        self._closed = False

    async def append(self, make: Callable[[int], bytes]) -> None:
        """Append make(size), called in the pool, and fsync it."""
        await self._files.finish(self._files.run(self._append, make))

    async def close(self) -> None:
        """Close the file; all that was appended is on disk already."""
        if not self._closed:
            self._closed = True
            with contextlib.suppress(OSError):
                await self._files.finish(self._files.run(self._disk.close, self._fd))

    def _append(self, make: Callable[[int], bytes]) -> None:
        data = make(self.size)
        with _available("write", self.path):
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
            with _synced(self.path):
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


class Reserve:
    """Room on the disk, held for what makes room: a file without a name, which no crash leaves.

    Nothing is promised, neither that there is room to hold nor that nobody takes what is given up.
    """

    def __init__(self, files: Files, temporary: Path) -> None:
        self._files = files
        self._disk = files.disk
        self._temporary = temporary
        self._fd: int | None = None
        self._held = 0

    async def take(self) -> None:
        """Hold all of it again, or as much as there is room for."""
        if self._held < len(FILLING):
            await self._files.finish(self._files.run(self._take))

    async def give(self) -> bool:
        """Give a piece of it up; whether any was held."""
        if self._fd is None or not self._held:
            return False
        return await self._files.finish(self._files.run(self._give, self._fd))

    async def close(self) -> None:
        """Give up all of it."""
        fd, self._fd, self._held = self._fd, None, 0
        if fd is not None:
            with contextlib.suppress(OSError):
                await self._files.finish(self._files.run(self._disk.close, fd))

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
        with _available("read", self._path):
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
        with _available("read", self._path):
            chunk = await self._file.read(min(self._size, self._left))
        self._take(len(chunk))
        return chunk

    async def readinto(self, buffer: memoryview) -> int:
        """Put the next bytes into the buffer, as many as have room; returns how many."""
        if not self._left:
            return 0
        with _available("read", self._path):
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


class FolderLock:
    """A folder held against other processes until released, or until this process ends."""

    def __init__(self, files: Files, fd: int) -> None:
        self._files = files
        self._fd = fd
        self._held = True

    async def release(self) -> None:
        """Let others have the folder; a second release does nothing."""
        if self._held:
            self._held = False
            await self._files.finish(self._files.run(os.close, self._fd))


class _SharedSync:
    """One folder's fsync, shared by all who wait for one that starts after they asked."""

    def __init__(self, files: Files, folder: Path) -> None:
        self._files = files
        self._folder = folder
        self._running: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    async def sync(self) -> None:
        if self._next is None:
            self._next = self._files.spawn(self._after(self._running))
        await asyncio.shield(self._next)

    async def _after(self, previous: asyncio.Task[None] | None) -> None:
        if previous:
            await asyncio.wait({previous})
        self._running, self._next = self._next, None
        with _synced(self._folder):
            await self._files.run(self._files.disk.sync_folder, self._folder)


async def _close_opened(opening: asyncio.Task[AsyncBufferedReader]) -> None:
    await asyncio.wait({opening})
    if not opening.cancelled() and not opening.exception():
        await opening.result().close()


def _read_small(path: Path, tail: int) -> WholeFile | None:
    """The file if it is no larger than a chunk, else None."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise FileMissing(f"{path} is missing") from error
    try:
        stat = os.fstat(fd)
        if stat.st_size > CHUNK:
            return None
        return WholeFile(os.pread(fd, stat.st_size, 0), stat.st_mtime_ns, tail)
    finally:
        os.close(fd)


def _read_end(fd: int, tail: int) -> FileEnd:
    stat = os.fstat(fd)
    start = max(0, stat.st_size - tail)
    return FileEnd(os.pread(fd, stat.st_size - start, start), stat.st_size, stat.st_mtime_ns)


def _read_ends(paths: Sequence[Path], tail: int) -> list[FileEnd | None]:
    return [_read_end_of(path, tail) for path in paths]


def _read_end_of(path: Path, tail: int) -> FileEnd | None:
    with _available("read", path):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            return _read_end(fd, tail)
        finally:
            os.close(fd)


def _temporary(folder: Path, prefix: str) -> Path:
    return folder / f"{prefix}{secrets.token_hex(16)}"


def _is_ours(folder: Path) -> bool:
    """Whether a process like this one can have made the folder: it is no mount point, say."""
    above = folder.parent
    return os.access(above, os.R_OK) and above.stat().st_dev == folder.stat().st_dev


def _names(folder: Path) -> list[tuple[str, bool]]:
    with os.scandir(folder) as entries:
        return [(entry.name, entry.is_dir()) for entry in entries]


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

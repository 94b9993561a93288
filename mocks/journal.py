"""The journal: entries appended durably beside a snapshot, as DynamoDB's stand-in keeps its items.

Files, all of sealed lines (mocks/lines.py):

    PATH                        the snapshot. Its first entry is the header {"format":
                                "aggsvc-table", "version": 1, "generation": g, "entries": n};
                                n entries follow, one a line.
    PATH.journal.<generation>   what was appended since the snapshot of that generation was begun.

The state is the snapshot's entries, then those of the journals g, g+1, ... in order; without a
snapshot, those of the journals from 0.

Compaction begins journal g+1, then writes the state as of that moment as snapshot g+1 under a
temporary name, renames it to PATH and removes the older journals; appends go on meanwhile. A crash
at any step leaves the old snapshot and its journals, or the new one and its.

A commit that a crash cut short leaves a damaged stretch at the end of the last journal, after which
no line says that anything from there on was on disk (`since`). Opening cuts it off with a warning.
Any other damage raises DamagedStore.

A reserve of 64 KiB on the same disk is held for removals: a full disk, too, can be told to forget.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import structlog

from aggsvc.errors import StoreFull, StoreUnavailable
from mocks.files import AppendFile, FileFull, Files, FolderLock, WriteGate, starting
from mocks.journal_files import (
    Recovered,
    Take,
    journal_path,
    recover,
    snapshot_header,
    temporary_prefix,
)
from mocks.lines import seal

COMPACT_AT = 1024 * 1024  # bytes of journal below which no snapshot is worth its writing
BLOCK = 1024 * 1024  # bytes of a snapshot sealed and written per hop

Settle = Callable[[bool], None]

T = TypeVar("T")

log = structlog.get_logger()


class Journal:
    """Appends entries durably, many writers to an fsync; its size follows the state's."""

    def __init__(
        self,
        files: Files,
        path: Path,
        lock: FolderLock,
        recovered: Recovered,
        current: AppendFile,
    ) -> None:
        self._files = files
        self._path = path
        self._lock = lock
        self._log = current
        self._generation = recovered.last
        self._oldest = recovered.first
        self._compact_at = max(COMPACT_AT, recovered.snapshot_size)
        self._state: Callable[[], Sequence[Any]] = tuple
        self._read: Callable[[Any], bytes] = bytes
        self._gate = WriteGate(f"the table at {path}")
        self._reserve = files.reserve(path.parent, temporary_prefix(path))
        self._waiting = _Batch()
        self._flusher: asyncio.Task[None] | None = None
        self._compaction: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    async def open(cls, files: Files, path: Path, take: Take) -> "Journal":
        """The journal, once each of the entries that make up its state was taken, in a thread.

        Raises DamagedStore, DataLocked, or StartRefused where the files cannot be used.
        """
        with starting("create", path.parent):
            await files.make_folder(path.parent)
        lock = await files.lock_folder(path.parent, f"aggsvc, {path.name}", f".{path.name}.lock")
        try:
            with starting("read", path):
                recovered = await files.run(recover, path, take)
            current = await _open_last(files, path, recovered)
        except BaseException:
            await lock.release()
            raise
        journal = cls(files, path, lock, recovered, current)
        await journal._reserve.take()  # before anybody writes
        return journal

    def compact_from(self, state: Callable[[], Sequence[T]], read: Callable[[T], bytes]) -> None:
        """Name the function that gives the state, all that is settled and nothing else.

        `read`, called in a thread, gives the entry of each part of it.
        """
        self._state = state
        self._read = read

    def append(self, entry: bytes, settle: Settle, *, makes_room: bool = False) -> Awaitable[None]:
        """Append the entry; what is returned is done once it is on disk, or StoreUnavailable.

        Where the disk is full, entries that `makes_room` may use the reserve, unless others are
        committed with them.

        settle is called with True or False at the moment that is decided, in the order of the
        appends, also if the caller is cancelled. Once it is False, it is so for all that wait.
        """
        self._check()
        batch = self._waiting
        batch.add(entry, settle)
        batch.makes_room &= makes_room
        if self._flusher is None or self._flusher.done():
            self._flusher = self._files.spawn(self._flush())
        return asyncio.shield(batch.done)

    async def check(self) -> None:
        """Raise StoreUnavailable unless entries can be appended."""
        self._check()
        await self._files.probe(self._path.parent, temporary_prefix(self._path))

    async def close(self) -> None:
        """Wait for what is under way and let the files go; what comes later is refused."""
        self._closed = True
        for task in (self._flusher, self._compaction):
            if task:
                await asyncio.wait({task})
        await self._log.close()
        await self._reserve.close()
        await self._lock.release()

    def _check(self) -> None:
        self._gate.check()
        if self._closed:
            raise StoreUnavailable(f"the table at {self._path} is closed")

    async def _flush(self) -> None:
        while self._waiting.entries:
            batch, self._waiting = self._waiting, _Batch()
            if await self._commit(batch):
                await self._reserve.take()
                if self._is_due():
                    await self._begin_compaction()

    async def _commit(self, batch: "_Batch") -> bool:
        """Whether the batch is on disk; only then does the journal end with a whole line."""
        try:
            with self._gate.watch():
                await self._append(batch)
        except StoreUnavailable as error:
            # Those that wait may have been decided upon what this batch would have written.
            later, self._waiting = self._waiting, _Batch()
            batch.fail(error)
            later.fail(error)
            return False
        batch.succeed()
        return True

    async def _append(self, batch: "_Batch") -> None:
        lines = partial(_seal_all, batch.entries)
        try:
            await self._log.append(lines)
        except FileFull:
            raise
        except StoreFull:
            if not (batch.makes_room and await self._reserve.give()):
                raise
            await self._log.append(lines)

    def _is_due(self) -> bool:
        running = self._compaction is not None and not self._compaction.done()
        return self._log.size >= self._compact_at and not running

    async def _begin_compaction(self) -> None:
        self._compact_at = 2 * self._log.size  # the next try, should this one fail
        try:
            with self._gate.watch():
                fresh = await self._files.create_log(journal_path(self._path, self._generation + 1))
        except StoreUnavailable as error:
            log.warning("compaction postponed", path=str(self._path), error=str(error))
            return
        full, self._log = self._log, fresh
        self._generation += 1
        self._compaction = self._files.spawn(self._compact(full, self._state()))

    async def _compact(self, full: AppendFile, state: Sequence[Any]) -> None:
        generation = self._generation
        try:
            with self._gate.watch():
                await full.close()
                size = await self._write_snapshot(generation, state)
                await self._remove_older(generation)
        except StoreUnavailable as error:
            log.warning("compaction failed", path=str(self._path), error=str(error))
        else:
            self._compact_at = max(COMPACT_AT, size)

    async def _write_snapshot(self, generation: int, state: Sequence[Any]) -> int:
        entries = chain([snapshot_header(generation, len(state))], map(self._read, state))
        lines = map(seal, entries)
        file = self._files.new_file(self._path.parent, temporary_prefix(self._path))
        size = 0
        try:
            while data := await self._files.run(_block, lines):
                await file.write(data)
                size += len(data)
            await file.publish(self._path)
        finally:
            await file.drop()
        return size

    async def _remove_older(self, generation: int) -> None:
        older = [journal_path(self._path, g) for g in range(self._oldest, generation)]
        await self._files.remove(older, self._path.parent)
        self._oldest = generation


class _Batch:
    """Entries that share one write and fsync."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self.makes_room = True  # all of it: the reserve is for nothing else
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._settles: list[Settle] = []

    def add(self, entry: bytes, settle: Settle) -> None:
        self.entries.append(entry)
        self._settles.append(settle)

    def succeed(self) -> None:
        self._settle(True)
        self.done.set_result(None)

    def fail(self, error: StoreUnavailable) -> None:
        self._settle(False)
        self.done.set_exception(error)
        self.done.exception()  # marks it as seen: all who waited may have been cancelled

    def _settle(self, kept: bool) -> None:
        for settle in self._settles:
            settle(kept)


async def _open_last(files: Files, path: Path, recovered: Recovered) -> AppendFile:
    last = journal_path(path, recovered.last)
    with starting("open", last):
        # A snapshot whose writer was killed before this would not outlive what it replaces.
        await files.sync_folder(path.parent)
        if recovered.leftovers:
            await files.remove(recovered.leftovers, path.parent)
        if recovered.last_size is None:
            return await files.create_log(last)
        return await files.reopen_log(last, recovered.last_size)


def _seal_all(entries: Sequence[bytes], since: int = 0) -> bytes:
    return b"".join([seal(entry, since) for entry in entries])


def _block(lines: Iterator[bytes]) -> bytes:
    """The next lines, about BLOCK bytes of them; none at the end."""
    block = bytearray()
    for line in lines:
        block += line
        if len(block) >= BLOCK:
            break
    return bytes(block)

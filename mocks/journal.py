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
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import orjson
import structlog

from aggsvc.errors import DamagedStore, StoreFull, StoreUnavailable
from mocks.files import AppendFile, Files, FolderLock, WriteGate, starting
from mocks.lines import PREFIX, seal, unseal

FORMAT = "aggsvc-table"
VERSION = 1
COMPACT_AT = 1024 * 1024  # bytes of journal below which no snapshot is worth its writing
BLOCK = 1024 * 1024  # bytes of a snapshot sealed and written per hop

Settle = Callable[[bool], None]
Take = Callable[[bytes], None]
T = TypeVar("T")

log = structlog.get_logger()


class Journal:
    """Appends entries durably, many writers to an fsync; its size follows the state's."""

    def __init__(
        self,
        files: Files,
        path: Path,
        lock: FolderLock,
        recovered: "_Recovered",
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
        self._reserve = files.reserve(path.parent, _temporary_prefix(path))
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
                recovered = await files.run(_recover, path, take)
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
        await self._files.probe(self._path.parent, _temporary_prefix(self._path))

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
                fresh = await self._files.create_log(_journal(self._path, self._generation + 1))
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
        entries = chain([_header(generation, len(state))], map(self._read, state))
        lines = map(seal, entries)
        file = self._files.new_file(self._path.parent, _temporary_prefix(self._path))
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
        older = [_journal(self._path, g) for g in range(self._oldest, generation)]
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


class _Recovered(NamedTuple):
    """What the files are; `first` and `last` are the generations of the journals in use."""

    first: int
    last: int
    last_size: int | None
    snapshot_size: int
    leftovers: list[Path]


class _Line(NamedTuple):
    """A line of a file: its entry, or None if it is damaged."""

    offset: int
    entry: bytes | None


async def _open_last(files: Files, path: Path, recovered: _Recovered) -> AppendFile:
    last = _journal(path, recovered.last)
    with starting("open", last):
        # A snapshot whose writer was killed before this would not outlive what it replaces.
        await files.sync_folder(path.parent)
        if recovered.leftovers:
            await files.remove(recovered.leftovers, path.parent)
        if recovered.last_size is None:
            return await files.create_log(last)
        return await files.reopen_log(last, recovered.last_size)


def _recover(path: Path, take: Take) -> _Recovered:
    names = [entry.name for entry in path.parent.iterdir()]
    generations = sorted(_generations(path, names))
    first, snapshot_size = _read_snapshot(path, take) if path.name in names else (0, 0)
    live = [g for g in generations if g >= first]
    _require_whole(path, first, live, has_snapshot=path.name in names)
    last_size = None
    for generation in live:
        last_size = _read_journal(path, generation, take, is_last=generation == live[-1])
    leftovers = [path.with_name(name) for name in names if _is_temporary(path, name)]
    leftovers += [_journal(path, g) for g in generations if g < first]
    last = live[-1] if live else first
    return _Recovered(first, last, last_size, snapshot_size, leftovers)


def _require_whole(path: Path, first: int, live: list[int], *, has_snapshot: bool) -> None:
    if not live and not has_snapshot:
        return
    missing = next(g for g in range(first, first + len(live) + 1) if g not in live)
    if live and missing > live[-1]:
        return
    lost = _journal(path, missing) if has_snapshot or first in live else path
    raise DamagedStore(
        f"{lost} is missing; restore it from a copy, "
        f"or move {path.name} and {path.name}.journal.* away to start empty"
    )


def _read_snapshot(path: Path, take: Take) -> tuple[int, int]:
    """Take the snapshot's entries; its generation and size."""
    lines = _read_lines(path)
    header = _parse_header(path, next(lines, _Line(0, None)).entry)
    count = 0
    for line in lines:
        if line.entry is None:
            raise _damaged(path, line.offset, "a line's checksum is wrong")
        take(line.entry)
        count += 1
    size = path.stat().st_size
    if count != header["entries"]:
        raise _damaged(path, size, f"it has {count} of {header['entries']} entries")
    return header["generation"], size


def _parse_header(path: Path, entry: bytes | None) -> dict[str, int]:
    header = orjson.loads(entry) if entry else None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise _damaged(path, 0, "it does not begin with a snapshot's header")
    if header["version"] != VERSION:
        raise _damaged(path, 0, f"its version is {header['version']}, only {VERSION} can be read")
    return header


def _read_journal(path: Path, generation: int, take: Take, *, is_last: bool) -> int:
    """Take the journal's entries; the size up to which they are sound."""
    journal = _journal(path, generation)
    for line in _read_lines(journal):
        if line.entry is None:
            _require_torn(path, journal, line.offset, is_last=is_last)
            return line.offset
        take(line.entry)
    return journal.stat().st_size


def _require_torn(path: Path, journal: Path, offset: int, *, is_last: bool) -> None:
    """Raise DamagedStore unless a crash can have left what is there from the offset on."""
    with journal.open("rb") as file:
        file.seek(offset)
        rest = file.read()
    if not is_last or any(since > offset for since in _sinces(rest)):
        raise _damaged(journal, offset, "a line's checksum is wrong", store=path)
    log.warning("torn end of journal cut off", file=str(journal), offset=offset, bytes=len(rest))


def _sinces(data: bytes) -> Iterator[int]:
    """`since` of every sound line in damaged data, wherever it begins."""
    for match in re.finditer(re.escape(PREFIX), data):
        end = data.find(b"\n", match.start()) + 1
        found = unseal(data[match.start() : end])
        if found:
            yield found[0]


def _read_lines(path: Path) -> Iterator[_Line]:
    offset = 0
    with path.open("rb") as file:
        for line in file:
            found = unseal(line)
            yield _Line(offset, found[1] if found else None)
            offset += len(line)


def _damaged(file: Path, offset: int, what: str, store: Path | None = None) -> DamagedStore:
    name = (store or file).name
    return DamagedStore(
        f"{file} is damaged at byte {offset}: {what}; restore it from a copy, "
        f"or move {name} and {name}.journal.* away to start empty"
    )


def _header(generation: int, entries: int) -> bytes:
    return orjson.dumps(
        {"format": FORMAT, "version": VERSION, "generation": generation, "entries": entries}
    )


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


def _journal(path: Path, generation: int) -> Path:
    return path.with_name(f"{path.name}.journal.{generation}")


def _generations(path: Path, names: list[str]) -> Iterator[int]:
    pattern = re.compile(re.escape(path.name) + r"\.journal\.(0|[1-9][0-9]*)")
    return (int(match[1]) for name in names if (match := pattern.fullmatch(name)))


def _temporary_prefix(path: Path) -> str:
    return f".tmp-{path.name}-"


def _is_temporary(path: Path, name: str) -> bool:
    prefix = _temporary_prefix(path)
    return name.startswith(prefix) and bool(re.fullmatch("[0-9a-f]{32}", name[len(prefix) :]))

"""A disk that can lose its power, after SQLite's crash VFS and ALICE.

A SimulatedDisk does what a Disk does and notes each step on its Drive. What the drive holds for
sure is what a sync of that very file, or of that very folder, has covered. Of all else any part may
be there after a power loss, in any order: `crashes` and `torn_crashes` go through it. Sectors are
written whole or not at all, but those of one write independently of each other.
"""

import errno
import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum, auto
from itertools import product
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from mocks.files import Disk

SECTOR = 512

Image = dict[str, bytes | None]  # path below the drive's root: a file's bytes, None for a folder


class Create(NamedTuple):
    path: str
    inode: int


class Rename(NamedTuple):
    source: str
    path: str
    inode: int


class Unlink(NamedTuple):
    path: str


class MakeFolder(NamedTuple):
    path: str


class Write(NamedTuple):
    inode: int
    offset: int
    data: bytes


class Cut(NamedTuple):
    inode: int
    size: int


class SyncFile(NamedTuple):
    inode: int


class SyncFolder(NamedTuple):
    folder: str


Step = Create | Rename | Unlink | MakeFolder | Write | Cut | SyncFile | SyncFolder


class Fate(Enum):
    """What becomes of a step that no sync has covered; the last four are for writes alone."""

    KEPT = auto()
    LOST = auto()
    SHORTENED = auto()
    ZEROED = auto()
    GARBLED = auto()
    SCATTERED = auto()


TEARS = (Fate.SHORTENED, Fate.ZEROED, Fate.GARBLED, Fate.SCATTERED)
Fates = dict[int, Fate]


class Crash(NamedTuple):
    """What is on the drive after a power loss behind the first `moment` steps."""

    moment: int
    fates: Fates
    image: Image


class Drive:
    """The steps of all processes that used the disk below a folder, and what was there before."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.steps: list[Step] = []
        self.lock = Lock()
        self.base = read_image(root)
        self.inodes = {path: inode for inode, path in enumerate(self.base)}
        self._count = len(self.inodes)

    def new_inode(self, path: str) -> int:
        inode = self.inodes[path] = self._count
        self._count += 1
        return inode

    def name(self, path: Path) -> str:
        return os.path.relpath(path, self.root)


class SimulatedDisk(Disk):
    """A process's way to a drive; once `is_killed` of the steps so far, it does nothing more."""

    def __init__(
        self, drive: Drive, is_killed: Callable[[Sequence[Step]], bool] = lambda _steps: False
    ) -> None:
        super().__init__()
        self._drive = drive
        self._is_killed = is_killed
        self._open: dict[int, int] = {}

    def create(self, path: Path) -> int:
        with self._step():
            fd = super().create(path)
            name = self._drive.name(path)
            self._open[fd] = self._drive.new_inode(name)
            self._note(Create(name, self._open[fd]))
            return fd

    def reopen(self, path: Path) -> int:
        with self._step():
            fd = super().reopen(path)
            self._open[fd] = self._drive.inodes[self._drive.name(path)]
            return fd

    def write(self, fd: int, data: bytes) -> None:
        with self._step():
            offset = os.fstat(fd).st_size
            super().write(fd, data)
            self._note(Write(self._open[fd], offset, bytes(data)))

    def truncate(self, fd: int, size: int) -> None:
        with self._step():
            super().truncate(fd, size)
            self._note(Cut(self._open[fd], size))

    def sync(self, fd: int) -> None:
        with self._step():
            self._note(SyncFile(self._open[fd]))

    def rename(self, source: Path, target: Path) -> None:
        with self._step():
            super().rename(source, target)
            inode = self._drive.inodes.pop(self._drive.name(source))
            self._drive.inodes[self._drive.name(target)] = inode
            self._note(Rename(self._drive.name(source), self._drive.name(target), inode))

    def unlink(self, path: Path) -> None:
        with self._step():
            super().unlink(path)
            del self._drive.inodes[self._drive.name(path)]
            self._note(Unlink(self._drive.name(path)))

    def mkdir(self, path: Path) -> None:
        with self._step():
            if not path.is_dir():
                super().mkdir(path)
                self._note(MakeFolder(self._drive.name(path)))

    def sync_folder(self, path: Path) -> None:
        with self._step():
            self._note(SyncFolder(self._drive.name(path)))

    @contextmanager
    def _step(self) -> Iterator[None]:
        with self._drive.lock:
            if self._is_killed(self._drive.steps):
                raise OSError(errno.EIO, "the process is dead")
            yield

    def _note(self, step: Step) -> None:
        self._drive.steps.append(step)


class NoSyncDisk(Disk):
    """A disk on which nothing needs to last."""

    def sync(self, fd: int) -> None:
        pass

    def sync_folder(self, path: Path) -> None:
        pass


def crashes(drive: Drive, *, since: int = 0) -> Iterator[Crash]:
    """A power loss behind each step from `since` on.

    All that no sync has covered is kept, or lost, or kept or lost but for one step.
    """
    for moment, pending in _moments(drive, since):
        lost = dict.fromkeys(pending, Fate.LOST)
        yield from (_crash(drive, moment, fates) for fates in ({}, lost))
        for at in pending:
            yield _crash(drive, moment, {at: Fate.LOST})
            yield _crash(drive, moment, lost | {at: Fate.KEPT})


def torn_crashes(drive: Drive, generator: random.Random, samples: int) -> Iterator[Crash]:
    """A power loss behind each step: each write that no sync has covered is torn in each way.

    The others are all kept, or all lost; then, `samples` times, chance decides upon each.
    """
    for moment, pending in _moments(drive, 0):
        lost = dict.fromkeys(pending, Fate.LOST)
        for at, fate in product(_writes(drive, pending), TEARS):
            yield _crash(drive, moment, {at: fate}, generator)
            yield _crash(drive, moment, lost | {at: fate}, generator)
        for _ in range(samples if pending else 0):
            fates = {at: generator.choice(_possible(drive.steps[at])) for at in pending}
            yield _crash(drive, moment, fates, generator)


def read_image(root: Path) -> Image:
    """What is below a folder, locks aside."""
    found = sorted(path for path in root.rglob("*") if not path.name.endswith(".lock"))
    return {
        os.path.relpath(path, root): None if path.is_dir() else path.read_bytes() for path in found
    }


def write_image(image: Image, root: Path) -> None:
    """Make the folder have what the image has, and nothing else."""
    root.mkdir(exist_ok=True)
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_file():
            path.unlink()
        elif os.path.relpath(path, root) not in image:
            path.rmdir()
    for name in sorted(image):
        data = image[name]
        if data is None:
            (root / name).mkdir(exist_ok=True)
        else:
            (root / name).write_bytes(data)


def _place(step: Step) -> int | str:
    """What a sync must name to cover the step, or what the sync names."""
    if isinstance(step, Write | Cut | SyncFile):
        return step.inode
    return step.folder if isinstance(step, SyncFolder) else _folder(step.path)


def _folder(path: str) -> str:
    return os.path.dirname(path) or "."


def _moments(drive: Drive, since: int) -> Iterator[tuple[int, list[int]]]:
    """Behind how many steps, and which of them no sync has covered then."""
    pending: list[int] = []
    for moment in range(len(drive.steps) + 1):
        if moment >= since:
            yield moment, pending
        if moment < len(drive.steps):
            pending = _pending(drive.steps, [*pending, moment])


def _pending(steps: Sequence[Step], before: list[int]) -> list[int]:
    *earlier, latest = before
    if isinstance(steps[latest], SyncFile | SyncFolder):
        return [at for at in earlier if _place(steps[at]) != _place(steps[latest])]
    return before


def _writes(drive: Drive, pending: list[int]) -> list[int]:
    return [at for at in pending if isinstance(drive.steps[at], Write)]


def _possible(step: Step) -> list[Fate]:
    return list(Fate) if isinstance(step, Write) else [Fate.KEPT, Fate.LOST]


def _crash(
    drive: Drive, moment: int, fates: Fates, generator: random.Random | None = None
) -> Crash:
    return Crash(moment, fates, _image(drive, moment, fates, generator or random.Random(0)))


def _image(drive: Drive, moment: int, fates: Fates, generator: random.Random) -> Image:
    names: dict[str, int | None] = {
        path: None if data is None else at for at, (path, data) in enumerate(drive.base.items())
    }
    files = {at: bytearray(data) for at, data in enumerate(drive.base.values()) if data is not None}
    for at, step in enumerate(drive.steps[:moment]):
        fate = fates.get(at, Fate.KEPT)
        if fate is not Fate.LOST:
            _apply(step, fate, names, files, generator)
    return {
        path: None if inode is None else bytes(files.get(inode, b""))
        for path, inode in names.items()
        if _is_reachable(path, names)
    }


def _is_reachable(path: str, names: dict[str, int | None]) -> bool:
    folder = _folder(path)
    return folder == "." or (folder in names and _is_reachable(folder, names))


def _apply(
    step: Step,
    fate: Fate,
    names: dict[str, int | None],
    files: dict[int, bytearray],
    generator: random.Random,
) -> None:
    match step:
        case Create(path, inode):
            names[path] = inode
        case Rename(source, path, inode):
            names.pop(source, None)
            names[path] = inode
        case Unlink(path):
            names.pop(path, None)
        case MakeFolder(path):
            names[path] = None
        case Write(inode, offset, data):
            file = files.setdefault(inode, bytearray())
            file.extend(bytes(max(0, offset - len(file))))
            landed = _torn(offset, data, fate, generator)
            file[offset : offset + len(landed)] = landed
        case Cut(inode, size):
            del files.setdefault(inode, bytearray())[size:]


def _torn(offset: int, data: bytes, fate: Fate, generator: random.Random) -> bytes:
    if fate is Fate.KEPT:
        return data
    if fate is Fate.SHORTENED:
        return data[: generator.randrange(len(data) + 1)]
    sectors = list(_sectors(offset, data))
    whole = generator.randrange(len(sectors))
    fill: Any = generator.randbytes if fate is Fate.GARBLED else bytes
    return b"".join(
        sector if _survives(at, whole, fate, generator) else fill(len(sector))
        for at, sector in enumerate(sectors)
    )


def _survives(at: int, whole: int, fate: Fate, generator: random.Random) -> bool:
    return generator.random() < 0.5 if fate is Fate.SCATTERED else at < whole


def _sectors(offset: int, data: bytes) -> Iterator[bytes]:
    first = SECTOR - offset % SECTOR
    yield data[:first]
    for start in range(first, len(data), SECTOR):
        yield data[start : start + SECTOR]

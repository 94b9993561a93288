"""Fixtures: the mock stores in a fresh folder, and disks that fail on demand."""

import errno
import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx

from aggsvc.ports import FILES_SCHEMA
from mocks.dynamodb import MockDynamoDB
from mocks.files import Disk, Files
from mocks.s3 import MockS3

TABLES = {"files": FILES_SCHEMA}


class FaultyDisk(Disk):
    """A disk whose writes run out of room, or whose syncs fail, while told to; it counts both."""

    def __init__(self) -> None:
        super().__init__()
        self.room: int | None = None
        self.syncs_fail = False
        self.writes = 0
        self.syncs = 0
        self.folder_syncs = 0
        self.before: Callable[[str, Path], None] = lambda _call, _path: None

    def write(self, fd: int, data: bytes) -> None:
        self.writes += 1
        room = len(data) if self.room is None else self.room
        super().write(fd, data[:room])
        if room < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def sync(self, fd: int) -> None:
        self.syncs += 1
        self._maybe_fail()
        super().sync(fd)

    def sync_folder(self, path: Path) -> None:
        self.folder_syncs += 1
        self._maybe_fail()
        super().sync_folder(path)

    def create(self, path: Path) -> int:
        self.before("create", path)
        return super().create(path)

    def rename(self, source: Path, target: Path) -> None:
        self.before("rename", target)
        super().rename(source, target)

    def unlink(self, path: Path) -> None:
        self.before("unlink", path)
        super().unlink(path)

    def _maybe_fail(self) -> None:
        if self.syncs_fail:
            raise OSError(errno.EIO, os.strerror(errno.EIO))


class SmallDisk(Disk):
    """A disk with room for so many bytes of what is written in it."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def write(self, fd: int, data: bytes) -> None:
        fits = data[: self.room]
        super().write(fd, fits)
        self.room -= len(fits)
        if len(fits) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def truncate(self, fd: int, size: int) -> None:
        before = os.fstat(fd).st_size
        super().truncate(fd, size)
        self.room += before - size

    def unlink(self, path: Path) -> None:
        size = path.stat().st_size
        super().unlink(path)
        self.room += size


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk()


@pytest.fixture
async def files(disk: FaultyDisk) -> AsyncIterator[Files]:
    files = Files(disk=disk)
    yield files
    await files.close()


@pytest.fixture
async def store(files: Files, tmp_path: Path) -> AsyncIterator[MockS3]:
    store = await MockS3.open(files, tmp_path / "s3")
    yield store
    await store.close()


@pytest.fixture
async def table(files: Files, tmp_path: Path) -> AsyncIterator[MockDynamoDB]:
    table = await MockDynamoDB.open(files, tmp_path / "db.json", TABLES)
    yield table
    await table.close()


@asynccontextmanager
async def opened_table(path: Path, disk: Disk | None = None) -> AsyncIterator[MockDynamoDB]:
    files = Files(disk=disk)
    try:
        table = await MockDynamoDB.open(files, path, TABLES)
        try:
            yield table
        finally:
            await table.close()
    finally:
        await files.close()


@asynccontextmanager
async def opened_store(root: Path, disk: Disk | None = None) -> AsyncIterator[MockS3]:
    files = Files(disk=disk)
    try:
        store = await MockS3.open(files, root)
        try:
            yield store
        finally:
            await store.close()
    finally:
        await files.close()


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[[], AbstractAsyncContextManager[MockS3]]:
    numbers = itertools.count()
    return lambda: opened_store(tmp_path / f"s3-{next(numbers)}")


@pytest.fixture
def make_table(tmp_path: Path) -> Callable[[], AbstractAsyncContextManager[MockDynamoDB]]:
    numbers = itertools.count()
    return lambda: opened_table(tmp_path / f"db-{next(numbers)}.json")


@pytest.fixture
def blockbuster_here() -> Iterator[None]:
    """Fails the test if a blocking call is made on the loop."""
    with blockbuster_ctx():
        yield

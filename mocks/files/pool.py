"""Pool: the threads in which blocking calls run, so that the loop never waits for the disk."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import aiofiles.os

from mocks.files.disk import Disk
from mocks.files.failures import synced

P = ParamSpec("P")
T = TypeVar("T")


class Pool:
    """A disk and the threads that call it. Close it last."""

    def __init__(self, *, threads: int = 8, disk: Disk | None = None) -> None:
        self.disk = disk or Disk()
        self.executor = ThreadPoolExecutor(threads, thread_name_prefix="files")
        self._tasks: set[asyncio.Task[Any]] = set()
        self._folders: dict[Path, _SharedSync] = {}

    async def close(self) -> None:
        """Wait for what is under way, then end the threads."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await asyncio.to_thread(self.executor.shutdown)
        self.disk.close_folders()

    async def run(self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking step in the pool; if cancelled, it may still run to its end."""
        hop = aiofiles.os.wrap(step)
        result: T = await hop(*args, executor=self.executor, **kwargs)
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

    async def sync_folder(self, folder: Path) -> None:
        """Make the folder's names durable; whoever waits shares one fsync."""
        shared = self._folders.setdefault(folder, _SharedSync(self, folder))
        await shared.sync()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as seen: the caller may have been cancelled


class _SharedSync:
    """One folder's fsync, shared by all who wait for one that starts after they asked."""

    def __init__(self, pool: Pool, folder: Path) -> None:
        self._pool = pool
        self._folder = folder
        self._running: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    async def sync(self) -> None:
        if self._next is None:
            self._next = self._pool.spawn(self._after(self._running))
        await asyncio.shield(self._next)

    async def _after(self, previous: asyncio.Task[None] | None) -> None:
        if previous:
            await asyncio.wait({previous})
        self._running, self._next = self._next, None
        with synced(self._folder):
            await self._pool.run(self._pool.disk.sync_folder, self._folder)

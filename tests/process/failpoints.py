"""The real service, made to kill itself at a named step; the service itself knows nothing of it.

A failpoint is a method of the service at whose n-th call the process gets SIGKILL: before it, after
it, or, for writes to disk, with half of the bytes written.
"""

import asyncio
import functools
import inspect
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Literal, NamedTuple

import mocks.journal
from aggsvc.errorreport import ErrorReport
from aggsvc.filetable import FileTable
from aggsvc.idempotency import IdempotencyKeys
from aggsvc.logs import configure_logging
from aggsvc.objects import FileObjects
from aggsvc.ports import StoredObject
from aggsvc.processor import Processor
from aggsvc.recovery import Recovery
from aggsvc.server import serve
from aggsvc.settings import Settings
from mocks.files import Disk, NewFile
from mocks.journal import Journal
from mocks.sqs import MockSQS

LOOK_SECONDS = 0.02

When = Literal["before", "after", "torn"]

STEPS: dict[str, tuple[type, str]] = {
    "disk.create": (Disk, "create"),
    "disk.write": (Disk, "write"),
    "disk.sync": (Disk, "sync"),
    "disk.rename": (Disk, "rename"),
    "disk.unlink": (Disk, "unlink"),
    "disk.sync_folder": (Disk, "sync_folder"),
    "file.publish": (NewFile, "publish"),
    "journal.begin_compaction": (Journal, "_begin_compaction"),
    "journal.write_snapshot": (Journal, "_write_snapshot"),
    "journal.remove_older": (Journal, "_remove_older"),
    "upload.put": (FileObjects, "put_upload"),
    "objects.remove": (FileObjects, "remove"),
    "objects.remove_objects": (FileObjects, "remove_objects"),
    "record.create": (FileTable, "create"),
    "record.save": (FileTable, "save"),
    "record.delete": (FileTable, "delete"),
    "key.keep": (IdempotencyKeys, "keep"),
    "key.forget": (IdempotencyKeys, "forget"),
    "job.send": (MockSQS, "send"),
    "job.process": (Processor, "process"),
    "report.finish": (ErrorReport, "finish"),
    "recovery.begin": (Recovery, "begin"),
    "recovery.requeue": (Recovery, "requeue"),
    "recovery.sweep": (Recovery, "sweep"),
}


class Failpoint(NamedTuple):
    """The step at which the process is to be killed."""

    step: str
    when: When
    nth: int

    def __str__(self) -> str:
        return f"{self.when} {self.step}"

    def set(self) -> None:
        """Kill this process when it comes there."""
        owner, name = STEPS[self.step]
        setattr(owner, name, self._armed(getattr(owner, name)))

    def _armed(self, step: Callable[..., Any]) -> Callable[..., Any]:
        calls = count(1)

        @functools.wraps(step)
        def armed(*args: Any) -> Any:
            if next(calls) != self.nth:
                return step(*args)
            if self.when == "after":
                step(*args)
            elif self.when == "torn":
                disk, fd, data = args
                step(disk, fd, data[: len(data) // 2])
            return kill()

        @functools.wraps(step)
        async def armed_async(*args: Any, **options: Any) -> Any:
            is_it = next(calls) == self.nth
            if is_it and self.when == "before":
                kill()
            result = await step(*args, **options)
            return kill() if is_it else result

        return armed_async if inspect.iscoroutinefunction(step) else armed


class Poison(NamedTuple):
    """Processing a file that says `poison` kills the process, once there is a file `go` if any.

    Until then a file that says `slow` is processed without an end.
    """

    go: Path | None = None

    def set(self) -> None:
        """Make such files of what is read from now on."""
        FileObjects.open = self._armed(FileObjects.open)  # type: ignore[method-assign]

    def _armed(self, opening: Callable[..., Any]) -> Callable[..., Any]:
        @asynccontextmanager
        async def armed(*args: Any) -> AsyncIterator[StoredObject]:
            async with opening(*args) as found:
                yield StoredObject(found.info, self._chunks(found.chunks))

        return armed

    async def _chunks(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            if self.go and b"slow" in chunk:
                await asyncio.Event().wait()
            if b"poison" in chunk:
                while self.go and not self.go.exists():
                    await asyncio.sleep(LOOK_SECONDS)
                kill()
            yield chunk


def kill() -> None:
    """End this process as kill -9 does."""
    os.kill(os.getpid(), signal.SIGKILL)


def run(
    settings: dict[str, Any], failpoint: Failpoint | Poison | None, stdout: Any, log: Path
) -> None:
    """Serve in this process; `stdout` is a connection that gets what is printed."""
    os.dup2(stdout.fileno(), 1)
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    sys.stdout = os.fdopen(1, "w")
    sys.stderr = os.fdopen(2, "w")
    mocks.journal.COMPACT_AT = 32 * 1024  # so that it is compacted many times
    if failpoint is not None:
        failpoint.set()
    configured = Settings(**settings)
    configure_logging(configured.log_level)
    serve(configured)

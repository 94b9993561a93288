"""Parts for every test: settings in a fresh folder, the service's parts, what was logged."""

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from blockbuster import blockbuster_ctx
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from structlog.testing import capture_logs

from aggsvc.backends import keys_table, open_backends, state_table
from aggsvc.engine import load_engine
from aggsvc.events import EventHub
from aggsvc.filetable import FileTable
from aggsvc.idempotency import IdempotencyKeys
from aggsvc.model import FileRecord, Job
from aggsvc.objects import FileObjects
from aggsvc.ports import JobQueue, MetadataTable, ObjectStore
from aggsvc.processor import Processor, ProcessorLimits
from aggsvc.recovery import Recovery
from aggsvc.series import SeriesReader
from aggsvc.service import Service
from aggsvc.settings import Settings
from tests.scheduling import Scheduling, place

# What an example takes says nothing where others keep the machine busy. The examples are the same
# each time, so that a test fails by what was changed; HYPOTHESIS_PROFILE=explore looks for others.
unhurried = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
hypothesis_settings.register_profile("aggsvc", **unhurried, derandomize=True)
hypothesis_settings.register_profile("explore", **unhurried)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "aggsvc"))

# Longer than what is waited for can take on a machine that is slow and busy: only a test that fails
# waits so long.
DEADLINE = 60.0
BUCKET = "uploads"
HEADER = b"sensor_id,timestamp,value\n"
GOOD_ROW = b"a,2025-10-01T08:00:00Z,1.5\n"
BAD_ROW = b"a,,1.5\n"
# More sensors than a record holds: their statistics are an object beside the upload.
MANY_SENSORS = b"".join(b"s%d,2025-10-01,1\n" % number for number in range(1_000))


SMALL = 64 * 1024


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: place(item.nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return Scheduling(config, log)


class Through:
    """A store that passes every call on; a test's subclass overrides the one that goes wrong."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Gated(Through):
    """An object store whose uploads stop in the middle of being read until `go` is set.

    `after` bytes come first; then `reached` is set.
    """

    def __init__(self, inner: Any, after: int = 0) -> None:
        super().__init__(inner)
        self.after = after
        self.reached = asyncio.Event()
        self.go = asyncio.Event()

    @asynccontextmanager
    async def get_object(self, bucket: str, key: str, **options: Any) -> AsyncIterator[Any]:
        async with self.inner.get_object(bucket, key, **options) as found:
            yield type(found)(found.info, self._gated(found.chunks))

    async def _gated(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        read = 0
        async for chunk in chunks:
            for start in range(0, len(chunk), SMALL):
                if read >= self.after:
                    self.reached.set()
                    await self.go.wait()
                read += SMALL
                yield chunk[start : start + SMALL]


@dataclass
class Parts:
    """The service without its server: stores, table, queue, facade and processor."""

    root: Path
    objects: ObjectStore
    table: MetadataTable
    queue: JobQueue
    events: EventHub
    files: FileTable
    service: Service
    processor: Processor
    recovery: Recovery
    idempotency: IdempotencyKeys

    async def submit(self, data: bytes, filename: str = "a.csv") -> FileRecord:
        return await self.service.submit(filename, stream(data))

    async def process(self, file_id: str) -> FileRecord:
        await self.processor.process(Job(file_id))
        return await self.files.get(file_id)

    async def keys(self) -> list[str]:
        return [info.key for info in (await self.objects.list_objects(BUCKET)).items]

    async def report(self, file_id: str) -> bytes:
        async with self.service.open_errors(await self.files.get(file_id)) as lines:
            return b"".join([chunk async for chunk in lines])

    def on_disk(self) -> list[str]:
        """The names of the bucket's files, half-written ones included."""
        return stored_files(self.root)


def stored_files(root: Path) -> list[str]:
    return sorted(os.listdir(root / BUCKET)) if (root / BUCKET).exists() else []


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def until(
    happened: Callable[[], bool] | Callable[[], Awaitable[bool]], what: str = "it"
) -> None:
    """Wait until a condition holds; fails the test if it does not within DEADLINE."""
    limit = time.monotonic() + DEADLINE
    while True:
        found = happened()
        if found if isinstance(found, bool) else await found:
            return
        assert time.monotonic() < limit, f"{what} did not happen"
        await asyncio.sleep(0.005)


def settings_in(folder: Path, **changes: Any) -> Settings:
    return Settings(
        **{
            "mock_s3_root_path": folder / "s3",
            "mock_dynamodb_persistence_path": folder / "db.json",
            "port": 0,
            **changes,
        }
    )


@asynccontextmanager
async def opened_parts(
    settings: Settings,
    *,
    objects: Callable[[Any], Any] = lambda found: found,
    table: Callable[[Any], Any] = lambda found: found,
) -> AsyncIterator[Parts]:
    """The parts as app.py joins them, `objects` and `table` wrapped as the test likes."""
    async with open_backends(settings) as opened:
        store, items = objects(opened.objects), table(opened.table)
        events = EventHub()
        files = FileTable(items, settings.mock_dynamodb_table_name, events)
        file_objects = FileObjects(store, BUCKET)
        engine = asyncio.create_task(asyncio.to_thread(load_engine, settings.processor_engine, 2))
        limits = ProcessorLimits(settings.processor_max_attempts, settings.max_sensors)
        recovery = Recovery(
            file_objects,
            files,
            opened.queue,
            items,
            state_table(settings.mock_dynamodb_table_name),
            max_attempts=settings.processor_max_attempts,
        )
        keys = IdempotencyKeys(items, keys_table(settings.mock_dynamodb_table_name))
        yield Parts(
            settings.mock_s3_root_path,
            store,
            items,
            opened.queue,
            events,
            files,
            Service(
                *(file_objects, files, opened.queue, events, recovery.new_file_id),
                keys=keys,
                series=SeriesReader(file_objects, engine),
            ),
            Processor(file_objects, files, engine, limits),
            recovery,
            keys,
        )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path)


@pytest.fixture
async def parts(settings: Settings) -> AsyncIterator[Parts]:
    async with opened_parts(settings) as parts:
        yield parts


@pytest.fixture
def logged() -> Iterator[list[dict[str, Any]]]:
    """What our code logs, with the context that is bound to it."""
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        yield lines


@pytest.fixture
async def stall() -> AsyncIterator[Callable[[], float]]:
    """The longest that the loop's thread has worked from one of its turns to the next, in seconds.

    Since last asked, and of the processor's time, so that a busy machine adds nothing; blockbuster
    finds what waits. Nor does the collector pass over what all the other tests have made. It keeps
    the loop turning from when it is first asked.
    """
    worst, turn = 0.0, 0.0
    watching: asyncio.Task[None] | None = None

    async def watch() -> None:
        nonlocal worst, turn
        while True:
            turn = time.thread_time()
            await asyncio.sleep(0)
            worst = max(worst, time.thread_time() - turn)

    def since_last_asked() -> float:
        nonlocal worst, turn, watching
        found, worst, turn = worst, 0.0, time.thread_time()
        watching = watching or asyncio.create_task(watch())
        return found

    gc.freeze()
    yield since_last_asked
    assert watching
    watching.cancel()
    gc.unfreeze()


@pytest.fixture
def unblocked() -> Iterator[None]:
    """Fails the test if our code makes a blocking call on the loop."""
    with blockbuster_ctx(["aggsvc", "mocks"]):
        yield

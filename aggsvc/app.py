"""The application, as a table of contents."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import structlog
from aiohttp import web

from aggsvc.api import setup_api
from aggsvc.backends import keys_table, open_backends, state_table
from aggsvc.engine import load_engine
from aggsvc.errors import StoreUnavailable
from aggsvc.events import EventHub
from aggsvc.filetable import FileTable
from aggsvc.health import Health
from aggsvc.http.admission import Admission
from aggsvc.http.pace import Transfers
from aggsvc.http.problems import problem_middleware
from aggsvc.http.streams import EventStreams
from aggsvc.idempotency import IdempotencyKeys
from aggsvc.keys import (
    ADMISSION,
    BACKENDS,
    EVENT_STREAMS,
    HEALTH,
    RECOVERY,
    SERVICE,
    SETTINGS,
    THROUGHPUT,
    TRANSFERS,
    WORKERS,
)
from aggsvc.objects import FileObjects
from aggsvc.processor import Processor, ProcessorLimits
from aggsvc.recovery import Recovery
from aggsvc.service import Service
from aggsvc.settings import Settings
from aggsvc.throughput import Throughput
from aggsvc.workers import DRAIN_SECONDS, WorkerPool
from web.pages import setup_pages

# How often idempotency keys that have expired are removed.
EXPIRY_SECONDS = 600.0
# How long what is left of a refused body is read past, so that its client gets to see the answer.
LINGERING_SECONDS = 5.0
# Twice this is kept of a body that comes faster than it is stored.
READ_BUFFER_BYTES = 32 * 1024

log = structlog.get_logger()


def create_app(settings: Settings) -> web.Application:
    """The whole service, ready to run."""
    app = web.Application(
        middlewares=[problem_middleware],
        handler_args={
            "auto_decompress": False,
            # A connection without a whole request head is closed, half-sent ones included.
            "keepalive_timeout": settings.header_timeout,
            "lingering_time": LINGERING_SECONDS,
            "read_bufsize": READ_BUFFER_BYTES,
        },
    )
    app[SETTINGS] = settings
    app[EVENT_STREAMS] = EventStreams()
    app[TRANSFERS] = Transfers()
    setup_api(app)
    setup_pages(app)
    app.cleanup_ctx.extend((engine_threads, backends, service, recovery, workers))
    app.on_shutdown.append(end_event_streams)
    return app


async def engine_threads(_app: web.Application) -> AsyncIterator[None]:
    """As many threads for the engine as there are cores; file I/O has its own."""
    pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="engine")
    asyncio.get_running_loop().set_default_executor(pool)
    yield
    pool.shutdown(wait=False)


async def backends(app: web.Application) -> AsyncIterator[None]:
    """The stores and the queue, open as long as the app."""
    async with open_backends(app[SETTINGS]) as opened:
        app[BACKENDS] = opened
        yield


async def service(app: web.Application) -> AsyncIterator[None]:
    """The facade, and the pool that is to process what it queues."""
    settings, opened = app[SETTINGS], app[BACKENDS]
    events = EventHub()
    objects = FileObjects(opened.objects, settings.mock_s3_bucket_name)
    files = FileTable(opened.table, settings.mock_dynamodb_table_name, events)
    # The service listens meanwhile; jobs that come earlier wait for it.
    engine = asyncio.create_task(
        asyncio.to_thread(load_engine, settings.processor_engine, os.cpu_count() or 1)
    )
    limits = ProcessorLimits(settings.processor_max_attempts, settings.max_sensors)
    processor = Processor(objects, files, engine, limits)
    app[WORKERS] = WorkerPool(opened.queue, processor.process, settings.processor_worker_count)
    app[ADMISSION] = Admission(
        settings.max_concurrent_uploads, settings.max_waiting_files, opened.queue.depth
    )
    app[HEALTH] = Health(opened.objects, opened.table, opened.queue, app[WORKERS])
    app[RECOVERY] = Recovery(
        objects,
        files,
        opened.queue,
        opened.table,
        state_table(settings.mock_dynamodb_table_name),
        max_attempts=settings.processor_max_attempts,
    )
    keys = IdempotencyKeys(opened.table, keys_table(settings.mock_dynamodb_table_name))
    app[SERVICE] = Service(
        objects, files, opened.queue, events, app[RECOVERY].new_file_id, keys=keys
    )
    app[THROUGHPUT] = Throughput()
    with app[SERVICE].watch_all() as changes:
        beside = {
            asyncio.create_task(_expire(keys)),
            asyncio.create_task(app[THROUGHPUT].follow(changes)),
        }
        yield
    for task in beside | {engine}:
        task.cancel()
    await asyncio.wait(beside)


async def _expire(keys: IdempotencyKeys) -> None:
    while True:
        try:
            await keys.sweep()
        except StoreUnavailable as error:
            log.warning("expired keys not removed", reason=str(error))
        await asyncio.sleep(EXPIRY_SECONDS)


async def recovery(app: web.Application) -> AsyncIterator[None]:
    """What a crash left is queued before the first request and swept beside the first ones."""
    await app[RECOVERY].begin()
    if found := await app[RECOVERY].requeue():
        log.info("recovered", files=found)
    # What start-up has made stays; without this each full collection would hold the loop over it.
    gc.collect()
    gc.freeze()
    sweeping = asyncio.create_task(_sweep(app[RECOVERY]))
    yield
    sweeping.cancel()
    await asyncio.wait({sweeping})
    try:
        await app[RECOVERY].end()
    except StoreUnavailable as error:  # the next start takes this run for one that crashed
        log.warning("end not noted", reason=str(error))


async def _sweep(recovery: Recovery) -> None:
    try:
        if removed := await recovery.sweep():
            log.warning("swept", objects=removed)
    except StoreUnavailable as error:
        log.warning("not swept", reason=str(error))


async def workers(app: web.Application) -> AsyncIterator[None]:
    """The consumers; they drain while the stores are still open."""
    app[WORKERS].start()
    yield
    await app[WORKERS].stop()


async def drain(app: web.Application) -> None:
    """Take no new work, and let what is under way end: uploads and jobs, side by side.

    aiohttp reads nothing more of a body once its own shutdown begins, so this comes before.
    """
    log.info(
        "stopping", jobs=app[WORKERS].busy, transfers=len(app[TRANSFERS]), seconds=DRAIN_SECONDS
    )
    app[ADMISSION].close()
    app[EVENT_STREAMS].close()
    await asyncio.gather(app[WORKERS].stop(), app[TRANSFERS].finish(DRAIN_SECONDS))


async def end_event_streams(app: web.Application) -> None:
    """Open event streams would make aiohttp's shutdown wait for its whole timeout."""
    app[EVENT_STREAMS].close()

"""The application, as a table of contents."""

import asyncio
import contextlib
import gc
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Thread

import structlog
from aiohttp import web

from aggsvc.api import setup_api
from aggsvc.backends import keys_table, open_backends, state_table
from aggsvc.engine import Engine, load_engine
from aggsvc.errors import StoreUnavailable
from aggsvc.events import EventHub
from aggsvc.filetable import FileTable
from aggsvc.health import Health
from aggsvc.http.access import access_middleware, add_access_headers
from aggsvc.http.admission import Admission
from aggsvc.http.answer_headers import add_answer_headers
from aggsvc.http.compression import compression_middleware
from aggsvc.http.guard import Guard
from aggsvc.http.options import add_allowed_method, add_cors_headers, options_middleware
from aggsvc.http.pace import Transfers
from aggsvc.http.problems import problem_middleware
from aggsvc.http.request_ids import add_request_id, request_id_middleware
from aggsvc.http.sessions import Sessions, open_key
from aggsvc.http.streams import EventStreams
from aggsvc.idempotency import IdempotencyKeys
from aggsvc.keys import (
    ADMISSION,
    BACKENDS,
    ENGINE,
    EVENT_STREAMS,
    GUARD,
    HEALTH,
    RECOVERY,
    SERVICE,
    SETTINGS,
    THROUGHPUT,
    TOKENS,
    TRANSFERS,
    WORKERS,
)
from aggsvc.objects import FileObjects
from aggsvc.processor import Processor, ProcessorLimits
from aggsvc.recovery import Recovery
from aggsvc.series import SeriesReader
from aggsvc.service import Service
from aggsvc.settings import Settings
from aggsvc.throughput import Throughput
from aggsvc.tokens import LiveTokens, TokenFile
from aggsvc.workers import DRAIN_SECONDS, WorkerPool
from web.pages import setup_pages

# How often idempotency keys that have expired are removed.
EXPIRY_SECONDS = 600.0
# How often it is tried again to remove what could not be removed.
SWEEP_SECONDS = 600.0
# How often it is tried to recover where the start could not, for a store could not be written.
RECOVERY_SECONDS = 1.0
# How long what is left of a refused body is read past, so that its client gets to see the answer.
LINGERING_SECONDS = 5.0
# A request's head: bytes of its first line and of each field, and how many of these.
MAX_HEAD_LINE = 8190
MAX_HEAD_FIELDS = 128
# Twice this is kept of a body that comes faster than it is stored.
READ_BUFFER_BYTES = 32 * 1024

log = structlog.get_logger()


def create_app(settings: Settings) -> web.Application:
    """The whole service, ready to run."""
    app = web.Application(
        middlewares=[
            request_id_middleware,
            compression_middleware,
            options_middleware,
            problem_middleware,
        ],
        handler_args={
            "auto_decompress": False,
            # A connection without a whole request head is closed, half-sent ones included.
            "keepalive_timeout": settings.header_timeout,
            "lingering_time": LINGERING_SECONDS,
            "read_bufsize": READ_BUFFER_BYTES,
            "max_line_size": MAX_HEAD_LINE,
            "max_field_size": MAX_HEAD_LINE,
            "max_headers": MAX_HEAD_FIELDS,
        },
    )
    app.on_response_prepare.extend(
        (add_answer_headers, add_request_id, add_allowed_method, add_cors_headers)
    )
    app[SETTINGS] = settings
    app[EVENT_STREAMS] = EventStreams()
    app[TRANSFERS] = Transfers()
    setup_api(app)
    setup_pages(app)
    app.middlewares.append(access_middleware)
    app.on_response_prepare.append(add_access_headers)
    app.cleanup_ctx.extend((engine_threads, access, backends, service, recovery, workers))
    app.on_shutdown.append(end_event_streams)
    return app


async def engine_threads(_app: web.Application) -> AsyncIterator[None]:
    """As many threads for the engine as there are cores; file I/O has its own."""
    pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="engine")
    asyncio.get_running_loop().set_default_executor(pool)
    yield
    pool.shutdown(wait=False)


async def access(app: web.Application) -> AsyncIterator[None]:
    """Tokens and sessions, where everybody is asked for one."""
    settings = app[SETTINGS]
    if settings.auth != "on":
        yield
        return
    sessions = Sessions(
        await asyncio.to_thread(open_key, settings.auth_path), trusts_proxy=settings.trust_proxy
    )
    tokens = LiveTokens(TokenFile(settings.auth_path))
    await tokens.open()
    app[TOKENS] = tokens
    app[GUARD] = Guard(tokens, sessions, trusts_proxy=settings.trust_proxy)
    following = asyncio.create_task(tokens.follow(app[GUARD].drop_ended))
    yield
    following.cancel()
    await asyncio.wait({following})
    tokens.close()


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
    app[ENGINE] = engine = _loading_engine(settings.processor_engine)
    limits = ProcessorLimits(settings.processor_max_attempts, settings.max_sensors)
    processor = Processor(objects, files, engine, limits)
    app[WORKERS] = WorkerPool(
        opened.queue,
        processor.process,
        settings.processor_worker_count,
        check=processor.check,
    )
    app[ADMISSION] = Admission(
        settings.max_concurrent_uploads, settings.max_waiting_files, opened.queue.depth
    )
    app[HEALTH] = Health(
        *(objects, files, opened.queue, app[WORKERS]), engine=engine, tokens=app.get(TOKENS)
    )
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
        *(objects, files, opened.queue, events, app[RECOVERY].new_file_id),
        keys=keys,
        series=SeriesReader(objects, engine),
    )
    app[THROUGHPUT] = Throughput()
    with app[SERVICE].watch_all() as changes:
        beside = {
            asyncio.create_task(_expire(keys)),
            asyncio.create_task(app[THROUGHPUT].follow(changes)),
        }
        yield
    for task in beside:
        task.cancel()
    await asyncio.wait(beside)
    await processor.close()


def _loading_engine(name: str) -> asyncio.Future[Engine]:
    """The engine, once it is loaded by a thread whose end nobody waits for.

    To compile it may take longer than to stop.
    """
    loop = asyncio.get_running_loop()
    loading: asyncio.Future[Engine] = loop.create_future()

    def load() -> None:
        try:
            settle = partial(loading.set_result, load_engine(name, os.cpu_count() or 1))
        except Exception as error:
            log.exception("the engine cannot be loaded, so that no file is processed")
            settle = partial(loading.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(lambda: loading.done() or settle())

    Thread(target=load, name="engine-loading", daemon=True).start()
    return loading


async def _expire(keys: IdempotencyKeys) -> None:
    while True:
        try:
            await keys.sweep()
        except StoreUnavailable as error:
            log.warning("expired keys not removed", reason=str(error))
        await asyncio.sleep(EXPIRY_SECONDS)


async def recovery(app: web.Application) -> AsyncIterator[None]:
    """What a crash left is queued before the first request and swept beside the first ones.

    Where nothing can be written yet, the service starts all the same, for reading only.
    """
    trouble = await _recover(app)
    if trouble:
        log.warning("for reading only until a store can be written", reason=str(trouble))
    # What start-up has made stays; without this each full collection would hold the loop over it.
    gc.collect()
    gc.freeze()
    gc.enable()
    tending = asyncio.create_task(_tend(app, trouble))
    yield
    tending.cancel()
    await asyncio.wait({tending})
    try:
        await app[RECOVERY].end()
    except StoreUnavailable as error:  # the next start takes this run for one that crashed
        log.warning("end not noted", reason=str(error))


async def _recover(app: web.Application) -> StoreUnavailable | None:
    """Queue what waits; what kept that from being done, which then refuses new work."""
    try:
        if found := await app[RECOVERY].recover():
            log.info("recovered", files=found)
    except StoreUnavailable as error:
        app[ADMISSION].hold(error)
        return error
    app[ADMISSION].hold(None)
    return None


async def _tend(app: web.Application, trouble: StoreUnavailable | None) -> None:
    while trouble:
        await asyncio.sleep(RECOVERY_SECONDS)
        trouble = await _recover(app)
    while True:
        try:
            if removed := await app[RECOVERY].sweep():
                log.warning("swept", objects=removed)
        except StoreUnavailable as error:
            log.warning("not swept", reason=str(error))
        await asyncio.sleep(SWEEP_SECONDS)


async def workers(app: web.Application) -> AsyncIterator[None]:
    """The consumers; they drain while the stores are still open."""
    app[WORKERS].start()
    yield
    await _stop_workers(app)


async def _stop_workers(app: web.Application) -> None:
    app[ENGINE].cancel()  # jobs that wait for it are given back
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
    await asyncio.gather(_stop_workers(app), app[TRANSFERS].finish(DRAIN_SECONDS))


async def end_event_streams(app: web.Application) -> None:
    """Open event streams would make aiohttp's shutdown wait for its whole timeout."""
    app[EVENT_STREAMS].close()

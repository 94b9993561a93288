"""How the service is: the state of each store, of the engine and of the worker pool."""

import asyncio
from dataclasses import dataclass, field
from typing import Literal

import structlog

from aggsvc.engine import Engine
from aggsvc.errors import StoreUnavailable, TokensUnreadable
from aggsvc.filetable import FileTable
from aggsvc.objects import FileObjects
from aggsvc.ports import JobQueue
from aggsvc.tokens import LiveTokens
from aggsvc.workers import WorkerPool

State = Literal["ok", "unavailable"]

NOT_LOADED = (
    "the engine could not be loaded, so files are taken but not processed; whoever runs the "
    "service must mend the cause, which its log tells, and restart it"
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StoreWell:
    """A store that can be read and written."""

    status: Literal["ok"] = "ok"


@dataclass(frozen=True, slots=True)
class EngineWell:
    """The engine that reads files, by which lane; while it is loading, they wait for it.

    `detail` says why the lane is not the one that was asked for, where it is not.
    """

    status: Literal["ok", "loading"]
    lane: Literal["compiled", "reference"] | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Unwell:
    """A part that does not work, and what is to be done."""

    status: Literal["unavailable"] = "unavailable"
    detail: str = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class WorkersHealth:
    """How many workers live, how many of them process a file, and how many files wait for one."""

    status: State
    alive: int
    busy: int
    waiting: int


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The state of each part; `status` is ok while none of them is unavailable."""

    status: State
    objects: StoreWell | Unwell
    table: StoreWell | Unwell
    engine: EngineWell | Unwell
    workers: WorkersHealth


@dataclass(frozen=True, slots=True)
class AccessHealth:
    """Whether tokens can be told from others; while not, everybody is refused."""

    status: State
    detail: str | None


@dataclass(frozen=True, slots=True)
class GuardedReport(HealthReport):
    """The same of a service that asks everybody for a token."""

    access: AccessHealth


@dataclass(frozen=True, slots=True)
class HealthSummary:
    """What anybody may know of such a service."""

    status: State


class Health:
    """Asks every part how it is."""

    def __init__(
        self,
        objects: FileObjects,
        files: FileTable,
        queue: JobQueue,
        workers: WorkerPool,
        *,
        engine: asyncio.Future[Engine],
        tokens: LiveTokens | None,
    ) -> None:
        self._objects = objects
        self._files = files
        self._queue = queue
        self._workers = workers
        self._engine = engine
        self._tokens = tokens

    async def report(self) -> HealthReport:
        """The state of each part."""
        objects, table = await _state(self._objects), await _state(self._files)
        engine = _engine(self._engine)
        workers = WorkersHealth(
            "ok" if self._workers.is_healthy else "unavailable",
            alive=self._workers.alive,
            busy=self._workers.busy,
            waiting=self._queue.depth(),
        )
        parts = objects, table, engine, workers
        if self._tokens is None:
            return HealthReport(_whole(*parts), *parts)
        access = _access(self._tokens)
        return GuardedReport(_whole(*parts, access), *parts, access)


def _whole(*parts: StoreWell | EngineWell | Unwell | WorkersHealth | AccessHealth) -> State:
    return "unavailable" if any(part.status == "unavailable" for part in parts) else "ok"


def _engine(engine: asyncio.Future[Engine]) -> EngineWell | Unwell:
    if not engine.done() or engine.cancelled():  # that it never comes now, the workers tell
        return EngineWell("loading")
    if engine.exception():
        return Unwell(detail=NOT_LOADED)
    lane = engine.result().lane
    return EngineWell("ok", lane.name, lane.trouble)


def _access(tokens: LiveTokens) -> AccessHealth:
    try:
        tokens.check()
    except TokensUnreadable as error:
        return AccessHealth("unavailable", error.public)
    return AccessHealth("ok", None)


async def _state(store: FileObjects | FileTable) -> StoreWell | Unwell:
    try:
        await store.check()
    except StoreUnavailable as error:
        log.warning("store unavailable", reason=str(error))
        return Unwell(detail=error.public)
    return StoreWell()

"""The engine: bytes in, a Summary and row errors out; knows nothing of HTTP, stores or jobs."""

import asyncio
import gc
from collections.abc import AsyncIterable, Awaitable, Callable
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from aggsvc.errors import Busy
from aggsvc.model import Progress

if TYPE_CHECKING:
    from aggsvc.engine.aggregate import Outcome
    from aggsvc.engine.choice import Choice
    from aggsvc.engine.lanes import Lane
    from aggsvc.engine.row_errors import RowErrors

UNREADABLE = "this cannot be read now, for the engine could not be loaded; see the service's log"

ErrorSink = Callable[["RowErrors"], Awaitable[None]]
ProgressSink = Callable[[Progress], Awaitable[None]]


class Engine(Protocol):
    """aggregate.aggregate, with its lane chosen."""

    @property
    def lane(self) -> "Lane":
        """The lane."""

    def __call__(
        self,
        stream: AsyncIterable[bytes],
        *,
        on_errors: ErrorSink,
        on_progress: ProgressSink,
        max_sensors: int,
        choice: "Choice" = ...,
    ) -> "Awaitable[Outcome]":
        """Read the whole stream; raises FileRejected where it cannot be read as a whole."""


@cache
def _set_aside() -> None:
    """Keep the collector off what numba consists of, some 300,000 objects.

    To pass over them takes a tenth of a second, in the middle of a file.
    """
    gc.freeze()


async def import_part(name: str) -> Any:
    """The engine's module of that name; raises Busy where it cannot be imported.

    In a thread, for it may take as long as all else together.
    """
    try:
        return await asyncio.to_thread(import_module, f"aggsvc.engine.{name}")
    except Exception as error:  # whatever a broken installation does
        raise Busy(UNREADABLE) from error


def load_engine(name: str, cores: int) -> Engine:
    """The engine with the lane of that name (`auto` or `rows`), ready to run.

    Takes seconds where machine code must be compiled first, and is kept out of the imports of
    those who only use it, so that the service can listen meanwhile. Call it in a thread. All that
    there is then stays: the garbage collector, who holds all threads, looks at it no more.
    """
    from aggsvc.engine.aggregate import LaneEngine, warm_up  # noqa: PLC0415
    from aggsvc.engine.lanes import lane_of  # noqa: PLC0415

    lane = lane_of(name, cores)
    warm_up(lane)
    _set_aside()
    return LaneEngine(lane)

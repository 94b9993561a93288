"""The readings of one sensor, or of a stretch of time: read again from the stored upload."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Set
from typing import TYPE_CHECKING

from aggsvc.engine import UNREADABLE, Engine, import_part
from aggsvc.engine.choice import Choice
from aggsvc.engine.fields import FieldFailed, read_timestamp
from aggsvc.errors import Busy, FileRejected, InvalidParameter, NotFound
from aggsvc.model import NO_READINGS, Aggregates, FileRecord, Progress
from aggsvc.objects import FileObjects

if TYPE_CHECKING:
    from aggsvc.engine.excerpt import Excerpt
    from aggsvc.engine.row_errors import RowErrors

# Each reading is a pass over a file, on cores that processing needs too.
MAX_READINGS = 2
KEPT_RESULTS = 32


class SeriesReader:
    """Reads at most MAX_READINGS files again at a time, and keeps the last few results.

    `engine` may be still on its way, as for the Processor.
    """

    def __init__(self, objects: FileObjects, engine: Awaitable[Engine]) -> None:
        self._objects = objects
        self._engine = engine
        self._readings = 0
        self._kept: OrderedDict[tuple[str, int, Choice], Aggregates] = OrderedDict()

    async def read(self, record: FileRecord, choice: Choice) -> Aggregates:
        """The statistics of the chosen readings of a finished file.

        Raises Busy while as many files are read as may be, and where the engine cannot be loaded.
        """
        if record.aggregates is None:  # the file came to no readings
            return NO_READINGS
        if choice.is_all or not record.aggregates.row_count:
            return record.aggregates
        key = (record.file_id, record.version, choice)
        if key not in self._kept:
            self._keep(key, await self._read(record, choice))
        self._kept.move_to_end(key)
        return self._kept[key]

    async def excerpt(self, record: FileRecord, lines: Set[int]) -> "Excerpt":
        """What stands on these lines near the start of the upload, as far as that can be read."""
        engine = await import_part("excerpt")
        most: int = engine.EXCERPT_BYTES
        found: Excerpt = engine.Excerpt()
        with contextlib.suppress(FileRejected, NotFound):
            async with self._objects.open_start(record.object_key, most) as upload:
                is_cut = record.size_bytes > most
                found = await engine.excerpt(upload.chunks, lines, is_cut=is_cut)
        return found

    def _keep(self, key: tuple[str, int, Choice], found: Aggregates) -> None:
        self._kept[key] = found
        if len(self._kept) > KEPT_RESULTS:
            self._kept.popitem(last=False)

    async def _loaded_engine(self) -> Engine:
        try:
            return await asyncio.shield(self._engine)  # whoever hangs up must not end it
        except Exception as error:  # whatever kept it from being loaded, which the log tells
            raise Busy(UNREADABLE) from error

    async def _read(self, record: FileRecord, choice: Choice) -> Aggregates:
        if self._readings >= MAX_READINGS:
            raise Busy(f"as many files are read again as may be ({MAX_READINGS}); try again later")
        self._readings += 1
        try:
            engine = await self._loaded_engine()
            async with self._objects.open(record.object_key) as upload:
                outcome = await engine(
                    upload.chunks,
                    on_errors=_ignore,
                    on_progress=_ignore,
                    max_sensors=1,
                    choice=choice,
                )
        finally:
            self._readings -= 1
        return await asyncio.to_thread(outcome.summary.aggregates)


def chosen(sensor_id: str | None, first: str | None, end: str | None) -> Choice:
    """The choice as a request words it, its times as rows may; raises InvalidParameter."""
    first_us, end_us = _moment("from", first), _moment("to", end)
    if first_us is not None and end_us is not None and first_us >= end_us:
        raise InvalidParameter(f"from={first} is not before to={end}", "from")
    choice = Choice(sensor_id)
    return Choice(
        sensor_id,
        choice.first_us if first_us is None else first_us,
        choice.end_us if end_us is None else end_us,
    )


def _moment(name: str, text: str | None) -> int | None:
    try:
        return None if text is None else read_timestamp(text)
    except FieldFailed as failed:
        raise InvalidParameter(
            f"{name}={text and text[:40]!r}: {failed}; it is a time such as 2025-10-01T08:12:10Z",
            name,
        ) from None


async def _ignore(_told: "RowErrors | Progress") -> None:
    """Row errors and progress were told when the file was processed."""

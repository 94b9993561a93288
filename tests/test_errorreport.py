"""The report of row errors: what it met is known, whoever ends it."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

from aggsvc.engine.row_errors import RowErrors
from aggsvc.errorreport import ErrorReport
from aggsvc.errors import StoreFull
from aggsvc.objects import FileObjects
from tests.conftest import BUCKET, Parts, Through


class FailingLater(Through):
    """Reports that begin well and fail while nobody waits for them."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.failed = asyncio.Event()

    async def put_report(self, _key: str, lines: AsyncIterator[bytes]) -> None:
        await anext(lines)
        await asyncio.sleep(0.01)
        self.failed.set()
        raise StoreFull("no space left")


async def test_what_a_report_met_is_told_by_its_discard_and_not_by_the_collector(
    parts: Parts, logged: list[dict[str, Any]]
) -> None:
    """An attempt that ends for another reason has never waited for it."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    objects = FailingLater(FileObjects(parts.objects, BUCKET))
    report = ErrorReport(objects, "id/errors-1.ndjson")
    await report.add(RowErrors.of([(1, 2, "too few fields", "x")]))
    await objects.failed.wait()
    await report.discard()
    del report
    gc.collect()
    assert told == []
    assert [line["reason"] for line in logged] == ["no space left"]

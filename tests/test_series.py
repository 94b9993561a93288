"""Readings read again from the stored upload."""

import asyncio
import sys

import pytest

from aggsvc.engine.choice import Choice
from aggsvc.errors import Busy
from aggsvc.objects import FileObjects
from aggsvc.series import SeriesReader
from tests.conftest import BUCKET, GOOD_ROW, HEADER, Parts


async def test_where_the_engine_cannot_be_loaded_no_file_is_read_again(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in the record is told all the same."""
    sent = await parts.submit(HEADER + GOOD_ROW)
    record = await parts.process(sent.file_id)
    engine = asyncio.get_running_loop().create_future()
    engine.set_exception(ImportError("/srv/secret/numba.so: file too short"))
    reader = SeriesReader(FileObjects(parts.objects, BUCKET), engine)
    assert await reader.read(record, Choice()) == record.aggregates
    with pytest.raises(Busy, match="could not be loaded"):
        await reader.read(record, Choice("a"))
    monkeypatch.setitem(sys.modules, "aggsvc.engine.excerpt", None)
    with pytest.raises(Busy, match="could not be loaded"):
        await reader.excerpt(record, {2})

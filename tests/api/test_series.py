"""GET /files/{file_id}/series: some of a file's readings, read again and held to the oracle."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest

from aggsvc.series import KEPT_RESULTS, MAX_READINGS
from tests import oracle
from tests.api.conftest import Client, MakeClient
from tests.api.helpers import (
    Opened,
    assert_problem,
    assert_refuses,
    json_of,
    processed,
    refused_at_first,
    settled,
)
from tests.conftest import BAD_ROW, GOOD_ROW, HEADER, Through, until

FIGURES = (
    "row_count",
    "min_value",
    "max_value",
    "mean_value",
    "stddev_value",
    "first_timestamp",
    "last_timestamp",
)


def rows(count: int, sensors: int = 7) -> Iterator[bytes]:
    """Readings of some sensors over some hours; rare exponents, quoted and bad ones among them."""
    for number in range(count):
        value = 1e300 if number % 501 == 500 else (number * 37 % 1_009) / 8 - 40
        time = f"2025-10-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}Z"
        name = f"s-{number % sensors}" if number % 11 else f'"s-{number % sensors}"'
        yield f"{name},{time},{value if number % 97 else 'bad'}\n".encode()


async def series(client: Client, file_id: str, **query: str) -> dict[str, Any]:
    answer = await client.get(f"/files/{file_id}/series", params=query)
    assert answer.status == 200, await answer.text()
    found: dict[str, Any] = await json_of(answer)
    return found


def assert_told(found: dict[str, Any], readings: list[oracle.Reading]) -> None:
    """The answer tells exactly these readings."""
    expected = oracle.Verdict(readings=readings)
    assert {name: found["statistics"][name] for name in FIGURES} == {
        name: getattr(expected, name) if readings else {"row_count": 0}.get(name)
        for name in FIGURES
    }
    assert found["time_series"] == expected.time_series
    assert found["histogram"] == expected.histogram
    for percent in (50, 95, 99):
        exact, told = expected.percentile(percent), found["statistics"][f"p{percent}_value"]
        assert told is exact is None or told == pytest.approx(exact, rel=0.004)


async def test_one_sensors_readings_are_told_exactly(client: Client) -> None:
    """Whatever rows of other sensors, or that are no readings, are among them."""
    data = HEADER + b"".join(rows(9_000)) + BAD_ROW
    file_id = (await processed(client, data))["file_id"]
    judged = oracle.judge(data)
    for sensor in ("s-0", "s-6"):
        found = await series(client, file_id, sensor=sensor)
        assert (found["sensor_id"], found["from"], found["to"]) == (sensor, None, None)
        assert_told(found, judged.sensors[sensor].readings)


async def test_a_stretch_of_time_has_finer_buckets(client: Client) -> None:
    """The end is not part of it; an offset means what it does in a row."""
    data = HEADER + b"".join(rows(9_000))
    file_id = (await processed(client, data))["file_id"]
    whole = await series(client, file_id)
    judged = oracle.judge(data)
    assert_told(whole, judged.readings)
    begin, end = "2025-10-01T00:10:00Z", "2025-10-01T01:15:00+01:00"
    stretch = [r for r in judged.readings if oracle.judge_timestamp(begin) <= r[1]]
    stretch = [r for r in stretch if r[1] < oracle.judge_timestamp(end)]
    found = await series(client, file_id, **{"from": begin, "to": end})
    assert_told(found, stretch)
    assert found["time_series"]["bucket_seconds"] < whole["time_series"]["bucket_seconds"]
    found = await series(client, file_id, sensor="s-3", **{"from": begin, "to": end})
    assert_told(found, [r for r in stretch if r[0] == "s-3"])
    nothing = await series(client, file_id, sensor="s-3", **{"from": "2030-01-01"})
    assert_told(nothing, [])


async def test_many_sensors_are_found_among(client: Client) -> None:
    """Also where their statistics are an object of their own."""
    data = HEADER + b"".join(rows(3_000, sensors=1_500))
    file_id = (await processed(client, data))["file_id"]
    judged = oracle.judge(data).sensors
    for sensor in ("s-1", "s-1499", "s-77"):
        assert_told(await series(client, file_id, sensor=sensor), judged[sensor].readings)


@pytest.mark.parametrize("sensor", ["", "b", "A", "a ", "a\0", "é", "\udcff", "x" * 5_000])
@pytest.mark.parametrize("data", [HEADER + GOOD_ROW, HEADER, HEADER + BAD_ROW, b"x\n"])
async def test_a_sensor_that_the_file_does_not_have_is_a_404(
    data: bytes, sensor: str, client: Client
) -> None:
    file_id = (await processed(client, data))["file_id"]
    query = "sensor=%FF" if sensor == "\udcff" else {"sensor": sensor}
    answer = await client.get(f"/files/{file_id}/series", params=query)
    await assert_problem(answer, 404, "no readings of a sensor")
    problem = await answer.json(content_type=None)
    assert (problem["type"], problem["field"]) == ("/problems/sensor-not-found", "sensor")


@pytest.mark.parametrize("data", [HEADER, HEADER + BAD_ROW, b"x\n"])
async def test_a_file_without_readings_has_a_series_without_any(
    data: bytes, client: Client
) -> None:
    file_id = (await processed(client, data))["file_id"]
    for query in ({}, {"from": "2025-10-01"}):
        assert_told(await series(client, file_id, **query), [])


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"from": "yesterday"}, "invalid timestamp"),
        ({"from": ""}, "invalid timestamp"),
        ({"to": "9999-12-31T23:59:59-01:00"}, "out of range"),
        ({"from": "2025-10-02", "to": "2025-10-02"}, "is not before"),
        ({"from": "x" * 3_000}, "such as"),
    ],
)
async def test_a_stretch_that_is_none_is_a_400(
    query: dict[str, str], says: str, client: Client
) -> None:
    await assert_refuses(client, "series", query, says)


async def test_the_series_waits_for_the_end(make_client: MakeClient) -> None:
    client, file_id = await refused_at_first(make_client, "series")
    assert (await series(client, file_id, sensor="a"))["statistics"]["row_count"] == 1


class Counted(Through):
    """An object store that counts how often it is read, and how many read it now."""

    reads = reading = 0
    go: asyncio.Event | None = None

    @asynccontextmanager
    async def get_object(self, bucket: str, key: str, **options: Any) -> AsyncIterator[Any]:
        async with self.inner.get_object(bucket, key, **options) as found:
            self.reads += 1
            self.reading += 1
            try:
                yield type(found)(found.info, self._held(found.chunks))
            finally:
                self.reading -= 1

    async def _held(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            if self.go is not None:
                await self.go.wait()
            yield chunk


async def test_few_are_read_at_a_time_and_the_reading_ends_with_the_client(
    make_client: MakeClient,
) -> None:
    opened = Opened(Counted)
    client = await make_client(objects=opened)
    data = HEADER + b"".join(rows(70))
    file_id = (await processed(client, data))["file_id"]
    opened.store.go = asyncio.Event()
    url = client.make_url(f"/files/{file_id}/series")
    async with aiohttp.ClientSession() as session:
        asked = [
            asyncio.create_task(session.get(url, params={"sensor": f"s-{number}"}))
            for number in range(MAX_READINGS)
        ]
        await until(lambda: opened.store.reading == MAX_READINGS)
        refused = await client.get(url.path, params={"sensor": "s-5"})
        await assert_problem(refused, 503, "try again later")
        assert refused.headers["Retry-After"]
        assert (await client.get(url.path)).status == 200  # that costs no pass
        for task in asked:
            task.cancel()
        for task in asked:
            with suppress(asyncio.CancelledError):
                await task
    await until(lambda: opened.store.reading == 0)
    opened.store.go.set()
    assert_told(
        await series(client, file_id, sensor="s-5"), oracle.judge(data).sensors["s-5"].readings
    )


async def test_the_last_results_are_kept_until_the_file_is_processed_again(
    make_client: MakeClient,
) -> None:
    opened = Opened(Counted)
    client = await make_client(objects=opened)
    data = HEADER + b"".join(rows(70, sensors=KEPT_RESULTS + 1))
    file_id = (await processed(client, data))["file_id"]

    async def reads(sensor: str) -> int:
        before = opened.store.reads
        await series(client, file_id, sensor=sensor)
        return int(opened.store.reads - before)

    assert [await reads("s-0"), await reads("s-0")] == [1, 0]
    for number in range(KEPT_RESULTS + 1):
        await reads(f"s-{number}")
    assert await reads("s-0") == 1
    assert (await client.post(f"/files/{file_id}/reprocess")).status == 202
    await settled(client, file_id)
    assert await reads("s-0") == 1

"""Small files a second, accepted and processed: with few records stored, and with many.

python -m bench.small_files [--files N] [--rounds N]: 16 clients upload files of 50 rows; a round is
over when the last of them is processed. Rounds against the two servers alternate.
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median

import aiohttp

from aggsvc.engine import load_engine
from aggsvc.events import EventHub
from aggsvc.filetable import FileTable
from aggsvc.model import Aggregates, FileRecord, Progress, Status, utc_now
from aggsvc.ports import FILES_SCHEMA
from bench.server import running_server, scratch
from mocks.dynamodb import MockDynamoDB
from mocks.files import Files
from mocks.s3 import MockS3

CLIENTS = 16
ROWS = 50
MAX_SENSORS = 1_000
BOUNDARY = "aggsvc-bench"


def csv_file(seed: int) -> bytes:
    """A clean file of 50 rows."""
    rows = (
        f"sensor-{row % 5},2025-10-01T08:{row:02d}:00Z,{(seed * 7919 + row * 104729) % 10007 / 100}"
        for row in range(ROWS)
    )
    return ("sensor_id,timestamp,value\n" + "\n".join(rows) + "\n").encode()


def body(seed: int) -> bytes:
    """The multipart body of an upload."""
    head = (
        f"--{BOUNDARY}\r\n"
        f'Content-Disposition: form-data; name="file"; filename="{seed}.csv"\r\n\r\n'
    )
    return head.encode() + csv_file(seed) + f"\r\n--{BOUNDARY}--\r\n".encode()


async def store_records(folder: Path, count: int) -> None:
    """Put that many processed files where a server will find them."""
    files = Files()
    objects = await MockS3.open(files, folder / "s3")
    table = await MockDynamoDB.open(files, folder / "db.json", {"processing_results": FILES_SCHEMA})
    records = FileTable(table, "processing_results", EventHub())
    data = csv_file(0)
    aggregates = await aggregates_of(data)

    async def store(numbers: range) -> None:
        for number in numbers:
            record = stored_record(f"{number:032x}", len(data), aggregates)
            await objects.put_object("uploads", record.object_key, stream(data))
            await records.create(record)

    await asyncio.gather(*(store(range(first, count, 64)) for first in range(64)))
    await table.close()
    await objects.close()
    await files.close()


async def stream(data: bytes) -> AsyncIterator[bytes]:
    """The bytes in one chunk."""
    yield data


async def aggregates_of(data: bytes) -> Aggregates:
    """What processing finds in the file."""

    async def ignore(_told: object) -> None:
        pass

    engine = await asyncio.to_thread(load_engine, "rows", 1)
    outcome = await engine(
        stream(data), on_errors=ignore, on_progress=ignore, max_sensors=MAX_SENSORS
    )
    return outcome.summary.aggregates()


def stored_record(file_id: str, size: int, aggregates: Aggregates) -> FileRecord:
    """A record like those that processing leaves."""
    return FileRecord(
        file_id,
        f"{file_id}.csv",
        size,
        "0" * 64,
        utc_now(),
        status=Status.PROCESSED,
        started_at=utc_now(),
        processed_at=utc_now(),
        processing_ms=3,
        progress=Progress(size, ROWS),
        aggregates=aggregates,
        version=3,
        attempts=1,
    )


async def play_round(session: aiohttp.ClientSession, url: str, count: int) -> float:
    """Upload so many files, see them processed, and return files a second; then delete them."""
    bodies = [body(seed) for seed in range(count)]
    ids: list[str] = []
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}

    async def client() -> None:
        while bodies:
            async with session.post(f"{url}/files", data=bodies.pop(), headers=headers) as answer:
                assert answer.status == 202, await answer.text()
                ids.append((await answer.json())["file_id"])

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    await all_processed(session, url)
    seconds = time.perf_counter() - started
    for file_id in ids:
        async with session.delete(f"{url}/files/{file_id}") as answer:
            assert answer.status == 204
    return count / seconds


async def all_processed(session: aiohttp.ClientSession, url: str) -> None:
    """Wait until no file waits or runs."""
    for status in ("uploaded", "processing"):
        while True:
            async with session.get(f"{url}/files?status={status}&limit=1") as answer:
                if not (await answer.json())["items"]:
                    break
            await asyncio.sleep(0.005)


async def main(files: int, rounds: int, few: int, many: int) -> None:
    """Alternate rounds and print the medians."""
    with scratch() as name:
        folders = {count: Path(name) / str(count) for count in (few, many)}
        for count, folder in folders.items():
            folder.mkdir()
            await store_records(folder, count)
        async with (
            running_server(folders[few]) as small,
            running_server(folders[many]) as large,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CLIENTS)) as session,
        ):
            rates: dict[int, list[float]] = {few: [], many: []}
            for number in range(rounds + 1):
                turns = [(few, small), (many, large)]
                for count, server in turns if number % 2 else reversed(turns):
                    rate = await play_round(session, server.url, files)
                    if number:  # the first round warms up
                        rates[count].append(rate)
    for count, found in rates.items():
        each = " ".join(f"{rate:.0f}" for rate in found)
        print(f"{count:>7,} records: {median(found):6.0f} files/s   (rounds: {each})")
    print(f"ratio many/few: {median(rates[many]) / median(rates[few]):.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--few", type=int, default=500)
    parser.add_argument("--many", type=int, default=50_000)
    asyncio.run(main(**vars(parser.parse_args())))

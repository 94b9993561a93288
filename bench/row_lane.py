"""A lane inside the service against a plain csv.DictReader loop with the same sums.

python -m bench.row_lane [--rows N] [--engine rows|auto]: generates a file with a fixed seed, times
the loop in a process of its own, uploads the file and takes the record's processing_ms, asking
GET /health/live all the while. Runs alternate.
"""

import argparse
import asyncio
import random
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import aiohttp

from bench.server import Server, percentile, running_server, scratch

LOOP = """
import csv, sys, time
from datetime import datetime
started = time.perf_counter()
count, total, low, high = {}, {}, {}, {}
with open(sys.argv[1], newline="") as file:
    for row in csv.DictReader(file):
        sensor, value = row["sensor_id"], float(row["value"])
        datetime.fromisoformat(row["timestamp"])
        if sensor in count:
            count[sensor] += 1
            total[sensor] += value
            if value < low[sensor]:
                low[sensor] = value
            if value > high[sensor]:
                high[sensor] = value
        else:
            count[sensor], total[sensor], low[sensor], high[sensor] = 1, value, value, value
print(sum(count.values()), min(low.values()), max(high.values()), time.perf_counter() - started)
"""


def generate(path: Path, rows: int) -> None:
    """1,000 sensors, one reading a second, values of three decimals: 38.8 bytes a row."""
    generator = random.Random(1)
    with path.open("w") as file:
        file.write("sensor_id,timestamp,value\n")
        for row in range(rows):
            day, second = divmod(row, 86_400)
            file.write(
                f"s{generator.randrange(1000):04d},2025-{day // 28 % 12 + 1:02d}-{day % 28 + 1:02d}"
                f"T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z,"
                f"{generator.uniform(10, 99):.3f}\n"
            )


def loop_seconds(path: Path) -> tuple[list[str], float]:
    """The loop's answers and seconds, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", LOOP, str(path)], capture_output=True, text=True, check=True
    )
    *answers, seconds = done.stdout.split()
    return answers, float(seconds)


async def service_seconds(server: Server, path: Path) -> tuple[list[str], float, list[float]]:
    """The service's answers, processing seconds, and latencies of /health/live meanwhile."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(None)) as session:
        with path.open("rb") as file:
            form = aiohttp.FormData()
            form.add_field("file", file, filename=path.name)
            async with session.post(f"{server.url}/files", data=form) as answer:
                url = f"{server.url}/files/{(await answer.json())['file_id']}"
        latencies: list[float] = []
        while True:
            for _ in range(20):
                asked = time.perf_counter()
                async with session.get(f"{server.url}/health/live") as answer:
                    assert answer.status == 200
                latencies.append(time.perf_counter() - asked)
                await asyncio.sleep(0.01)
            async with session.get(url) as answer:
                record = await answer.json()
            if record["status"] not in ("uploaded", "processing"):
                break
        async with session.delete(url):
            pass
    found = record["aggregates"]
    answers = [str(found[name]) for name in ("row_count", "min_value", "max_value")]
    return answers, record["processing_ms"] / 1000, latencies


async def main(rows: int, rounds: int, engine: str) -> None:
    """Alternate and print the medians."""
    with scratch() as name:
        folder = Path(name)
        path = folder / "rows.csv"
        generate(path, rows)
        loop, ours, latencies = [], [], []
        async with running_server(folder, PROCESSOR_ENGINE=engine) as server:
            for _ in range(rounds):
                expected, seconds = loop_seconds(path)
                loop.append(seconds)
                answers, seconds, waits = await service_seconds(server, path)
                assert answers == expected, (answers, expected)
                ours.append(seconds)
                latencies += waits
            peak = server.peak_rss_mib()
    print(f"{rows:,} rows, {rounds} rounds")
    print(f"csv.DictReader loop {median(loop):6.2f} s   {rows / median(loop) / 1e6:.3f} M rows/s")
    rate = rows / median(ours) / 1e6
    print(f"PROCESSOR_ENGINE={engine:4}{median(ours):6.2f} s   {rate:.3f} M rows/s")
    print(f"loop/ours {median(loop) / median(ours):.2f}   peak memory {peak:.0f} MiB")
    for share in (0.5, 0.99, 0.999):
        print(f"/health/live p{share * 100:g}: {percentile(latencies, share) * 1000:.1f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine", choices=("rows", "auto"), default="rows")
    asyncio.run(main(**vars(parser.parse_args())))

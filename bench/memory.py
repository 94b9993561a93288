"""Peak memory of the engine's process: many rows against a tenth of them.

python -m bench.memory [--rows N]: the rows come through a pipe and are never stored.
"""

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime

from bench.engines import Run
from bench.tables import ROOT, cores, keep, limit, machine, table
from bench.task import Task

GROWTH = 1.10
PEAK_MIB = 400.0


def run(rows: int) -> Run:
    """Our engine on so many clean rows."""
    command = [sys.executable, "-m", "bench.inputs", "clean", "--rows", str(rows)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as source:
        ours = [sys.executable, "-m", "bench.ours", Task("/dev/stdin", cores()).to_json()]
        done = subprocess.run(
            ours, cwd=ROOT, stdin=source.stdout, stdout=subprocess.PIPE, text=True, check=True
        )
    found = Run(**json.loads(done.stdout))
    assert found.answers["row_count"] == rows, found.answers
    return found


def report(peaks: dict[int, float]) -> str:
    """The table of peaks by number of rows, the first of which the others are held to."""
    allowed = min(next(iter(peaks.values())) * GROWTH, PEAK_MIB)
    rows = [
        [f"{count:,}", f"{peak:.0f} MiB", limit(peak, allowed, "MiB")]
        for count, peak in peaks.items()
    ]
    return table(("rows", "peak memory of the engine's process", "goal"), rows)


def main(rows: int) -> None:
    """Print the table and keep it."""
    peaks = {count: run(count).peak_mib for count in (rows // 10, rows)}
    made_by = f"`python -m bench.memory --rows {rows}`, {datetime.now(UTC):%Y-%m-%d}."
    text = f"{made_by} {machine('numba', 'numpy')}\n\n{report(peaks)}"
    print(text)
    keep("memory", text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000_000)
    main(**vars(parser.parse_args()))

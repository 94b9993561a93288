"""The engines on local files: ours and the peers', each run in a process of its own."""

import json
import math
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from bench.inputs import BAD_ROWS, Input, Made
from bench.tables import ROOT, cores, table, verdict
from bench.task import Answers, Task

SIMPLE = {
    "row_count", "min_value", "max_value", "mean_value", "first_us", "last_us", "sensor_count",
}  # fmt: skip
QUANTILES = {"p50_value", "p95_value", "p99_value"}
SUMS = {"sensor_rows", "histogram_rows", "series_rows"}
FULL = SIMPLE | QUANTILES | SUMS | {"stddev_value"}

# What DuckDB by itself takes for no error: an empty field is NULL, and doubles may be infinite.
TAKEN_BY_DUCKDB = {
    "missing sensor_id", "missing timestamp", "missing value", "sensor_id too long",
    "timestamp out of range", "value not finite",
}  # fmt: skip

BUCKETS_SECONDS = (1, 5, 15, 60, 300, 900, 3600, 10_800, 21_600, 43_200, 86_400, 864_000)

# Issue 4's goals: at least so many times as fast as DuckDB.
GOALS = {"clean": {"full": 3.0, "simple": 2.5}, "bad": {"full": 2.0}}
OTHER_GOALS = {"full": 1.5}
DICTREADER_GOAL = 40.0


@dataclass(frozen=True)
class Runner:
    """A module that does a task, and the form that is asked of it."""

    title: str
    module: str
    form: str = "full"
    engine: str = "auto"


OURS = Runner("ours", "bench.ours")
PEERS = {
    ("DuckDB", "full"): Runner("DuckDB full", "bench.peer_duckdb"),
    ("DuckDB", "simple"): Runner("DuckDB simple", "bench.peer_duckdb", "simple"),
    ("Polars", "full"): Runner("Polars full", "bench.peer_polars"),
    ("Polars", "simple"): Runner("Polars simple", "bench.peer_polars", "simple"),
}
DUCKDB_SIMPLE = PEERS["DuckDB", "simple"]
RUNNERS = (OURS, *PEERS.values())
ONCE = (
    Runner("`csv.DictReader` loop", "bench.peer_dictreader"),
    Runner("`PROCESSOR_ENGINE=rows`", "bench.ours", engine="rows"),
)


@dataclass(frozen=True)
class Run:
    """What one process told."""

    seconds: float
    peak_mib: float
    answers: Answers


def compare(kind: Input, made: Made, rounds: int) -> dict[Runner, list[Run]]:
    """The runs of each runner that can read the input, in turns."""
    task = task_of(kind, made)
    runs: dict[Runner, list[Run]] = defaultdict(list)
    made.path.read_bytes()  # into the page cache
    for _ in range(rounds):
        for runner in RUNNERS:
            if not (task.has_bad_rows and runner.title.startswith("Polars")):
                runs[runner].append(checked(runner, task, made))
    return runs


def once(kind: Input, made: Made) -> dict[Runner, Run]:
    """One run each of those that are too slow for more."""
    return {runner: checked(runner, task_of(kind, made), made) for runner in ONCE}


def task_of(kind: Input, made: Made) -> Task:
    """The file's task, with the widths that our answer to it has."""
    truth = made.answers
    return Task(
        str(made.path),
        cores(),
        columns=tuple(kind.columns),
        has_offsets=kind.offsets,
        has_bad_rows=kind.bad_share > 0,
        bin_width=bin_width(truth["min_value"], truth["max_value"]),
        bucket_us=bucket_us(truth["first_us"], truth["last_us"]),
    )


def bin_width(low: float, high: float) -> float:
    """The finest of 0.001, 0.002, 0.01, 0.02 ... of which at most 64 cover the range."""
    widths = (digit * 10**power / 1000 for power in range(10) for digit in (1, 2))
    return next(w for w in widths if math.floor(high / w) - math.floor(low / w) < 64)


def bucket_us(first: int, last: int) -> int:
    """The finest time of the ladder of which at most 512 cover the span."""
    widths = (seconds * 1_000_000 for seconds in BUCKETS_SECONDS)
    return next(w for w in widths if last // w - first // w < 512)


def checked(runner: Runner, task: Task, made: Made) -> Run:
    """One run, whose answers must be right."""
    asked = replace(task, form=runner.form, engine=runner.engine)
    command = [sys.executable, "-m", runner.module, asked.to_json()]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    run = Run(**json.loads(done.stdout))
    wrong = differences(run.answers, made, FULL if runner.form == "full" else SIMPLE)
    if wrong:
        raise ValueError(f"{runner.title} on {made.path.name}: {'; '.join(wrong)}")
    return run


def differences(answers: Answers, made: Made, names: set[str]) -> list[str]:
    """How the answers are not what the file must come to."""
    expected = made.answers | dict.fromkeys(SUMS, made.answers["row_count"])
    found = [
        f"{name} {answers.get(name)} is not {expected[name]}"
        for name in sorted(names)
        if not agree(name, answers.get(name), expected[name])
    ]
    by_duckdb = set(BAD_ROWS) - TAKEN_BY_DUCKDB
    errors = {
        "error_summary": made.error_summary,
        "rejects": sum(made.error_summary.get(reason, 0) for reason in by_duckdb),
    }
    return found + [
        f"{name} {answers[name]} is not {errors[name]}"
        for name in errors
        if name in answers and answers[name] != errors[name]
    ]


def agree(name: str, answer: float | None, expected: float) -> bool:
    """Exactly; means and deviations to 1e-9, quantiles to 0.5 %."""
    if answer is None:
        return False
    if name in QUANTILES:
        return math.isclose(answer, expected, rel_tol=0.005)
    if name in {"mean_value", "stddev_value"}:
        return math.isclose(answer, expected, rel_tol=1e-9)
    return answer == expected


HEADER = (
    "input", "B/row", "ours s", "M rows/s", *(peer.title for peer in PEERS.values()),
    "MiB ours", "MiB DuckDB", "MiB Polars", "goal full", "goal simple",
)  # fmt: skip


def comparison(found: Sequence[tuple[Input, Made, dict[Runner, list[Run]]]]) -> str:
    """The table: medians, and how many times the peer's seconds are ours."""
    return table(HEADER, [_row(kind, made, runs) for kind, made, runs in found])


def _row(kind: Input, made: Made, runs: dict[Runner, list[Run]]) -> list[str]:
    seconds = {runner: median(run.seconds for run in some) for runner, some in runs.items()}
    ratios = {runner: found / seconds[OURS] for runner, found in seconds.items()}
    goals = GOALS.get(kind.name, OTHER_GOALS)
    return [
        kind.title,
        f"{made.size_bytes / made.rows:.1f}",
        f"{seconds[OURS]:.2f}",
        f"{made.rows / seconds[OURS] / 1e6:.1f}",
        *(
            f"{seconds[peer]:.2f} s = {ratios[peer]:.2f} x" if peer in seconds else "-"
            for peer in PEERS.values()
        ),
        *(
            _peak(runs, runner)
            for runner in (OURS, PEERS["DuckDB", "full"], PEERS["Polars", "full"])
        ),
        *(
            verdict(ratios[PEERS["DuckDB", form]], goals[form]) if form in goals else "-"
            for form in ("full", "simple")
        ),
    ]


def _peak(runs: dict[Runner, list[Run]], runner: Runner) -> str:
    return f"{max(run.peak_mib for run in runs[runner]):.0f}" if runner in runs else "-"


def slow_ones(found: dict[Runner, Run], made: Made, ours: Sequence[Run]) -> str:
    """The table of those that ran once, on the clean input."""
    fastest = median(run.seconds for run in ours)
    rows = []
    for runner, run in found.items():
        ratio = run.seconds / fastest
        is_peer = runner.module != OURS.module
        rows.append(
            [
                runner.title,
                f"{run.seconds:.2f}",
                f"{made.rows / run.seconds / 1e6:.2f}",
                f"{run.peak_mib:.0f}",
                verdict(ratio, DICTREADER_GOAL) if is_peer else f"{ratio:.2f} x",
            ]
        )
    return table(("clean, one run", "s", "M rows/s", "MiB", "ours is faster by"), rows)

"""DuckDB on the same file: each form in the fastest way that was found (docs/performance.md)."""

from typing import Any

import duckdb
import numpy as np

from bench.task import Answers, Task, measure

SPAN = "epoch_us(min(timestamp)), epoch_us(max(timestamp))"
SIMPLE = f"count(*), min(value), max(value), avg(value), {SPAN}"
FULL = f"{SIMPLE}, stddev_pop(value)"
# What read_csv takes but is no reading of ours.
READINGS = """
WHERE sensor_id IS NOT NULL AND strlen(sensor_id) <= 256
  AND timestamp >= TIMESTAMP '0001-01-01' AND isfinite(value)
"""
# A row may be rejected for several columns.
REJECTS = """
SELECT error_type::VARCHAR, count(*)
FROM (SELECT DISTINCT ON (line) * FROM reject_errors) GROUP BY 1
"""

# Each sum of row counts that is compared, and the statement that gives the counts.
SUMS = {"sensor": "sensors", "histogram": "histogram", "series": "series"}

Results = dict[str, list[Any]]


def source(task: Task) -> str:
    """The FROM clause that reads the file."""
    kinds = {"timestamp": "TIMESTAMPTZ" if task.has_offsets else "TIMESTAMP", "value": "DOUBLE"}
    columns = ", ".join(f"'{name}': '{kinds.get(name, 'VARCHAR')}'" for name in task.columns)
    rejects = ", store_rejects = true, rejects_limit = 0" if task.has_bad_rows else ""
    where = READINGS if task.has_bad_rows else ""
    return f"FROM read_csv('{task.path}', header = true, columns = {{{columns}}}{rejects}) {where}"


def queries(task: Task) -> dict[str, str]:
    """The statements in order, by the name of what each gives."""
    if task.form == "simple":
        found = {"sensors": f"SELECT sensor_id, {SIMPLE} {source(task)} GROUP BY 1"}
    else:
        found = {
            "load": f"CREATE TEMP TABLE r AS SELECT sensor_id, timestamp, value {source(task)}",
            "sensors": f"SELECT sensor_id, {FULL} FROM r GROUP BY 1",
            "overall": f"SELECT {FULL} FROM r",
            "quantiles": "SELECT unnest(quantile_disc(value, [0.5, 0.95, 0.99])) FROM r",
            "histogram": f"SELECT floor(value / {task.bin_width}), count(*) FROM r GROUP BY 1",
            "series": f"""SELECT epoch_us(timestamp) // {task.bucket_us} AS bucket,
                          count(*), min(value), max(value), avg(value) FROM r GROUP BY 1""",
        }
    return found | ({"rejects": REJECTS} if task.has_bad_rows else {})


def connect(cores: int) -> duckdb.DuckDBPyConnection:
    """A database in memory, told that the order of rows need not be kept, which is faster."""
    connection = duckdb.connect()
    connection.execute(f"SET threads = {cores}")
    connection.execute("SET preserve_insertion_order = false")
    return connection


def ask(database: duckdb.DuckDBPyConnection, asked: dict[str, str]) -> Results:
    """Each statement's columns as NumPy arrays, which is faster than as tuples."""
    return {name: list(database.execute(sql).fetchnumpy().values()) for name, sql in asked.items()}


def answers(found: Results) -> Answers:
    """What is compared with the truth; of the simple form, as far as it goes."""
    _, counts, lows, highs, means, firsts, lasts, *_ = found["sensors"]
    told: Answers = {
        "row_count": int(counts.sum()),
        "min_value": float(lows.min()),
        "max_value": float(highs.max()),
        "mean_value": float(np.average(means, weights=counts)),
        "first_us": int(firsts.min()),
        "last_us": int(lasts.max()),
        "sensor_count": len(counts),
    }
    if "rejects" in found:
        told["rejects"] = int(found["rejects"][1].sum())
    if "overall" not in found:
        return told
    names = ("row_count", "min_value", "max_value", "mean_value", "first_us", "last_us")
    overall = (column.item() for column in found["overall"])
    return (
        told
        | dict(zip((*names, "stddev_value"), overall, strict=True))
        | dict(
            zip(
                ("p50_value", "p95_value", "p99_value"), found["quantiles"][0].tolist(), strict=True
            )
        )
        | {f"{name}_rows": int(found[of][1].sum()) for name, of in SUMS.items()}
    )


if __name__ == "__main__":
    task = Task.given()
    database = connect(task.cores)
    asked = queries(task)
    measure(lambda: ask(database, asked), answers)

"""Polars' streaming engine on the same file."""

from typing import Any

import polars as pl

from bench.task import Answers, Task, measure

VALUE, TIME = pl.col("value"), pl.col("timestamp")
SIMPLE = (
    pl.len().alias("row_count"),
    VALUE.min().alias("min_value"),
    VALUE.max().alias("max_value"),
    VALUE.mean().alias("mean_value"),
    TIME.min().to_physical().alias("first_us"),
    TIME.max().to_physical().alias("last_us"),
)
FULL = (*SIMPLE, VALUE.std(ddof=0).alias("stddev_value"))
QUANTILES = {"p50_value": 0.5, "p95_value": 0.95, "p99_value": 0.99}


def scan(task: Task) -> pl.LazyFrame:
    """The readings. A format and no cache is the fastest way found to read these timestamps."""
    kinds = dict.fromkeys(task.columns, pl.String) | {"value": pl.Float64}
    form = "%Y-%m-%dT%H:%M:%S%.6f%:z" if task.has_offsets else "%Y-%m-%dT%H:%M:%SZ"
    read = TIME.str.to_datetime(form, time_unit="us", cache=False)
    return pl.scan_csv(task.path, schema=kinds).select("sensor_id", read, "value")


def frames(task: Task) -> dict[str, pl.LazyFrame]:
    """The queries, by the name of what each gives."""
    rows = scan(task)
    if task.form == "simple":
        return {"sensors": rows.group_by("sensor_id").agg(*SIMPLE)}
    quantiles = [VALUE.quantile(q, "lower").alias(name) for name, q in QUANTILES.items()]
    bucket = (TIME.to_physical() // task.bucket_us).alias("bucket")
    return {
        "sensors": rows.group_by("sensor_id").agg(*FULL),
        "overall": rows.select(*FULL, *quantiles),
        "histogram": rows.group_by((VALUE / task.bin_width).floor().alias("bin")).agg(SIMPLE[0]),
        "series": rows.group_by(bucket).agg(*SIMPLE[:4]),
    }


def collect(asked: dict[str, pl.LazyFrame]) -> dict[str, pl.DataFrame]:
    """All at once, so that the file is read once for all of them."""
    found = pl.collect_all(list(asked.values()), engine="streaming")
    return dict(zip(asked, found, strict=True))


def answers(found: dict[str, pl.DataFrame]) -> Answers:
    """What is compared with the truth; of the simple form, as far as it goes."""
    sensors = found["sensors"]
    count = sensors["row_count"].sum()
    told: dict[str, Any] = {
        "row_count": count,
        "min_value": sensors["min_value"].min(),
        "max_value": sensors["max_value"].max(),
        "mean_value": (sensors["mean_value"] * sensors["row_count"]).sum() / count,
        "first_us": sensors["first_us"].min(),
        "last_us": sensors["last_us"].max(),
        "sensor_count": len(sensors),
    }
    if "overall" not in found:
        return told
    return (
        told
        | found["overall"].row(0, named=True)
        | {"sensor_rows": count}
        | {f"{name}_rows": found[name]["row_count"].sum() for name in ("histogram", "series")}
    )


if __name__ == "__main__":
    asked = frames(Task.given())
    measure(lambda: collect(asked), answers)

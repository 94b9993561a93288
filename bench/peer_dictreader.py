"""A plain csv.DictReader loop with all of the statistics."""

import csv
import math
from collections import Counter
from datetime import datetime
from typing import Any

from bench.task import Answers, Task, measure


class Statistics:
    """Count, extremes, sums and time span of some readings."""

    __slots__ = ("count", "first", "high", "last", "low", "squares", "total")

    def __init__(self, value: float, time: float) -> None:
        self.count = 1
        self.total = self.low = self.high = value
        self.squares = value * value
        self.first = self.last = time

    def add(self, value: float, time: float) -> None:
        """Take in one more."""
        self.count += 1
        self.total += value
        self.squares += value * value
        if value < self.low:
            self.low = value
        if value > self.high:
            self.high = value
        if time < self.first:
            self.first = time
        if time > self.last:
            self.last = time

    def mean(self) -> float:
        """Their mean."""
        return self.total / self.count

    def deviation(self) -> float:
        """Their population standard deviation."""
        return math.sqrt(self.squares / self.count - self.mean() ** 2)


def read(task: Task) -> dict[str, Any]:
    """The statistics by sensor, by bin and by bucket, and the values in order."""
    sensors: dict[str, Statistics] = {}
    buckets: dict[float, Statistics] = {}
    bins: Counter[float] = Counter()
    values = []
    bin_width, bucket_seconds = task.bin_width, task.bucket_us / 1e6
    with open(task.path, newline="") as file:
        for row in csv.DictReader(file):
            value = float(row["value"])
            time = datetime.fromisoformat(row["timestamp"]).timestamp()
            values.append(value)
            bins[value // bin_width] += 1
            for groups, key in ((sensors, row["sensor_id"]), (buckets, time // bucket_seconds)):
                if key in groups:
                    groups[key].add(value, time)
                else:
                    groups[key] = Statistics(value, time)
    values.sort()
    return {"sensors": sensors, "buckets": buckets, "bins": bins, "values": values}


def answers(found: dict[str, Any]) -> Answers:
    """What is compared with the truth."""
    values, sensors = found["values"], found["sensors"].values()
    count = len(values)
    mean = sum(values) / count
    return {
        "row_count": count,
        "min_value": values[0],
        "max_value": values[-1],
        "mean_value": mean,
        "stddev_value": math.sqrt(sum((value - mean) ** 2 for value in values) / count),
        "first_us": round(min(sensor.first for sensor in sensors) * 1e6),
        "last_us": round(max(sensor.last for sensor in sensors) * 1e6),
        "sensor_count": len(sensors),
        **{f"p{p}_value": values[-(-p * count // 100) - 1] for p in (50, 95, 99)},
        "sensor_rows": sum(sensor.count for sensor in sensors),
        "histogram_rows": found["bins"].total(),
        "series_rows": sum(bucket.count for bucket in found["buckets"].values()),
    }


if __name__ == "__main__":
    task = Task.given()
    measure(lambda: read(task), answers)

"""The benchmarks' inputs: CSV files from a fixed seed, each beside what it must come to.

python -m bench.inputs NAME --rows N writes one to its standard output.
"""

import argparse
import hashlib
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]

SEED = 20261123
BLOCK_ROWS = 100_000
FIRST_US = int(np.datetime64("2025-01-01", "us").astype(np.int64))
LOWEST, HIGHEST = 10_000, 99_000  # thousandths
OFFSETS = {"+00:00": 0, "+02:00": 7200, "-05:30": -19800, "+09:00": 32400}
NO_BYTE = 0
COLUMNS = ("sensor_id", "timestamp", "value")


@dataclass(frozen=True)
class Input:
    """A kind of file: one reading a second, of `sensors` sensors, values with up to 3 decimals."""

    name: str
    title: str
    sensors: int = 1_000
    quoted: bool = False
    line_end: bytes = b"\n"
    extra_columns: int = 0
    offsets: bool = False
    bad_share: float = 0.0

    @property
    def columns(self) -> list[str]:
        """The header's names: half of the extra columns come first."""
        extra = [f"extra_{number}" for number in range(self.extra_columns)]
        half = len(extra) // 2
        return [*extra[:half], *COLUMNS, *extra[half:]]


INPUTS = {
    kind.name: kind
    for kind in (
        Input("clean", "clean, 1,000 sensors"),
        Input("bad", "1 % bad rows of 12 kinds", bad_share=0.01),
        Input("quoted", "every field quoted", quoted=True),
        Input("crlf", "CRLF", line_end=b"\r\n"),
        Input("wide", "8 extra columns", extra_columns=8),
        Input("many", "100,000 sensors", sensors=100_000),
        Input("one", "1 sensor", sensors=1),
        Input("offsets", "timestamps with offset and microseconds", offsets=True),
    )
}

BadRow = Callable[[bytes, bytes, bytes], bytes]

# Each makes one row from the sensor, timestamp and value of a good one.
BAD_ROWS: dict[str, tuple[BadRow, ...]] = {
    "invalid utf-8": (lambda s, t, v: b",".join((s + b"\xff", t, v)),),
    "nul byte": (lambda s, t, v: b",".join((s, t, v + b"\0")),),
    "too few fields": (lambda s, t, v: s + b"," + t, lambda s, t, v: s),
    "too many fields": (lambda s, t, v: b",".join((s, t, v, b"7")),),
    "missing sensor_id": (lambda s, t, v: b"," + t + b"," + v,),
    "missing timestamp": (lambda s, t, v: s + b",," + v,),
    "missing value": (lambda s, t, v: s + b"," + t + b",",),
    "sensor_id too long": (lambda s, t, v: b",".join((s * 40, t, v)),),
    "invalid timestamp": (
        lambda s, t, v: b",".join((s, b"yesterday", v)),
        lambda s, t, v: b",".join((s, b"2025-02-30T00:00:00Z", v)),
        lambda s, t, v: b",".join((s, b"2025-01-01T25:00:00Z", v)),
    ),
    "timestamp out of range": (lambda s, t, v: b",".join((s, b"0000-12-31T00:00:00Z", v)),),
    "invalid value": (
        lambda s, t, v: b",".join((s, t, b"n/a")),
        lambda s, t, v: b",".join((s, t, b"12.3.4")),
        lambda s, t, v: b",".join((s, t, b"0x1F")),
    ),
    "value not finite": (
        lambda s, t, v: b",".join((s, t, b"nan")),
        lambda s, t, v: b",".join((s, t, b"-inf")),
    ),
}


@dataclass
class Truth:
    """What the rows written so far come to; times are microseconds since 1970."""

    thousandths: Integers = field(default_factory=lambda: np.zeros(HIGHEST, np.int64))
    sensors: set[int] = field(default_factory=set)
    first_us: int = 2**62
    last_us: int = -(2**62)
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, sensors: Integers, times: Integers, values: Integers) -> None:
        """Take in good rows."""
        self.thousandths += np.bincount(values, minlength=HIGHEST)
        self.sensors.update(np.unique(sensors).tolist())
        self.first_us = min(self.first_us, int(times.min()))
        self.last_us = max(self.last_us, int(times.max()))

    def answers(self) -> dict[str, Any]:
        """The statistics; quantiles by nearest rank."""
        count = int(self.thousandths.sum())
        present = np.flatnonzero(self.thousandths)
        weights = self.thousandths[present]
        total = int((present * weights).sum())
        squares = sum(
            int(v) ** 2 * int(n) for v, n in zip(present.tolist(), weights.tolist(), strict=True)
        )
        ranks = {f"p{p}_value": -(-p * count // 100) for p in (50, 95, 99)}
        reached = np.cumsum(weights)
        return {
            "row_count": count,
            "min_value": int(present[0]) / 1000,
            "max_value": int(present[-1]) / 1000,
            "mean_value": total / (1000 * count),
            "stddev_value": math.sqrt((count * squares - total**2) / count**2) / 1000,
            "first_us": self.first_us,
            "last_us": self.last_us,
            "sensor_count": len(self.sensors),
            **{
                name: int(present[np.searchsorted(reached, rank)]) / 1000
                for name, rank in ranks.items()
            },
        }


@dataclass(frozen=True)
class Made:
    """A file that was made: where, and what it must come to."""

    path: Path
    rows: int
    size_bytes: int
    answers: dict[str, Any]
    error_summary: dict[str, int]


def make(kind: Input, rows: int, folder: Path) -> Made:
    """The file in the folder: one that is there already is used again if it is still the same."""
    path = folder / f"{kind.name}-{rows}.csv"
    note = path.with_suffix(".json")
    if note.exists():
        known = json.loads(note.read_text())
        if known.pop("source") == _source() and path.exists():
            made = Made(path, **known)
            if path.stat().st_size == made.size_bytes:
                return made
    folder.mkdir(parents=True, exist_ok=True)
    truth = Truth()
    with path.open("wb") as file:
        file.writelines(blocks(kind, rows, truth))
    made = Made(path, rows, path.stat().st_size, truth.answers(), dict(truth.errors))
    known = {name: value for name, value in asdict(made).items() if name != "path"}
    note.write_text(json.dumps(known | {"source": _source()}))
    return made


def blocks(kind: Input, rows: int, truth: Truth) -> Iterator[bytes]:
    """The file in pieces; the same for the same kind and number of rows."""
    quote = '"' if kind.quoted else ""
    yield ",".join(f"{quote}{name}{quote}" for name in kind.columns).encode() + kind.line_end
    bad_rows = {reason: cycle(makers) for reason, makers in BAD_ROWS.items()}
    reasons = cycle(bad_rows)
    for start in range(0, rows, BLOCK_ROWS):
        generator = np.random.default_rng([SEED, start])
        block = _Rows(kind, start, min(BLOCK_ROWS, rows - start), generator)
        is_bad = generator.random(block.count) < kind.bad_share
        truth.add(*(column[~is_bad] for column in (block.sensors, block.times, block.values)))
        lines = block.lines()
        pieces, end = [], 0
        for place in np.flatnonzero(is_bad).tolist():
            reason = next(reasons)
            truth.errors[reason] += 1
            line = lines.of(place).removesuffix(kind.line_end)
            pieces += [lines.between(end, place), next(bad_rows[reason])(*line.split(b","))]
            pieces.append(kind.line_end)
            end = place + 1
        yield b"".join([*pieces, lines.between(end, block.count)])


@dataclass(frozen=True)
class _Lines:
    data: bytes
    starts: list[int]

    def between(self, first: int, end: int) -> bytes:
        return self.data[self.starts[first] : self.starts[end]]

    def of(self, place: int) -> bytes:
        return self.between(place, place + 1)


class _Rows:
    """Some rows as columns of numbers, and as text: a matrix of bytes, some of which are none."""

    def __init__(self, kind: Input, start: int, count: int, generator: np.random.Generator) -> None:
        self.kind = kind
        self.count = count
        self.sensors = generator.integers(kind.sensors, size=count)
        self.values = generator.integers(LOWEST, HIGHEST, size=count)
        self.times = FIRST_US + (start + np.arange(count)) * 1_000_000
        self.offsets = np.zeros(count, np.int64)
        if kind.offsets:
            self.times += generator.integers(1_000_000, size=count)
            self.offsets = generator.integers(len(OFFSETS), size=count)
        self.extra = generator.integers(10**6, size=(kind.extra_columns, count))

    def lines(self) -> _Lines:
        texts = {
            "sensor_id": [
                self._text(b"sensor-"),
                _number(self.sensors, len(str(self.kind.sensors - 1))),
            ],
            "timestamp": self._timestamps(),
            "value": _decimals(self.values),
        }
        for number, column in enumerate(self.extra):
            texts[f"extra_{number}"] = [_number(column, 6)]
        quote = [self._text(b'"')] if self.kind.quoted else []
        parts: list[Bytes] = []
        for name in self.kind.columns:
            parts += [*quote, *texts[name], *quote, self._text(b",")]
        matrix = np.hstack([*parts[:-1], self._text(self.kind.line_end)])
        shown = matrix != NO_BYTE
        starts = np.concatenate([[0], np.cumsum(shown.sum(axis=1))])
        return _Lines(matrix[shown].tobytes(), starts.tolist())

    def _text(self, text: bytes) -> Bytes:
        return np.broadcast_to(np.frombuffer(text, np.uint8), (self.count, len(text)))

    def _timestamps(self) -> list[Bytes]:
        seconds = np.array(list(OFFSETS.values()))[self.offsets]
        local = (self.times + seconds * 1_000_000).astype("M8[us]")
        unit = "us" if self.kind.offsets else "s"
        texts = np.datetime_as_string(local, unit=unit).astype("S")
        if not self.kind.offsets:
            return [_letters(texts), self._text(b"Z")]
        return [_letters(texts), _letters(np.array(list(OFFSETS), "S")[self.offsets])]


def _letters(texts: npt.NDArray[np.bytes_]) -> Bytes:
    return texts.view(np.uint8).reshape(len(texts), -1)


def _digits(numbers: Integers, width: int) -> Bytes:
    """The last `width` digits of each number, with leading zeros."""
    powers = 10 ** np.arange(width - 1, -1, -1)
    return (numbers[:, None] // powers % 10 + ord("0")).astype(np.uint8)


def _number(numbers: Integers, width: int) -> Bytes:
    """Each number without leading zeros."""
    digits = _digits(numbers, width)
    digits[:, :-1][numbers[:, None] < 10 ** np.arange(width - 1, 0, -1)] = NO_BYTE
    return digits


def _decimals(thousandths: Integers) -> list[Bytes]:
    """Numbers of two digits before the point and, like repr, one to three behind it."""
    digits = _digits(thousandths, 5)
    digits[:, 4][thousandths % 10 == 0] = NO_BYTE
    digits[:, 3][thousandths % 100 == 0] = NO_BYTE
    point = np.full((len(digits), 1), ord("."), np.uint8)
    return [digits[:, :2], point, digits[:, 2:]]


def _source() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=INPUTS)
    parser.add_argument("--rows", type=int, required=True)
    given = parser.parse_args()
    sys.stdout.buffer.writelines(blocks(INPUTS[given.name], given.rows, Truth()))

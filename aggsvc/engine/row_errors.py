"""Rows that are no readings, as columns: objects and JSON are made of them where they are told."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import orjson

from aggsvc.engine.names import Names
from aggsvc.model import COLUMN_OF_REASON, REASONS, RowError

NUMBER_OF_REASON = {reason: number for number, reason in enumerate(REASONS)}
VALUE_CHARS = 200

Integers = npt.NDArray[np.int64]
Fields = tuple[int, int, str | None, str, str]


@dataclass(frozen=True, slots=True)
class RowErrors:
    """The row errors of some rows in order; iterates over them as RowError.

    `reasons` are places in REASONS; values are cut to VALUE_CHARS.
    """

    row_numbers: Integers
    line_numbers: Integers
    reasons: Integers
    values: Names

    @classmethod
    def of(cls, found: Sequence[tuple[int, int, str, str]]) -> "RowErrors":
        """These: row number, line number, reason and value of each."""
        rows, lines, reasons, values = zip(*found, strict=True) if found else ((), (), (), ())
        return cls(
            np.array(rows, np.int64),
            np.array(lines, np.int64),
            np.array([NUMBER_OF_REASON[reason] for reason in reasons], np.int64),
            Names.of([value[:VALUE_CHARS].encode() for value in values]),
        )

    @classmethod
    def joined(cls, parts: Sequence["RowErrors"]) -> "RowErrors":
        """Those of all parts, one part behind the other."""
        parts = parts or [NO_ERRORS]
        return cls(
            np.concatenate([part.row_numbers for part in parts]),
            np.concatenate([part.line_numbers for part in parts]),
            np.concatenate([part.reasons for part in parts]),
            Names.joined([part.values for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.row_numbers)

    def __iter__(self) -> Iterator[RowError]:
        return (RowError(*fields) for fields in self._fields())

    def first(self, count: int) -> list[RowError]:
        """At most so many of them, from the first on."""
        return list(islice(self, max(count, 0)))

    def in_order(self) -> "RowErrors":
        """The same by row number."""
        order = np.argsort(self.row_numbers)
        return RowErrors(
            self.row_numbers[order],
            self.line_numbers[order],
            self.reasons[order],
            self.values.only(order),
        )

    def moved(self, rows: int, lines: int) -> "RowErrors":
        """The same, so many rows and lines further on."""
        return RowErrors(
            self.row_numbers + rows, self.line_numbers + lines, self.reasons, self.values
        )

    def counts(self) -> dict[str, int]:
        """How many there are of each reason that there is."""
        numbers = np.bincount(self.reasons, minlength=len(REASONS)).tolist()
        return {reason: count for reason, count in zip(REASONS, numbers, strict=True) if count}

    def json_lines(self) -> bytes:
        """Each as a JSON object on a line of its own."""
        names = RowError.__slots__
        found = orjson.dumps([dict(zip(names, fields, strict=True)) for fields in self._fields()])
        # In a string of JSON no quote stands for itself, so this is no part of a value.
        return found[1:-1].replace(b'},{"row_number":', b'}\n{"row_number":') + b"\n"

    def _fields(self) -> Iterator[Fields]:
        reasons = [REASONS[number] for number in self.reasons.tolist()]
        return zip(
            self.row_numbers.tolist(),
            self.line_numbers.tolist(),
            map(COLUMN_OF_REASON.__getitem__, reasons),
            reasons,
            map(bytes.decode, self.values.encoded()),
            strict=True,
        )


NO_ERRORS = RowErrors.of([])

"""Where the lanes meet: rows as columns, and those that are no readings as row errors."""

from dataclasses import dataclass, field

from aggsvc.model import RowError


@dataclass(slots=True)
class Batch:
    """A block's rows in order, or those of a piece of it.

    `sensors`, `timestamps` (microseconds since the epoch, UTC) and `values` are the columns of the
    readings. `rows_read` counts readings and errors; the errors' row numbers count from 1 at the
    batch's first row, their line numbers are the file's.
    """

    sensors: list[str] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    errors: list[RowError] = field(default_factory=list)
    rows_read: int = 0

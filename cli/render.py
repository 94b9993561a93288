"""What the commands show: tables and progress for a person, JSON for a program."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

Record = dict[str, Any]

# A pipe has no width: one line per row, however long, for grep and its like.
PIPE_WIDTH = 100_000

out = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
err = Console(stderr=True, highlight=False)

COLOURS = {"processed": "green", "partial": "yellow", "failed": "red", "processing": "cyan"}
SHOWN_ERRORS = 10
SHOWN_SENSORS = 10
# Columns of a terminal below which a listing leaves out the counts, so that ids stay whole.
WIDE = 80
# Columns below which a file of it takes two lines: its id alone is 32.
NARROW = 60
# Columns below which a list of sensors leaves out the figures that take the most room.
VERY_WIDE = 160


def show_json(data: object) -> None:
    """One line of JSON."""
    sys.stdout.write(orjson.dumps(data).decode() + "\n")


def show_record(record: Record) -> None:
    """All of a record that fits a screen."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _facts(record):
        table.add_row(name, value)
    _show_table(table)
    if record["errors"]:
        out.print()
        _show_table(_error_table(record["errors"][:SHOWN_ERRORS]))
        _show_rest(record["error_count"] - SHOWN_ERRORS, f"aggsvc errors {record['file_id']}")


def _facts(record: Record) -> Iterator[tuple[str, str]]:
    yield "file", safe(record["filename"])
    yield "id", record["file_id"]
    yield "status", status_text(record["status"])
    if record["message"]:
        yield "message", safe(record["message"])
    yield "size", f"{record['size_bytes']:,} bytes"
    yield "rows", f"{record['progress']['rows_read']:,} read"
    aggregates = record["aggregates"]
    if aggregates:
        yield "readings", f"{aggregates['row_count']:,}"
        for name in ("min", "max", "mean", "stddev", "p50", "p95", "p99"):
            yield name, _number(aggregates[f"{name}_value"])
        for name in ("first", "last"):
            yield name, aggregates[f"{name}_timestamp"] or "-"
        yield "sensors", _sensors(aggregates)
    for reason, count in record["error_summary"].items():
        yield "bad rows", f"{count:,} {reason}"
    if record["processing_ms"] is not None:
        yield "took", f"{record['processing_ms']:,} ms"


def _sensors(aggregates: Record) -> str:
    total = f"{aggregates['sensor_count']:,}"
    counts = list(aggregates["per_sensor_count"].items())
    if not counts:
        return total
    shown = ", ".join(f"{safe(name)} {count:,}" for name, count in counts[:SHOWN_SENSORS])
    more = aggregates["sensor_count"] - SHOWN_SENSORS
    return f"{total}: {shown}" + (f" and {more:,} more" if more > 0 else "")


def show_accepted(record: Record) -> None:
    """One line for a file that was taken in."""
    name = safe(record["filename"])
    out.print(f"{record['file_id']}  {status_text(record['status'])}  {name}", soft_wrap=True)


def show_deleted(record: Record) -> None:
    """One line for a file that is gone."""
    out.print(f"{record['file_id']}  deleted", soft_wrap=True)


def show_list(page: Record, again: str) -> None:
    """A page of the listing, and the command for the next."""
    if not page["items"]:
        out.print("no files")
        return
    if out.width < NARROW:
        for record in page["items"]:
            name = safe(record["filename"])
            out.print(f"{record['file_id']}\n  {status_text(record['status'])}  {name}")
    else:
        _show_table(_file_table(page["items"]))
    _show_more(page, again)


def _file_table(records: Iterable[Record]) -> Table:
    wide = out.width >= WIDE
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("id", no_wrap=True)
    table.add_column("file", overflow="fold")
    table.add_column("status", no_wrap=True)
    if wide:
        table.add_column("rows", justify="right", no_wrap=True)
        table.add_column("bad", justify="right", no_wrap=True)
    for record in records:
        row = [
            record["file_id"],
            safe(record["filename"]),
            status_text(record["status"]),
        ]
        counts = [f"{record['progress']['rows_read']:,}", f"{record['error_count']:,}"]
        table.add_row(*row, *(counts if wide else ()))
    return table


def _show_more(page: Record, again: str) -> None:
    if page["next_cursor"]:
        out.print(f"more: {safe(again)}", style="dim", soft_wrap=True)


def show_sensors(page: Record, again: str) -> None:
    """A page of a file's sensors, and the command for the next."""
    if not page["items"]:
        out.print("no sensors")
        return
    figures = _figures_that_fit()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("sensor", overflow="fold")
    table.add_column("readings", justify="right", no_wrap=True)
    for name in figures:
        table.add_column(name.partition("_")[0], justify="right", no_wrap=True)
    for sensor in page["items"]:
        values = (str(sensor[name]) for name in figures)
        table.add_row(safe(sensor["sensor_id"]), f"{sensor['row_count']:,}", *values)
    _show_table(table)
    _show_more(page, again)


def _figures_that_fit() -> list[str]:
    """What there is room for beside the name and the count of a sensor."""
    if out.width < WIDE:
        return ["mean_value"]
    if out.width < VERY_WIDE:
        return ["min_value", "max_value", "mean_value"]
    values = ["min_value", "max_value", "mean_value", "stddev_value"]
    return [*values, "first_timestamp", "last_timestamp"]


def show_errors(record: Record) -> None:
    """A record's row errors as a table, and how many there are beyond those."""
    shown = record["errors"]
    if not shown:
        out.print("no bad rows")
        return
    _show_table(_error_table(shown))
    _show_rest(
        record["error_count"] - len(shown), f"aggsvc errors {record['file_id']} --format csv"
    )


def _error_table(errors: Iterable[Record]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("line", justify="right")
    table.add_column("column")
    table.add_column("reason")
    table.add_column("value", overflow="fold")
    for error in errors:
        table.add_row(
            str(error["line_number"]),
            error["column"] or "",
            error["reason"],
            safe(error["value"]),
        )
    return table


def _show_table(table: Table) -> None:
    """The table; a pipe gets none of the blanks that fill its lines up."""
    if out.is_terminal:
        out.print(table)
        return
    with out.capture() as printed:
        out.print(table)
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in printed.get().splitlines())


def _show_rest(count: int, how: str) -> None:
    if count > 0:
        out.print(f"and {count:,} more; see all with {how}", style="dim", soft_wrap=True)


def show_health(health: Record) -> None:
    """The state of each part, or of the whole for who has no token."""
    if "workers" not in health:
        out.print(f"{'service':8} {health['status']}")
    for name, part in health.items():
        if name == "status":
            continue
        told = {key: value for key, value in part.items() if key != "status" and value is not None}
        rest = ", ".join(
            str(value) if key == "detail" else f"{key} {value}" for key, value in told.items()
        )
        out.print(f"{name:8} {part['status']}" + (f" ({escape(rest)})" if rest else ""))


def show_failure(message: str) -> None:
    """Why something could not be done, on standard error."""
    err.print(f"[red]aggsvc:[/red] {safe(message)}", soft_wrap=True)


def status_text(status: str) -> str:
    """The status in its colour."""
    colour = COLOURS.get(status)
    return f"[{colour}]{status}[/{colour}]" if colour else status


def _number(value: float | None) -> str:
    return "-" if value is None else repr(value)


def plain(text: str) -> str:
    """Text from outside with nothing in it that a terminal would act on."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def safe(text: str) -> str:
    """Text from outside for the console: plain, and no markup either."""
    return escape(plain(text))


class Bars:
    """Progress bars on a terminal; nothing elsewhere."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def add(self, what: str, name: str, total: int) -> TaskID:
        """A bar of that many bytes."""
        return self._progress.add_task(what, total=total, name=safe(name))

    def advance(self, bar: TaskID, size: int) -> None:
        """So many bytes more."""
        self._progress.advance(bar, size)

    def reach(self, bar: TaskID, size: int) -> None:
        """So many bytes in all."""
        self._progress.update(bar, completed=size)


@contextmanager
def progress_bars(*, wanted: bool) -> Iterator[Bars]:
    """Bars on standard error while the context is open, if that is a terminal."""
    columns = (
        TextColumn("{task.description}"),
        TextColumn("{task.fields[name]}"),
        BarColumn(bar_width=20),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, disable=not (wanted and err.is_terminal)) as progress:
        yield Bars(progress)

"""The parameters of the API's calls."""

from dataclasses import fields

from aggsvc.http.kinds import KINDS
from aggsvc.http.operations import Choice, Number, Parameter, Text, one_of, sort_by
from aggsvc.model import REASONS, SensorStatistics, Status
from aggsvc.service import FILE_SORTS

DEFAULT_LIMIT = 50

FILE_ID = Parameter("file_id", Text(), "", "The id that the upload was answered with.", "path")
IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    Text("[!-~]{1,255}", "one key of 1 to 255 visible ASCII characters, such as a UUID"),
    None,
    "Makes it safe to send the same upload again: for 24 hours, the key stands for the file that "
    "it made, and makes no other.",
    "header",
)
STATUS = Parameter("status", one_of(*Status), "", "Only files of this status.")
SEARCH = Parameter(
    "q", Text(), "", "Only files whose name contains this text, in upper or lower case."
)
FILE_SORT = Parameter(
    "sort",
    sort_by(*FILE_SORTS),
    "",
    "What to sort by, `-` before it for descending; newest first if not given.",
)
FILE_LIMIT = Parameter("limit", Number(1, 200), DEFAULT_LIMIT, "How many files on a page.")
CURSOR = Parameter(
    "cursor",
    Text(),
    "",
    "The `next_cursor` of the page before, with the same other parameters; the first page if not "
    "given.",
)
ERRORS_FORMAT = Parameter(
    "format",
    Choice(("ndjson", "csv"), "ndjson or csv"),
    "",
    "JSON lines, or CSV with a header; if not given, what `Accept` likes better, JSON lines first.",
)
SENSORS_FORMAT = Parameter(
    "format",
    Choice(("json", "csv", "ndjson"), "json, csv or ndjson"),
    "",
    "A page as JSON, or all sensors as CSV or JSON lines, without `limit` and `cursor`; if not "
    "given, what `Accept` likes better, JSON first.",
)
ERRORS_REASON = Parameter(
    "reason",
    Choice(REASONS, f"one of {', '.join(REASONS)}"),
    None,
    "Only row errors of this reason.",
)
SENSOR_SEARCH = Parameter(
    "q", Text(), "", "Only sensors whose id contains this text, in upper or lower case."
)
SENSOR_SORT = Parameter(
    "sort",
    sort_by(*(each.name for each in fields(SensorStatistics))),
    "",
    "What to sort by, `-` before it for descending; by `sensor_id` if not given.",
)
SENSOR_LIMIT = Parameter("limit", Number(1, 1000), DEFAULT_LIMIT, "How many sensors on a page.")
SENSOR = Parameter("sensor", Text(), None, "Only readings of this sensor, by its id.")
TIME = Text(format="date-time")
FROM = Parameter("from", TIME, None, "Only readings at or after this time, as rows may have it.")
TO = Parameter("to", TIME, None, "Only readings before this time, as rows may have it.")
PROBLEM_NAME = Parameter(
    "name",
    Choice(tuple(KINDS), "the last part of a problem's type"),
    "",
    "The last part of a problem's `type`.",
    "path",
)

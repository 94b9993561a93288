"""The types of what the API answers, made from the models: a record, as it is shown, and pages."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, make_dataclass
from typing import Annotated, Any, Literal, Self, get_type_hints

from pydantic import Field

from aggsvc.api.views import KEPT_NOT_SHOWN, OF_ALL_READINGS
from aggsvc.http.kinds import ProblemKind
from aggsvc.model import (
    LONG_LISTS,
    Aggregates,
    FileRecord,
    Histogram,
    SensorStatistics,
    StateChange,
    TimeSeries,
)


def without(
    model: Any, name: str, doc: str, left_out: Collection[str], changed: Mapping[str, Any]
) -> Any:
    """A type like the model, without some members, and with others changed or added."""
    hints = {**get_type_hints(model), **changed}
    names = dict.fromkeys([*(each.name for each in fields(model)), *changed])
    shown = [(each, hints[each]) for each in names if each not in left_out]
    return make_dataclass(name, shown, namespace={"__doc__": doc}, frozen=True)


def page_of(kind: Any, name: str) -> Any:
    """The type of one page of a listing."""
    doc = "One page, in the order asked for; `next_cursor` is null on the last."
    members = [("items", list[kind]), ("next_cursor", str | None)]
    return make_dataclass(name, members, namespace={"__doc__": doc}, frozen=True)


File = without(
    FileRecord,
    "File",
    "What is known of one upload. Times are RFC 3339 UTC; `aggregates` is null until the file is "
    "done; `errors` are the first 100 row errors; `message` says why a file failed as a whole; "
    "`history` are the last 20 of its states.",
    KEPT_NOT_SHOWN,
    {"history": tuple[StateChange, ...]},
)
ListedAggregates = without(
    Aggregates,
    "ListedAggregates",
    "The statistics of a file's readings, without the long lists; null where there are none.",
    LONG_LISTS,
    {},
)
ListedFile = without(
    FileRecord,
    "ListedFile",
    "What is known of one upload, without its row errors and the long lists of its aggregates.",
    (*KEPT_NOT_SHOWN, "errors"),
    {"aggregates": ListedAggregates | None},
)


FilePage = page_of(ListedFile, "FilePage")
SensorPage = page_of(SensorStatistics, "SensorPage")


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event of a stream; `data` is a FileEvent, FileDeleted or Missed as JSON on one line."""

    event: Literal["status", "progress", "deleted", "missed"]
    data: str


@dataclass(frozen=True, slots=True)
class Alive:
    """The process answers."""

    status: Literal["ok"] = "ok"


Statistics = without(
    Aggregates,
    "Statistics",
    "The statistics of some readings; what has no meaning without any is null.",
    OF_ALL_READINGS,
    {},
)


SERIES_MEMBERS: tuple[tuple[str, Any], ...] = (
    ("file_id", str),
    ("sensor_id", str | None),
    ("from_", Annotated[str | None, Field(serialization_alias="from")]),
    ("to", str | None),
    ("statistics", Statistics),
    ("time_series", TimeSeries | None),
    ("histogram", Histogram | None),
)
Series = make_dataclass(
    "Series",
    SERIES_MEMBERS,
    namespace={"__doc__": "Readings of a file: those of a sensor, of a stretch of time, or both."},
    frozen=True,
)


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A kind of problem: when it is answered, and what its client is to do."""

    type: str
    title: str
    status: int
    when: str
    cure: str

    @classmethod
    def of(cls, kind: ProblemKind) -> Self:
        """The kind as it is shown."""
        return cls(kind.type, kind.title, kind.status, kind.when, kind.cure)

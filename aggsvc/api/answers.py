"""The types of what the API answers, made from the models: a record, as it is shown, and pages."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, make_dataclass
from typing import Any, Literal, get_type_hints

from aggsvc.api.views import KEPT_NOT_SHOWN
from aggsvc.model import LONG_LISTS, Aggregates, FileRecord, SensorStatistics


def without(
    model: Any, name: str, doc: str, left_out: Collection[str], changed: Mapping[str, Any]
) -> Any:
    """A type like the model, without some members, and with others changed."""
    hints = {**get_type_hints(model), **changed}
    shown = [(each.name, hints[each.name]) for each in fields(model) if each.name not in left_out]
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
    "done; `errors` are the first 100 row errors; `message` says why a file failed as a whole.",
    KEPT_NOT_SHOWN,
    {},
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
class Alive:
    """The process answers."""

    status: Literal["ok"] = "ok"

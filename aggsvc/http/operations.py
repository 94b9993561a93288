"""What a call takes and answers, as data: its handler reads by it, its description tells it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Generic, Literal, Protocol, TypeVar

from aiohttp import web

from aggsvc.errors import AggsvcError, InvalidParameter

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Place = Literal["query", "header", "path"]
# So much of a wrong value is told back.
TOLD_CHARS = 40


class Kind(Protocol[T_co]):
    """Which values a parameter may have."""

    @property
    def expected(self) -> str:
        """The same in words, for who gave another."""

    def schema(self) -> dict[str, Any]:
        """The same as a JSON schema."""

    def read(self, text: str) -> T_co:
        """The value; raises ValueError where it is another."""


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number within bounds."""

    least: int
    most: int

    @property
    def expected(self) -> str:
        """What the bounds are."""
        return f"a number from {self.least} to {self.most}"

    def schema(self) -> dict[str, Any]:
        """The same as a JSON schema."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}

    def read(self, text: str) -> int:
        """The number; raises ValueError."""
        if text.isascii() and text.isdigit() and len(text) < 9:
            number = int(text)
            if self.least <= number <= self.most:
                return number
        raise ValueError


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words."""

    words: tuple[str, ...]
    expected: str

    def schema(self) -> dict[str, Any]:
        """The same as a JSON schema."""
        return {"type": "string", "enum": list(self.words)}

    def read(self, text: str) -> str:
        """The word; raises ValueError."""
        if text in self.words:
            return text
        raise ValueError


def one_of(*words: str) -> Choice:
    """One of the words, or an empty text for none of them."""
    return Choice((*words, ""), f"one of {', '.join(words)}")


def sort_by(*names: str) -> Choice:
    """One of the names, "-" before it for descending, or an empty text for none of them."""
    words = [word for name in names for word in (name, f"-{name}")]
    return Choice((*words, ""), f"one of {', '.join(names)}, or - before one")


@dataclass(frozen=True, slots=True)
class Text:
    """A text; of a pattern, if there is one. Its `format` is for the reader, and not checked."""

    pattern: str | None = None
    expected: str = "a text"
    format: str | None = None

    def schema(self) -> dict[str, Any]:
        """The same as a JSON schema."""
        pattern = {"pattern": f"^{self.pattern}$"} if self.pattern else {}
        format_ = {"format": self.format} if self.format else {}
        return {"type": "string", **pattern, **format_}

    def read(self, text: str) -> str:
        """The text; raises ValueError where it is not of the pattern."""
        if self.pattern and not re.fullmatch(self.pattern, text):
            raise ValueError
        return text


@dataclass(frozen=True, slots=True)
class Parameter(Generic[T]):
    """A part of a request, by its name: the one home of its check and of its description."""

    name: str
    kind: Kind[T]
    default: T
    description: str
    place: Place = "query"

    def of(self, request: web.Request) -> T:
        """What the request has; raises InvalidParameter where it is wrong or there twice."""
        match self._given(request):
            case []:
                return self.default
            case [text]:
                try:
                    return self.kind.read(text)
                except ValueError:
                    raise InvalidParameter(
                        f"{self.name}={text[:TOLD_CHARS]!r}: it is {self.kind.expected}", self.name
                    ) from None
        raise InvalidParameter(
            f"{self.name} is there more than once; it is {self.kind.expected}", self.name
        )

    def _given(self, request: web.Request) -> list[str]:
        if self.place == "path":
            return [request.match_info[self.name]]
        source = request.query if self.place == "query" else request.headers
        return source.getall(self.name, [])


@dataclass(frozen=True, slots=True)
class Header:
    """A field that an answer has; always, unless it is not `required`."""

    name: str
    description: str
    required: bool = True
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call answers when all is well: for each media type, the type of what it holds.

    One that `leads_to_file` is a record, with whose id the calls of one file can be made.
    """

    status: HTTPStatus
    description: str
    content: Mapping[str, Any] = field(default_factory=dict)
    headers: tuple[Header, ...] = ()
    leads_to_file: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """A call, described; `refusals` are errors of its own, beside those that any call may have."""

    tag: str
    summary: str
    answers: tuple[Answer, ...]
    parameters: tuple[Parameter[Any], ...] = ()
    refusals: tuple[type[AggsvcError], ...] = ()
    description: str = ""

    def check(self, request: web.Request) -> None:
        """Raise InvalidParameter if the query has a parameter that is not the call's."""
        known = [each.name for each in self.parameters if each.place == "query"]
        for name in request.query:
            if name not in known:
                raise InvalidParameter(_unknown(name, known), name[:TOLD_CHARS])


def _unknown(name: str, known: list[str]) -> str:
    there = f"there is {', '.join(known)}" if known else "this call has none"
    return f"the query has a parameter {name[:TOLD_CHARS]!r} that is not known; {there}"

"""The API's calls as an OpenAPI 3.1 document, made from the table that makes the routes."""

from collections.abc import Iterable
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Literal

import orjson
from aiohttp import web
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from aggsvc.api.parameters import FILE_ID
from aggsvc.errors import (
    AggsvcError,
    Busy,
    Forbidden,
    InvalidParameter,
    InvalidRequest,
    StoreUnavailable,
    TooManyFailures,
    Unauthenticated,
    UnknownExpectation,
    UnsupportedMedia,
)
from aggsvc.events import FileDeleted, FileEvent, Missed
from aggsvc.http.answer_headers import OF_STATUSES
from aggsvc.http.conditional import weak_tag
from aggsvc.http.kinds import (
    HEAD_TOO_LARGE,
    MALFORMED_HTTP,
    METHOD_NOT_ALLOWED,
    NOTHING_HERE,
    ProblemKind,
    kind_of,
)
from aggsvc.http.operations import Answer, Header, Parameter
from aggsvc.http.problems import PROBLEM_JSON, Problem
from aggsvc.http.routing import Call
from aggsvc.http.uploads import FIELD
from aggsvc.model import RowError

Json = dict[str, Any]

TITLE = "aggsvc, the Mock S3 Aggregator"
ABOUT = """\
Sensor CSV files go in; exact aggregates and a row-by-row account of what was wrong come out.

Upload a file with `POST /files`, then ask for its record until its `status` is `processed`,
`partial` or `failed`, or follow its events. Each refusal is an RFC 9457 problem whose `detail` says
what was wrong, where, and what would be right. A parameter of the query that is not described, or
is there twice, is refused. What answers to GET answers to HEAD, but for streams of events. What is
no call is answered as the responses among the components say.
"""
TAGS = {
    "files": "Uploads and their records.",
    "results": "What came out of a file: per sensor, and what was wrong with its rows.",
    "events": "Status and progress as they change, as server-sent events.",
    "service": "The service itself.",
}
# What any call may be refused with; whose cause is none of ours is a 500.
REFUSALS: tuple[type[AggsvcError], ...] = (
    InvalidRequest,
    InvalidParameter,
    Unauthenticated,
    Forbidden,
    TooManyFailures,
    UnknownExpectation,
    UnsupportedMedia,
    Busy,
    StoreUnavailable,
    AggsvcError,
)
# What answers a request that is no call.
OF_NO_CALL = (MALFORMED_HTTP, NOTHING_HERE, METHOD_NOT_ALLOWED, HEAD_TOO_LARGE)
# What no answer consists of, but its text is made of.
WITHIN_TEXTS = (RowError, FileEvent, FileDeleted, Missed)
SCHEME = "bearer"
MODE: Literal["serialization"] = "serialization"
COMPONENT = "#/components/schemas/{model}"


class Document:
    """The description as bytes, and their entity tag."""

    def __init__(self, description: Json) -> None:
        self.body = orjson.dumps(description, option=orjson.OPT_APPEND_NEWLINE)
        self.tag = weak_tag(self.body)


DOCUMENT = web.AppKey("DOCUMENT", Document)


def describe(calls: Iterable[Call]) -> Json:
    """The OpenAPI document of these calls."""
    calls = list(calls)
    schemas = _Schemas(calls)
    paths: dict[str, Json] = {}
    for call in calls:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call, calls, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": version("aggsvc"), "description": ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": {kind.name: _refusal(kind.status, [kind], schemas) for kind in OF_NO_CALL},
            "securitySchemes": {SCHEME: {"type": "http", "scheme": "bearer"}},
        },
    }


class _Schema(GenerateJsonSchema):
    """Schemas of what is answered: every member is there, and none has a title beside its name."""

    def field_is_required(self, field: Any, total: bool) -> bool:
        return True

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class _Schemas:
    """The schema of each type that the calls answer, and the components that they refer to."""

    def __init__(self, calls: Iterable[Call]) -> None:
        answers = (answer for call in calls for answer in call.operation.answers)
        types = {kind for answer in answers for kind in answer.content.values()}
        found, definitions = TypeAdapter.json_schemas(
            [(kind, MODE, TypeAdapter(kind)) for kind in (*types, *WITHIN_TEXTS, Problem)],
            ref_template=COMPONENT,
            schema_generator=_Schema,
        )
        self._of = {kind: schema for (kind, _mode), schema in found.items()}
        self.components: Json = definitions["$defs"]

    def of(self, kind: Any) -> Json:
        """The schema of the type."""
        return self._of[kind]


def _operation(call: Call, calls: list[Call], schemas: _Schemas) -> Json:
    told = call.operation
    answers = {
        str(int(status)): _refusal(status, kinds, schemas)
        for status, kinds in _refused(call).items()
    }
    answers |= {str(int(each.status)): _answer(each, calls, schemas) for each in told.answers}
    described: Json = {
        "operationId": call.name,
        "tags": [told.tag],
        "summary": told.summary,
        "responses": dict(sorted(answers.items())),
    }
    if call.needs:
        described["security"] = [{SCHEME: []}, {}]  # the second where AUTH is off
    if told.description:
        described["description"] = told.description
    if told.parameters:
        described["parameters"] = [_parameter(each) for each in told.parameters]
    if call.takes_files:
        described["requestBody"] = _file_body()
    return described


def _refused(call: Call) -> dict[int, list[ProblemKind]]:
    """The kinds of problem with which the call may be refused, by their status."""
    kinds = {kind_of(error) for error in (*REFUSALS, *call.operation.refusals)}
    by_status: dict[int, list[ProblemKind]] = {}
    for kind in sorted(kinds, key=lambda kind: kind.name):
        by_status.setdefault(kind.status, []).append(kind)
    return by_status


def _refusal(status: int, kinds: list[ProblemKind], schemas: _Schemas) -> Json:
    return {
        "description": "\n".join(f"- `{kind.type}`: {kind.when}" for kind in kinds),
        "content": {PROBLEM_JSON: {"schema": schemas.of(Problem)}},
        **_headers(HTTPStatus(status)),
    }


def _answer(answer: Answer, calls: list[Call], schemas: _Schemas) -> Json:
    described: Json = {"description": answer.description}
    if answer.content:
        described["content"] = {
            kind: {"schema": schemas.of(held)} for kind, held in answer.content.items()
        }
    described |= _headers(answer.status, *answer.headers)
    if answer.leads_to_file:
        described["links"] = {
            call.name: {
                "operationId": call.name,
                "parameters": {FILE_ID.name: f"$response.body#/{FILE_ID.name}"},
            }
            for call in calls
            if FILE_ID in call.operation.parameters
        }
    return described


def _headers(status: HTTPStatus, *headers: Header) -> Json:
    """These, and what each answer of the status has."""
    told = [*headers, *([OF_STATUSES[status]] if status in OF_STATUSES else [])]
    return {"headers": {each.name: _header(each) for each in told}} if told else {}


def _header(header: Header) -> Json:
    pattern = {"pattern": header.pattern} if header.pattern else {}
    return {
        "description": header.description,
        "required": header.required,
        "schema": {"type": "string", **pattern},
    }


def _parameter(parameter: Parameter[Any]) -> Json:
    default = {"default": parameter.default} if parameter.default else {}
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "required": parameter.place == "path",
        "schema": parameter.kind.schema() | default,
    }


def _file_body() -> Json:
    content = {"type": "string", "format": "binary", "minLength": 1}
    return {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {FIELD: content},
                    "required": [FIELD],
                },
                "encoding": {FIELD: {"contentType": "text/csv, application/octet-stream"}},
            }
        },
    }

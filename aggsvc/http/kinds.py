"""The kinds of problem, in one table: what answers each error, and what documents it."""

from dataclasses import dataclass
from http import HTTPStatus

from aggsvc.errors import (
    AggsvcError,
    Busy,
    Conflict,
    Forbidden,
    InvalidParameter,
    InvalidRequest,
    InvalidUpload,
    KeyReused,
    NotAcceptable,
    NotFound,
    RangeNotSatisfiable,
    SensorNotFound,
    StoreFull,
    StoreUnavailable,
    TooLarge,
    TooManyFailures,
    TooSlow,
    Unauthenticated,
    UnknownExpectation,
    UnsupportedMedia,
)


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """A kind of problem: when it is answered, and what its client is to do."""

    name: str
    status: int
    title: str
    when: str
    cure: str

    @property
    def type(self) -> str:
        """The URI that stands for it, and leads to its documentation, if it has any."""
        return f"/problems/{self.name}" if self.name else "about:blank"


INVALID_REQUEST = ProblemKind(
    "invalid-request",
    HTTPStatus.BAD_REQUEST,
    "The request is malformed",
    "the request cannot be understood",
    "Send it as `detail` says.",
)
NOTHING_HERE = ProblemKind(
    "nothing-here",
    HTTPStatus.NOT_FOUND,
    "There is nothing at this path",
    "no call has this path",
    "The paths are in /openapi.json.",
)
METHOD_NOT_ALLOWED = ProblemKind(
    "method-not-allowed",
    HTTPStatus.METHOD_NOT_ALLOWED,
    "The path does not take this method",
    "the path has calls, but none of this method",
    "The header `Allow` names the methods that it takes.",
)
MALFORMED_HTTP = ProblemKind(
    "malformed-http",
    HTTPStatus.BAD_REQUEST,
    "The bytes are not HTTP",
    "the request line, a header or the body's framing is not as RFC 9112 has it",
    "Use a client that speaks HTTP/1.1. The connection is closed.",
)
HEAD_TOO_LARGE = ProblemKind(
    "head-too-large",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "The request line or a header is too long",
    "the request line or a header is longer than is taken",
    "Shorten it. The connection is closed.",
)
INTERNAL = ProblemKind(
    "internal",
    HTTPStatus.INTERNAL_SERVER_ERROR,
    "An internal error",
    "something broke that no client can cause; the service's log has the details",
    "Try again, and tell whoever runs the service when it was.",
)
OF_ERRORS: dict[type[AggsvcError], ProblemKind] = {
    AggsvcError: INTERNAL,
    InvalidRequest: INVALID_REQUEST,
    InvalidParameter: ProblemKind(
        "invalid-parameter",
        HTTPStatus.BAD_REQUEST,
        "A parameter is wrong",
        "a parameter of the query or a header has a value that it cannot have, is there twice, or "
        "is not known",
        "`field` names it, and `detail` says what it may be.",
    ),
    InvalidUpload: ProblemKind(
        "invalid-upload",
        HTTPStatus.BAD_REQUEST,
        "The upload cannot be read",
        "the multipart body is broken, cut short or encoded, or its file is missing or empty",
        "Send one CSV file as the multipart field `file`.",
    ),
    Unauthenticated: ProblemKind(
        "unauthenticated",
        HTTPStatus.UNAUTHORIZED,
        "A token is asked for",
        "the service asks for a token, and none came or a wrong one",
        "Send `Authorization: Bearer` with a token, or sign in on the pages.",
    ),
    Forbidden: ProblemKind(
        "forbidden",
        HTTPStatus.FORBIDDEN,
        "This is not allowed",
        "the token's scope does not allow it, a page of another site has sent it, or the service "
        "was asked by a name that others could lead to it",
        "Use a token of a wider scope, or the service's own pages.",
    ),
    TooManyFailures: ProblemKind(
        "too-many-failures",
        HTTPStatus.TOO_MANY_REQUESTS,
        "Too many wrong tokens",
        "too many wrong tokens came from this address",
        "Try another after the seconds that `Retry-After` gives.",
    ),
    NotFound: ProblemKind(
        "file-not-found",
        HTTPStatus.NOT_FOUND,
        "There is no such file",
        "there is no file with this id, or it was deleted",
        "The ids are in the listing of files.",
    ),
    SensorNotFound: ProblemKind(
        "sensor-not-found",
        HTTPStatus.NOT_FOUND,
        "There is no such sensor",
        "the file has no readings of a sensor with this id",
        "The ids are in the listing of the file's sensors.",
    ),
    NotAcceptable: ProblemKind(
        "not-acceptable",
        HTTPStatus.NOT_ACCEPTABLE,
        "There is no such format",
        "`Accept` names none of the formats that there are",
        "`detail` names those that there are.",
    ),
    RangeNotSatisfiable: ProblemKind(
        "range-not-satisfiable",
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        "There are no such bytes",
        "no byte of the `Range` is in the upload",
        "`Content-Range` says how many bytes there are.",
    ),
    TooSlow: ProblemKind(
        "too-slow",
        HTTPStatus.REQUEST_TIMEOUT,
        "The upload comes too slowly",
        "the upload comes more slowly than `MIN_UPLOAD_RATE`",
        "Send it over a better connection.",
    ),
    Conflict: ProblemKind(
        "conflict",
        HTTPStatus.CONFLICT,
        "The file is not in a state that allows this",
        "the file is not in a state that allows this, or it was changed at the same moment; or an "
        "upload with this `Idempotency-Key` is still being received",
        "Wait until the file is done, then try again.",
    ),
    TooLarge: ProblemKind(
        "too-large",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "The file is too large",
        "the file is larger than `MAX_UPLOAD_BYTES`",
        "Split it.",
    ),
    UnsupportedMedia: ProblemKind(
        "unsupported-media",
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "The body is of another kind",
        "the body is not multipart, or has a `Content-Encoding`",
        "Send multipart/form-data, not compressed.",
    ),
    UnknownExpectation: ProblemKind(
        "unknown-expectation",
        HTTPStatus.EXPECTATION_FAILED,
        "The expectation is not known",
        "`Expect` says something else than `100-continue`",
        "Leave the header out.",
    ),
    KeyReused: ProblemKind(
        "key-reused",
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The key belongs to another upload",
        "the `Idempotency-Key` belongs to a file with other bytes",
        "Use a key of its own for each file.",
    ),
    Busy: ProblemKind(
        "busy",
        HTTPStatus.SERVICE_UNAVAILABLE,
        "No new work is taken now",
        "the service stops, has as much to do as its settings allow, or lacks its engine",
        "Try again after the seconds that `Retry-After` gives.",
    ),
    StoreUnavailable: ProblemKind(
        "store-unavailable",
        HTTPStatus.SERVICE_UNAVAILABLE,
        "A store does not work now",
        "a store cannot read or write now",
        "Try again later. Whoever runs the service finds the cause in its log.",
    ),
    StoreFull: ProblemKind(
        "store-full",
        HTTPStatus.INSUFFICIENT_STORAGE,
        "There is no room",
        "there is no room on the disk; nothing of the request was kept",
        "Try again when there is room, or send less at once.",
    ),
}
# What answers an error of the server's own.
OF_STATUSES = {kind.status: kind for kind in OF_ERRORS.values()} | {
    kind.status: kind
    for kind in (INVALID_REQUEST, NOTHING_HERE, METHOD_NOT_ALLOWED, HEAD_TOO_LARGE, INTERNAL)
}
KINDS = {
    kind.name: kind
    for kind in sorted(
        {*OF_ERRORS.values(), *OF_STATUSES.values(), MALFORMED_HTTP},
        key=lambda kind: (kind.status, kind.name),
    )
}


def kind_of(error: type[AggsvcError]) -> ProblemKind:
    """The kind that answers errors of this class; where no client can cause them, INTERNAL."""
    return next(OF_ERRORS[base] for base in error.__mro__ if base in OF_ERRORS)


def kind_of_status(status: int) -> ProblemKind:
    """The kind that answers an error of the server's own; one without a name if none does."""
    known = OF_STATUSES.get(status)
    return known or ProblemKind("", status, HTTPStatus(status).phrase, "", "")

"""The API's calls, described."""

from http import HTTPStatus
from typing import Any

from aggsvc import errors
from aggsvc.api import answers, parameters
from aggsvc.health import GuardedReport, HealthReport, HealthSummary
from aggsvc.http.operations import Answer, Header, Operation

JSON, NDJSON, CSV = "application/json", "application/x-ndjson", "text/csv"
EVENT_STREAM = "text/event-stream"
OK, ACCEPTED = HTTPStatus.OK, HTTPStatus.ACCEPTED

ATTACHMENT = Header("Content-Disposition", "The name to save it under.")
TAG = Header("ETag", "To be sent as `If-None-Match` the next time.")
KNOWN_ALREADY = Answer(
    HTTPStatus.NOT_MODIFIED, "It is still what `If-None-Match` names.", headers=(TAG,)
)

SUBMIT_FILE = Operation(
    "files",
    "Upload a CSV file",
    (
        Answer(
            ACCEPTED,
            "The file is kept, and waits to be processed.",
            {JSON: answers.File},
            (
                Header("Location", "Where the record is.", pattern="^/files/.+$"),
                Header(
                    "Idempotency-Replayed",
                    "There if an earlier request with this key had made the file.",
                    required=False,
                    pattern="^true$",
                ),
            ),
            leads_to_file=True,
        ),
    ),
    (parameters.IDEMPOTENCY_KEY,),
    (
        errors.Conflict,
        errors.InvalidUpload,
        errors.KeyReused,
        errors.StoreFull,
        errors.TooLarge,
        errors.TooSlow,
    ),
    "One file a request, as the multipart field `file`, neither compressed nor encoded. Other "
    "fields are read past. With `Expect: 100-continue` an upload is refused before its body is "
    "sent.",
)
LIST_FILES = Operation(
    "files",
    "List the files",
    (Answer(OK, "One page of files.", {JSON: answers.FilePage}),),
    (
        parameters.STATUS,
        parameters.SEARCH,
        parameters.FILE_SORT,
        parameters.FILE_LIMIT,
        parameters.CURSOR,
    ),
)
GET_FILE = Operation(
    "files",
    "Get a file's record",
    (Answer(OK, "The record as it is now.", {JSON: answers.File}, (TAG,)), KNOWN_ALREADY),
    (parameters.FILE_ID,),
    (errors.NotFound,),
)
DELETE_FILE = Operation(
    "files",
    "Delete a file",
    (Answer(HTTPStatus.NO_CONTENT, "The upload, its record and its reports are gone."),),
    (parameters.FILE_ID,),
    (errors.NotFound, errors.Conflict),
    "At any time, also while the file is processed.",
)
GET_ERRORS = Operation(
    "results",
    "Get every row error",
    (
        Answer(
            OK,
            "The row errors in the order of the file: a RowError in JSON a line, or a row of CSV.",
            {NDJSON: str, CSV: str},
            (ATTACHMENT,),
        ),
    ),
    (parameters.FILE_ID, parameters.ERRORS_FORMAT, parameters.ERRORS_REASON),
    (errors.NotFound, errors.Conflict, errors.NotAcceptable),
)
GET_SENSORS = Operation(
    "results",
    "List the statistics of each sensor",
    (
        Answer(
            OK,
            "One page of sensors; or each sensor in JSON a line, or a row of CSV.",
            {JSON: answers.SensorPage, NDJSON: str, CSV: str},
            (Header(ATTACHMENT.name, ATTACHMENT.description, required=False),),
        ),
    ),
    (
        parameters.FILE_ID,
        parameters.SENSORS_FORMAT,
        parameters.SENSOR_SEARCH,
        parameters.SENSOR_SORT,
        parameters.SENSOR_LIMIT,
        parameters.CURSOR,
    ),
    (errors.NotFound, errors.Conflict, errors.NotAcceptable, errors.Busy),
    "Equal ones go by `sensor_id`, in the order of its UTF-8 bytes.",
)
GET_SERIES = Operation(
    "results",
    "Read a sensor's series, or a stretch of time",
    (Answer(OK, "The chosen readings, by time and by value.", {JSON: answers.Series}),),
    (parameters.FILE_ID, parameters.SENSOR, parameters.FROM, parameters.TO),
    (errors.NotFound, errors.SensorNotFound, errors.Conflict, errors.Busy),
    "All readings' series is in the record; any other is read again from the upload, two files at "
    "a time. Its buckets are the finest that its stretch of time allows.",
)
GET_CONTENT = Operation(
    "files",
    "Get the upload itself",
    (
        Answer(OK, "The upload, byte for byte.", {CSV: str}, (ATTACHMENT, TAG)),
        Answer(
            HTTPStatus.PARTIAL_CONTENT,
            "The bytes that `Range` asks for.",
            {CSV: str},
            (ATTACHMENT, TAG, Header("Content-Range", "Which of how many they are.")),
        ),
        KNOWN_ALREADY,
    ),
    (parameters.FILE_ID,),
    (errors.NotFound, errors.Conflict, errors.RangeNotSatisfiable),
    "With `Range`, and `If-Range` if you like, a part of it; several ranges are answered whole.",
)
FILE_EVENTS = Operation(
    "events",
    "Follow one file",
    (
        Answer(
            OK,
            "Server-sent events: the state now, then each change until the file is done. The "
            "`data` of each is a FileEvent, or a FileDeleted, which is the last.",
            {EVENT_STREAM: answers.ServerSentEvent},
        ),
    ),
    (parameters.FILE_ID,),
    (errors.NotFound,),
)
REPROCESS_FILE = Operation(
    "files",
    "Process a file again",
    (Answer(ACCEPTED, "The old result is gone, and the file waits.", {JSON: answers.File}),),
    (parameters.FILE_ID,),
    (errors.NotFound, errors.Conflict),
)
ALL_EVENTS = Operation(
    "events",
    "Follow all files",
    (
        Answer(
            OK,
            "Server-sent events: every change from now on, without an end. The `data` of each is a "
            "FileEvent, a FileDeleted, or a Missed, which says that some were dropped for a reader "
            "that is too slow.",
            {EVENT_STREAM: answers.ServerSentEvent},
        ),
    ),
)
# Who has no token where one is asked for is told the status alone.
HEALTH_BODY = GuardedReport | HealthReport | HealthSummary
HEALTH = Operation(
    "service",
    "Ask how the service is",
    (
        Answer(OK, "Every part works.", {JSON: HEALTH_BODY}),
        Answer(HTTPStatus.SERVICE_UNAVAILABLE, "A part does not work.", {JSON: HEALTH_BODY}),
    ),
)
HEALTH_LIVE = Operation(
    "service",
    "Ask whether the process lives",
    (Answer(OK, "It does.", {JSON: answers.Alive}),),
)
OPENAPI = Operation(
    "service",
    "Get this description",
    (
        Answer(
            OK,
            "The calls of the API, as OpenAPI 3.1.",
            {JSON: dict[str, Any]},
            (Header("ETag", "Changes with the description."),),
        ),
        KNOWN_ALREADY,
    ),
)
GET_PROBLEM = Operation(
    "service",
    "Ask what a problem's type means",
    (Answer(OK, "When it is answered, and what to do then.", {JSON: answers.ProblemType}),),
    (parameters.PROBLEM_NAME,),
    (errors.NotFound,),
)

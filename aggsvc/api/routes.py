"""The API's calls, in one table: each with its handler, its need and its description."""

from aggsvc.api import descriptions as described
from aggsvc.api import handlers
from aggsvc.http.routing import Call, Scope

READ, WRITE = Scope.READ, Scope.WRITE

ROUTES = (
    Call(
        *("POST", "/files", handlers.submit_file, "submit_file", WRITE, described.SUBMIT_FILE),
        takes_files=True,
    ),
    Call("GET", "/files", handlers.list_files, "list_files", READ, described.LIST_FILES),
    Call("GET", "/files/{file_id}", handlers.get_file, "get_file", READ, described.GET_FILE),
    Call(
        *("DELETE", "/files/{file_id}", handlers.delete_file, "delete_file", WRITE),
        described.DELETE_FILE,
    ),
    Call(
        *("GET", "/files/{file_id}/errors", handlers.get_errors, "get_errors", READ),
        described.GET_ERRORS,
    ),
    Call(
        *("GET", "/files/{file_id}/sensors", handlers.get_sensors, "get_sensors", READ),
        described.GET_SENSORS,
    ),
    Call(
        *("GET", "/files/{file_id}/series", handlers.get_series, "get_series", READ),
        described.GET_SERIES,
    ),
    Call(
        *("GET", "/files/{file_id}/content", handlers.get_content, "get_content", READ),
        described.GET_CONTENT,
    ),
    Call(
        *("GET", "/files/{file_id}/events", handlers.file_events, "file_events", READ),
        described.FILE_EVENTS,
    ),
    Call(
        *("POST", "/files/{file_id}/reprocess", handlers.reprocess_file, "reprocess_file", WRITE),
        described.REPROCESS_FILE,
    ),
    Call("GET", "/events", handlers.all_events, "all_events", READ, described.ALL_EVENTS),
    Call("GET", "/health", handlers.health, "health", None, described.HEALTH),
    Call("GET", "/health/live", handlers.health_live, "health_live", None, described.HEALTH_LIVE),
    Call("GET", "/openapi.json", handlers.openapi, "openapi", None, described.OPENAPI),
    Call(
        *("GET", "/problems/{name}", handlers.get_problem, "get_problem", None),
        described.GET_PROBLEM,
    ),
)

"""The API's routes, in one table."""

from aggsvc.api import handlers
from aggsvc.http.routing import Route, Scope

READ, WRITE = Scope.READ, Scope.WRITE

ROUTES = (
    Route("POST", "/files", handlers.submit_file, "submit_file", WRITE, takes_files=True),
    Route("GET", "/files", handlers.list_files, "list_files", READ),
    Route("GET", "/files/{file_id}", handlers.get_file, "get_file", READ),
    Route("DELETE", "/files/{file_id}", handlers.delete_file, "delete_file", WRITE),
    Route("GET", "/files/{file_id}/errors", handlers.get_errors, "get_errors", READ),
    Route("GET", "/files/{file_id}/sensors", handlers.get_sensors, "get_sensors", READ),
    Route("GET", "/files/{file_id}/series", handlers.get_series, "get_series", READ),
    Route("GET", "/files/{file_id}/content", handlers.get_content, "get_content", READ),
    Route("GET", "/files/{file_id}/events", handlers.file_events, "file_events", READ),
    Route("POST", "/files/{file_id}/reprocess", handlers.reprocess_file, "reprocess_file", WRITE),
    Route("GET", "/events", handlers.all_events, "all_events", READ),
    Route("GET", "/health", handlers.health, "health", None),
    Route("GET", "/health/live", handlers.health_live, "health_live", None),
)

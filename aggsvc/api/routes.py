"""The API's routes, in one table."""

from aiohttp import web

from aggsvc.api import handlers
from aggsvc.http.uploads import no_continue_yet

ROUTES = (
    web.post("/files", handlers.submit_file, name="submit_file", expect_handler=no_continue_yet),
    web.get("/files", handlers.list_files, name="list_files"),
    web.get("/files/{file_id}", handlers.get_file, name="get_file"),
    web.delete("/files/{file_id}", handlers.delete_file, name="delete_file"),
    web.get("/files/{file_id}/errors", handlers.get_errors, name="get_errors"),
    web.get("/files/{file_id}/sensors", handlers.get_sensors, name="get_sensors"),
    web.get("/files/{file_id}/content", handlers.get_content, name="get_content"),
    web.get("/files/{file_id}/events", handlers.file_events, name="file_events"),
    web.post("/files/{file_id}/reprocess", handlers.reprocess_file, name="reprocess_file"),
    web.get("/events", handlers.all_events, name="all_events"),
    web.get("/health", handlers.health, name="health"),
    web.get("/health/live", handlers.health_live, name="health_live"),
)

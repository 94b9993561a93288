"""Logging: structlog through the standard library's handlers; console form or JSON lines."""

import logging
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import orjson
import structlog
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.multipart import BadContentDispositionHeader, BadContentDispositionParam

SHARED = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def configure_logging(level: str) -> None:
    """Log to standard error: for a person on a terminal, as JSON lines elsewhere."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(for_person=sys.stderr.isatty()))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for category in (BadContentDispositionHeader, BadContentDispositionParam):
        warnings.filterwarnings("ignore", category=category)  # refused, not logged
    logging.getLogger("aiohttp.server").addFilter(_without_traceback)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _formatter(*, for_person: bool) -> structlog.stdlib.ProcessorFormatter:
    renderers: Sequence[structlog.typing.Processor] = (
        # What comes from outside can neither begin a line of its own nor steer the terminal.
        [_printable_event, structlog.dev.ConsoleRenderer(repr_native_str=True)]
        if for_person
        else [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_json),
        ]
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=SHARED,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
    )


def _printable_event(
    _logger: object, _method: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    line["event"] = "".join(map(_printable, str(line.get("event", ""))))
    return line


def _printable(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode()


def _without_traceback(record: logging.LogRecord) -> bool:
    """A malformed request is the client's doing: one line says what it was."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.exc_info = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg, record.args = "malformed request: %s", (" ".join(error.message.split())[:200],)
    return True


# Beside what JSON must escape: other controls, line ends of Unicode, and what turns text round.
UNPRINTABLE = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
LEADING = ("timestamp", "level", "event")


def _json(line: dict[str, Any], **_options: Any) -> str:
    leading = {name: line.pop(name) for name in LEADING if name in line}
    text = orjson.dumps(leading | line, default=str).decode()
    return UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)

"""Each request's id: the client's X-Request-ID, its trace's id, or a new one.

The id is in every line that is logged for the request and in the answer. Of a W3C traceparent the
trace goes on: the answer's traceparent names it, with a new id for our part of it.
"""

import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from aiohttp import web

REQUEST_ID = "X-Request-ID"
TRACEPARENT = "traceparent"
SOUND_ID = re.compile("[!-~]{1,128}")
# Version 00; a later one may have more behind it, and its first four parts still hold.
SOUND_PARENT = re.compile(
    "(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    "(?P<more>-.*)?"
)
SAMPLED = 1

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace that a request belongs to, and whether its caller records it."""

    trace_id: str
    sampled: bool

    def traceparent(self) -> str:
        """This trace with an id of ours, as a field's value."""
        return f"00-{self.trace_id}-{secrets.token_hex(8)}-{int(self.sampled):02x}"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a request is known by."""

    request_id: str
    trace: Trace | None


IDENTITY = web.RequestKey("IDENTITY", Identity)


@web.middleware
async def request_id_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Know the request by its id from here on."""
    bind_identity(request)
    return await handler(request)


def bind_identity(request: web.BaseRequest) -> None:
    """Have all that is logged and told from here on name the request: each has its own context."""
    identity = request[IDENTITY] = identify(request)
    bound = {"request_id": identity.request_id}
    if identity.trace is not None:
        bound["trace_id"] = identity.trace.trace_id
    structlog.contextvars.bind_contextvars(**bound)


async def add_request_id(request: web.Request, answer: web.StreamResponse) -> None:
    """An on_response_prepare: tell the client the id."""
    identity = request.get(IDENTITY) or identify(request)
    answer.headers[REQUEST_ID] = identity.request_id
    if identity.trace is not None:
        answer.headers[TRACEPARENT] = identity.trace.traceparent()


def identify(request: web.BaseRequest) -> Identity:
    """The request's own id where it is sound, else its trace's, else a new one."""
    trace = _trace(request.headers.getall(TRACEPARENT, []))
    match request.headers.getall(REQUEST_ID, []):
        case [given] if SOUND_ID.fullmatch(given):
            return Identity(given, trace)
    return Identity(trace.trace_id if trace else secrets.token_hex(16), trace)


def _trace(given: list[str]) -> Trace | None:
    """What the field says; None where it is not sound, and then the trace is not gone on with."""
    found = SOUND_PARENT.fullmatch(given[0].strip()) if len(given) == 1 else None
    if found is None or found["version"] == "ff" or (found["version"] == "00" and found["more"]):
        return None
    if not found["trace"].strip("0") or not found["parent"].strip("0"):
        return None
    return Trace(found["trace"], bool(int(found["flags"], 16) & SAMPLED))

"""Which bytes a request asks for: RFC 9110's single ranges, under If-Range."""

import re

from aiohttp import web

from aggsvc.errors import RangeNotSatisfiable

ONE_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,20})-([0-9]{0,20})[ \t]*", re.IGNORECASE)


def asked_range(request: web.Request, size: int, tag: str) -> tuple[int, int] | None:
    """First and last byte; None where all are to be sent. Raises RangeNotSatisfiable.

    All are sent also for what is no range of bytes, for several ranges, and where If-Range names
    another tag than this.
    """
    field = request.headers.get("Range")
    if field is None or request.method != "GET":
        return None
    if request.headers.get("If-Range", tag) != tag:
        return None
    found = ONE_RANGE.fullmatch(field)
    return _span(found[1], found[2], size) if found else None


def _span(first: str, last: str, size: int) -> tuple[int, int] | None:
    if not first:
        return _suffix(last, size)
    start, end = int(first), int(last or size - 1)
    if last and end < start:
        return None
    if start >= size:
        raise _outside(size)
    return start, min(end, size - 1)


def _suffix(length: str, size: int) -> tuple[int, int] | None:
    if not length:
        return None
    if int(length) == 0 or size == 0:
        raise _outside(size)
    return max(0, size - int(length)), size - 1


def _outside(size: int) -> RangeNotSatisfiable:
    return RangeNotSatisfiable(
        f"no byte of the Range is among the {size:,} that there are; ask from 0 to {size - 1}", size
    )

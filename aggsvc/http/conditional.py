"""Entity tags: what a client has already is not sent again."""

import hashlib
import re
from http import HTTPStatus

from aiohttp import web

TAG = re.compile(r'(?:W/)?("[^"\x00-\x20\x7f]*")')


def weak_tag(body: bytes) -> str:
    """The tag of these bytes, however they are encoded on the way."""
    return f'W/"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'


def strong_tag(digest: str) -> str:
    """The tag of the bytes with that digest, of which parts may be asked for."""
    return f'"{digest}"'


def has_already(request: web.Request, tag: str) -> bool:
    """Whether If-None-Match names this tag, weakly compared, or any."""
    field = ",".join(request.headers.getall("If-None-Match", []))
    return field.strip() == "*" or tag.removeprefix("W/") in TAG.findall(field)


def not_modified(tag: str, cache: str) -> web.Response:
    """The answer to a client that has it already, with the Cache-Control that it would have."""
    fields = {"ETag": tag, "Cache-Control": cache}
    return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=fields)

"""What every form carries to show that a page of ours has sent it."""

import asyncio
import hmac
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from markupsafe import Markup

from aggsvc.errors import ForeignRequest, InvalidRequest, TooLarge, TooSlow
from aggsvc.http.guard import CALLER
from aggsvc.http.routing import route_of
from aggsvc.keys import SETTINGS
from aggsvc.tokens import Scope

FIELD = "csrf_token"
HEADER = "X-CSRF-Token"
URL_ENCODED = "application/x-www-form-urlencoded"
# What a form without a file may hold.
MAX_FORM_BYTES = 256 * 1024
# The token of the session that a request belongs to; a request without one has none.
CSRF_TOKEN = web.RequestKey("CSRF_TOKEN", str)
# Whether what reads the body is still to check the form's token.
DUE = web.RequestKey("DUE", bool)
INPUT = Markup('<input type="hidden" name="{name}" value="{value}">')


def form_context(request: web.Request) -> dict[str, Any]:
    """For templates: `csrf_token`, and `csrf_input` to be put first in each form of method post.

    A script sends the token as X-CSRF-Token. Both are empty where nobody is signed in, and so is
    `signed_in_as`, the name of the token with which somebody has. `may_write` is whether a form
    would be taken from them.
    """
    token = request.get(CSRF_TOKEN, "")
    field = INPUT.format(name=FIELD, value=token) if token else Markup()
    caller = request.get(CALLER)
    signed_in_as = caller.token.name if caller is not None else ""
    return {
        "csrf_token": token,
        "csrf_input": field,
        "signed_in_as": signed_in_as,
        "may_write": caller is None or caller.token.scope.allows(Scope.WRITE),
    }


async def require_form_token(request: web.Request) -> None:
    """Raise ForeignRequest unless the request has the token of its session.

    That of an upload is in its first field: who reads the body has to call check_upload_token.
    """
    sent = request.headers.get(HEADER)
    if sent is None and request.content_type.startswith("multipart/"):
        route = route_of(request)
        if route is not None and route.takes_files:
            request[DUE] = True
            return
    if sent is None and request.content_type == URL_ENCODED:
        check_form_token(request, await read_form(request))
        return
    _compare(request, sent or "")


def check_upload_token(request: web.Request, fields: Mapping[str, str]) -> None:
    """Raise ForeignRequest if the fields before a form's file lack the token that is due."""
    if request.get(DUE):
        check_form_token(request, fields)


def check_form_token(request: web.Request, fields: Mapping[str, Any]) -> None:
    """Raise ForeignRequest unless a form of this session has these fields."""
    _compare(request, str(fields.get(FIELD, "")))


async def read_form(request: web.Request) -> Mapping[str, Any]:
    """The fields of a form without a file; raises InvalidRequest, TooLarge, TooSlow."""
    if request.content_length is None or request.content_length > MAX_FORM_BYTES:
        raise TooLarge(
            f"the form is larger than {MAX_FORM_BYTES:,} bytes, or does not say its size"
        )
    try:
        async with asyncio.timeout(request.app[SETTINGS].body_timeout):
            return await request.post()
    except TimeoutError:
        raise TooSlow("the form does not come; send it again") from None
    except (ValueError, LookupError):
        raise InvalidRequest("the form cannot be read; send it as UTF-8") from None


def _compare(request: web.Request, sent: str) -> None:
    wanted = request.get(CSRF_TOKEN, "").encode()
    if not wanted or not hmac.compare_digest(wanted, sent.encode(errors="replace")):
        raise ForeignRequest(
            "the form is not of this session, or the browser keeps no cookies; load its page again"
        )

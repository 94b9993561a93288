"""What every form carries to show that a page of ours has sent it."""

from typing import Any

from aiohttp import web
from markupsafe import Markup

FIELD = "csrf_token"
HEADER = "X-CSRF-Token"
# The token of the session that a request belongs to; a request without one has none.
CSRF_TOKEN = web.RequestKey("CSRF_TOKEN", str)
INPUT = Markup('<input type="hidden" name="{name}" value="{value}">')


def form_context(request: web.Request) -> dict[str, Any]:
    """For templates: `csrf_token`, and `csrf_input` to be put first in each form of method post.

    A script sends the token as X-CSRF-Token. Both are empty where nobody is signed in.
    """
    token = request.get(CSRF_TOKEN, "")
    field = INPUT.format(name=FIELD, value=token) if token else Markup()
    return {"csrf_token": token, "csrf_input": field}

"""What is done to files from a page, to one or many: delete and process again.

A form posts the `file_id` of each, and in `back` the page to return to. Deleting asks first, on a
page of its own, unless the form says `confirmed`.
"""

from collections import Counter
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from aiohttp import web

from aggsvc.errors import AggsvcError, Conflict, InvalidRequest, NotFound
from aggsvc.http.routing import Route, Scope
from aggsvc.keys import ADMISSION, SERVICE
from web.notices import without_notice
from web.render import render

MOST_FILES = 200
HOME = "/ui"

Form = dict[str, list[str]]


async def delete_files(request: web.Request) -> web.Response:
    """POST /ui/delete: ask, or delete the files and tell how many were gone already."""
    form = await _form(request)
    file_ids, back = _file_ids(form), _back(form)
    if "confirmed" not in form:
        return await _ask(request, file_ids, back)
    done: Counter[str] = Counter()
    for file_id in file_ids:
        try:
            await request.app[SERVICE].delete(file_id)
            done["deleted"] += 1
        except NotFound:
            done["gone"] += 1
        except AggsvcError:
            if not done:
                raise
            done["left"] = len(file_ids) - done.total()
            break
    raise _returning(HOME if back.startswith("/ui/files/") else back, done)


async def reprocess_files(request: web.Request) -> web.Response:
    """POST /ui/reprocess: queue the files again and tell how many could not be, and why."""
    form = await _form(request)
    file_ids = _file_ids(form)
    done: Counter[str] = Counter()
    for file_id in file_ids:
        try:
            request.app[ADMISSION].job()
            await request.app[SERVICE].reprocess(file_id)
            done["queued"] += 1
        except NotFound:
            done["gone"] += 1
        except Conflict:
            done["moving"] += 1
        except AggsvcError:
            if not done:
                raise
            done["left"] = len(file_ids) - done.total()
            break
    raise _returning(_back(form), done)


async def _ask(request: web.Request, file_ids: list[str], back: str) -> web.Response:
    """The page that asks whether to delete what of the files is there."""
    found = []
    for file_id in file_ids:
        try:
            found.append(await request.app[SERVICE].get(file_id))
        except NotFound:
            continue
    if not found:
        raise _returning(HOME, Counter(gone=len(file_ids)))
    return render("delete.html", request, {"files": found, "file_ids": file_ids, "back": back})


async def _form(request: web.Request) -> Form:
    if request.content_type != "application/x-www-form-urlencoded":
        raise InvalidRequest(f"the body is {request.content_type}; send the form of a page")
    return parse_qs(await request.text(), keep_blank_values=True)


def _file_ids(form: Form) -> list[str]:
    file_ids = list(dict.fromkeys(form.get("file_id", [])))
    if not file_ids:
        raise InvalidRequest("no file was selected; select one or more, then try again")
    if len(file_ids) > MOST_FILES:
        raise InvalidRequest(f"select at most {MOST_FILES} files at once, not {len(file_ids):,}")
    return file_ids


def _back(form: Form) -> str:
    """The page of ours that the form names, else the list of files."""
    wanted = urlsplit(form.get("back", [""])[0])
    if wanted.scheme or wanted.netloc or not f"{wanted.path}/".startswith("/ui/"):
        return HOME
    kept = urlencode(without_notice(parse_qsl(wanted.query)))
    return f"{wanted.path}?{kept}" if kept else wanted.path


def _returning(back: str, done: Counter[str]) -> web.HTTPSeeOther:
    return web.HTTPSeeOther(f"{back}{'&' if '?' in back else '?'}{urlencode(done)}")


ROUTES = (
    Route("POST", "/ui/delete", delete_files, "delete_files", Scope.WRITE),
    Route("POST", "/ui/reprocess", reprocess_files, "reprocess_files", Scope.WRITE),
)
"""The routes of what a page does."""

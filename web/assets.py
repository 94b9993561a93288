"""Static files under an address that changes with their contents, so that browsers keep them."""

import gzip
import hashlib
from pathlib import Path

from aiohttp import web
from aiohttp.hdrs import ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, VARY

TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".md": "text/plain",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
HEADERS = {
    CACHE_CONTROL: "public, max-age=31536000, immutable",
    VARY: ACCEPT_ENCODING,
}
ROUTE = "/static/{version}/{name:.+}"


class Assets:
    """The files of a folder, read once; one hash of them all is in the address of each.

    So a module or a style sheet names another by its relative path, and gets what belongs to it.
    """

    def __init__(self, folder: Path) -> None:
        paths = sorted(path for path in folder.rglob("*") if _is_own(path, folder))
        self._files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        self._packed = {name: gzip.compress(body, 6) for name, body in self._files.items()}
        digest = hashlib.sha256()
        for name, body in self._files.items():
            digest.update(f"{name}\0{len(body)}\0".encode() + body)
        self._version = digest.hexdigest()[:12]

    def url(self, name: str) -> str:
        """The address of the file; raises KeyError for one that is not there."""
        if name not in self._files:
            raise KeyError(f"there is no static file {name!r}")
        return f"/static/{self._version}/{name}"

    def urls(self) -> list[str]:
        """The address of every file."""
        return [self.url(name) for name in self._files]

    async def serve(self, request: web.Request) -> web.Response:
        """GET one of the files; those of another version are not found."""
        name = request.match_info["name"]
        if request.match_info["version"] != self._version or name not in self._files:
            raise web.HTTPNotFound
        if "gzip" not in request.headers.get(ACCEPT_ENCODING, ""):
            return _answer(name, self._files[name])
        answer = _answer(name, self._packed[name])
        answer.headers[CONTENT_ENCODING] = "gzip"
        return answer


def _is_own(path: Path, folder: Path) -> bool:
    """Whether it is a file of the folder, and no link, which might lead anywhere."""
    return path.is_file() and path.resolve() == folder.resolve() / path.relative_to(folder)


def _answer(name: str, body: bytes) -> web.Response:
    kind = TYPES[Path(name).suffix]
    charset = None if kind.startswith("image/") else "utf-8"
    return web.Response(body=body, content_type=kind, charset=charset, headers=HEADERS)

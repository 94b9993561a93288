"""The service's API over HTTP, as the commands need it."""

import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiofiles
import aiohttp

Record = dict[str, Any]
CHUNK_BYTES = 256 * 1024
# A large upload may take as long as it takes; a server that says nothing for this long is gone.
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)

# What to do here about a refusal of this status.
HINTS = {
    401: " (here: --token or API_TOKEN)",
    403: " (here: --token or API_TOKEN)",
}


class ClientFailed(Exception):
    """What was asked for could not be done; the text is one sentence with the cure."""


class Client:
    """One connection's worth of calls; every failure is ClientFailed."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self._session = session
        self._base_url = base_url.rstrip("/")

    async def upload(self, path: Path, sent: Callable[[int], None]) -> Record:
        """Send a file, telling `sent` the bytes of each chunk, and return its record."""
        form = aiohttp.FormData(quote_fields=False)  # else the name arrives percent-encoded
        form.add_field("file", _chunks(path, sent), filename=_name_to_send(path))
        return await self._json("POST", "/files", data=form)

    async def record(self, file_id: str) -> Record:
        """The record of a file."""
        return await self._json("GET", _path(file_id))

    async def list(self, **query: str) -> Record:
        """One page of records: items and next_cursor."""
        return await self._json("GET", "/files", "items", params=query)

    async def sensors(self, file_id: str, **query: str) -> Record:
        """One page of a file's sensors: items and next_cursor."""
        return await self._json("GET", _path(file_id, "/sensors"), "items", params=query)

    async def errors(self, file_id: str, form: str) -> AsyncIterator[bytes]:
        """Every row error as `ndjson` or `csv`, in chunks."""
        path = _path(file_id, "/errors")
        async with self._request("GET", path, params={"format": form}) as answer:
            async for chunk in answer.content.iter_any():
                yield chunk

    async def delete(self, file_id: str) -> None:
        """Delete a file."""
        async with self._request("DELETE", _path(file_id)):
            pass

    async def reprocess(self, file_id: str) -> Record:
        """Have a file processed again."""
        return await self._json("POST", _path(file_id, "/reprocess"))

    async def health(self) -> Record:
        """The state of the service's parts, also when it is not well."""
        return await self._json("GET", "/health", "status", accepted=(200, 503))

    async def _json(
        self, method: str, path: str, member: str = "file_id", **options: Any
    ) -> Record:
        """The object that is answered; one without the member is not of this service."""
        async with self._request(method, path, **options) as answer:
            try:
                data: Record = await answer.json(content_type=None)
            except ValueError:
                data = {}
            if not isinstance(data, dict) or member not in data:
                raise ClientFailed(_stranger(answer))
            return data

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, *, accepted: tuple[int, ...] = (200, 202, 204), **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        url = self._base_url + path
        try:
            async with self._session.request(method, url, **options) as answer:
                if answer.status not in accepted:
                    raise ClientFailed(await _refusal(answer))
                yield answer
        except aiohttp.InvalidURL:
            raise ClientFailed(
                f"{self._base_url} is no address; say http://HOST:PORT with --base-url"
            ) from None
        except aiohttp.ClientConnectorError as error:
            raise ClientFailed(
                f"cannot reach the service at {self._base_url} ({_why(error)}); "
                "start it with `make run`, or say where it is with --base-url"
            ) from None
        except (aiohttp.ClientError, TimeoutError) as error:
            if isinstance(error.__cause__, ClientFailed):
                raise error.__cause__ from None
            why = str(error) or type(error).__name__
            raise ClientFailed(
                f"the service at {self._base_url} broke off ({why}); see its log and try again"
            ) from None


@asynccontextmanager
async def open_client(base_url: str, token: str | None) -> AsyncIterator[Client]:
    """A client of the service at that address, with that token if there is one."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(timeout=TIMEOUT, headers=headers) as session:
        yield Client(session, base_url)


def _path(file_id: str, rest: str = "") -> str:
    return f"/files/{quote(file_id, safe='')}{rest}"


def _name_to_send(path: Path) -> str:
    """The file's name as the service keeps it; a header cannot hold the rest."""
    name = path.name.encode(errors="surrogateescape").decode(errors="replace")
    return "".join(char for char in name if char.isprintable())


def _why(error: aiohttp.ClientConnectorError) -> str:
    cause = error.__cause__
    if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError):
        return os.strerror(cause.errno) if cause.errno and cause.errno > 0 else str(cause.strerror)
    return str(cause or error)


async def _refusal(answer: aiohttp.ClientResponse) -> str:
    """The sentence of a problem details answer, or what there is of another's."""
    try:
        problem = await answer.json(content_type=None)
        return str(problem["detail"]) + HINTS.get(answer.status, "")
    except (ValueError, KeyError, TypeError):
        return _stranger(answer)


def _stranger(answer: aiohttp.ClientResponse) -> str:
    return (
        f"{answer.url} answered {answer.status} {answer.reason}, but not as aggsvc does; "
        "say where aggsvc is with --base-url"
    )


async def _chunks(path: Path, sent: Callable[[int], None]) -> AsyncIterator[bytes]:
    try:
        async with aiofiles.open(path, "rb") as file:
            while chunk := await file.read(CHUNK_BYTES):
                yield chunk
                sent(len(chunk))
    except OSError as error:
        raise ClientFailed(f"it cannot be read ({error.strerror}); check the file") from None

"""Sessions of signed-in pages: an encrypted cookie that says by which token."""

import secrets
from pathlib import Path

from aiohttp import web
from aiohttp_session import Session
from aiohttp_session.cookie_storage import EncryptedCookieStorage
from cryptography.fernet import Fernet

from aggsvc import privatefiles
from aggsvc.errors import StartRefused
from aggsvc.http.proxies import is_secure

COOKIE = "aggsvc_session"
MAX_AGE_SECONDS = 7 * 24 * 3600
# What is in a session: the id of its token, and the secret of its forms.
TOKEN, FORM_TOKEN = "token", "form_token"


def open_key(folder: Path) -> bytes:
    """The key of the cookies, made at the first start; raises StartRefused. It blocks."""
    path = folder / "session.key"
    try:
        privatefiles.make_folder(folder)
        privatefiles.create(path, Fernet.generate_key())
        key, mode = path.read_bytes(), path.stat().st_mode
    except OSError as error:
        raise StartRefused(
            f"cannot keep {path}: {error.strerror}; let this user read and write there, "
            "or set AUTH_PATH to another folder"
        ) from error
    if mode & 0o077:
        raise StartRefused(f"{path} can be read by others, who could sign in by it; chmod 600 it")
    try:
        Fernet(key)
    except ValueError:
        raise StartRefused(
            f"{path} is no key; remove it to have a new one, and everybody signs in again"
        ) from None
    return key


class Sessions(EncryptedCookieStorage):
    """Reads and writes the cookie; Secure where the browser came over TLS."""

    def __init__(self, key: bytes, *, trusts_proxy: bool) -> None:
        super().__init__(
            Fernet(key),
            cookie_name=COOKIE,
            max_age=MAX_AGE_SECONDS,
            httponly=True,
            samesite="Lax",  # with Strict a link from elsewhere would ask to sign in again
        )
        self._trusts_proxy = trusts_proxy

    async def load_session(self, request: web.Request) -> Session:
        """The request's session; a new one where its cookie is none of ours, or too old."""
        try:
            return await super().load_session(request)
        except UnicodeError:  # a cookie of bytes that are no text
            return await self.new_session()

    async def save_session(
        self, request: web.Request, response: web.StreamResponse, session: Session
    ) -> None:
        """Have the browser keep the session, or forget it if it is empty."""
        await super().save_session(request, response, session)
        if is_secure(request, trusts_proxy=self._trusts_proxy):
            response.cookies[COOKIE]["secure"] = True

    async def begin(self, token_id: str | None = None) -> Session:
        """A new session, of nobody or of who has signed in by that token."""
        session = await self.new_session()
        session[FORM_TOKEN] = secrets.token_urlsafe(32)
        if token_id is not None:
            session[TOKEN] = token_id
        return session

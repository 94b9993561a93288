"""Knows who calls: by a token in the request's head, or by the session of a page."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from aiohttp import web
from aiohttp_session import Session

from aggsvc.errors import TokenInvalid
from aggsvc.http.failures import Failures
from aggsvc.http.proxies import client_of
from aggsvc.http.sessions import TOKEN, Sessions
from aggsvc.tokens import LiveTokens, Token

SCHEME = "bearer "

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who has sent a request: a good token, and whether a session brought it."""

    token: Token
    has_session: bool


# Who has sent a request, where somebody has to say.
CALLER = web.RequestKey("CALLER", Caller)


class Guard:
    """Tells good tokens from others, and ends what a token has under way once it is none."""

    def __init__(self, tokens: LiveTokens, sessions: Sessions, *, trusts_proxy: bool) -> None:
        self.sessions = sessions
        self._tokens = tokens
        self._trusts_proxy = trusts_proxy
        self._failures = Failures()
        self._under_way: dict[asyncio.Transport, str] = {}

    def check(self) -> None:
        """Raise TokensUnreadable while nobody can be let in."""
        self._tokens.check()

    def by_header(self, request: web.Request, authorization: str) -> Caller:
        """Whose token the header has; raises TokenInvalid, TooManyFailures, TokensUnreadable."""
        return Caller(self.by_text(request, authorization[len(SCHEME) :].strip()), False)

    def by_session(self, session: Session) -> Caller | None:
        """Who has signed in, while the token is good; raises TokensUnreadable."""
        token = self._tokens.find(session[TOKEN]) if TOKEN in session else None
        return None if token is None or token.has_expired() else Caller(token, True)

    def by_text(self, request: web.Request, text: str) -> Token:
        """The token whose text this is; raises TokenInvalid, TooManyFailures, TokensUnreadable.

        A good one passes whatever else came from its address: nobody can guess 256 bits, and one
        script with an old token must not lock out all who share its address.
        """
        token = self._tokens.find_text(text)
        if token is None:
            self._failures.note(address := client_of(request, trusts_proxy=self._trusts_proxy))
            log.warning("wrong token", address=address, path=request.path)
            raise TokenInvalid("the token is not known: it is wrong, or it was revoked")
        if token.has_expired():
            raise TokenInvalid("the token has expired; ask for a new one")
        return token

    @contextmanager
    def admitted(self, request: web.Request, caller: Caller) -> Iterator[None]:
        """While the context is open, the end of the token is that of the connection."""
        if request.transport is None:
            yield
            return
        transport = request.transport
        self._under_way[transport] = caller.token.id
        try:
            yield
        finally:
            del self._under_way[transport]

    def drop_ended(self) -> None:
        """Close the connections whose token was revoked or has expired."""
        for transport, token_id in list(self._under_way.items()):
            if not self._tokens.holds(token_id):
                transport.abort()

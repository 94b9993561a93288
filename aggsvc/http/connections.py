"""How many connections there may be: one too many is told so and closed."""

import asyncio
from typing import cast

from aiohttp import web

from aggsvc.http.problems import problem_bytes
from aggsvc.http.protocol import ProblemProtocol

# How long a client that is one too many has to send its request and to read the refusal.
REFUSING_SECONDS = 2.0
# So many at a time are told; more are closed without a word.
MAX_REFUSALS = 100


class Connections:
    """Makes what answers a connection: the server's own protocol, or a refusal.

    Refused is what comes while `most` are open.
    """

    def __init__(self, server: web.Server, most: int) -> None:
        self._server = server
        self._most = most
        self._refused: set[asyncio.Protocol] = set()
        why = f"as many connections are open as may ({most:,}); try again later"
        self._answer = problem_bytes(why)

    def new(self) -> asyncio.Protocol:
        """A protocol for a connection that has come."""
        if len(self._server.connections) < self._most:
            return ProblemProtocol.of(self._server)
        return _Refusal(self._answer, self._refused)


class _Refusal(asyncio.Protocol):
    """Answers whatever comes first, and ends when the client does, or soon."""

    def __init__(self, answer: bytes, refused: set[asyncio.Protocol]) -> None:
        self._answer = answer
        self._refused = refused

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if len(self._refused) >= MAX_REFUSALS:
            self._transport.abort()
            return
        self._refused.add(self)
        asyncio.get_running_loop().call_later(REFUSING_SECONDS, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        if self._answer:
            self._transport.write(self._answer)
            self._transport.write_eof()
            self._answer = b""

    def connection_lost(self, exc: Exception | None) -> None:
        self._refused.discard(self)

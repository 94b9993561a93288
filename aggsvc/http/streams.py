"""Event streams: server-sent events of one file, or of all, that end when the server stops."""

import asyncio
from collections.abc import AsyncIterable

import orjson
from aiohttp import web
from aiohttp_sse import EventSourceResponse, sse_response

from aggsvc.events import Event


class EventStreams:
    """The open event streams, so that shutting down need not wait for them."""

    def __init__(self) -> None:
        self._open: set[asyncio.Task[object]] = set()
        self._closed = False

    async def send(self, request: web.Request, events: AsyncIterable[Event]) -> web.StreamResponse:
        """Stream the events until they end, the client goes away or the server stops.

        A client that went away is found out by the next event or ping, which is 15 s off at most.
        """
        async with sse_response(request) as response:
            sending = asyncio.create_task(_send_all(response, events))
            pinging = asyncio.create_task(response.wait())
            self._open.add(sending)
            if self._closed:
                sending.cancel()
            try:
                await asyncio.wait({sending, pinging}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._open.discard(sending)
                sending.cancel()
                pinging.cancel()
                await asyncio.wait({sending, pinging})
                _give_up_on_no_reader(request)
        return response

    def close(self) -> None:
        """End every stream, and from now on each that begins."""
        self._closed = True
        for sending in self._open:
            sending.cancel()


def _give_up_on_no_reader(request: web.Request) -> None:
    # The end of the answer would wait for room that this client does not make.
    if request.protocol.writing_paused and request.transport is not None:
        request.transport.abort()


async def _send_all(response: EventSourceResponse, events: AsyncIterable[Event]) -> None:
    try:
        async for event in events:
            await response.send(orjson.dumps(event).decode(), event=event.type)
    except (ConnectionError, TimeoutError):
        return  # the client is gone

"""Work that ends when the client hangs up: aiohttp lets a handler run on."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from aiohttp import web

# How long work goes on at most for a client that has hung up.
LOOK_SECONDS = 0.25

T = TypeVar("T")


async def while_connected(request: web.Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of the work; raises ConnectionResetError, and cancels it, once nobody waits."""
    working = asyncio.create_task(work)
    try:
        while not (await asyncio.wait({working}, timeout=LOOK_SECONDS))[0]:
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError("the client hung up")
        return working.result()
    finally:
        working.cancel()
        await asyncio.wait({working})

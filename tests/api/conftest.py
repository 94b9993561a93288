"""The whole app behind aiohttp's test client."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from aggsvc.app import backends as backends_context
from aggsvc.app import create_app
from aggsvc.keys import BACKENDS
from aggsvc.settings import Settings

Client = TestClient[web.Request, web.Application]
MakeClient = Callable[..., Awaitable[Client]]


@pytest.fixture(autouse=True)
def _never_blocks(unblocked: None) -> None:
    """No handler makes a blocking call on the loop."""


@pytest.fixture(autouse=True)
def _no_tracebacks(
    logged: list[dict[str, Any]], caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> Iterator[None]:
    """Nothing that a client does leaves a traceback in the log."""
    caplog.set_level(logging.INFO)
    yield
    if "breaks" not in request.fixturenames:
        assert [line for line in logged if line.get("exc_info")] == []
        assert [record for record in caplog.records if record.exc_info] == []


@pytest.fixture
def breaks() -> None:
    """The test breaks a part of the service, so a traceback is right."""


@pytest.fixture
def make_client(settings: Settings, aiohttp_client: Any) -> MakeClient:
    """Starts the app; its stores may be wrapped before anything uses them."""

    async def make(
        objects: Callable[[Any], Any] = lambda found: found,
        table: Callable[[Any], Any] = lambda found: found,
        **changes: Any,
    ) -> Client:
        async def wrapped(app: web.Application) -> AsyncIterator[None]:
            opened = app[BACKENDS]
            app[BACKENDS] = replace(
                opened, objects=objects(opened.objects), table=table(opened.table)
            )
            yield

        # The service, too, is put together before its loop runs.
        app = await asyncio.to_thread(create_app, settings.model_copy(update=changes))
        app.cleanup_ctx.insert(app.cleanup_ctx.index(backends_context) + 1, wrapped)
        client: Client = await aiohttp_client(app)
        return client

    return make


@pytest.fixture
async def client(make_client: MakeClient) -> Client:
    return await make_client()

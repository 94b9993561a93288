"""The typed keys under which the app holds its parts."""

import asyncio

from aiohttp import web

from aggsvc.backends import Backends
from aggsvc.engine import Engine
from aggsvc.health import Health
from aggsvc.http.admission import Admission
from aggsvc.http.guard import Guard
from aggsvc.http.pace import Transfers
from aggsvc.http.streams import EventStreams
from aggsvc.recovery import Recovery
from aggsvc.service import Service
from aggsvc.settings import Settings
from aggsvc.throughput import Throughput
from aggsvc.tokens import LiveTokens
from aggsvc.workers import WorkerPool

SETTINGS = web.AppKey("SETTINGS", Settings)
BACKENDS = web.AppKey("BACKENDS", Backends)
ENGINE = web.AppKey("ENGINE", asyncio.Future[Engine])
HEALTH = web.AppKey("HEALTH", Health)
SERVICE = web.AppKey("SERVICE", Service)
RECOVERY = web.AppKey("RECOVERY", Recovery)
THROUGHPUT = web.AppKey("THROUGHPUT", Throughput)
WORKERS = web.AppKey("WORKERS", WorkerPool)
ADMISSION = web.AppKey("ADMISSION", Admission)
TRANSFERS = web.AppKey("TRANSFERS", Transfers)
# There only where access is on.
TOKENS = web.AppKey("TOKENS", LiveTokens)
GUARD = web.AppKey("GUARD", Guard)
EVENT_STREAMS = web.AppKey("EVENT_STREAMS", EventStreams)

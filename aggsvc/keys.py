"""The typed keys under which the app holds its parts."""

from aiohttp import web

from aggsvc.backends import Backends
from aggsvc.health import Health
from aggsvc.http.admission import Admission
from aggsvc.http.pace import Transfers
from aggsvc.http.streams import EventStreams
from aggsvc.recovery import Recovery
from aggsvc.service import Service
from aggsvc.settings import Settings
from aggsvc.throughput import Throughput
from aggsvc.workers import WorkerPool

SETTINGS = web.AppKey("SETTINGS", Settings)
BACKENDS = web.AppKey("BACKENDS", Backends)
HEALTH = web.AppKey("HEALTH", Health)
SERVICE = web.AppKey("SERVICE", Service)
RECOVERY = web.AppKey("RECOVERY", Recovery)
THROUGHPUT = web.AppKey("THROUGHPUT", Throughput)
WORKERS = web.AppKey("WORKERS", WorkerPool)
ADMISSION = web.AppKey("ADMISSION", Admission)
TRANSFERS = web.AppKey("TRANSFERS", Transfers)
EVENT_STREAMS = web.AppKey("EVENT_STREAMS", EventStreams)

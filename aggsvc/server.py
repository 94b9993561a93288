"""Run the app on its address until SIGTERM or Ctrl-C."""

import asyncio
import gc
import resource
import signal
import socket
import sys
from ipaddress import ip_address

import structlog
from aiohttp import web

from aggsvc.app import create_app, drain
from aggsvc.errors import StartRefused
from aggsvc.http.access_log import AccessLog
from aggsvc.http.connections import MAX_REFUSALS, Connections
from aggsvc.settings import Settings

# What is neither drained nor idle once the service stops is an answer of a moment.
ANSWER_SECONDS = 2.0
BACKLOG = 1024
# Open files of the stores, the workers and the process itself.
OWN_FILES = 200
# How long a thread of the engine may keep the interpreter while the loop waits for it: a fifth of
# Python's own, which halves the time in which a request is answered beside the slower lane.
SWITCH_SECONDS = 0.001

log = structlog.get_logger()


def serve(settings: Settings) -> None:
    """Serve until told to stop; raises StartRefused, also where the address cannot be had."""
    allow_open_files(
        settings.max_connections + settings.max_concurrent_uploads + MAX_REFUSALS + OWN_FILES
    )
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.disable()  # until what start-up makes, which is no garbage, is set aside (aggsvc/app.py)
    with bind(settings.host, settings.port) as listener:
        if settings.auth == "auto":
            require_loopback(listener)
        asyncio.run(_run(create_app(settings), listener, settings.max_connections))


async def _run(app: web.Application, listener: socket.socket, max_connections: int) -> None:
    stop = _stop_signal()
    runner = web.AppRunner(app, access_log_class=AccessLog, shutdown_timeout=ANSWER_SECONDS)
    try:
        await runner.setup()
        if runner.server is None:
            raise StartRefused("the server could not be set up")
        connections = Connections(runner.server, max_connections)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(connections.new, sock=listener, backlog=BACKLOG)
        print(f"aggsvc listens on {url_of(listener)} (Ctrl-C stops)", flush=True)
        await stop.wait()
        await drain(app)
        server.close()
    finally:
        await runner.cleanup()


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def allow_open_files(wanted: int) -> None:
    """Raise this process's limit of open files as far as it may be, and warn if that is too low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    allowed = wanted if hard == unlimited else min(wanted, hard)
    if soft != unlimited and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning(
            "few open files allowed",
            allowed=allowed,
            wanted=wanted,
            detail="raise the limit (ulimit -n), or lower MAX_CONNECTIONS",
        )


def bind(host: str, port: int) -> socket.socket:
    """A TCP socket bound to the address, not listening yet; port 0 means any free one."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise StartRefused(
            f"cannot listen on {host}:{port} ({error.strerror}); "
            "stop what uses it, or set HOST or PORT to another address"
        ) from None
    return listener


def require_loopback(listener: socket.socket) -> None:
    """Raise StartRefused for an address at which other machines reach the service."""
    address = listener.getsockname()[0]
    if not ip_address(address).is_loopback:
        raise StartRefused(
            f"{address} lets other machines in, and AUTH does not say whom; set AUTH=on to ask "
            "everybody for a token (python -m aggsvc token create NAME), or AUTH=off to ask nobody"
        )


def url_of(listener: socket.socket) -> str:
    """The address that a client on this machine can use."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

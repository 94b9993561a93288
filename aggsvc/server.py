"""Run the app on its address until SIGTERM or Ctrl-C."""

import socket

from aiohttp import web

from aggsvc.app import create_app
from aggsvc.errors import StartRefused
from aggsvc.settings import Settings

# How long requests that are being answered may take to end once the service is told to stop.
SHUTDOWN_SECONDS = 30.0


def serve(settings: Settings) -> None:
    """Serve until told to stop; raises StartRefused, also where the address cannot be had."""
    with bind(settings.host, settings.port) as listener:
        address = url_of(listener)
        web.run_app(
            create_app(settings),
            sock=listener,
            access_log=None,
            shutdown_timeout=SHUTDOWN_SECONDS,
            print=lambda _banner: print(f"aggsvc listens on {address} (Ctrl-C stops)", flush=True),
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


def url_of(listener: socket.socket) -> str:
    """The address that a client on this machine can use."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

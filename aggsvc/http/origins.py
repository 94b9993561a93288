"""A page of another site must not have a browser change anything here, or read it."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.hdrs import HOST, METH_GET, METH_HEAD, METH_OPTIONS, ORIGIN, REFERER

from aggsvc.errors import ForeignRequest
from aggsvc.http.proxies import host_of
from aggsvc.keys import SETTINGS

SAFE = (METH_GET, METH_HEAD, METH_OPTIONS)
SITE = "Sec-Fetch-Site"
# What no other site can register, so that its pages have no such name.
OWN_NAMES = (".localhost", ".internal")


def require_own_host(request: web.Request) -> None:
    """Raise ForeignRequest where AUTH lets in this machine alone, and the name asked is another's.

    To a browser a page whose name in the DNS was led to this machine is of our own origin, and it
    would read all. So by a name of the public DNS nobody is answered until AUTH is decided.
    """
    if request.app[SETTINGS].auth == "auto" and not _is_local(request.headers.get(HOST, "")):
        raise ForeignRequest(
            "the service answers to localhost or an address only, not to a name that others could "
            "lead here; ask for one of those, or set AUTH=on or AUTH=off"
        )


def require_own_origin(request: web.Request) -> None:
    """Raise ForeignRequest for an unsafe request that a page of another origin has sent.

    But what the setting CORS_ORIGINS names is as good as our own.

    A browser says so itself, in Sec-Fetch-Site or else in Origin or Referer; what says nothing of
    them is no browser's.
    """
    if request.method not in SAFE and not _is_own(request) and not _is_named(request):
        raise ForeignRequest(
            "a page of another site has sent this; do it on a page of this service"
        )


def _is_local(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return "." not in name.rstrip(".") or name.endswith(OWN_NAMES) or bool(ip_address(name))
    except ValueError:
        return False


def _is_own(request: web.Request) -> bool:
    if site := request.headers.get(SITE):
        return site in ("same-origin", "none")
    origin = request.headers.get(ORIGIN) or request.headers.get(REFERER)
    if origin is None:
        return True
    host = host_of(request, trusts_proxy=request.app[SETTINGS].trust_proxy)
    return _host_of_url(origin) == _without_default_port(host)


def _is_named(request: web.Request) -> bool:
    named = request.app[SETTINGS].cors_origins.split()
    return "*" in named or request.headers.get(ORIGIN, "none") in set(named) - {"none"}


def _host_of_url(url: str) -> str:
    try:
        return _without_default_port(urlsplit(url).netloc.lower())
    except ValueError:
        return ""


def _without_default_port(host: str) -> str:
    return host.removesuffix(":80").removesuffix(":443")

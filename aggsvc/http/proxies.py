"""Where a request came from: as the connection says, or as a proxy does that is trusted."""

from ipaddress import IPv6Address, ip_address

from aiohttp import web
from aiohttp.hdrs import HOST

# Whoever has one address of IPv6 has this much of them.
IPV6_NETWORK_BITS = 64


def is_secure(request: web.Request, *, trusts_proxy: bool) -> bool:
    """Whether the client came over TLS."""
    told = _last(request, "X-Forwarded-Proto") if trusts_proxy else ""
    return (told or request.scheme).lower() == "https"


def host_of(request: web.Request, *, trusts_proxy: bool) -> str:
    """The host and port that the client has asked."""
    told = _last(request, "X-Forwarded-Host") if trusts_proxy else ""
    return (told or request.headers.get(HOST, "")).lower()  # request.host may ask the DNS


def client_of(request: web.Request, *, trusts_proxy: bool) -> str:
    """The client's address, of IPv6 its network."""
    told = _last(request, "X-Forwarded-For") if trusts_proxy else ""
    address = told or request.remote or ""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return address
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(IPv6Address(int(found) >> IPV6_NETWORK_BITS << IPV6_NETWORK_BITS))


def _last(request: web.Request, name: str) -> str:
    """What the nearest proxy has added; what stands before may be the client's own."""
    return ",".join(request.headers.getall(name, [])).rpartition(",")[2].strip()

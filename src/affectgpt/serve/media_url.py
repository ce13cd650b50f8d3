"""Fetches media by URL from the hosts that the service allows."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import urllib.parse
from dataclasses import dataclass
from typing import ClassVar

import httpx2

from affectgpt.errors import first_few, reason_of
from affectgpt.serve.error_form import ServiceError
from affectgpt.serve.service_settings import ServiceSettings
from affectgpt.web import MAX_REDIRECTS, without_secrets

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")  # NAT64: an IPv4 address in the last 32 bits
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class _Target:
    """A URL that may be fetched, and the address to connect to."""

    url: httpx2.URL
    host: str
    address: str
    usual_port: bool

    HEADERS: ClassVar[dict[str, str]] = {"Accept-Encoding": "identity", "User-Agent": "affectgpt"}


async def fetch_media(url: str, settings: ServiceSettings) -> bytes:
    """Fetch a file.

    The connection goes to the address that was checked, so that a name that resolves to another address a moment later
    leads nowhere else. Redirects are followed on the same host only. Proxies of the environment are not used.

    Args:
        url: An ``http`` or ``https`` URL.
        settings: The allowed hosts, and the limits.

    Raises:
        ServiceError: 403 for a URL that is not allowed, 413 for a file that is too large, 422 if it cannot be fetched.
    """
    try:
        async with asyncio.timeout(settings.fetch_seconds), _client(settings) as client:
            first = target = await _target(url, settings)
            for _ in range(MAX_REDIRECTS + 1):
                found = await _get(client, target, settings.max_body_bytes)
                if isinstance(found, bytes):
                    return found
                after = urllib.parse.urljoin(str(target.url), found)
                target = await _target(after, settings)
                if target.host != first.host:
                    raise _refused(f"it redirects to the host {target.host!r}; give the URL of the file itself")
            raise ServiceError(422, f"the URL redirects more than {MAX_REDIRECTS} times", "not_fetched", "url")
    except TimeoutError as error:
        seconds = settings.fetch_seconds
        raise ServiceError(422, f"fetching the URL took more than {seconds:g} s", "not_fetched", "url") from error
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
        reason = without_secrets(reason_of(error))
        raise ServiceError(422, f"the URL cannot be fetched: {reason}", "not_fetched", "url") from error


def _client(settings: ServiceSettings) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(timeout=settings.fetch_seconds, follow_redirects=False, trust_env=False)


async def _get(client: httpx2.AsyncClient, target: _Target, max_bytes: int) -> bytes | str:
    """The file, or the location that the server sends the client to."""
    port = "" if target.usual_port else f":{target.url.port}"
    host = f"[{target.host}]" if ":" in target.host else target.host
    request = client.build_request(
        "GET",
        target.url.copy_with(host=target.address),
        headers={**target.HEADERS, "Host": host + port},
        extensions={"sni_hostname": target.host},
    )
    response = await client.send(request, stream=True)
    try:
        if response.is_redirect and response.headers.get("Location"):
            return str(response.headers["Location"])
        if response.status_code != 200:
            what = f"HTTP {response.status_code}"
            raise ServiceError(
                422, f"the server of the URL answers with {what} in place of a file", "not_fetched", "url"
            )
        told = response.headers.get("Content-Length", "")
        content = bytearray()
        if told.isascii() and told.isdigit() and int(told) > max_bytes:
            raise _too_large(max_bytes)
        async for piece in response.aiter_raw():
            content += piece
            if len(content) > max_bytes:
                raise _too_large(max_bytes)
        return bytes(content)
    finally:
        await response.aclose()


async def _target(url: str, settings: ServiceSettings) -> _Target:
    """Check a URL, and find the address of its host."""
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise ServiceError(
            422, "the URL cannot be read; expected such as https://host/clip.mp4", "bad_url", "url"
        ) from error
    if parsed.scheme not in _PORTS or not parsed.host:
        raise ServiceError(422, "the URL must begin with https:// or http:// and name a host", "bad_url", "url")
    if parsed.userinfo:
        raise ServiceError(422, "the URL holds a user or a password; give one without", "bad_url", "url")
    port, host = parsed.port or _PORTS[parsed.scheme], parsed.host.lower()
    usual = port == _PORTS[parsed.scheme]
    name = f"[{host}]" if ":" in host else host
    allowed = {one.lower() for one in settings.fetch_hosts}
    if not (usual and name in allowed) and f"{name}:{port}" not in allowed:
        hosts = f"it fetches from {first_few(settings.fetch_hosts)}" if allowed else "it fetches from no host"
        raise _refused(f"the host {name}{'' if usual else f':{port}'} is not allowed, {hosts}; send the file itself")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ServiceError(422, f"the host {host!r} has no address", "not_fetched", "url") from error
    addresses = [ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found]
    if not settings.fetch_private and not all(map(is_public, addresses)):
        raise _refused(f"the host {host!r} has a private address")
    return _Target(parsed.copy_with(port=port), host, str(addresses[0]), usual)


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet, and not to this machine or its network.

    Examples:
        >>> [is_public(ipaddress.ip_address(one)) for one in ("8.8.8.8", "10.0.0.1", "::ffff:127.0.0.1")]
        [True, False, False]
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _TRANSLATED:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast


def _refused(why: str) -> ServiceError:
    return ServiceError(403, f"this service does not fetch that URL: {why}", "url_not_allowed", "url")


def _too_large(max_bytes: int) -> ServiceError:
    return ServiceError(413, f"the file behind the URL has more than {max_bytes:,} bytes", "too_large", "url")

"""Media are fetched from allowed hosts only, to their checked addresses, up to a size and a time."""

from __future__ import annotations

import asyncio
import socket
import time
from http.server import BaseHTTPRequestHandler
from typing import ClassVar

import pytest

from affectgpt.serve import ServiceSettings
from affectgpt.serve.error_form import ServiceError
from affectgpt.serve.media_url import fetch_media
from serverthread import serving


class Files(BaseHTTPRequestHandler):
    """Files, redirects and slow answers."""

    seen: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        self.seen.append((self.headers["Host"], self.path))
        kind, _, rest = self.path.lstrip("/").partition("/")
        if kind == "to":
            self.send_response(302)
            self.send_header("Location", rest.replace("PORT", str(self.server.server_address[1])))
            self.end_headers()
        elif kind == "status":
            self.send_error(int(rest))
        else:
            self.send_response(200)
            if kind == "file":
                self.send_header("Content-Length", rest)
            self.end_headers()
            try:
                if kind == "slow":
                    time.sleep(5)
                self.wfile.write(b"x" * int(rest or 3))
            except OSError:
                pass

    def log_message(self, *_) -> None:
        pass


@pytest.fixture(scope="module")
def port():
    with serving(Files) as url:
        yield int(url.rpartition(":")[2])


def fetch(url: str, port: int, **changes) -> bytes:
    hosts = (f"127.0.0.1:{port}", f"localhost:{port}", "127.0.0.1", "example.org", "[::1]:80")
    return asyncio.run(fetch_media(url, ServiceSettings(**{"fetch_hosts": hosts, "fetch_private": True} | changes)))


def test_a_file_is_fetched_and_a_redirect_on_the_host_followed(port) -> None:
    assert fetch(f"http://127.0.0.1:{port}/file/7", port) == b"x" * 7
    assert fetch(f"http://localhost:{port}/to//file/5", port) == b"x" * 5
    assert Files.seen[-1] == (f"localhost:{port}", "/file/5"), "the server must see the name, not the address"
    assert fetch(f"http://127.0.0.1:{port}/to/http://127.0.0.1:PORT/file/4", port) == b"x" * 4


@pytest.mark.parametrize(
    ("url", "changes", "status", "words"),
    [
        ("http://127.0.0.1:PORT/file/3", {"fetch_hosts": ()}, 403, "fetches from no host"),
        ("http://127.0.0.1:PORT/file/3", {"fetch_hosts": ("127.0.0.1",)}, 403, "is not allowed"),
        ("http://127.0.0.1:PORT/file/3", {"fetch_hosts": ("example.org",)}, 403, "it fetches from 'example.org'"),
        ("http://127.0.0.1:PORT/file/3", {"fetch_private": False}, 403, "a private address"),
        ("http://localhost:PORT/file/3", {"fetch_private": False}, 403, "a private address"),
        ("http://127.0.0.1:PORT/to/http://localhost:PORT/file/3", {}, 403, "redirects to the host 'localhost'"),
        ("http://127.0.0.1:PORT/to/http://169.254.169.254/meta", {}, 403, "169.254.169.254 is not allowed"),
        ("http://127.0.0.1:PORT/to/file:///etc/passwd", {}, 422, "must begin with https"),
        ("http://127.0.0.1:PORT/to/http://127.0.0.1:1/", {}, 403, "127.0.0.1:1 is not allowed"),
        ("http://127.0.0.1:PORT/to//to//to//to//to//to//to//file/3", {}, 422, "redirects more than 5 times"),
        ("http://me:word@127.0.0.1:PORT/file/3", {}, 422, "a user or a password"),
        ("ftp://127.0.0.1/file", {}, 422, "must begin with https"),
        ("http://", {}, 422, "name a host"),
        ("http://[::1", {}, 422, "cannot be read"),
        ("http://127.0.0.1:PORT/status/404", {}, 422, "HTTP 404"),
        ("http://127.0.0.1:PORT/file/300", {"max_body_bytes": 200}, 413, "more than 200 bytes"),
        ("http://127.0.0.1:PORT/endless/300", {"max_body_bytes": 200}, 413, "more than 200 bytes"),
        ("http://127.0.0.1:PORT/slow/3", {"fetch_seconds": 0.3}, 422, "more than 0.3 s"),
    ],
)
def test_what_is_not_allowed_or_does_not_come_is_refused(port, url, changes, status, words) -> None:
    with pytest.raises(ServiceError) as caught:
        fetch(url.replace("PORT", str(port)), port, **changes)
    assert caught.value.status_code == status
    assert words in str(caught.value.detail)
    assert "word@" not in str(caught.value.detail)


def test_a_host_that_is_not_there_is_an_error_of_the_url(port) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        free = taken.getsockname()[1]
    with pytest.raises(ServiceError, match="cannot be fetched"):
        fetch(f"http://127.0.0.1:{free}/", port, fetch_hosts=(f"127.0.0.1:{free}",))


def test_the_connection_goes_to_the_address_that_was_checked(port, monkeypatch) -> None:
    answers = iter([[("93.184.216.34", port)], [("127.0.0.1", port)]])

    async def getaddrinfo(self, host, port, **_):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in next(answers)]

    connected = []

    async def refuse(self, *args, **kwargs):
        connected.append(args[0] if args else kwargs.get("host"))
        raise OSError("not in this test")

    monkeypatch.setattr("asyncio.base_events.BaseEventLoop.getaddrinfo", getaddrinfo)
    monkeypatch.setattr("httpcore2._backends.auto.AutoBackend.connect_tcp", refuse)
    with pytest.raises((ServiceError, OSError)):
        fetch("http://example.org/a.mp4", port, fetch_private=False)
    assert connected == ["93.184.216.34"]

"""A web server for shard folders that misbehaves on demand; knows byte ranges, as object stores do."""

from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import serverthread


class ShardServer(ThreadingHTTPServer):
    """Serves a folder.

    ``faults`` maps a file's name to what happens at its next requests, one after the other: an HTTP status; ``("drop",
    n)`` closes the connection after n bytes; ``("hang", n)`` sends no more after n bytes; ``("send", content)`` gives
    other bytes; ``("endless", limit)`` sends without an end or a length, up to the limit; ``("slow", seconds)`` waits
    so long after each byte; ``("length", text)`` gives the length as that text; ``("redirect", url)`` leads elsewhere.
    Afterwards all is well. ``requests`` are the (name, first byte asked for) that came in, ``sent`` the bytes of
    endless answers.
    """

    daemon_threads = True

    def __init__(self, folder: Path, ranges: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.ranges = ranges
        self.faults: dict[str, list] = defaultdict(list)
        self.requests: list[tuple[str, int]] = []
        self.sent = 0
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/set"

    def fetched(self, name: str) -> list[int]:
        return [start for asked, start in self.requests if asked == name]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: ShardServer

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].rpartition("/")[2]
        asked = self.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.ranges else 0
        self.server.requests.append((name, start))
        faults = self.server.faults[name]
        fault = faults.pop(0) if faults else None
        path = self.server.folder / name
        if isinstance(fault, int) or not path.is_file():
            self.send_error(fault if isinstance(fault, int) else 404)
            return
        kind, value = fault or ("", None)
        if kind == "redirect":
            self.send_response(302)
            self.send_header("Location", value)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = value if kind == "send" else path.read_bytes()
        body = content[start:]
        self.send_response(206 if start else 200)
        if kind != "endless":
            self.send_header("Content-Length", value if kind == "length" else str(len(body)))
        self.end_headers()
        if kind == "endless":
            while self.server.sent < value:
                self.server.sent += self.wfile.write(bytes(2**16))
            return
        if kind == "slow":
            for byte in body:
                if self.server.closing.wait(value):
                    break
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
            return
        self.wfile.write(body[:value] if kind in ("drop", "hang") else body)
        self.wfile.flush()
        if kind == "hang":
            self.server.closing.wait(60)
        if kind in ("drop", "hang"):
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def serving(folder: Path, ranges: bool = True):
    server = ShardServer(folder, ranges)
    with serverthread.serving(server):
        try:
            yield server
        finally:
            server.closing.set()

"""A stand-in for an OpenAI-compatible server on localhost, which plays a script and keeps what it was sent."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from serverthread import serving


@dataclass(frozen=True)
class Step:
    """One answer of the server.

    Attributes:
        text: The answer's text; or the whole body, where ``raw``.
        status: HTTP status.
        headers: Further headers.
        raw: Send the text as it is.
        cut: Promise more bytes than are sent, and hang up.
        torn: Send the first chunk of an answer in chunks, and hang up.
        seconds: Wait before anything is sent.
        message: Fields of the message beside its content.
        finish: ``finish_reason``.
        usage: Tokens read and written; ``None`` to tell nothing.
    """

    text: str = "[calm]"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bool = False
    cut: bool = False
    torn: bool = False
    seconds: float = 0.0
    message: dict[str, Any] = field(default_factory=dict)
    finish: str = "stop"
    usage: tuple[int, int] | None = (100, 10)

    def body(self) -> str:
        """What is sent."""
        if self.raw or self.status != 200:
            return self.text
        usage = (
            None if self.usage is None else dict(zip(("prompt_tokens", "completion_tokens"), self.usage, strict=True))
        )
        message = {"role": "assistant", "content": self.text, **self.message}
        return json.dumps({"choices": [{"message": message, "finish_reason": self.finish}], "usage": usage})


Script = Callable[[dict[str, Any]], Step]


class Seen:
    """What the server was sent, in order; and how many requests it had at the same time."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.keys: list[str | None] = []
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()

    def begin(self, body: dict[str, Any], key: str | None) -> None:
        with self._lock:
            self.bodies.append(body)
            self.times.append(time.monotonic())
            self.keys.append(key)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)

    def end(self) -> None:
        with self._lock:
            self._now -= 1


def in_turn(*steps: Step) -> Script:
    """A script that plays steps one after the other; the last one repeats."""
    left, lock = deque(steps), threading.Lock()

    def script(_: dict[str, Any]) -> Step:
        with lock:
            return left.popleft() if len(left) > 1 else left[0]

    return script


@contextmanager
def serve(script: Script) -> Iterator[tuple[str, Seen]]:
    """The server's address and what it was sent, while the block runs."""
    seen = Seen()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.begin(body, self.headers.get("Authorization"))
            try:
                step = script(body)
                time.sleep(step.seconds)
                content = step.body().encode()
            finally:
                seen.end()  # before the client can see the answer, and ask the next question
            try:
                if step.torn:
                    begun = content[: len(content) // 2]
                    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                    self.wfile.write(head + f"{len(begun):x}\r\n".encode() + begun + b"\r\n")
                    self.close_connection = True
                    return
                self.send_response(step.status)
                self.send_header("Content-Length", str(len(content) + (100 if step.cut else 0)))
                for name, value in step.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client gave up

        def log_message(self, *_: Any) -> None:
            pass

    with serving(Handler) as url:
        yield f"{url}/v1", seen

"""Runs the service on a port until it is told to stop, and then finishes what it has begun."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from affectgpt.errors import ConfigError
from affectgpt.serve.service_settings import ServiceSettings

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def run_service(
    app: FastAPI,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    settings: ServiceSettings | None = None,
    ready: Callable[[str], None] = lambda url: None,
    stopping: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; requests under way are finished, a second Ctrl-C ends them.

    Raises:
        ConfigError: If the address cannot be listened on, or the service cannot start.
    """
    server, bound = make_server(app, host, port, settings=settings, ready=ready, stopping=stopping)
    with bound:
        server.run(sockets=[bound])


def make_server(
    app: FastAPI,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    settings: ServiceSettings | None = None,
    ready: Callable[[str], None] = lambda url: None,
    stopping: Callable[[], None] = lambda: None,
) -> tuple[uvicorn.Server, socket.socket]:
    """The server, and the socket that it is to listen on.

    Args:
        app: The application, see ``create_app``.
        host: The address to listen on.
        port: The port; 0 for any that is free.
        settings: The settings of the application.
        ready: Told the URL once requests are taken.
        stopping: Called when the server begins to stop, so that responses without end can be ended.

    Raises:
        ConfigError: If the address cannot be listened on.
    """
    settings = settings or ServiceSettings()
    bound = _bind(host, port)
    shown = f"[{host}]" if ":" in host else host
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.drain_seconds),
    )
    return _Server(config, lambda: ready(f"http://{shown}:{bound.getsockname()[1]}"), stopping), bound


class _Server(uvicorn.Server):
    """A server that says when it is ready, and ends without the signal that stopped it."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready, self._stopping = ready, stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        if not self.started:
            raise ConfigError("the service could not start; the lines above say why")
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nothing new, and finish what was begun."""
        self._stopping()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop gracefully at a signal; uvicorn's own would raise it again at the end, which is no error here."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {one: signal.signal(one, self.handle_exit) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    return host in LOOPBACK or host.startswith("127.")


def _bind(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"cannot listen on {host}:{port} ({reason}); give another --host or --port") from error

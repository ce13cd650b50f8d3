"""What every request passes first: its key, a free position in the queue, and the limits of its body."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import math
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from affectgpt.serve.error_form import ServiceError, error_body
from affectgpt.serve.service_meters import HUNG_UP, ServiceMeters
from affectgpt.serve.service_settings import ServiceSettings

log = logging.getLogger(__name__)

OPEN_PATHS = frozenset({"/healthz", "/openapi.json"})
"""Paths that need no key."""
MAX_RETRY_SECONDS = 60


class Queue:
    """Counts the requests under way and the bytes of their bodies, and refuses more than the settings allow.

    Args:
        settings: The limits.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self.num_taken = 0
        self.held_bytes = 0
        self._mean_seconds = 1.0  # of a request, over the last ones

    @contextmanager
    def position(self) -> Iterator[Held]:
        """Take a position until the block ends.

        Raises:
            ServiceError: 429 if there is none, or too many bytes are held.
        """
        if self.num_taken >= self._settings.max_queue:
            raise self._full(f"{self.num_taken} requests are under way")
        self.num_taken += 1
        held, start = Held(self), time.monotonic()
        try:
            yield held
            self._mean_seconds = 0.9 * self._mean_seconds + 0.1 * (time.monotonic() - start)
        finally:
            self.num_taken -= 1
            self.held_bytes -= held.num_bytes

    def hold(self, num_bytes: int) -> None:
        """Count bytes of a body.

        Raises:
            ServiceError: 429 if there are too many.
        """
        if self.held_bytes + num_bytes > self._settings.max_held_bytes and self.num_taken > 1:
            raise self._full(f"the bodies of {self.num_taken} requests fill the memory that they may take")
        self.held_bytes += num_bytes

    def _full(self, why: str) -> ServiceError:
        wait = min(MAX_RETRY_SECONDS, max(1, math.ceil(self._mean_seconds)))
        message = f"{why}, which is the most that this service takes; try again in {wait} s"
        return ServiceError(429, message, "queue_full", headers={"Retry-After": str(wait)})


class Held:
    """The bytes of one request's body.

    Args:
        queue: Where all bytes are counted.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self.num_bytes = 0

    def add(self, num_bytes: int) -> None:
        """Count bytes that arrived."""
        self._queue.hold(num_bytes)
        self.num_bytes += num_bytes


class Entrance:
    """The ASGI middleware around the service.

    It reads no body of a request that has no key or finds the queue full; it stops reading a body that is too large or
    too slow. Faults are logged under the request's id, and the client is told nothing but this id.

    Args:
        app: The application.
        settings: The limits.
        keys: API keys; without any, every request is let in.
        queue: Counts the requests under way.
        meters: Counts and times requests.
        route_of: The route of a path, or ``other``; unknown paths would be meters without end.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: ServiceSettings,
        keys: Sequence[str],
        queue: Queue,
        meters: ServiceMeters,
        route_of: Callable[[str], str],
    ) -> None:
        self._app, self._settings, self._queue, self._meters = app, settings, queue, meters
        self._digests = [_digest(key.encode()) for key in keys]
        self._route_of = route_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        number, start, status = secrets.token_hex(8), time.monotonic(), 0

        async def numbered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                message = {**message, "headers": [*message["headers"], (b"x-request-id", number.encode())]}
            await send(message)

        async def refuse(response: JSONResponse) -> None:
            if not status:
                await response(scope, receive, numbered)

        try:
            self._check_key(scope)
            if scope["method"] in ("GET", "HEAD", "OPTIONS"):
                await self._app(scope, receive, numbered)
            else:
                with self._queue.position() as held:
                    await self._app(scope, self._limited(scope, receive, held), numbered)
        except ServiceError as error:
            await refuse(error.response())
        except (ClientDisconnect, asyncio.CancelledError) as error:
            status = status or HUNG_UP
            if isinstance(error, asyncio.CancelledError):
                raise
        except Exception:
            log.exception("request %s failed", number)
            text = f"the service failed; its log has the details under the request id {number}"
            await refuse(JSONResponse(error_body(500, text, "internal_error"), 500))
            status = 500
        finally:
            self._meters.saw_request(self._route_of(scope["path"]), status or HUNG_UP, time.monotonic() - start)

    def _check_key(self, scope: Scope) -> None:
        if not self._digests or scope["path"] in OPEN_PATHS:
            return
        kind, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
        given = _digest(key.strip().encode("utf-8", "replace"))
        # every key is compared, and digests take the same time whatever they hold
        matches = [hmac.compare_digest(given, known) for known in self._digests]
        if kind.lower() != "bearer" or not any(matches):
            message = "the API key is missing or unknown; send the header Authorization: Bearer KEY"
            raise ServiceError(401, message, "invalid_api_key", headers={"WWW-Authenticate": "Bearer"})

    def _limited(self, scope: Scope, receive: Receive, held: Held) -> Receive:
        """The body, piece by piece, up to the limits."""
        limit = self._settings.max_body_bytes
        told = Headers(scope=scope).get("content-length")
        if told is not None:
            if not (told.isascii() and told.isdigit()):
                raise ServiceError(411, "the header Content-Length is not a number", "bad_length")
            if int(told) > limit:
                raise _too_large(limit)
        deadline, is_whole = time.monotonic() + self._settings.upload_seconds, False

        async def limited() -> Any:
            nonlocal is_whole
            if is_whole:  # whoever asks now waits for the client to hang up
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                seconds = self._settings.upload_seconds
                raise ServiceError(408, f"the body did not arrive within {seconds:g} s", "slow_body") from None
            if message["type"] == "http.request":
                held.add(len(message.get("body", b"")))
                if held.num_bytes > limit:
                    raise _too_large(limit)
                is_whole = not message.get("more_body", False)
            return message

        return limited


def _too_large(limit: int) -> ServiceError:
    return ServiceError(413, f"the body has more than {limit:,} bytes; send a smaller file", "too_large")


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()

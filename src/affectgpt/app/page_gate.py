"""What every request of the page passes: who asks, whose file it is, and how large its body may be."""

from __future__ import annotations

import asyncio
import json
import re
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from affectgpt.app.page_settings import PageSettings
from affectgpt.app.visitors import ORPHAN_SECONDS, Visitors

COOKIE = "affectgpt_visitor"
MOST_FORM_BYTES = 4 * 2**20
"""Largest body of a request that is no upload."""

_API = "/gradio_api"
_NAME = re.compile(r"[\w-]{20,64}")
_FILE = re.compile(rf"{_API}/file[=/](.*)", re.DOTALL)
# What the page does not need: other people's URLs, screen recordings, links to a session, figures of the server, and
# events of any session that answer whoever asks (run, api); those of the page answer their own session
_CLOSED = re.compile(
    rf"(/monitoring|/dev|{_API}/(proxy=|process_recording|deep_link|dev/|vibe|undo-vibe|profiling|run-history|runs"
    "|component_server|openapi|stream|run/|api/)).*",
    re.DOTALL,
)


class PageGate:
    """The ASGI middleware around the page.

    A visitor gets a cookie with a random name. Files and sessions are given only to the visitor whose they are.

    Args:
        app: The application.
        visitors: Who uploaded what.
        settings: The limits.
    """

    def __init__(self, app: ASGIApp, visitors: Visitors, settings: PageSettings) -> None:
        self._app, self._visitors, self._settings = app, visitors, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        known = visitor_of(Headers(scope=scope).get("cookie"))
        visitor = known or self._visitors.new_name()

        async def with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start" and known is None:
                secure = "; Secure" if scope.get("scheme") == "https" else ""
                value = f"{COOKIE}={visitor}; Path=/; HttpOnly; SameSite=Lax{secure}"
                MutableHeaders(scope=message).append("set-cookie", value)
            await send(message)

        path = scope["path"]  # decoded once, as the application's router sees it
        problem = self._problem(scope, path, known)
        if problem is not None:
            status, text = problem
            await PlainTextResponse(text, status)(scope, receive, with_cookie)
        elif path.startswith(f"{_API}/heartbeat/"):
            await self._heartbeat(scope, receive, with_cookie, visitor)
        elif path == f"{_API}/upload":
            await self._upload(scope, receive, with_cookie, visitor)
        elif scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, with_cookie)
        else:
            await self._app(scope, _limited(receive, MOST_FORM_BYTES), with_cookie)

    def _problem(self, scope: Scope, path: str, known: str | None) -> tuple[int, str] | None:
        """Why a request is refused, as a status and a text."""
        if _CLOSED.fullmatch(path):
            return 404, "there is nothing here"
        wanted = _FILE.fullmatch(path)
        if wanted is not None and not self._visitors.owns(known, wanted[1]):
            return 403, "this file was not uploaded from this browser, or it is gone"
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        sessions = [*query.get("session_hash", []), *re.findall(rf"^{_API}/heartbeat/([^/]+)", path)]
        if not all(self._visitors.may_use(known, one) for one in sessions):
            return 403, "this session belongs to another visitor"
        length = Headers(scope=scope).get("content-length", "0")
        upload = path == f"{_API}/upload"
        most = self._settings.max_upload_bytes + MOST_FORM_BYTES if upload else MOST_FORM_BYTES
        if not (length.isascii() and length.isdigit()):
            return 411, "the header Content-Length is not a number"
        if int(length) > most:
            return 413, too_large(self._settings) if upload else "the form is too large"
        if upload and not self._visitors.has_room(int(length)):
            return 507, "the uploads of all visitors fill the space that they may take; try again in a few minutes"
        return None

    async def _heartbeat(self, scope: Scope, receive: Receive, send: Send, visitor: str) -> None:
        try:
            with self._visitors.open_page(visitor):
                await self._app(scope, _until(self._visitors.closing, receive), send)
        finally:
            for seconds in (self._visitors.keep_seconds + 0.1, ORPHAN_SECONDS + 1):
                asyncio.get_running_loop().call_later(seconds, self._visitors.sweep)

    async def _upload(self, scope: Scope, receive: Receive, send: Send, visitor: str) -> None:
        """Pass an upload on, and write down the paths that the answer names."""
        start: list[Message] = []
        body = bytearray()

        async def kept(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.append(message)
                return
            body.extend(message.get("body", b""))
            if not message.get("more_body"):
                if start and start[0]["status"] == 200:
                    for path in json.loads(body):
                        self._visitors.add(visitor, path)
                for one in start:
                    await send(one)
                await send({"type": "http.response.body", "body": bytes(body)})

        await self._app(scope, _limited(receive, self._settings.max_upload_bytes + MOST_FORM_BYTES), kept)


def visitor_of(cookies: str | None) -> str | None:
    """The visitor's name in a header ``Cookie``; ``None`` if there is none."""
    try:
        found = SimpleCookie(cookies or "").get(COOKIE)
    except CookieError:
        return None
    return found.value if found is not None and _NAME.fullmatch(found.value) else None


def too_large(settings: PageSettings) -> str:
    """What a visitor is told about a file that is too large."""
    return f"the file is larger than {settings.max_upload_bytes / 2**20:g} MB, the most that this page takes"


def _until(closing: asyncio.Event, receive: Receive) -> Receive:
    """What a client sends; when the page closes, as if the client had hung up."""

    async def received() -> Any:
        tasks = [asyncio.ensure_future(receive()), asyncio.ensure_future(closing.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return tasks[0].result() if tasks[0].done() else {"type": "http.disconnect"}
        finally:
            for task in tasks:
                task.cancel()

    return received


def _limited(receive: Receive, most: int) -> Receive:
    """The body up to a size; a longer one ends as if the client had hung up."""
    num_bytes = 0

    async def limited() -> Any:
        nonlocal num_bytes
        message = await receive()
        if message["type"] == "http.request":
            num_bytes += len(message.get("body", b""))
            if num_bytes > most:
                return {"type": "http.disconnect"}
        return message

    return limited

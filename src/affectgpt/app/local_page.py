"""An application for a page of this machine: a folder for its files, what every request passes, its start and stop."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path

from fastapi import FastAPI

from affectgpt.app.page_gate import PageGate
from affectgpt.app.page_settings import PageSettings
from affectgpt.app.visitors import Visitors


def local_page(
    name: str,
    settings: PageSettings,
    working: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
) -> tuple[FastAPI, Visitors]:
    """An application without routes, and its visitors, whose files lie in a folder of their own.

    The folder is below the system's folder for temporary files; it is removed when the application stops, or is thrown
    away without ever having started.

    Args:
        name: What the folder's name begins with.
        settings: The limits.
        working: What works as long as the application runs.

    Returns:
        The application; a server that stops should call ``app.state.stopping()``, which ends what has no end.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    remove = partial(shutil.rmtree, folder, ignore_errors=True)
    visitors = Visitors(folder, settings.max_held_bytes, settings.keep_seconds)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            async with working():
                yield
        finally:
            remove()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.stopping = visitors.closing.set
    weakref.finalize(app, remove)
    app.add_middleware(PageGate, visitors=visitors, settings=settings)
    return app, visitors

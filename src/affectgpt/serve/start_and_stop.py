"""Starts what decodes and what answers, and ends them in the right order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from affectgpt.serve.batcher import Batcher
from affectgpt.serve.clip_reading import ClipReader


@asynccontextmanager
async def working(reader: ClipReader, batcher: Batcher[Any, Any]) -> AsyncIterator[None]:
    """Let a reader and a batcher work until the block ends.

    The block begins once the processes that decode are there. At its end what was asked for is finished first.

    Raises:
        MediaError: If the processes cannot be started.
    """
    with reader:
        await reader.warm()
        batcher.start()
        try:
            yield
        finally:
            await batcher.stop()

"""Watches one film for the page, in a thread that can be stopped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from affectgpt.app.film_check import FilmCheck
from affectgpt.app.page_model import PageModel
from affectgpt.app.page_settings import PageSettings
from affectgpt.errors import DataError
from affectgpt.media.isolation import Isolated
from affectgpt.media.speech.base import Segment
from affectgpt.watch.stretches import CuttingRules
from affectgpt.watch.watch_film import Watched, watch
from affectgpt.watch.watcher import WatchPlan

_LOOK_SECONDS = 0.4


@dataclass(frozen=True)
class FilmProgress:
    """How far a film is watched.

    Attributes:
        seconds: Up to where it is answered.
        total_seconds: Its length; ``None`` if nobody knows.
        found: The result, once it is over.
    """

    seconds: float
    total_seconds: float | None
    found: Watched | None = None


async def watch_film(
    model: PageModel,
    settings: PageSettings,
    film: Path,
    *,
    checks: Isolated[FilmCheck, DataError | None],
    cues: Sequence[Segment] | None,
    speech_only: bool,
    is_wanted: Callable[[], bool],
) -> AsyncIterator[FilmProgress]:
    """Watch a film; the last progress has the result. It ends early when nobody waits for it any more.

    Args:
        model: The model.
        settings: The limits.
        film: An upload.
        checks: The process that decodes the film first, so that no file can crash the page.
        cues: Subtitles with their times.
        speech_only: Whether stretches in which nobody speaks are left out.
        is_wanted: Whether somebody still waits.

    Raises:
        DataError: If the film cannot be read, or is too long.
    """
    problem = await asyncio.wrap_future(checks.submit(FilmCheck(film, settings.max_film_seconds)))
    if problem is not None:
        raise problem
    stopped, reached = threading.Event(), [0.0, None]

    def note(seconds: float, total: float | None) -> None:
        if stopped.is_set() or not is_wanted():
            raise _StoppedError
        reached[:] = [seconds, total]

    rules = CuttingRules(answers_quiet=not speech_only)
    plan = WatchPlan(rules, settings.asking, settings.max_batch, settings.unsure_below)
    work = asyncio.create_task(
        asyncio.to_thread(
            watch,
            model.shared(),
            film,
            plan=plan,
            face_detector=settings.face_detector,
            asr=model.asr,
            cues=cues,
            calibration=model.calibration,
            progress=note,
        )
    )
    try:
        while not work.done():
            yield FilmProgress(reached[0] or 0.0, reached[1])
            await asyncio.wait({work}, timeout=_LOOK_SECONDS)
        found = work.result()
        yield FilmProgress(found.seconds, found.seconds, found)
    except _StoppedError:
        return
    finally:
        stopped.set()


class _StoppedError(Exception):
    """Nobody waits for the film any more."""

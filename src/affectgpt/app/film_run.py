"""Watches one film for the page, in a thread that can be stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from affectgpt.app.page_model import PageModel
from affectgpt.app.page_settings import PageSettings
from affectgpt.errors import AffectGPTError
from affectgpt.media.speech.base import Segment
from affectgpt.watch.stretches import CuttingRules
from affectgpt.watch.watch_film import BrokenFilmError, StopWatching, Watched, watch
from affectgpt.watch.watcher import WatchPlan

LOOK_SECONDS = 0.4
"""How often whoever waits for a film looks whether it is still wanted."""


@dataclass(frozen=True)
class FilmProgress:
    """How far a film is watched.

    Attributes:
        seconds: Up to where it is answered.
        total_seconds: Its length; ``None`` if nobody knows.
        found: The result, once it is over.
        problem: Why it ended before its end, if it did.
    """

    seconds: float
    total_seconds: float | None
    found: Watched | None = None
    problem: AffectGPTError | None = None


async def watch_film(
    model: PageModel,
    settings: PageSettings,
    film: Path,
    *,
    cues: Sequence[Segment] | None,
    speech_only: bool,
    is_wanted: Callable[[], bool],
) -> AsyncIterator[FilmProgress]:
    """Watch a film in a process that reads it and a thread that answers; the last progress has the result.

    Args:
        model: The model.
        settings: The limits.
        film: An upload.
        cues: Subtitles with their times.
        speech_only: Whether stretches in which nobody speaks are left out.
        is_wanted: Whether it is to go on; it ends after the batch that is being answered, with what was answered.

    Raises:
        DataError: If the film cannot be read, or is too long.
    """
    is_over, reached = False, [0.0, None]

    def goes_on() -> bool:
        return not is_over and is_wanted()

    def note(seconds: float, total: float | None) -> None:
        reached[:] = [seconds, total]
        if not goes_on():
            raise StopWatching

    rules = CuttingRules(answers_quiet=not speech_only)
    plan = WatchPlan(rules, settings.asking, settings.max_batch, settings.unsure_below)
    work = asyncio.create_task(
        asyncio.to_thread(
            watch,
            model.shared(goes_on),
            film,
            plan=plan,
            face_detector=settings.face_detector,
            asr=model.asr,
            cues=cues,
            calibration=model.calibration,
            isolated=True,
            longest_seconds=settings.max_film_seconds,
            progress=note,
        )
    )
    try:
        while not work.done():
            yield FilmProgress(reached[0] or 0.0, reached[1])
            await asyncio.wait({work}, timeout=LOOK_SECONDS)
        try:
            found, problem = work.result(), None
        except BrokenFilmError as error:
            if not error.found.rows:
                raise
            found, problem = error.found, error
        yield FilmProgress(found.seconds, found.seconds, found, problem)
    finally:
        is_over = True

"""The tab ``Film``: a long clip with several people, answered utterance by utterance on a timeline."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import gradio as gr

from affectgpt.app.answer_tab import limits_line
from affectgpt.app.film_run import LOOK_SECONDS, FilmProgress, watch_film
from affectgpt.app.film_view import EMPTY, draw_film, draw_progress
from affectgpt.app.page_context import Page
from affectgpt.app.page_gate import COOKIE
from affectgpt.errors import DataError
from affectgpt.manifests.subtitles import SUBTITLE_SUFFIXES, read_cues
from affectgpt.media.speech.base import Segment


def build_watch_tab(page: Page) -> None:
    """Build the tab; films are watched one after the other."""
    settings = page.settings
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=320):
            film = gr.Video(label="Film", sources=["upload"], buttons=[], elem_id="film-video")
            gr.HTML(limits_line(page, f"{settings.max_film_seconds / 60:g} min"))
        with gr.Column(scale=2, min_width=320):
            suffixes = [f".{suffix}" for suffix in sorted(SUBTITLE_SUFFIXES)]
            subtitles = gr.File(
                label="Subtitles (if you have them)", file_types=suffixes, height=160, elem_id="film-subtitles"
            )
            speech_only = gr.Checkbox(label="Leave out stretches in which nobody speaks", value=False)
            button = gr.Button("Watch", variant="primary", elem_id="watch-button")
            stop_button = gr.Button("Stop", size="sm", elem_id="watch-stop")
    result = gr.HTML(EMPTY, elem_id="film")
    turn = asyncio.Semaphore(1)
    stops: dict[str, list[threading.Event]] = {}  # of each session, those of its films that are watched or wait

    async def watched(video: Any, cue_file: Any, spoken: bool, request: gr.Request) -> AsyncIterator[str]:
        visitor, session = request.cookies.get(COOKIE) or "", str(request.session_hash)
        was_here = page.visitors.is_here(visitor)
        stop = threading.Event()
        stops.setdefault(session, []).append(stop)

        def is_wanted() -> bool:
            return not stop.is_set() and (page.visitors.is_here(visitor) or not was_here)

        try:
            with page.queue.position():
                path = page.uploaded(request, video)
                if path is None:
                    raise DataError("there is no film yet: choose a video")
                cues = await asyncio.to_thread(_cues, page.uploaded(request, cue_file))
                yield draw_progress(FilmProgress(0.0, None))
                async with _turn(turn, is_wanted) as is_ours:
                    if not is_ours:
                        yield EMPTY
                        return
                    async for progress in watch_film(
                        page.models[0], settings, path, cues=cues, speech_only=spoken, is_wanted=is_wanted
                    ):
                        if progress.found is None:
                            yield draw_progress(progress, stops=stop.is_set())
                            continue
                        problem = "" if progress.problem is None else page.problem(progress.problem)
                        yield problem + await asyncio.to_thread(draw_film, progress.found, path)
        except Exception as error:
            yield page.problem(error)
        finally:
            stops[session].remove(stop)
            if not stops[session]:
                del stops[session]

    def ask_to_stop(request: gr.Request) -> None:
        for stop in stops.get(str(request.session_hash), ()):
            stop.set()

    button.click(
        watched,
        [film, subtitles, speech_only],
        result,
        concurrency_limit=None,
        api_name="watch",
        show_progress="hidden",
        preprocess=False,  # gradio would leave an empty file beside the subtitles; page.uploaded checks whose they are
    )
    stop_button.click(ask_to_stop, None, None, concurrency_limit=None, api_visibility="private")


@asynccontextmanager
async def _turn(turn: asyncio.Semaphore, is_wanted: Callable[[], bool]) -> AsyncIterator[bool]:
    """Wait until it is one's turn, or it is not wanted any more; gives whether it is."""
    waiting = asyncio.create_task(turn.acquire())
    try:
        while not waiting.done() and is_wanted():
            await asyncio.wait({waiting}, timeout=LOOK_SECONDS)
        yield waiting.done() and is_wanted()
    finally:
        if not waiting.cancel():  # it has the turn
            turn.release()


def _cues(path: Path | None) -> list[Segment] | None:
    if path is None:
        return None
    return [Segment(cue.start_seconds, cue.end_seconds, cue.text) for cue in read_cues(path)]

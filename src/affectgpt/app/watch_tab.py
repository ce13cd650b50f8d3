"""The tab ``Film``: a long clip with several people, answered utterance by utterance on a timeline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr

from affectgpt.app.answer_tab import limits_line
from affectgpt.app.film_run import FilmProgress, watch_film
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
            stop = gr.Button("Stop", size="sm")
    result = gr.HTML(EMPTY, elem_id="film")
    turn = asyncio.Semaphore(1)

    async def watched(video: Any, cue_file: Any, spoken: bool, request: gr.Request) -> AsyncIterator[str]:
        visitor = request.cookies.get(COOKIE) or ""
        was_here = page.visitors.is_here(visitor)
        try:
            with page.queue.position():
                path = page.uploaded(request, video)
                if path is None:
                    raise DataError("there is no film yet: choose a video")
                cues = await asyncio.to_thread(_cues, page.uploaded(request, cue_file))
                yield draw_progress(FilmProgress(0.0, None))
                async with turn:
                    async for progress in watch_film(
                        page.models[0],
                        settings,
                        path,
                        checks=page.film_checks,
                        cues=cues,
                        speech_only=spoken,
                        is_wanted=lambda: page.visitors.is_here(visitor) or not was_here,
                    ):
                        if progress.found is None:
                            yield draw_progress(progress)
                        else:
                            yield await asyncio.to_thread(draw_film, progress.found, path)
        except Exception as error:
            yield page.problem(error)

    event = button.click(
        watched,
        [film, subtitles, speech_only],
        result,
        concurrency_limit=None,
        api_name="watch",
        show_progress="hidden",
        preprocess=False,  # gradio would leave an empty file beside the subtitles; page.uploaded checks whose they are
    )
    stop.click(lambda: EMPTY, None, result, cancels=[event], api_visibility="private")


def _cues(path: Path | None) -> list[Segment] | None:
    if path is None:
        return None
    return [Segment(cue.start_seconds, cue.end_seconds, cue.text) for cue in read_cues(path)]

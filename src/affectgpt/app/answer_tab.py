"""The tab ``Clip``: one clip, uploaded or recorded, and the answer about it."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr

from affectgpt.app.answer_view import EMPTY, draw_answer
from affectgpt.app.page_context import Page
from affectgpt.app.page_model import ClipAnswer
from affectgpt.app.page_settings import MAX_WORDS


def build_answer_tab(page: Page) -> None:
    """Build the tab; its answer becomes ``page.answered``."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=320):
            inputs = [*media_inputs(page, "clip"), *word_inputs(page)]
            describes = gr.Checkbox(label="Describe in sentences as well", value=True)
            button = gr.Button("Answer", variant="primary", elem_id="answer-button")
        with gr.Column(scale=3, min_width=320):
            result = gr.HTML(EMPTY, elem_id="answer", elem_classes="ag-live")

    async def answer(
        video: str | None, audio: str | None, words: str, question: str, described: bool, request: gr.Request
    ) -> tuple[str, Any]:
        async def work() -> tuple[ClipAnswer, str]:
            upload, digest = await asyncio.to_thread(page.upload, request, video, audio, words)
            model, asked = page.models[0], (question or "").strip() or None
            found = await model.answer(await model.read(upload), asked, describes=described)
            return found, digest

        found, problem = await page.told(work())
        return (problem, None) if problem else (draw_answer(found[0]), answered_facts(*found))

    button.click(
        answer,
        [*inputs, describes],
        [result, page.answered],
        concurrency_limit=None,
        api_name="answer",
        show_progress_on=result,
    )


def media_inputs(page: Page, prefix: str) -> list[Any]:
    """The controls for the video and the sound of a clip.

    Args:
        page: The page.
        prefix: Begins the names of the elements in the browser.
    """
    media = [
        gr.Video(
            label="Video or camera",
            sources=["upload", "webcam"],
            include_audio=True,
            webcam_options=gr.WebcamOptions(mirror=False),
            buttons=[],
            elem_id=f"{prefix}-video",
        ),
        gr.Audio(
            label="Sound or microphone",
            sources=["upload", "microphone"],
            type="filepath",
            editable=False,
            buttons=[],
            elem_id=f"{prefix}-sound",
        ),
    ]
    gr.HTML(limits_line(page, f"{page.settings.max_clip_seconds:g} s"))
    return media


def limits_line(page: Page, longest: str) -> str:
    """The limits of an upload as HTML."""
    return f'<p class="ag-fine">Up to {page.settings.max_upload_bytes / 2**20:g} MB and {longest}.</p>'


def word_inputs(page: Page) -> list[Any]:
    """The controls for the spoken words and the question."""
    return [
        gr.Textbox(label="Spoken words (if you know them)", lines=2, max_length=MAX_WORDS),
        gr.Textbox(
            label="Question (empty: all possible emotional states)",
            placeholder=page.models[0].model.style.label_question,
            lines=1,
            max_length=MAX_WORDS,
        ),
    ]


def answered_facts(found: ClipAnswer, digest: str) -> dict[str, Any]:
    """What the other tabs need to know of an answer, and the digest of the clip's files."""
    prediction = found.prediction
    return {
        "key": prediction.key,
        "digest": digest,
        "model": found.model,
        "labels": list(prediction.labels),
        "description": found.description or prediction.description or "",
        "subtitle": found.clip.subtitle or "",
        "confidence": round(found.confidence, 4),
    }

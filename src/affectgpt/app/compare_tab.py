"""The tab ``Compare``: one clip, and the answers of two models side by side."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr

from affectgpt.app.answer_tab import media_inputs, word_inputs
from affectgpt.app.answer_view import draw_answer
from affectgpt.app.page_context import Page
from affectgpt.app.page_model import ClipAnswer, read_for_all
from affectgpt.pages.escaping import for_html


def build_compare_tab(page: Page) -> None:
    """Build the tab; a page has it if there are two models."""
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            media = media_inputs(page, "compare")
        with gr.Column(min_width=320):
            words = word_inputs(page)
            describes = gr.Checkbox(label="Describe in sentences as well", value=True)
            button = gr.Button("Answer with both", variant="primary", elem_id="compare-button")
    with gr.Row(equal_height=False):
        results: list[Any] = []
        for model in page.models:
            with gr.Column(min_width=320):
                results.append(gr.HTML(_empty(model.name), elem_id=f"compared-{len(results) + 1}"))

    async def compare(
        video: str | None, audio: str | None, said: str, question: str, described: bool, request: gr.Request
    ) -> list[str]:
        async def work() -> list[ClipAnswer]:
            upload, _ = await asyncio.to_thread(page.upload, request, video, audio, said)
            asked = (question or "").strip() or None
            pairs = zip(page.models, await read_for_all(page.models, upload), strict=True)
            answers = (model.answer(read, asked, describes=described) for model, read in pairs)
            return list(await asyncio.gather(*answers))

        found, problem = await page.told(work())
        return [problem] * len(page.models) if problem else [draw_answer(one) for one in found]

    inputs = [*media, *words, describes]
    button.click(compare, inputs, results, concurrency_limit=None, api_name="compare", show_progress_on=results)


def _empty(name: str) -> str:
    return f'<div class="ag-empty"><p>The answer of {for_html(name)} appears here.</p></div>'

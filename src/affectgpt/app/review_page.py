"""A local page on which people look at decisions of the annotation engine, and say what they think of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI, HTTPException
from starlette.responses import FileResponse

from affectgpt.app.blocks_mount import mount_blocks
from affectgpt.app.local_page import local_page
from affectgpt.app.page_settings import MAX_WORDS, PageSettings
from affectgpt.app.review_desk import Form, ReviewDesk, Turn
from affectgpt.app.review_view import (
    draw_agreement,
    draw_end,
    draw_message,
    draw_pair,
    draw_progress,
    draw_turn,
)
from affectgpt.errors import AffectGPTError
from affectgpt.files import write_whole
from affectgpt.pages.escaping import for_html

_WRITTEN = {"accept": "accepted", "edit": "accepted with your changes", "reject": "rejected"}
_BETTER = {"A": "a", "B": "b", "They are equally good": "same"}
_NO_UPLOADS = PageSettings(max_upload_bytes=1)


def create_review_page(desk: ReviewDesk, who: str = "") -> FastAPI:
    """The page as an ASGI application.

    Args:
        desk: The decisions, and where they are written down.
        who: Who decides, unless the page is told otherwise.

    Returns:
        The application; a server that stops should call ``app.state.stopping()``, which ends what has no end.
    """
    app, visitors = local_page("affectgpt-review", _NO_UPLOADS)

    @app.get("/clip/{digest}/{what}")
    def clip_file(digest: str, what: str) -> FileResponse:
        """The video or the sound of a clip of this review; browsers ask for its parts."""
        file = desk.played(digest).get(what)
        if file is None:
            raise HTTPException(404, "there is no such clip in this review")
        path = file.content if isinstance(file.content, Path) else visitors.folder / f"{digest}-{what}"
        if isinstance(file.content, bytes) and not path.exists():
            write_whole(path, file.content)
        return FileResponse(path, media_type=file.media_type)

    mount_blocks(app, _build(desk, who), _NO_UPLOADS.max_upload_bytes, "page.css", "review.css")
    return app


def _build(desk: ReviewDesk, who: str) -> gr.Blocks:
    """The components and events."""
    with gr.Blocks(title="affectgpt review", analytics_enabled=False, fill_width=False) as blocks:
        gr.Markdown(
            f"# Review\nDecisions of the engine in `{for_html(desk.plan.out)}`. What you say goes into "
            "`review.jsonl` there, with your name and the time.",
            elem_id="head",
        )
        turn = gr.State(Turn())
        with gr.Row(equal_height=True):
            name = gr.Textbox(who, label="Who decides", max_length=80, scale=3, elem_id="who")
            begin = gr.Button("Begin", scale=1, min_width=120, elem_id="begin")
        progress = gr.HTML(elem_id="progress")
        message = gr.HTML(elem_id="message", elem_classes="ag-live")
        with gr.Row(equal_height=False):
            with gr.Column(scale=3, min_width=320):
                shown = gr.HTML('<div class="ag-empty">Say who you are, and begin.</div>', elem_id="shown")
            with gr.Column(scale=2, min_width=320, visible=False) as controls:
                form = [
                    gr.Textbox(label="Description", lines=6, max_length=MAX_WORDS, elem_id="description"),
                    gr.Textbox(label="Labels, with commas between them", max_length=MAX_WORDS, elem_id="labels"),
                    gr.Textbox(label="Spoken words", lines=2, max_length=MAX_WORDS, elem_id="subtitle"),
                    gr.Textbox(label="Remark (if any)", max_length=MAX_WORDS, elem_id="note"),
                ]
                with gr.Row():
                    accept = gr.Button("Accept", variant="primary", min_width=100, elem_id="accept")
                    edit = gr.Button("Keep changes", min_width=100, elem_id="edit")
                    reject = gr.Button("Reject", variant="stop", min_width=100, elem_id="reject")
                with gr.Row():
                    back = gr.Button("Back", size="sm", min_width=80, elem_id="back")
                    skip = gr.Button("Skip", size="sm", min_width=80, elem_id="skip")
                with gr.Group(visible=False) as pair_group:
                    gr.Markdown("### Which description is better?")
                    pair = gr.HTML(elem_id="pair")
                    better = gr.Radio(list(_BETTER), show_label=False, elem_id="better")
                    prefer = gr.Button("Write the preference down", size="sm", elem_id="prefer")
        with gr.Accordion("Agreement of people and engine", open=False):
            agreement = gr.HTML(draw_agreement(desk.agreement()), elem_id="agreement")
        outputs = [turn, progress, message, shown, controls, *form, pair_group, pair, better, agreement]

        def view(now: Turn, words: str = "") -> list[Any]:
            outcome = desk.outcome(now)
            drawn = draw_end(now.said, now.who) if outcome is None else draw_turn(outcome, desk.clip(outcome.key))
            texts = Form() if outcome is None else Form.of(outcome)
            found = None if outcome is None else desk.pair(outcome)
            return [
                now,
                draw_progress(now.at, now.keys, now.said),
                draw_message(words, bad=False),
                drawn,
                gr.Column(visible=outcome is not None),
                texts.description,
                texts.labels,
                texts.subtitle,
                "",
                gr.Group(visible=found is not None),
                "" if found is None else draw_pair(found),
                None,
                draw_agreement(desk.agreement()),
            ]

        def told(work: Callable[[], list[Any]]) -> list[Any]:
            """What some work shows; a mistake leaves what was typed as it is."""
            try:
                return work()
            except AffectGPTError as error:
                return [gr.skip() if one is not message else draw_message(str(error), bad=True) for one in outputs]

        def start(said: str) -> list[Any]:
            return told(lambda: view(desk.begin(said or "")))

        def decide(decision: Any, now: Turn, *texts: str) -> list[Any]:
            def work() -> list[Any]:
                key = now.key
                return view(desk.decide(now, decision, Form(*texts)), f"{key}: {_WRITTEN[decision]}")

            return told(work)

        def choose(now: Turn, which: str | None, *texts: str) -> list[Any]:
            def work() -> list[Any]:
                desk.prefer(now, _BETTER.get(which or "", ""), Form(*texts).note)
                done = draw_message("the preference is written down; the clip still waits for a decision", bad=False)
                return [done if one is message else gr.skip() for one in outputs]

            return told(work)

        alone = {"concurrency_limit": 1, "concurrency_id": "desk", "api_visibility": "private"}  # one file is read
        gr.on([begin.click, name.submit], start, [name], outputs, **alone)
        for button, decision in ((accept, "accept"), (edit, "edit"), (reject, "reject")):
            button.click(partial(decide, decision), [turn, *form], outputs, **alone)
        for button, by in ((back, -1), (skip, 1)):
            button.click(lambda now, by=by: view(now.moved(by)), [turn], outputs, **alone)
        prefer.click(choose, [turn, better, *form], outputs, **alone)
        if who:
            blocks.load(start, [name], outputs, **alone)
    blocks.queue()
    return blocks

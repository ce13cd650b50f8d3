"""The tab ``Annotate``: a person accepts, edits or rejects the last answer; the log is what ``pack --review`` reads."""

from __future__ import annotations

from typing import Any

import gradio as gr

from affectgpt.annotate.review_log import Decision, ReviewLog, Verdict, now
from affectgpt.app.page_context import Page
from affectgpt.errors import DataError
from affectgpt.pages.escaping import for_html
from affectgpt.text import clean_label, clean_name, clean_text

_NOTHING = '<div class="ag-empty"><p>Answer a clip first; here you say whether the answer fits.</p></div>'
MOST_CHARACTERS = 4000


def build_annotate_tab(page: Page) -> None:
    """Build the tab; a page has it if its settings name a log."""
    assert page.settings.annotations is not None
    log = ReviewLog(page.settings.annotations)
    log.path.parent.mkdir(parents=True, exist_ok=True)
    shown = gr.HTML(_NOTHING, elem_id="annotated")
    with gr.Column(visible=False) as form:
        labels = gr.CheckboxGroup(label="Labels that fit", choices=[], interactive=True)
        more = gr.Textbox(label="Labels that are missing (with commas between)", max_length=MOST_CHARACTERS)
        description = gr.Textbox(label="Description", lines=3, max_length=MOST_CHARACTERS)
        with gr.Row():
            who = gr.Textbox(label="Your name", max_length=80, elem_id="annotate-who")
            note = gr.Textbox(label="Remark (may be empty)", max_length=MOST_CHARACTERS)
        with gr.Row():
            save = gr.Button("Save what fits", variant="primary", elem_id="annotate-save")
            reject = gr.Button("Reject the answer", elem_id="annotate-reject")
    said = gr.HTML("", elem_id="annotate-said")

    def show(answered: dict[str, Any] | None) -> list[Any]:
        if answered is None:
            return [_NOTHING, gr.update(visible=False), gr.update(), gr.update(), gr.update(), ""]
        fits = gr.update(choices=answered["labels"], value=answered["labels"])
        return [_draw(answered), gr.update(visible=True), fits, "", answered["description"], ""]

    page.answered.change(show, page.answered, [shown, form, labels, more, description, said], api_visibility="private")

    def write(answered: dict[str, Any] | None, by: str, remark: str, changes: dict[str, Any] | None) -> str:
        try:
            if answered is None:
                raise DataError("answer a clip first")
            verdict = _verdict(answered, by, remark, changes)
            log.append(verdict)
        except Exception as error:
            return page.problem(error).replace("No answer.", "Not saved.")
        words = {"accept": "accepted", "edit": "edited", "reject": "rejected"}[verdict.decision]
        return f'<p class="ag-saved" role="status">{for_html(f"{verdict.key}: {words} by {verdict.who}")}</p>'

    def keep(answered: Any, fitting: list[str], missing: str, text: str, by: str, remark: str) -> str:
        changes: dict[str, Any] = {"labels": [*(fitting or []), *_labels_in(missing)]}
        if clean_text(text or "").strip():
            changes["description"] = clean_text(text).strip()
        return write(answered, by, remark, changes)

    def drop(answered: Any, by: str, remark: str) -> str:
        return write(answered, by, remark, None)

    save.click(keep, [page.answered, labels, more, description, who, note], said, api_visibility="private")
    reject.click(drop, [page.answered, who, note], said, api_visibility="private")


def _verdict(answered: dict[str, Any], who: str, note: str, changes: dict[str, Any] | None) -> Verdict:
    """The decision: nothing that fits is a rejection, what was said before is accepted, anything else is an edit.

    Raises:
        DataError: If the name is missing.
    """
    name = clean_name(who or "").strip()
    if not name:
        raise DataError("give your name, so that the log says who decided")
    decision: Decision = "reject"
    if changes is not None:
        as_said = {"labels": answered["labels"]}
        if answered["description"]:
            as_said["description"] = answered["description"].strip()
        decision = "accept" if changes == as_said else "edit"
        if answered["subtitle"]:
            changes = {**changes, "subtitle": answered["subtitle"]}
    note = clean_text(note or "").strip()
    return Verdict(answered["key"], answered["digest"], name, now(), decision, changes or {}, "kept", note)


def _labels_in(text: str) -> list[str]:
    return [label for one in (text or "").replace("\n", ",").split(",") if (label := clean_label(one))]


def _draw(answered: dict[str, Any]) -> str:
    chips = "".join(f'<li class="ag-chip">{for_html(label)}</li>' for label in answered["labels"])
    return (
        f'<article class="ag-answer"><header><h3>{for_html(answered["key"])}</h3><span class="ag-fine">said by '
        f"{for_html(answered['model'])}, confidence {answered['confidence']:.0%}</span></header>"
        f'<ul class="ag-labels" aria-label="Emotions">{chips}</ul></article>'
    )

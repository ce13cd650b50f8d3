"""Draws one decision of the engine as HTML: the clip, what became of it, and what each stage said."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from affectgpt.annotate.clip_source import SourceClip
from affectgpt.annotate.outcomes import ClipOutcome
from affectgpt.app.review_desk import played_files
from affectgpt.pages.escaping import for_html

SHOWN_IN_FORM = ("description", "labels", "subtitle")
_SAID = {"kept": "kept it", "dropped": "dropped it", "person": "asks a person", "failed": "failed"}
_STATUS = {"done": "went on", "dropped": "dropped", "person": "to a person", "failed": "failed"}
_NAMES = {"audio_clues": "Heard", "visual_clues": "Seen", "transcript": "Words, by the recogniser", "cues": "Measured"}
_ACCEPTED = {"accept": "accepted", "edit": "changed", "reject": "rejected"}


def draw_turn(outcome: ClipOutcome, clip: SourceClip | None) -> str:
    """The clip, and what the engine found."""
    reason = outcome.reasons.get(outcome.stage or "", "")
    where = f" in <b>{for_html(outcome.stage)}</b>" if outcome.stage else ""
    why = f": {for_html(reason)}" if reason else ""
    verdict = f'<p class="ag-verdict ag-{outcome.outcome}">The engine {_SAID[outcome.outcome]}{where}{why}</p>'
    fields = {n: v for n, v in outcome.fields.items() if n not in SHOWN_IN_FORM and v not in (None, "", [], {})}
    texts = "".join(_text(name, value) for name, value in fields.items() if _is_text(value))
    facts = "".join(_fact(name, value) for name, value in fields.items() if not _is_text(value))
    more = f"<details><summary>Stages and numbers</summary>{_stages(outcome)}{facts}</details>"
    return (
        f'<article class="ag-answer"><header><h3>{for_html(outcome.key)}</h3></header>{_player(clip)}{verdict}'
        f"{texts}{more}</article>"
    )


def draw_end(said: Mapping[str, str], who: str) -> str:
    """What is shown when no clip is left."""
    if not said:
        return f'<div class="ag-empty">There is nothing left for {for_html(who)} to look at here.</div>'
    counts = {word: sum(one == word for one in said.values()) for word in _ACCEPTED}
    told = ", ".join(f"{number} {_ACCEPTED[word]}" for word, number in counts.items() if number)
    return (
        f'<div class="ag-empty"><b>Done: {told}.</b><br>Run the same <code>affectgpt annotate</code> command again, '
        "and these decisions count in the data set.</div>"
    )


def draw_progress(at: int, keys: Sequence[str], said: Mapping[str, str]) -> str:
    """Which clip of how many is shown, and what was said of it before."""
    if at >= len(keys):
        return f'<p class="ag-fine">{len(said)} of {len(keys)} clips decided</p>'
    before = said.get(keys[at])
    again = f", which you {_ACCEPTED[before]} just now; a new decision replaces that" if before else ""
    share = 100 * len(said) / len(keys)
    return (
        f'<p class="ag-fine">Clip {at + 1} of {len(keys)}{again}</p>'
        f'<div class="ag-bar" role="progressbar" aria-label="Clips decided" aria-valuenow="{len(said)}" '
        f'aria-valuemax="{len(keys)}"><i style="width:{share:.0f}%"></i></div>'
    )


def draw_pair(pair: tuple[str, str]) -> str:
    """Two descriptions side by side."""
    texts = "".join(f"<div><h4>{name}</h4><p>{for_html(text)}</p></div>" for name, text in zip("AB", pair, strict=True))
    return f'<div class="ag-pair">{texts}</div>'


def draw_agreement(found: Mapping[str, Any]) -> str:
    """How far people and engine agree, as a table."""
    if not found["clips"]:
        return '<p class="ag-fine">Nobody has decided about a clip yet.</p>'
    people = ", ".join(map(for_html, found["people"]))
    rows = "".join(
        f"<tr><th scope=row>{for_html(stage)}</th><td>{row['reviewed']}</td><td>{row['shared']}</td>"
        f"<td>{100 * row['accuracy']:.0f} %</td></tr>"
        for stage, row in found["by_stage"].items()
    )
    table = (
        "<table><thead><tr><th>decisions of</th><th>looked at</th><th>shared by people</th><th>share</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
        if rows
        else ""
    )
    alphas = f"{_alpha(found['alpha_with_engine'])}; of people alone: {_alpha(found['alpha_of_people'])}"
    return (
        f'<div class="ag-agreement"><p>{found["clips"]} clips, {found["edited"]} of them changed, by {people}.</p>'
        f'{table}<p class="ag-fine">Krippendorff\'s alpha of people and engine: {alphas}. 1 is agreement, 0 what '
        "chance gives.</p></div>"
    )


def draw_message(words: str, *, bad: bool) -> str:
    """What happened, which screen readers read at once."""
    role, css = ("alert", "ag-problem") if bad else ("status", "ag-told")
    return f'<div class="{css}" role="{role}">{for_html(words[:1].upper() + words[1:])}</div>' if words else ""


def _player(clip: SourceClip | None) -> str:
    if clip is None:
        return '<p class="ag-problem">The files of this clip are gone, or are others now.</p>'
    players = ""
    for name, file in played_files(clip.media).items():
        source = f'class="ag-clip" src="/clip/{clip.digest}/{name}"'
        kind = "audio" if name == "sound" else "video"
        if file.media_type.startswith("image/"):
            players += f'<img {source} alt="The picture of this clip">'
        else:
            players += f'<{kind} {source} controls preload="metadata"></{kind}>'
    record = clip.record
    path = "" if record is None else for_html(record.video or record.audio or "")
    return f'{players}<p class="ag-fine">{path}</p>' if path else players


def _stages(outcome: ClipOutcome) -> str:
    rows = "".join(
        f'<li><b>{for_html(stage)}</b> <span class="ag-{for_html(said)}">{for_html(_STATUS.get(said, said))}</span>'
        f"{' ' + for_html(outcome.reasons[stage]) if outcome.reasons.get(stage) else ''}</li>"
        for stage, said in outcome.passed.items()
    )
    return f'<ul class="ag-stages">{rows}</ul>'


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value.split()) > 2


def _title(name: str) -> str:
    return for_html(_NAMES.get(name, name.replace("_", " ").capitalize()))


def _text(name: str, value: str) -> str:
    return f"<h4>{_title(name)}</h4><p>{for_html(value)}</p>"


def _fact(name: str, value: Any) -> str:
    if isinstance(value, list) and all(isinstance(one, str | int | float) for one in value):
        value = ", ".join(map(str, value))
    if not isinstance(value, str | int | float):
        lines = "\n".join(for_html(line) for line in json.dumps(value, ensure_ascii=False, indent=1).splitlines())
        return f"<p><b>{_title(name)}</b></p><pre>{lines}</pre>"
    return f"<p><b>{_title(name)}</b> {for_html(value)}</p>"


def _alpha(value: float | None) -> str:
    return "nothing can be said yet" if value is None else f"{value:.2f}"

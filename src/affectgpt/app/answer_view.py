"""Shows the answer about a clip as HTML: labels, sentiment, confidence, description, and what was missing."""

from __future__ import annotations

from affectgpt.app.page_model import ClipAnswer
from affectgpt.app.shown_clip import draw_clip
from affectgpt.pages.escaping import for_html
from affectgpt.watch.rows import UNSURE

EMPTY = (
    '<div class="ag-empty"><p>The answer appears here, with the frames, faces and sound that the model was shown.</p>'
    "</div>"
)


def draw_answer(found: ClipAnswer) -> str:
    """The whole answer."""
    prediction = found.prediction
    parts = [
        f'<header><h3>{for_html(prediction.key)}</h3><span class="ag-fine">{for_html(found.model)}</span></header>',
        _labels(found),
        '<div class="ag-row">',
        draw_sentiment(prediction.sentiment, "Sentiment: "),
        draw_confidence(found.confidence),
        "</div>",
        f'<p class="ag-fine">{_basis(found)}</p>',
    ]
    if found.description:
        parts.append(f"<h4>Description</h4><p>{for_html(found.description)}</p>")
    if prediction.missing:
        lines = "".join(
            f"<li><b>{for_html(name)}</b>: {for_html(why)}</li>" for name, why in prediction.missing.items()
        )
        parts.append(f'<h4>What was missing</h4><ul class="ag-missing">{lines}</ul>')
    used = ", ".join(prediction.used) or "nothing"
    parts.append(f"<h4>What the model was shown</h4>{draw_clip(found)}")
    seconds = ", ".join(f"{name} {value:.1f} s" for name, value in prediction.seconds.items())
    parts.append(f'<p class="ag-fine">Prompt: {for_html(used)}. Time: {for_html(seconds)}.</p>')
    return f'<article class="ag-answer">{"".join(parts)}</article>'


def _labels(found: ClipAnswer) -> str:
    prediction = found.prediction
    if found.is_unsure:
        return f'<p class="ag-labels"><span class="ag-chip ag-unsure">{UNSURE}</span></p>{_verbatim(prediction.text)}'
    if prediction.labels:
        chips = "".join(f'<li class="ag-chip">{for_html(label)}</li>' for label in prediction.labels)
        return f'<ul class="ag-labels" aria-label="Emotions">{chips}</ul>'
    return _verbatim(prediction.text)


def _verbatim(text: str) -> str:
    return f"<blockquote>{for_html(text) or 'The model wrote nothing.'}</blockquote>"


def draw_sentiment(sentiment: str | None, title: str = "") -> str:
    """A sentiment as a word with a colour, after a title."""
    kind, word = for_html(sentiment or "none"), for_html(sentiment or "not clear")
    return f'<span class="ag-sentiment ag-{kind}">{title}{word}</span>'


def draw_confidence(confidence: float) -> str:
    """A confidence as a bar with a number."""
    percent = f"{100 * confidence:.0f} %"
    return (
        f'<span class="ag-confidence">Confidence: <meter min="0" max="1" value="{confidence:.3f}" '
        f'aria-label="Confidence">{percent}</meter> {percent}</span>'
    )


def _basis(found: ClipAnswer) -> str:
    """What the confidence stands on."""
    sure = found.sureness
    likelihood = f"probability of the words {100 * sure.likelihood:.0f} %"
    drawn = "" if sure.agreement is None else f", agreement of drawn answers {100 * sure.agreement:.0f} %"
    if found.confidence == sure.raw:
        return f"From the {likelihood}{drawn}; not calibrated, so it is not how often the model is right."
    return f"How often the model is right when it is this sure ({likelihood}{drawn})."

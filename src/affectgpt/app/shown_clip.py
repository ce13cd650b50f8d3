"""Draws what a model was really shown of a clip as HTML: its frames, face crops, windows of sound, and words."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from affectgpt.app.page_model import ClipAnswer
from affectgpt.media.pictures.write_picture import MEDIA_TYPES, write_picture
from affectgpt.pages.escaping import for_html
from affectgpt.pages.plotting import data_url

TITLES = {"frame": "Frames", "face": "Face crops", "image": "Picture", "audio": "Sound"}
_POINTS = 160
"""Columns of a drawn window of sound."""


def draw_clip(found: ClipAnswer) -> str:
    """Every source that the model was shown, each in a section of its own."""
    sections = []
    for name, steps in found.clip.media.items():
        title = TITLES.get(name, name)
        if steps.ndim == 4 and steps.shape[1] == 3:
            swapped = name == "face" and found.channels == "bgr"
            sections.append(_pictures(title, steps.flip(1) if swapped else steps))
        elif steps.ndim == 2 and name == "audio":
            sections.append(_windows(title, steps, found.sample_rate_hz))
        else:
            shape = " x ".join(map(str, steps.shape))
            sections.append(_section(title, f"<p>{len(steps)} steps of measurements ({shape})</p>"))
    words = found.clip.subtitle
    if words:
        source = "heard by the speech recogniser" if found.prediction.transcript else "as given"
        sections.append(_section(f"Words, {source}", f"<blockquote>{for_html(words)}</blockquote>"))
    return "".join(sections)


def _section(title: str, body: str) -> str:
    return f'<section class="ag-seen"><h4>{for_html(title)}</h4>{body}</section>'


def _pictures(title: str, steps: Tensor) -> str:
    count, _, height, width = steps.shape
    pictures = "".join(
        f'<img src="{data_url(write_picture(step, "jpeg"), MEDIA_TYPES["jpeg"])}" '
        f'alt="{for_html(title)} {number} of {count}" width="{width}" height="{height}">'
        for number, step in enumerate(steps, 1)
    )
    body = f'<div class="ag-strip" tabindex="0" role="group" aria-label="{for_html(title)}">{pictures}</div>'
    return _section(f"{title}: {count}, {width} x {height} pixels", body)


def _windows(title: str, steps: Tensor, rate_hz: int) -> str:
    count, seconds = len(steps), steps.shape[1] / rate_hz
    loudest = max(float(steps.abs().max()), 1e-4)
    shapes = "".join(
        f'<svg viewBox="0 0 {_POINTS} 40" preserveAspectRatio="none" role="img" '
        f'aria-label="Waveform of window {number} of {count}"><path d="{_outline(window / loudest)}"/></svg>'
        for number, window in enumerate(steps.numpy(), 1)
    )
    what = "window" if count == 1 else "windows"
    loudness = f"loudest sample {loudest:.2f} of 1"
    return _section(
        f"{title}: {count} {what} of {seconds:g} s",
        f'<div class="ag-wave">{shapes}</div><p class="ag-fine">{loudness}</p>',
    )


def _outline(window: np.ndarray) -> str:
    """The outline of a waveform in [-1, 1] as an SVG path: the highest and lowest value of each column."""
    columns = np.array_split(window, min(_POINTS, len(window)))
    wide = _POINTS / len(columns)
    upper = [f"{(i + 0.5) * wide:.1f},{20 - 19 * float(part.max()):.1f}" for i, part in enumerate(columns)]
    lower = [f"{(i + 0.5) * wide:.1f},{20.4 - 19 * float(part.min()):.1f}" for i, part in enumerate(columns)]
    return f"M{' L'.join([*upper, *reversed(lower)])}Z"

"""The pictures of the demo's report: the loss curve, the bars of the modalities, the strips of frames."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from affectgpt.errors import ConfigError
from affectgpt.pages.plotting import (
    INK,
    PALE,
    SOFT,
    STRONG,
    data_url,
    missing,
    new_figure,
    to_png,
)

# Small figures with large letters, so that a telephone, 400 pixels wide, shows letters of 11 pixels.
_WIDTH, _SIZE = 4.6, 11.5


@dataclass(frozen=True)
class Bar:
    """One bar: a title, its F1, and the ends of the interval where they are known; fractions in [0, 1]."""

    title: str
    f1: float
    interval: tuple[float, float] | None = None


def draw_loss(history: Sequence[Mapping[str, float]]) -> bytes:
    """Draw the training loss over the steps.

    Args:
        history: One mapping a step with ``step`` and ``loss``; may be empty.

    Returns:
        A PNG file.

    Raises:
        ConfigError: If matplotlib is not installed.
    """
    figure, axes = new_figure(_WIDTH, 3.3)
    steps = np.array([row["step"] for row in history], dtype=np.float64)
    loss = np.array([row["loss"] for row in history], dtype=np.float64)
    known = np.isfinite(loss)
    steps, loss = steps[known], loss[known]
    if len(steps):
        axes.plot(steps, loss, color=PALE, linewidth=1.2, label="each step")
        axes.plot(steps, smooth(loss), color=STRONG, linewidth=2.4, label="smoothed")
        axes.set_ylim(bottom=0)
        axes.margins(x=0.01)
        axes.legend(frameon=False, labelcolor=SOFT, fontsize=_SIZE)
    else:
        axes.text(0.5, 0.5, "no steps were recorded", ha="center", va="center", color=SOFT, transform=axes.transAxes)
    axes.tick_params(labelsize=_SIZE)
    axes.set_xlabel("training step", color=SOFT, fontsize=_SIZE)
    axes.set_ylabel("loss", color=SOFT, fontsize=_SIZE)
    return to_png(figure)


def draw_modalities(bars: Sequence[Bar], chance: float) -> bytes:
    """Draw the wheel F1 of each set of modalities with its interval, and the line of chance.

    Args:
        bars: The sets from top to bottom; the first one stands out.
        chance: F1 of guessing, a fraction.

    Returns:
        A PNG file.

    Raises:
        ConfigError: If matplotlib is not installed.
    """
    figure, axes = new_figure(_WIDTH, 0.9 + 0.52 * len(bars), grid="x")
    colors = [STRONG if i == 0 else PALE for i in range(len(bars))]
    axes.barh(range(len(bars)), [100 * bar.f1 for bar in bars], 0.62, color=colors)
    for place, bar in enumerate(bars):
        low, high = bar.interval or (bar.f1, bar.f1)
        if bar.interval:
            axes.plot([100 * low, 100 * high], [place, place], color=INK, linewidth=1.6, marker="|", markersize=7)
        axes.text(100 * max(high, bar.f1) + 2.5, place, f"{100 * bar.f1:.1f}", va="center", color=INK, fontsize=_SIZE)
    axes.axvline(100 * chance, color=SOFT, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.text(100 * chance, -0.62, "chance", ha="center", va="bottom", color=SOFT, fontsize=_SIZE)
    axes.set_yticks(range(len(bars)), [bar.title for bar in bars])
    axes.tick_params(labelsize=_SIZE)
    axes.set_ylim(len(bars) - 0.5, -0.6)
    axes.set_xlim(0, 114)
    axes.set_xticks(range(0, 101, 25))
    axes.set_xlabel("wheel F1, percent", color=SOFT, fontsize=_SIZE)
    return to_png(figure)


def draw_strip(frames: NDArray[np.uint8], most: int = 4) -> str:
    """Lay a few frames of a clip side by side.

    Args:
        frames: uint8 ``[T, 3, H, W]``, RGB.
        most: How many frames are shown, spread evenly.

    Returns:
        A JPEG as a ``data:`` address.

    Raises:
        ConfigError: If ``frames`` has another shape or type, or Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise missing("Pillow", "demo") from error
    if frames.ndim != 4 or frames.shape[1] != 3 or len(frames) == 0 or frames.dtype != np.uint8:
        raise ConfigError(f"frames are {frames.dtype} {list(frames.shape)}; they must be uint8 [T, 3, H, W] with T > 0")
    chosen = frames[np.unique(np.linspace(0, len(frames) - 1, most).round().astype(int))]
    picture = Image.fromarray(np.concatenate(list(chosen.transpose(0, 2, 3, 1)), axis=1))
    if picture.height < 128:
        scale = 128 / picture.height
        picture = picture.resize((round(picture.width * scale), 128), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=88)
    return data_url(out.getvalue(), "image/jpeg")


def smooth(values: NDArray[np.float64], span: float = 10.0) -> NDArray[np.float64]:
    """Exponential moving average, corrected for its start.

    Args:
        values: ``[n]``.
        span: About how many values take part.

    Returns:
        ``[n]``; constant values stay as they are.
    """
    keep = 1.0 - 1.0 / span
    total = weight = 0.0
    out = []
    for value in values:
        total, weight = keep * total + value, keep * weight + 1.0
        out.append(total / weight)
    return np.array(out)

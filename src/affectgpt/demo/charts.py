"""The pictures of the demo's report: the loss curve, the bars of the modalities, the strips of frames."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from affectgpt.errors import ConfigError
from affectgpt.pages.plotting import (
    INK,
    PALE,
    PALE_HIT,
    SOFT,
    STRONG,
    STRONG_HIT,
    data_address,
    missing,
    new_figure,
    to_png,
)


def draw_loss(history: Sequence[Mapping[str, float]]) -> bytes:
    """Draw the training loss over the steps.

    Args:
        history: One mapping a step with ``step`` and ``loss``; may be empty.

    Returns:
        A PNG file.

    Raises:
        ConfigError: If matplotlib is not installed.
    """
    figure, axes = new_figure()
    steps = np.array([row["step"] for row in history], dtype=np.float64)
    loss = np.array([row["loss"] for row in history], dtype=np.float64)
    known = np.isfinite(loss)
    steps, loss = steps[known], loss[known]
    if len(steps):
        axes.plot(steps, loss, color=PALE, linewidth=1.2, label="each step")
        axes.plot(steps, smooth(loss), color=STRONG, linewidth=2.4, label="smoothed")
        axes.set_ylim(bottom=0)
        axes.margins(x=0.01)
        axes.legend(frameon=False, labelcolor=SOFT)
    else:
        axes.text(0.5, 0.5, "no steps were recorded", ha="center", va="center", color=SOFT, transform=axes.transAxes)
    axes.set_xlabel("training step", color=SOFT)
    axes.set_ylabel("loss", color=SOFT)
    return to_png(figure)


def draw_modalities(bars: Sequence[tuple[str, float, float]], chance: tuple[float, float]) -> bytes:
    """Draw wheel F1 and hit rate for each set of modalities, the line of chance across.

    Args:
        bars: Title, F1 and hit rate of each set, fractions in [0, 1]; the first set is the one to stand out.
        chance: F1 and hit rate of guessing.

    Returns:
        A PNG file.

    Raises:
        ConfigError: If matplotlib is not installed.
    """
    figure, axes = new_figure()
    place = np.arange(len(bars))
    series = (("wheel F1", 1, -0.2, STRONG, PALE), ("hit rate", 2, 0.2, STRONG_HIT, PALE_HIT))
    for title, column, shift, strong, pale in series:
        heights = [100 * float(bar[column]) for bar in bars]
        colors = [strong if i == 0 else pale for i in range(len(bars))]
        drawn = axes.bar(place + shift, heights, 0.36, color=colors)
        axes.bar_label(drawn, fmt="%.0f", color=INK, fontsize=9, padding=2)
        axes.bar([0], [0], color=strong, label=title)
    for level, color, title in zip(chance, (STRONG, STRONG_HIT), ("chance F1", "chance hit rate"), strict=True):
        axes.axhline(100 * level, color=color, linewidth=1.2, linestyle=(0, (4, 3)), label=title)
    axes.set_xticks(place, [bar[0].replace(" + ", " +\n") for bar in bars])
    axes.set_ylim(0, 108)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel("percent", color=SOFT)
    axes.legend(frameon=False, labelcolor=SOFT, ncols=4, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0))
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
    return data_address(out.getvalue(), "image/jpeg")


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

"""Makes empty plots in the style of the report pages, and embeds pictures in a page."""

from __future__ import annotations

import base64
import io
import os
from typing import TYPE_CHECKING, Any, Literal

from affectgpt.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, SOFT, LINE = "#1f2430", "#5d6577", "#e3e6ee"
STRONG, PALE = "#4657c9", "#b9c0ee"
STRONG_HIT, PALE_HIT = "#b8679b", "#e6c3d8"


def new_figure(
    width: float = 6.4, height: float = 3.9, *, grid: Literal["x", "y"] = "y", extra: str = "demo"
) -> tuple[Figure, Any]:
    """Make an empty plot, without a window system.

    Args:
        width: Width in inches.
        height: Height in inches.
        grid: The axis whose values have grid lines; the other axis keeps its line.
        extra: The extra that installs matplotlib, for the message.

    Returns:
        The figure and its axes.

    Raises:
        ConfigError: If matplotlib is not installed.
    """
    figure, (axes,) = new_panels(1, 1, width, height, grid=grid, extra=extra)
    return figure, axes


def new_panels(
    rows: int, columns: int, width: float, height: float, *, grid: Literal["x", "y"] = "x", extra: str = "demo"
) -> tuple[Figure, list[Any]]:
    """Several empty plots beside and below each other, in the same look.

    Args:
        rows: Plots below each other.
        columns: Plots beside each other.
        width: Of all together, in inches.
        height: Of all together, in inches.
        grid: The axis whose values have grid lines; the line of the other one stays.
        extra: The extra of the package that brings matplotlib, for the message.

    Returns:
        The figure and its axes, row by row.

    Raises:
        ConfigError: If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing("matplotlib", extra) from error
    figure = Figure(figsize=(width, height), dpi=170, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panels = [figure.add_subplot(rows, columns, number + 1) for number in range(rows * columns)]
    base = "bottom" if grid == "y" else "left"
    for axes in panels:
        axes.grid(axis=grid, color=LINE)
        axes.set_axisbelow(True)
        axes.spines[[side for side in ("top", "right", "left", "bottom") if side != base]].set_visible(False)
        axes.spines[base].set_color(LINE)
        axes.tick_params(colors=SOFT, length=0, labelsize=9.5)
    return figure, panels


def to_png(figure: Figure) -> bytes:
    """The plot as a PNG file."""
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def data_url(content: bytes, kind: str) -> str:
    """Content of a file as a ``data:`` URL."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def missing(package: str, extra: str) -> ConfigError:
    """The error for a package that a report needs."""
    return ConfigError(
        f"the report needs {package}, which is not installed; run:{os.linesep}  pip install 'affectgpt[{extra}]'"
    )

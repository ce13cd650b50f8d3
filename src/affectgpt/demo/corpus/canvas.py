"""A canvas for smooth cartoon shapes: face coordinates in, antialiased uint8 pixels out."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from affectgpt.errors import ConfigError

if TYPE_CHECKING:
    from PIL import Image

Color = tuple[int, int, int]
Points = NDArray[np.float64]

_OVERSAMPLE = 3


class Canvas:
    """One picture that is being drawn.

    Coordinates: the picture spans [-1, 1] in both directions, y downwards; ``place`` moves the shapes that are drawn
    next.

    Args:
        backdrop: The result of ``backdrop``; it is copied, not drawn on.
        size: Side of the finished picture in pixels.
    """

    def __init__(self, backdrop: Image.Image, size: int) -> None:
        from PIL import ImageDraw

        self.size = size
        self.image = backdrop.copy()
        self._draw = ImageDraw.Draw(self.image, "RGBA")
        self.place(0.0, 0.0, 0.0, 1.0)

    def place(self, x: float, y: float, angle: float, zoom: float) -> None:
        """Set the frame of the next shapes: shift, rotation in radians, scale."""
        self._shift = np.array([x, y])
        self._turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        self._zoom = zoom

    def fill(self, points: Points, color: Color, alpha: float = 1.0) -> None:
        """Fill a polygon ``[n, 2]``; ``alpha`` 1 covers, 0 is invisible."""
        self._draw.polygon(self._pixels(points), fill=(*color, round(255 * alpha)))

    def stroke(self, points: Points, color: Color, width: float) -> None:
        """Draw a line with round ends through the points ``[n, 2]``, ``width`` in face coordinates."""
        pixels = self._pixels(points)
        thickness = max(1, round(width * self._zoom * self.size * _OVERSAMPLE / 2))
        self._draw.line(pixels, fill=color, width=thickness, joint="curve")
        radius = thickness / 2
        for x, y in (pixels[:2], pixels[-2:]):
            self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)

    def pixels(self) -> NDArray[np.uint8]:
        """The finished picture, uint8 ``[size, size, 3]``."""
        return np.asarray(self.image.reduce(_OVERSAMPLE), dtype=np.uint8)

    def _pixels(self, points: Points) -> list[float]:
        """Flat list x, y, x, y, ... of pixel positions, the form that Pillow reads fastest."""
        moved = (points @ self._turn) * self._zoom + self._shift
        flat: list[float] = ((moved + 1.0) * (self.size * _OVERSAMPLE / 2)).ravel().tolist()
        return flat


def backdrop(top: Color, bottom: Color, size: int) -> Image.Image:
    """A background that runs from one colour to another.

    Args:
        top: Colour of the upper edge.
        bottom: Colour of the lower edge.
        size: Side of the finished picture in pixels.

    Raises:
        ConfigError: If Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ConfigError(
            "drawing the synthetic corpus needs Pillow, which is not installed; run: pip install 'affectgpt[demo]'"
        ) from error
    side = size * _OVERSAMPLE
    share = np.linspace(0.0, 1.0, side)[:, None, None]
    column = np.array(top) * (1 - share) + np.array(bottom) * share
    return Image.fromarray(np.broadcast_to(column, (side, side, 3)).round().astype(np.uint8))


def ellipse(x: float, y: float, rx: float, ry: float, start: float = 0.0, stop: float = 360.0, num: int = 40) -> Points:
    """Points ``[num, 2]`` on an ellipse, angles in degrees, clockwise from the right."""
    return _unit_arc(start, stop, num) * (rx, ry) + (x, y)


@lru_cache(maxsize=64)
def _unit_arc(start: float, stop: float, num: int) -> Points:
    angle = np.radians(np.linspace(start, stop, num))
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def shade(color: Color, factor: float) -> Color:
    """The same colour, darker for factors below 1 and lighter above."""
    r, g, b = (min(255, round(c * factor)) for c in color)
    return r, g, b

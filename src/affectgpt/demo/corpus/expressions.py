"""The drawn facial expressions, as data, and how they move over a clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from affectgpt.demo.corpus.states import FaceName


@dataclass(frozen=True)
class Expression:
    """The positions of the movable features of a face.

    Attributes:
        mouth_curve: Corners of the mouth up (1) or down (-1).
        mouth_width: Half width of the mouth.
        mouth_open: How far the mouth is open even in silence.
        mouth_gain: How far speech opens it further.
        brow_height: Raised (1) or lowered (-1) brows.
        brow_slant: Inner ends of the brows up (1, sorrow) or down (-1, anger).
        lid_upper: Opening of the upper lid; 1 is usual.
        lid_lower: Opening of the lower lid; a real smile lifts it.
        pupil: Size of the pupil; 1 is usual.
        blush: Colour on the cheeks, 0 to 1.
        tears: Tears on the cheeks, 0 to 1.
    """

    mouth_curve: float = 0.0
    mouth_width: float = 0.18
    mouth_open: float = 0.0
    mouth_gain: float = 0.12
    brow_height: float = 0.0
    brow_slant: float = 0.0
    lid_upper: float = 1.0
    lid_lower: float = 1.0
    pupil: float = 1.0
    blush: float = 0.1
    tears: float = 0.0

    def toward(self, other: Expression, share: float) -> Expression:
        """Mix: this expression at share 0, the other at share 1."""
        return Expression(
            **{f.name: (1 - share) * getattr(self, f.name) + share * getattr(other, f.name) for f in fields(Expression)}
        )


RELAXED = Expression()
EXPRESSIONS: Mapping[FaceName, Expression] = {
    "smile": Expression(
        mouth_curve=1.0,
        mouth_width=0.25,
        mouth_open=0.07,
        mouth_gain=0.09,
        brow_height=0.25,
        brow_slant=0.1,
        lid_upper=0.92,
        lid_lower=0.55,
        blush=0.55,
    ),
    "tear": Expression(
        mouth_curve=-0.85,
        mouth_width=0.17,
        mouth_open=0.01,
        mouth_gain=0.09,
        brow_height=0.15,
        brow_slant=1.0,
        lid_upper=0.62,
        lid_lower=0.9,
        blush=0.3,
        tears=1.0,
    ),
    "wide": Expression(
        mouth_curve=-0.1,
        mouth_width=0.115,
        mouth_open=0.13,
        mouth_gain=0.10,
        brow_height=1.0,
        brow_slant=0.15,
        lid_upper=1.45,
        lid_lower=1.3,
        pupil=0.75,
        blush=0.0,
    ),
    "frown": Expression(
        mouth_curve=-0.6,
        mouth_width=0.22,
        mouth_open=0.03,
        mouth_gain=0.09,
        brow_height=-0.85,
        brow_slant=-1.0,
        lid_upper=0.68,
        lid_lower=0.75,
        pupil=0.95,
        blush=0.15,
    ),
}


@dataclass(frozen=True)
class Pose:
    """The movements besides the expression, one value per frame, each float64 ``[T]``.

    Attributes:
        x: Shift of the head to the right.
        y: Shift of the head downwards.
        angle: Tilt of the head in radians.
        gaze: Direction of the eyes, -1 to 1.
        lids: 1 for open eyes, 0 in the middle of a blink.
        strength: Strength of the expression, 0 to 1.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    angle: NDArray[np.float64]
    gaze: NDArray[np.float64]
    lids: NDArray[np.float64]
    strength: NDArray[np.float64]


def draw_pose(time: NDArray[np.float64], rng: np.random.Generator) -> Pose:
    """Draw the movement of one clip.

    Args:
        time: Time of each frame in seconds, ``[T]``.
        rng: Source of randomness.

    Returns:
        Slow sway of the head, a blink or two, and an expression that rises and stays.
    """

    def sway(depth: float) -> NDArray[np.float64]:
        slow, fast = rng.uniform(0.25, 0.5), rng.uniform(0.6, 1.1)
        return depth * (
            np.sin(2 * np.pi * (slow * time + rng.uniform())) + 0.4 * np.sin(2 * np.pi * (fast * time + rng.uniform()))
        )

    lids = np.ones_like(time)
    for moment in rng.uniform(0.1, max(time[-1], 0.2), size=rng.integers(1, 3)):
        lids = np.minimum(lids, np.clip(np.abs(time - moment) / 0.11, 0.0, 1.0))
    rise = np.clip(time / rng.uniform(0.2, 0.45), 0.0, 1.0)
    return Pose(
        x=rng.uniform(-0.10, 0.10) + sway(0.018),
        y=rng.uniform(-0.06, 0.06) + sway(0.014),
        angle=rng.uniform(-0.07, 0.07) + sway(0.035),
        gaze=np.clip(rng.uniform(-0.4, 0.4) + sway(0.2), -1.0, 1.0),
        lids=lids,
        strength=rng.uniform(0.82, 1.0) * (0.55 + 0.45 * rise * rise * (3 - 2 * rise)),
    )


def vary(expression: Expression, rng: np.random.Generator) -> Expression:
    """A variation of an expression: each feature is changed a little."""
    return replace(
        expression,
        mouth_curve=expression.mouth_curve + rng.uniform(-0.12, 0.12),
        mouth_width=expression.mouth_width * rng.uniform(0.92, 1.08),
        brow_height=expression.brow_height + rng.uniform(-0.15, 0.15),
        brow_slant=expression.brow_slant + rng.uniform(-0.15, 0.15),
        lid_upper=expression.lid_upper * rng.uniform(0.94, 1.06),
        blush=expression.blush * rng.uniform(0.5, 1.3),
    )

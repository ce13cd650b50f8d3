"""Draws the frames of a talking face from look, expression and movement."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from affectgpt.demo.corpus.canvas import Canvas, Color, Points, backdrop, ellipse, shade
from affectgpt.demo.corpus.expressions import EXPRESSIONS, RELAXED, Expression, draw_pose, vary
from affectgpt.demo.corpus.looks import BACKDROPS, Look
from affectgpt.demo.corpus.states import FaceName

WHITE: Color = (250, 250, 250)
INK: Color = (52, 38, 38)
LIP: Color = (176, 74, 78)
MOUTH: Color = (112, 32, 42)
TONGUE: Color = (214, 100, 104)
WATER: Color = (120, 190, 240)


def draw_frames(
    face: FaceName,
    look: Look,
    openness: NDArray[np.float64],
    frame_rate_hz: float,
    size: int,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Draw one clip.

    Args:
        face: The expression.
        look: The speaker.
        openness: How far speech opens the mouth in each frame, ``[T]`` in [0, 1].
        frame_rate_hz: Frames per second.
        size: Side of a frame in pixels.
        rng: Source of randomness for background, position, size, movement and strength of the expression.

    Returns:
        Frames, uint8 ``[T, size, size, 3]``, RGB.

    Raises:
        ConfigError: If Pillow is not installed.
    """
    time = np.arange(len(openness)) / frame_rate_hz
    base = BACKDROPS[rng.integers(len(BACKDROPS))]
    ground = backdrop(shade(base, rng.uniform(1.0, 1.12)), shade(base, rng.uniform(0.72, 0.88)), size)
    target = vary(EXPRESSIONS[face], rng)
    zoom = rng.uniform(0.98, 1.14)
    pose = draw_pose(time, rng)
    tear_start = rng.uniform(0.0, 1.0, 2)
    frames = []
    for i, moment in enumerate(time):
        now = RELAXED.toward(target, float(pose.strength[i]))
        canvas = Canvas(ground, size)
        canvas.place(0.4 * pose.x[i], 0.4 * pose.y[i] + 0.04, 0.0, zoom)
        _draw_body(canvas, look)
        canvas.place(pose.x[i], pose.y[i] + 0.04, pose.angle[i], zoom)
        _draw_hair_behind(canvas, look)
        _draw_head(canvas, look, now)
        _draw_mouth(canvas, look, now, float(openness[i]))
        for side in (-1.0, 1.0):
            _draw_eye(canvas, look, now, side, float(pose.gaze[i]), float(pose.lids[i]))
        if target.tears:
            _draw_tears(canvas, look, now.tears, (moment * 0.55 + tear_start) % 1.0)
        _draw_hair_before(canvas, look)
        for side in (-1.0, 1.0):
            _draw_brow(canvas, look, now, side)
        frames.append(canvas.pixels())
    return np.stack(frames)


def _draw_body(canvas: Canvas, look: Look) -> None:
    canvas.fill(ellipse(0.0, 1.22, 0.82, 0.52), look.shirt)
    canvas.fill(np.array([[-0.19, 0.4], [0.19, 0.4], [0.21, 0.78], [0.0, 0.92], [-0.21, 0.78]]), shade(look.skin, 0.84))


def _draw_hair_behind(canvas: Canvas, look: Look) -> None:
    dark, w, h = shade(look.hair, 0.78), look.width, look.height
    if look.hair_style == "long":
        canvas.fill(ellipse(0.0, 0.02, w * 1.22, h * 1.15, 170, 370), dark)
        canvas.fill(np.array([[-w * 1.22, 0.0], [w * 1.22, 0.0], [w * 1.16, 0.92], [-w * 1.16, 0.92]]), dark)
    elif look.hair_style == "bob":
        canvas.fill(ellipse(0.0, 0.05, w * 1.25, h * 1.08, 150, 390), dark)
    elif look.hair_style == "bun":
        canvas.fill(ellipse(0.0, -h * 1.12, 0.2, 0.19), look.hair)
        canvas.stroke(ellipse(0.0, -h * 1.12, 0.1, 0.09, 200, 340), dark, 0.025)
    elif look.hair_style == "curls":
        for x, y in ellipse(0.0, -0.06, w * 1.06, h * 1.02, 165, 375, 12):
            canvas.fill(ellipse(x, y, 0.17, 0.17, num=24), dark)


def _draw_head(canvas: Canvas, look: Look, now: Expression) -> None:
    w, h, shadow = look.width, look.height, shade(look.skin, 0.85)
    for side in (-1.0, 1.0):
        canvas.fill(ellipse(side * w * 0.99, 0.04, 0.085, 0.12), look.skin)
        canvas.fill(ellipse(side * w * 1.0, 0.05, 0.045, 0.07), shadow)
    outline = ellipse(0.0, 0.0, w, h, num=64)
    below = outline[:, 1] > 0.1
    outline[below, 0] *= 1.0 - 0.16 * ((outline[below, 1] - 0.1) / h) ** 2
    canvas.fill(outline, look.skin)
    for side in (-1.0, 1.0):
        canvas.fill(ellipse(side * w * 0.62, 0.2, 0.12, 0.08), (232, 86, 92), 0.5 * max(0.0, now.blush))
        if look.freckles:
            for dx, dy in ((-0.06, 0.12), (0.0, 0.16), (0.06, 0.12), (0.03, 0.2)):
                canvas.fill(ellipse(side * w * 0.55 + dx, dy, 0.012, 0.012, num=8), shade(look.skin, 0.72))
    nose = np.array([[0.0, -0.02], [0.035, 0.1], [0.045, 0.14], [0.0, 0.16], [-0.03, 0.15]])
    canvas.stroke(nose * np.array([look.nose, 1.0]), shadow, 0.028)


def _draw_mouth(canvas: Canvas, look: Look, now: Expression, openness: float) -> None:
    x = np.linspace(-1.0, 1.0, 21)
    gap = now.mouth_open + now.mouth_gain * openness
    upper = 0.335 + 0.075 * now.mouth_curve * (1.0 - 2.0 * x**2) - 0.35 * gap * (1.0 - x**2)
    lower = upper + gap * 1.35 * np.sqrt(np.maximum(0.0, 1.0 - x**2))
    # An open round mouth is as wide at its top as at its bottom; only wide mouths keep their corners.
    across = x * now.mouth_width
    rim = _loop(across, upper, lower)
    lip = LIP if sum(look.skin) > 420 else shade(LIP, 0.78)
    canvas.fill(rim, MOUTH)
    if gap > 0.05:
        if now.mouth_curve > 0.3:
            canvas.fill(_loop(across * 0.93, upper, np.minimum(upper + 0.055, lower)), WHITE)
        tongue = np.maximum(lower - 0.45 * gap * (1.0 - x**2), upper)
        canvas.fill(_loop(across * 0.7, tongue, lower - 0.012), TONGUE)
    canvas.stroke(np.concatenate([rim, rim[:1]]), lip, 0.034)


def _draw_eye(canvas: Canvas, look: Look, now: Expression, side: float, gaze: float, lids: float) -> None:
    centre, y = side * look.eye_distance, -0.09
    top, low = 0.088 * now.lid_upper * lids, 0.062 * now.lid_lower * (0.25 + 0.75 * lids)
    x = np.linspace(-1.0, 1.0, 17)
    arch = np.sqrt(1.0 - x**2)
    across = centre + 0.112 * x
    canvas.fill(_loop(across, y - top * arch, y + low * arch), WHITE)
    for radius, color in ((0.066, look.iris), (0.036 * now.pupil, (20, 16, 18))):
        circle = ellipse(centre + 0.03 * gaze, y + 0.004, radius, radius, num=28)
        room = np.sqrt(np.maximum(0.0, 1.0 - ((circle[:, 0] - centre) / 0.112) ** 2))
        circle[:, 1] = np.clip(circle[:, 1], y - top * room, y + low * room)
        canvas.fill(circle, color)
    if lids > 0.6:
        canvas.fill(ellipse(centre + 0.03 * gaze + 0.022, y - min(0.026, 0.5 * top), 0.016, 0.016, num=12), WHITE)
    canvas.stroke(np.stack([across, y - top * arch], axis=1), INK, 0.03)
    canvas.stroke(np.stack([across, y + low * arch], axis=1), shade(look.skin, 0.66), 0.012)
    if look.glasses:
        canvas.stroke(ellipse(centre, y, 0.165, 0.15), (60, 60, 70), 0.018)
        canvas.stroke(np.array([[side * 0.05, y], [centre - side * 0.165, y]]), (60, 60, 70), 0.018)


def _draw_brow(canvas: Canvas, look: Look, now: Expression, side: float) -> None:
    x = np.linspace(-1.0, 1.0, 9)  # -1 is the inner end
    y = -0.275 - 0.075 * now.brow_height - 0.02 * (1.0 - x**2) + 0.055 * now.brow_slant * x
    centre = look.eye_distance * 1.04 - 0.015 * max(0.0, -now.brow_slant)
    dark = shade(look.hair, 0.8) if sum(look.hair) < 480 else shade(look.hair, 0.7)
    canvas.stroke(np.stack([side * (centre + 0.125 * x), y], axis=1), dark, look.brow_width)


def _draw_tears(canvas: Canvas, look: Look, amount: float, progress: NDArray[np.float64]) -> None:
    for side, share in zip((-1.0, 1.0), progress, strict=True):
        x = side * look.eye_distance * 1.08
        canvas.stroke(ellipse(side * look.eye_distance, -0.075, 0.1, 0.062, 20, 160, 12), WATER, 0.03)
        end = 0.02 + 0.4 * float(share)
        canvas.stroke(np.array([[x, 0.0], [x + 0.015 * side, end]]), shade(WATER, 1.15), 0.022 * amount)
        size = 0.046 * amount
        drop = ellipse(x + 0.015 * side, end, size, size, -30, 210, 20)
        tip = np.array([[x + 0.015 * side, end - 2.6 * size]])
        canvas.fill(np.concatenate([drop, tip]), WATER)
        canvas.fill(ellipse(x + 0.015 * side - 0.014, end + 0.004, 0.012, 0.016, num=10), WHITE, 0.9)


def _draw_hair_before(canvas: Canvas, look: Look) -> None:
    w, h = look.width, look.height
    if look.hair_style == "curls":
        for x, y in ellipse(0.0, 0.0, w * 0.92, h * 0.93, 200, 340, 9):
            canvas.fill(ellipse(x, y, 0.15, 0.13, num=24), look.hair)
        return
    grown = 1.02 if look.hair_style == "buzz" else 1.09
    crown = ellipse(0.0, 0.0, w * grown, h * grown, 188, 352, 36)
    x = np.linspace(1.0, -1.0, 25)
    line = {"short": 0.62, "long": 0.58, "bob": 0.50, "bun": 0.66, "buzz": 0.70}[look.hair_style]
    dip = 0.30 if look.hair_style == "bob" else 0.95
    fringe = -h * (line + 0.10 * np.cos(2.2 * (x - look.parting))) * (1.0 - dip * np.abs(x) ** 5)
    canvas.fill(np.concatenate([crown, np.stack([x * w * 0.98, fringe], axis=1)]), look.hair)
    if look.hair_style != "buzz":
        shine = ellipse(0.0, 0.0, w * 0.86, h * 0.9, 230, 268, 10)
        canvas.stroke(shine, shade(look.hair, 1.35), 0.03)


def _loop(x: NDArray[np.float64], upper: NDArray[np.float64], lower: NDArray[np.float64]) -> Points:
    """A closed outline ``[2 n, 2]`` between an upper and a lower edge."""
    return np.concatenate([np.stack([x, upper], axis=1), np.stack([x, lower], axis=1)[::-1]])

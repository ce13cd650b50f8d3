"""What is seen of a face, as numbers and as plain sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectgpt.annotate.describe.expression_net import EXPRESSIONS, ExpressionNet
from affectgpt.annotate.describe.face_mesh import MEASURES, FaceMesh
from affectgpt.media.faces.base import FaceDetector
from affectgpt.media.faces.crop import crop_faces
from affectgpt.media.faces.track import follow_main_face

_CROP_MARGIN = 0.2
_SECOND_EXPRESSION = 0.5
"""A second expression is named where it has at least this share of the first one's probability."""
_SURE, _UNSURE = 0.6, 0.35

# Where a measure is called large or small. Rest values of an adult face lie between: they were read off talking faces
# with these very networks, so they are rough, and the numbers stand beside the words.
_WORDS: Mapping[str, tuple[float, str, float, str]] = {
    "mouth_opening": (0.006, "the mouth is closed", 0.030, "the mouth is open"),
    "corner_lift": (-0.008, "the corners of the mouth are drawn down", 0.012, "the corners of the mouth are raised"),
    "brow_raise": (0.105, "the brows are drawn down", 0.150, "the brows are raised"),
    "eye_opening": (0.24, "the eyes are narrowed or lowered", 0.42, "the eyes are wide open"),
}


def see_face(
    frames: NDArray[np.uint8],
    times: Sequence[float],
    detector: FaceDetector,
    mesh: FaceMesh | None,
    expression: ExpressionNet | None,
) -> dict[str, Any]:
    """Measure the main face of a clip.

    Args:
        frames: uint8 RGB ``[T, H, W, 3]``, upright, at the clip's own size.
        times: When each frame is shown, in seconds.
        detector: Finds the faces.
        mesh: Measures mouth, brows and eyes, or ``None``.
        expression: Reads an expression, or ``None``.

    Returns:
        Plain JSON: ``coverage`` (share of frames with the face), ``faces`` (most faces in a frame), ``height`` (of the
        face as a share of the frame's), ``movement`` (face widths a second), the measures with ``_mean`` and
        ``_change`` (mean change a second), and ``expression`` (name to probability).
    """
    faces = detector.detect(frames)
    boxes, found = follow_main_face(faces)
    numbers: dict[str, Any] = {
        "frames": len(frames),
        "coverage": round(float(found.mean()), 3),
        "faces": max(len(one) for one in faces),
    }
    if not found.any():
        return numbers
    heights = (boxes[:, 3] - boxes[:, 1]) / frames.shape[1]
    numbers["height"] = _round(np.nanmean(heights))
    numbers["movement"] = _round(_movement(boxes, times))
    if mesh is not None:
        measures = mesh.measure(frames, boxes)
        for name, values in zip(MEASURES, measures.T, strict=True):
            numbers[f"{name}_mean"] = _round(np.nanmean(values), 4)
            numbers[f"{name}_change"] = _round(_change(values, times), 4)
    if expression is not None:
        likely = expression.read(crop_faces(frames, detector, margin=_CROP_MARGIN).kept)
        numbers["expression"] = {name: _round(p) for name, p in zip(EXPRESSIONS, likely, strict=True)}
    return numbers


def say_face(numbers: Mapping[str, Any]) -> str:
    """The numbers in plain sentences.

    Examples:
        >>> say_face({"frames": 8, "coverage": 1.0, "faces": 1, "height": 0.4, "movement": 0.05,
        ...           "expression": {"sad": 0.52, "neutral": 0.3, "happy": 0.05}})
        'One face is seen close up. The head is still. The expression looks sad (0.52) or neutral (0.30).'
    """
    if not numbers.get("coverage"):
        return "No face is seen."
    said = [_framing(numbers)]
    movement = numbers.get("movement")
    if movement is not None:
        said.append(_movement_words(movement))
    words = []
    for name, (low, small, high, large) in _WORDS.items():
        value = numbers.get(f"{name}_mean")
        if value is not None and (value < low or value > high):
            words.append(f"{small if value < low else large} ({value:.3f})")
    if words:
        said.append(_sentence(words))
    expression = _expression_words(numbers.get("expression") or {})
    return " ".join([*said, *([expression] if expression else [])])


def _framing(numbers: Mapping[str, Any]) -> str:
    people = "One face is seen" if numbers["faces"] == 1 else f"The main of {numbers['faces']} faces is seen"
    height = numbers.get("height", 0.0)
    close = " close up" if height > 0.35 else " from afar" if height < 0.12 else ""
    part = "" if numbers["coverage"] > 0.9 else f" in {100 * numbers['coverage']:.0f} % of the frames"
    return f"{people}{close}{part}."


def _movement_words(movement: float) -> str:
    if movement < 0.12:
        return "The head is still."
    return "The head moves a little." if movement < 0.45 else "The head moves a lot."


def _expression_words(likely: Mapping[str, float]) -> str:
    if not likely:
        return ""
    (first, p), (second, q) = sorted(likely.items(), key=lambda item: -item[1])[:2]
    verb = "looks clearly" if p > _SURE else "looks" if p > _UNSURE else "is hard to tell, perhaps"
    other = f" or {second} ({q:.2f})" if q > _SECOND_EXPRESSION * p else ""
    return f"The expression {verb} {first} ({p:.2f}){other}."


def _sentence(words: Sequence[str]) -> str:
    joined = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    return f"{joined[0].upper()}{joined[1:]}."


def _movement(boxes: NDArray[np.float32], times: Sequence[float]) -> float | None:
    """Face widths that the face's centre moves in a second, mean over neighbouring frames that show it."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    widths = np.maximum(boxes[:, 2] - boxes[:, 0], 1.0)
    steps = np.linalg.norm(np.diff(centres, axis=0), axis=1) / widths[:-1] if len(boxes) > 1 else np.array([])
    return _per_second(steps, times)


def _change(values: NDArray[np.float32], times: Sequence[float]) -> float | None:
    return _per_second(np.abs(np.diff(values)), times)


def _per_second(steps: NDArray[Any], times: Sequence[float]) -> float | None:
    seconds = np.maximum(np.diff(np.asarray(times, np.float64)), 1e-3)
    rates = steps / seconds[: len(steps)]
    return float(np.nanmean(rates)) if len(rates) and not np.isnan(rates).all() else None


def _round(value: Any, digits: int = 3) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), digits)

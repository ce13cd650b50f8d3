"""Follows the main face of a clip across its frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from affectgpt.media.faces.base import Faces

MAX_SHIFT = 1.0
"""Between two sampled frames a face moves at most this far, in sides of its box; else it is another face or a cut."""
MAX_GROWTH = 2.0
"""Between two sampled frames a face grows or shrinks by at most this factor."""
MAX_GAP = 2
"""A face that is lost for at most this many frames is searched for where it was, and its box is interpolated."""


@dataclass
class _Track:
    """One face over time; frame number to its box and score."""

    boxes: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    weight: float = 0.0
    """Sum of score times side over its frames: the longest and largest wins."""

    def add(self, frame: int, box: NDArray[np.float32], score: float) -> None:
        self.boxes[frame] = box
        self.weight += score * float(np.sqrt(np.prod(box[2:] - box[:2])))

    def distance(self, frame: int, box: NDArray[np.float32]) -> float:
        """How much this box differs from the last one; infinity if it cannot be the same face."""
        last_frame = max(self.boxes)
        last = self.boxes[last_frame]
        if frame - last_frame > MAX_GAP + 1:
            return float("inf")
        sides = np.sqrt([np.prod(last[2:] - last[:2]), np.prod(box[2:] - box[:2])])
        shift = float(np.linalg.norm((box[:2] + box[2:] - last[:2] - last[2:]) / 2) / max(sides.mean(), 1e-6))
        growth = float(max(sides) / max(min(sides), 1e-6))
        return shift + np.log(growth) if shift <= MAX_SHIFT and growth <= MAX_GROWTH else float("inf")


def follow_main_face(frames: Sequence[Faces]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Track every face, and choose the one that is largest for longest.

    Faces of neighbouring frames are joined, nearest first, if centre and size agree. The main face has the largest sum
    of score times side. If it is lost for one or two frames without any other face (it turned away, or the picture is
    blurred), its box is interpolated; a frame that shows somebody else has no box.

    Args:
        frames: The faces of each frame, in order of time.

    Returns:
        Boxes, float32 ``[T, 4]``, NaN if there is none; and found, bool ``[T]``: ``True`` where the detector found the
        main face, ``False`` where its box was interpolated or is missing.
    """
    tracks: list[_Track] = []
    for number, faces in enumerate(frames):
        pairs = sorted(
            (track.distance(number, box), t, b) for t, track in enumerate(tracks) for b, box in enumerate(faces.boxes)
        )
        old, new = set[int](), set(range(len(faces)))
        for distance, t, b in pairs:
            if np.isfinite(distance) and t not in old and b in new:
                tracks[t].add(number, faces.boxes[b], float(faces.scores[b]))
                old.add(t)
                new.remove(b)
        for b in sorted(new):
            tracks.append(_Track())
            tracks[-1].add(number, faces.boxes[b], float(faces.scores[b]))

    boxes = np.full((len(frames), 4), np.nan, np.float32)
    found = np.zeros(len(frames), bool)
    if not tracks:
        return boxes, found
    main = max(tracks, key=lambda track: track.weight)  # the first one if several are equal
    for number, box in main.boxes.items():
        boxes[number], found[number] = box, True
    numbers = sorted(main.boxes)
    for left, right in pairwise(numbers):
        gap = range(left + 1, right)
        if not any(len(frames[number]) for number in gap):
            for number in gap:
                share = (number - left) / (right - left)
                boxes[number] = (1 - share) * boxes[left] + share * boxes[right]
    return boxes, found

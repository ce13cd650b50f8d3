"""Follows the people of a film by their faces: one track is one person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectgpt.media.faces.base import Faces
from affectgpt.media.faces.track import MAX_GROWTH, MAX_SHIFT

LOST_SECONDS = 1.5
"""A face that is not seen for longer than this begins a new track when it comes back."""
CUT_DIFFERENCE = 28.0
"""Mean difference of grey levels, in thumbnails of two neighbouring pictures, from which on there is a cut."""
_THUMBNAIL = (18, 32)


@dataclass(frozen=True)
class Sighting:
    """A face in one picture.

    Attributes:
        seconds: When.
        person: Number of the person, from 1.
        box: float32 ``[4]``: left, top, right, bottom in pixels of the picture.
        score: Confidence of the detector.
    """

    seconds: float
    person: int
    box: NDArray[np.float32]
    score: float


@dataclass(frozen=True)
class _Past:
    """How it stood after a picture."""

    seconds: float
    count: int
    open: dict[int, tuple[float, NDArray[np.float32]]]
    thumbnail: NDArray[np.float32] | None


@dataclass
class People:
    """The tracks that are open, and how many people were seen.

    After a cut every track ends, because a face in the same place may be another one; so a person who is seen in three
    shots is three numbers. Nothing here recognises faces.

    Attributes:
        count: People so far.
    """

    count: int = 0
    _open: dict[int, tuple[float, NDArray[np.float32]]] = field(default_factory=dict)
    _thumbnail: NDArray[np.float32] | None = None
    _past: list[_Past] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._begun = (self.count, dict(self._open), self._thumbnail)

    def look(self, frames: NDArray[np.uint8], times: Sequence[float], faces: Sequence[Faces]) -> list[Sighting]:
        """Follow everybody through the next pictures.

        Args:
            frames: uint8 RGB ``[T, H, W, 3]``, to find cuts.
            times: When each is shown.
            faces: The faces in each.
        """
        seen: list[Sighting] = []
        for frame, seconds, found in zip(frames, times, faces, strict=True):
            if self._is_cut(frame):
                self._open.clear()
            self._open = {number: last for number, last in self._open.items() if seconds - last[0] <= LOST_SECONDS}
            pairs = sorted(
                (distance, number, face)
                for number, (_, box) in self._open.items()
                for face in range(len(found))
                if np.isfinite(distance := _distance(box, found.boxes[face]))
            )
            numbers: dict[int, int] = {}
            for _, number, face in pairs:
                if face not in numbers and number not in numbers.values():
                    numbers[face] = number
            for face in range(len(found)):
                if face not in numbers:
                    self.count += 1
                    numbers[face] = self.count
                self._open[numbers[face]] = (seconds, found.boxes[face])
                seen.append(Sighting(seconds, numbers[face], found.boxes[face], float(found.scores[face])))
            self._past.append(_Past(seconds, self.count, dict(self._open), self._thumbnail))
        return seen

    def to_json(self, seconds: float) -> dict[str, Any]:
        """What a later run needs to go on from a time on; what was kept for earlier times is forgotten."""
        before = [number for number, past in enumerate(self._past) if past.seconds < seconds]
        self._past = self._past[before[-1] :] if before else self._past
        past = self._past[0] if before else _Past(float("-inf"), *self._begun)
        last = {str(number): [at, *map(float, box)] for number, (at, box) in past.open.items()}
        thumbnail = None if past.thumbnail is None else past.thumbnail.tolist()
        return {"count": past.count, "open": last, "thumbnail": thumbnail}

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> People:
        """Go on from ``to_json``."""
        tracks = {int(number): (row[0], np.array(row[1:5], np.float32)) for number, row in saved["open"].items()}
        thumbnail = saved["thumbnail"]
        return cls(int(saved["count"]), tracks, None if thumbnail is None else np.array(thumbnail, np.float32))

    def _is_cut(self, frame: NDArray[np.uint8]) -> bool:
        height, width = frame.shape[:2]
        rows = np.linspace(0, height - 1, _THUMBNAIL[0]).astype(int)
        columns = np.linspace(0, width - 1, _THUMBNAIL[1]).astype(int)
        thumbnail = frame[rows][:, columns].mean(-1).astype(np.float32)
        before, self._thumbnail = self._thumbnail, thumbnail
        return before is not None and float(np.abs(thumbnail - before).mean()) >= CUT_DIFFERENCE


def _distance(last: NDArray[np.float32], box: NDArray[np.float32]) -> float:
    """How much two boxes differ, in sides of the face; infinity if they cannot be the same face."""
    sides = np.sqrt([max(1e-6, float(np.prod(one[2:] - one[:2]))) for one in (last, box)])
    shift = float(np.linalg.norm((box[:2] + box[2:] - last[:2] - last[2:]) / 2) / sides.mean())
    growth = float(sides.max() / sides.min())
    return shift + float(np.log(growth)) if shift <= MAX_SHIFT and growth <= MAX_GROWTH else float("inf")

"""Small pictures of a whole film, for the strip above its timeline: a job for ``affectgpt.media.isolation``."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from affectgpt.media.decode.container import opened, video_stream

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StripRequest:
    """A film of which small pictures are wanted.

    Attributes:
        path: The film.
        seconds: Its length.
        count: Number of pictures.
    """

    path: Path
    seconds: float
    count: int = 12


def film_strip(wanted: StripRequest) -> list[NDArray[np.uint8]]:
    """Small pictures from the middle of equal parts, uint8 RGB ``[H, W, 3]``; none for a sound."""
    film, seconds, count = wanted.path, wanted.seconds, wanted.count
    found: list[NDArray[np.uint8]] = []
    with opened(film, str(film)) as container:
        stream = video_stream(container)
        if stream is None:
            return []
        for number in range(count):
            at = (number + 0.5) / count * seconds
            try:
                container.seek(int(at * av.time_base), backward=True)
                frame = _shown_at(container, stream, at)
            except av.FFmpegError:
                frame = None
            if frame is not None:
                width = 160
                height = max(2, round(frame.height * width / frame.width / 2) * 2)
                small = frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
                found.append(np.rot90(small, round(frame.rotation / 90) % 4))
    return found


def _shown_at(container: Any, stream: Any, seconds: float) -> Any:
    shown = None
    for frame in container.decode(stream):
        if frame.pts is not None and float(frame.pts * frame.time_base) > seconds and shown is not None:
            break
        shown = frame
    return shown


def without_strip(wanted: StripRequest, how: str) -> list[NDArray[np.uint8]]:
    """No pictures, of a film that crashes the process that decodes them."""
    log.warning("the timeline has no film strip: %s crashes the process that decodes its pictures (%s)",
                wanted.path.name, how)  # fmt: skip
    return []

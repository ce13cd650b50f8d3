"""The settings of the page: its limits, and how answers are asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from affectgpt.errors import ConfigError
from affectgpt.watch.sureness import Asking

MAX_WORDS = 8000
"""Characters of a subtitle or a question."""


@dataclass(frozen=True)
class PageSettings:
    """How the page works.

    Attributes:
        max_upload_bytes: Largest file that is taken.
        max_held_bytes: Most bytes of all uploads together that are kept on disk.
        max_clip_seconds: Longest clip that is answered as one; longer ones are for the tab of films.
        max_film_seconds: Longest film.
        max_waiting: Most requests under way, those that wait included.
        timeout_seconds: Longest time for the answer about a clip.
        keep_seconds: How long uploads are kept after their visitor closed the page, so that a connection may break.
        max_batch: Most clips that a model answers at a time.
        decoders: Processes that decode media, for each way of decoding.
        face_detector: What finds faces; ``None`` looks for none.
        asking: How answers are written, and how many are drawn to see whether they agree.
        unsure_below: Answers with a confidence below this are shown as unsure; ``None`` marks none.
        annotations: Log of what people said of answers; ``None`` leaves out the tab for it.

    Raises:
        ConfigError: If a value is out of its range.
    """

    max_upload_bytes: int = 200 * 2**20
    max_held_bytes: int = 4 * 2**30
    max_clip_seconds: float = 120.0
    max_film_seconds: float = 3 * 3600.0
    max_waiting: int = 32
    timeout_seconds: float = 300.0
    keep_seconds: float = 20.0
    max_batch: int = 8
    decoders: int = 1
    face_detector: str | None = "centerface"
    asking: Asking = field(default_factory=Asking)
    unsure_below: float | None = None
    annotations: Path | None = None

    def __post_init__(self) -> None:
        for name in ("max_upload_bytes", "max_held_bytes", "max_waiting", "max_batch", "decoders"):
            if getattr(self, name) < 1:
                raise ConfigError(f"page: {name} is {getattr(self, name)}, but must be at least 1")
        for name in ("max_clip_seconds", "max_film_seconds", "timeout_seconds", "keep_seconds"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"page: {name} is {value}, but must be a number above 0")
        if self.unsure_below is not None and not 0 <= self.unsure_below <= 1:
            raise ConfigError(f"page: unsure_below is {self.unsure_below}, but must be in [0, 1]")

"""What was read of a film and is not answered yet: pictures, sound, and who is to be seen when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from affectgpt.media.clip import assemble_clip
from affectgpt.media.decode.decoder import Decoded
from affectgpt.media.decode.timeline import floor_indices
from affectgpt.media.faces.crop import cut_squares
from affectgpt.media.material import Material
from affectgpt.media.pictures.scale import build_scaler
from affectgpt.media.profile import MediaProfile
from affectgpt.media.sound.resample import resample
from affectgpt.media.speech.base import SAMPLE_RATE_HZ
from affectgpt.types import Clip
from affectgpt.watch.film import Chunk
from affectgpt.watch.person_tracks import Sighting
from affectgpt.watch.stretches import Stretch

LEAST_SHARE = 0.3
"""A person counts in a stretch if seen in at least this share of the pictures in which faces were looked for."""


class Scene:
    """Pictures and sound from a time on; the past is forgotten as soon as it is answered.

    Args:
        start_seconds: Where it begins.
    """

    def __init__(self, start_seconds: float = 0.0) -> None:
        self.start_seconds = self.end_seconds = start_seconds
        self.times: NDArray[np.float64] = np.empty(0)
        self.frames: NDArray[np.uint8] = np.empty((0, 0, 0, 3), np.uint8)
        self.waveform = torch.empty(0)
        self.sightings: list[Sighting] = []
        self.looked: list[float] = []

    def add(self, chunk: Chunk, sightings: Sequence[Sighting], looked: Sequence[float]) -> None:
        """Add what was read next.

        Args:
            chunk: Pictures and sound.
            sightings: The faces in them.
            looked: Times of the pictures in which faces were looked for.
        """
        self.end_seconds = chunk.end_seconds
        self.times = np.concatenate([self.times, chunk.times])
        if len(chunk.frames):
            self.frames = np.concatenate([self.frames, chunk.frames]) if len(self.frames) else chunk.frames
        self.waveform = torch.cat([self.waveform, torch.from_numpy(chunk.waveform)])
        self.sightings += sightings
        self.looked += looked

    def forget(self, seconds: float) -> None:
        """Drop everything before a time."""
        kept = self.times >= seconds
        self.times, self.frames = self.times[kept], self.frames[kept].copy()
        skipped = min(len(self.waveform), max(0, round((seconds - self.start_seconds) * SAMPLE_RATE_HZ)))
        self.waveform = self.waveform[skipped:].clone()
        self.sightings = [one for one in self.sightings if one.seconds >= seconds]
        self.looked = [one for one in self.looked if one >= seconds]
        self.start_seconds = max(self.start_seconds, seconds)

    def sound(self, start: float, end: float) -> Tensor:
        """The waveform between two times, float32 ``[N]``."""
        first = max(0, round((start - self.start_seconds) * SAMPLE_RATE_HZ))
        return self.waveform[first : max(first, round((end - self.start_seconds) * SAMPLE_RATE_HZ))]

    def pictures(self, stretch: Stretch) -> NDArray[np.int64]:
        """Numbers of the pictures that are shown during a stretch; at least one, if there is any before its end."""
        found = np.flatnonzero((self.times >= stretch.start_seconds) & (self.times < stretch.end_seconds))
        if len(found) or not len(self.times) or self.times[0] >= stretch.end_seconds:
            return found
        return np.array([int(np.searchsorted(self.times, stretch.start_seconds, "right")) - 1]).clip(0)

    def people(self, stretch: Stretch) -> dict[int, list[Sighting]]:
        """Who is seen during a stretch for long enough, the largest face first."""
        looks = sum(stretch.start_seconds <= seconds < stretch.end_seconds for seconds in self.looked)
        seen = defaultdict(list)
        for one in self.sightings:
            if stretch.start_seconds <= one.seconds < stretch.end_seconds:
                seen[one.person].append(one)
        enough = {person: found for person, found in seen.items() if len(found) >= max(1, LEAST_SHARE * looks)}
        return dict(sorted(enough.items(), key=lambda item: (-sum(_area(one) for one in item[1]), item[0])))

    def boxes(self, numbers: NDArray[np.int64], found: Sequence[Sighting]) -> NDArray[np.float32]:
        """The box of a person in some pictures, interpolated between those in which faces were looked for."""
        at = np.array([one.seconds for one in found])
        sides = np.stack([one.box for one in found])
        return np.stack([np.interp(self.times[numbers], at, sides[:, side]) for side in range(4)], 1).astype(np.float32)

    def clip(
        self,
        stretch: Stretch,
        found: Sequence[Sighting],
        profile: MediaProfile,
        *,
        key: str,
        words: str | None,
        is_heard: bool = True,
    ) -> tuple[Clip, dict[str, str]]:
        """The clip that a model is shown of a stretch and one person.

        Args:
            stretch: The stretch.
            found: Where the person is seen; empty for nobody.
            profile: What the model reads.
            key: Name of the clip.
            words: What the person says.
            is_heard: Whether the sound is shown; not where another person speaks.

        Returns:
            The clip, and what it lacks.

        Raises:
            DataError: If the model reads nothing of what there is.
        """
        numbers = self.pictures(stretch)
        seen = heard = None
        if len(numbers):
            chosen = numbers[_chosen(len(numbers), profile)]
            scale = build_scaler(profile)
            frames = torch.from_numpy(np.stack([scale.array(self.frames[number]) for number in chosen]))
            seen = Decoded(frames, None, stretch.seconds)
        sound = self.sound(stretch.start_seconds, stretch.end_seconds)
        if len(sound) and is_heard:
            sound = resample(sound[None], SAMPLE_RATE_HZ, profile.sample_rate_hz)[0]
            heard = Decoded(None, sound, stretch.seconds)
        elif not is_heard:
            heard = Decoded(None, None, stretch.seconds, missing={"audio": "another person speaks"})
        faces: NDArray[np.uint8] | str = "no face is to be seen"
        if found:
            boxes = self.boxes(numbers, found)
            faces = cut_squares(self.frames[numbers], boxes)
        return assemble_clip(Material(key, profile, seen, heard, faces), subtitle=words)


def _chosen(count: int, profile: MediaProfile) -> list[int]:
    """Pictures in the middle of equal intervals, or as the authors' code chooses them."""
    wanted = profile.num_frames
    if profile.visual_policy == "official":
        return list(floor_indices(count, wanted))
    return [(2 * number + 1) * count // (2 * wanted) for number in range(wanted)]


def _area(one: Sighting) -> float:
    return float(np.prod(one.box[2:] - one.box[:2]))

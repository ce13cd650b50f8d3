"""The source ``audio``: windows of the waveform."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from affectgpt.media.material import Material, SourceFile
from affectgpt.media.profile import AUDIO_FIELDS, MediaProfile
from affectgpt.media.sound.segments import finish_windows, segment_waveform
from affectgpt.sources.base import Source
from affectgpt.types import Modality


@dataclass(frozen=True)
class AudioSource(Source):
    """Windows of the waveform, float32 ``[S, N]``: S segments of N mono samples.

    Attributes:
        profile: Rate, number and length of the windows.
    """

    profile: MediaProfile

    modality = Modality.AUDIO
    track = Modality.AUDIO

    @property
    def step_shape(self) -> tuple[int, ...]:  # type: ignore[override]  # it follows from the profile
        """Samples of a window."""
        return (self.profile.segment_samples,)

    def prepare(self, material: Material, file: SourceFile | None) -> Tensor | str:
        """Cut the waveform into windows; see ``Source.prepare``."""
        heard = material.heard
        if heard is not None and heard.windows is not None:
            return finish_windows(heard.windows, material.profile)
        if heard is None or heard.waveform is None:
            return heard.missing["audio"] if heard else "no sound was decoded"
        segments, keep = segment_waveform(heard.waveform, material.profile)
        return segments if bool(keep.all()) else segments[keep]  # a copy is 1 MB

    def expected(self) -> str:
        """Type and shape, for messages."""
        return "float [segments, samples]"

    def fits(self, steps: Tensor) -> bool:
        """Whether it is sound: segments of any length, since batches may be made without a profile."""
        return steps.ndim == 2 and steps.is_floating_point()

    def specimen(self) -> Tensor:
        """Two segments of different loudness, which shows whether they are normalised separately or together."""
        sample = torch.arange(self.profile.segment_samples)
        waves = [(sample * step % 2000 - 1000) / peak for step, peak in ((37, 4000), (53, 8000))]
        return torch.stack(waves)[None].float()

    def settings(self) -> dict[str, Any]:
        """The fields of the profile that matter for sound."""
        return {name: value for name, value in self.profile.to_json().items() if name in AUDIO_FIELDS}

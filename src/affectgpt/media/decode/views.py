"""What a caller needs from a file: one decoding serves several views."""

from __future__ import annotations

from dataclasses import dataclass

from affectgpt.media.limits import MAX_WHOLE_SAMPLES
from affectgpt.media.profile import MediaProfile

MAX_KEPT_SAMPLES = 1800 * 16_000
"""Most samples of a waveform that are kept if its windows are enough: half an hour at 16 kHz."""


@dataclass(frozen=True)
class View:
    """Settings of frames and sound that one caller needs from a file.

    Attributes:
        profile: Number and size of the frames, sample rate, and which modalities.
        windows_do: Whether the profile's windows are enough if the sound has more than ``MAX_KEPT_SAMPLES``. A sound
            that is needed whole is refused above ``MAX_WHOLE_SAMPLES``.
        every_frame: Whether to take every frame of a video, instead of ``profile.num_frames``.
    """

    profile: MediaProfile
    windows_do: bool = False
    every_frame: bool = False

    @property
    def most_samples(self) -> int:
        """Most samples of a waveform to keep whole."""
        short_enough = self.windows_do and self.profile.segment_samples <= MAX_KEPT_SAMPLES
        return MAX_KEPT_SAMPLES if short_enough else MAX_WHOLE_SAMPLES

"""What a reader wants of a file: one decoding serves several of them."""

from __future__ import annotations

from dataclasses import dataclass

from affectgpt.media.limits import MAX_WHOLE_SAMPLES
from affectgpt.media.profile import MediaProfile

MAX_KEPT_SAMPLES = 1800 * 16_000
"""Samples of a waveform that are held where its windows are enough: half an hour at 16 kHz."""


@dataclass(frozen=True)
class View:
    """One way to look at a file and to listen to it.

    Attributes:
        profile: Number and size of the frames, sample rate, and which modalities.
        windows_do: Whether of a sound above ``MAX_KEPT_SAMPLES`` the profile's windows are enough. A sound that is
            wanted as a whole is refused above ``MAX_WHOLE_SAMPLES``.
        every_frame: Whether every frame of a video is wanted, in place of ``profile.num_frames``.
    """

    profile: MediaProfile
    windows_do: bool = False
    every_frame: bool = False

    @property
    def most_samples(self) -> int:
        """Samples of a waveform to hold as a whole."""
        short_enough = self.windows_do and self.profile.segment_samples <= MAX_KEPT_SAMPLES
        return MAX_KEPT_SAMPLES if short_enough else MAX_WHOLE_SAMPLES

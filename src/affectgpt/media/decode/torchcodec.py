"""Decodes the tracks of a clip with torchcodec, the optional backend beside PyAV."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from affectgpt.errors import ConfigError, MediaError
from affectgpt.media.decode.timeline import Timeline
from affectgpt.media.decode.views import View
from affectgpt.media.limits import MAX_WHOLE_SAMPLES
from affectgpt.media.profile import MediaProfile
from affectgpt.media.sound.collect import Collector
from affectgpt.media.sound.resample import resample
from affectgpt.types import Modality


@dataclass(frozen=True)
class Taken:
    """The result of one track, with the same methods as ``affectgpt.media.decode.tracks.Track`` after reading."""

    kind: str
    codec: str
    length_seconds: float
    array: NDArray[Any] | None

    clean_notes: tuple[str, ...] = ()

    def seconds(self, view: View) -> float:
        """Length of the track."""
        return self.length_seconds

    def result(self, view: View) -> NDArray[Any] | None:
        """The array, or ``None`` if nothing could be decoded."""
        return self.array

    def why_nothing(self, view: View) -> str:
        """Why there is no result, in words."""
        return f"nothing of its {self.codec} {self.kind} track could be decoded"

    def notes(self, view: View) -> list[str]:
        """Notes on samples that were replaced; torchcodec either decodes a whole track or fails."""
        return [*self.clean_notes]


def take_tracks(
    source: str | Path | bytes,
    name: str,
    indices: Mapping[Modality, int],
    timeline: Timeline | None,
    profile: MediaProfile,
) -> dict[Modality, Taken]:
    """Decode tracks of a file.

    Args:
        source: A file, or its content.
        name: The clip, for messages.
        indices: Modality to the index of its stream.
        timeline: The times of the video's frames; needed for a video track only.
        profile: Number and size of the frames, sample rate and audio policy.

    Returns:
        One entry for each of ``indices``.

    Raises:
        ConfigError: If torchcodec is not installed, or does not find the libraries of FFmpeg.
        MediaError: If a track cannot be decoded; unlike PyAV, torchcodec cannot skip damage.
    """
    try:
        from torchcodec.decoders import AudioDecoder, VideoDecoder
        from torchcodec.transforms import Resize
    except (ImportError, OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"the media backend 'torchcodec' cannot be used ({reason}); run pip install 'affectgpt[torchcodec]' and "
            "install FFmpeg 4 to 9 with its shared libraries, or use the backend 'pyav'"
        ) from error
    content: Any = source if isinstance(source, bytes) else str(source)
    taken: dict[Modality, Taken] = {}
    try:
        for modality, index in indices.items():
            if not profile.wants(modality):
                continue
            if modality == Modality.VISUAL and timeline is not None:
                size = (profile.frame_height, profile.frame_width)
                decoder = VideoDecoder(content, stream_index=index, transforms=[Resize(size)] if all(size) else None)
                # by number, because the time stamps of avi files depend on the version of FFmpeg
                batch = decoder.get_frames_at(timeline.numbers_at(timeline.midpoints(profile.num_frames)))
                seconds = timeline.end_seconds - timeline.start_seconds
                taken[modality] = Taken("video", str(decoder.metadata.codec), seconds, batch.data.numpy())
            else:
                rate_hz = None if profile.audio_policy == "official" else profile.sample_rate_hz
                sound = AudioDecoder(content, stream_index=index, sample_rate=rate_hz)
                samples = sound.get_all_samples()
                waveform = samples.data
                if rate_hz is None:
                    waveform = resample(waveform, samples.sample_rate, profile.sample_rate_hz)
                collector = Collector(MAX_WHOLE_SAMPLES)
                collector.add(np.ascontiguousarray(waveform.mean(0, dtype=torch.float32).numpy()))
                mono, notes = collector.waveform(), tuple(collector.notes())
                seconds = collector.num_samples / profile.sample_rate_hz
                taken[modality] = Taken("audio", str(sound.metadata.codec), seconds, mono, notes)
    except (RuntimeError, ValueError, IndexError) as error:
        reason = str(error).strip().splitlines()[0]
        raise MediaError(
            f"{name} cannot be decoded by torchcodec ({reason}); the backend 'pyav' skips damaged packets"
        ) from error
    return taken

"""Decodes mono waveforms from the packets of an audio track, in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.stream import Stream
from numpy.typing import NDArray

from affectgpt.media.decode.timeline import CUT_TOLERANCE_SECONDS
from affectgpt.media.decode.tracks import Track
from affectgpt.media.decode.views import View
from affectgpt.media.limits import MAX_CHANNELS, MAX_RATE_HZ, MAX_SOUND_SECONDS, MIN_RATE_HZ, beyond
from affectgpt.media.sound.blocks import BlockResampler
from affectgpt.media.sound.collect import USUAL_PEAK, Collector
from affectgpt.media.sound.segments import window_starts

_MARGIN_SECONDS = 0.5
"""Samples that are also resampled on each side of a window, so that its edges equal those of the whole waveform."""


class AudioTrack(Track):
    """Collects the mono waveform of each view, at the view's rate.

    Args:
        stream: The audio stream of the open container.
        views: The views that need the waveform; those with equal settings share the work.
        of_video: Whether it is a video's own track. The published code reads only sound files, which seem to have been
            extracted from the videos with FFmpeg (that of the demo clip was); so FFmpeg resamples such a track under
            either policy.
        lengths: For each view that keeps only windows, the number of samples of its waveform; see ``long_views``.
    """

    kind = "audio"

    def __init__(
        self,
        stream: Stream,
        views: Sequence[View],
        *,
        of_video: bool = False,
        lengths: Mapping[View, int] | None = None,
    ) -> None:
        super().__init__(stream)
        self._claimed_seconds = float((stream.duration or 0) * (stream.time_base or 0))
        ears: dict[tuple[object, ...], _Ear] = {}
        self._ears: dict[View, _Ear] = {}
        for view in views:
            length = (lengths or {}).get(view)
            ear = _Ear(view, of_video, length)
            hears = (
                ear.rate_hz,
                ear.resamples_whole,
                view.profile.audio_policy,
                view.most_samples,
                view.profile if length else None,
            )
            self._ears[view] = ears.setdefault(hears, ear)

    @property
    def is_endless(self) -> bool:
        """Whether reading stopped at ``MAX_SOUND_SECONDS``."""
        return any(ear.seconds > MAX_SOUND_SECONDS for ear in self._ears.values())

    def seconds(self, view: View) -> float:
        """Length of a view's waveform."""
        return self._ears[view].seconds

    def end(self) -> None:
        """Take the samples that the resamplers still hold."""
        for ear in dict.fromkeys(self._ears.values()):
            with suppress(av.FFmpegError):
                ear.flush()

    def result(self, view: View) -> NDArray[np.float32] | None:
        """The waveform of a view, float32 ``[N]``; ``None`` if nothing could be decoded or it is too long."""
        return self._ears[view].collector.waveform()

    def windows(self, view: View) -> NDArray[np.float32]:
        """The windows of a view, float32 ``[S, size]``."""
        return self._ears[view].collector.windows()

    def long_views(self) -> dict[View, int]:
        """The views whose waveform is longer than they keep, and its number of samples."""
        return {v: int(ear.seconds * ear.rate_hz) for v, ear in self._ears.items() if ear.collector.is_too_long}

    def why_nothing(self, view: View) -> str:
        """The reason for a missing result, in words."""
        if self.is_endless:
            return beyond("its sound goes on", "MAX_SOUND_SECONDS")
        collector = self._ears[view].collector
        if collector.is_too_long:
            return beyond(
                f"its sound of {self.seconds(view):.0f} s has more samples, and the whole sound is needed",
                "MAX_WHOLE_SAMPLES",
            )
        if collector.num_samples:
            return "none of its sound's samples is a finite number"
        return super().why_nothing(view)

    def notes(self, view: View) -> list[str]:
        """What went wrong, in words."""
        notes = super().notes(view)
        seconds = self.seconds(view)
        if self._claimed_seconds - seconds > CUT_TOLERANCE_SECONDS:
            notes.append(
                f"the audio track is cut: its header says {self._claimed_seconds:.1f} s, but only {seconds:.1f} s "
                "could be decoded"
            )
        return notes + self._ears[view].collector.notes()

    def _take(self, frame: AudioFrame) -> None:
        if frame.layout.nb_channels > MAX_CHANNELS or not MIN_RATE_HZ <= frame.sample_rate <= MAX_RATE_HZ:
            raise av.InvalidDataError(0, "channels or rate beyond affectgpt.media.limits")
        for ear in dict.fromkeys(self._ears.values()):
            ear.take(frame)
        self.full = self.is_endless


class _Ear:
    """Makes the waveform of one view: resamples each channel and averages them.

    FFmpeg's own down-mix is louder for some sample formats than for others.
    """

    def __init__(self, view: View, of_video: bool, length: int | None) -> None:
        profile = view.profile
        self.rate_hz = profile.sample_rate_hz
        self.resamples_whole = profile.audio_policy == "official" and not of_video
        starts = None if length is None else window_starts(length, profile)
        most_peak = USUAL_PEAK if profile.audio_policy == "official" else 1.0
        self.collector = Collector(view.most_samples, most_peak, starts, profile.segment_samples)
        size_seconds = profile.segment_seconds + _MARGIN_SECONDS
        self._wanted = [(s / self.rate_hz - _MARGIN_SECONDS, s / self.rate_hz + size_seconds) for s in starts or ()]
        self._resampler: AudioResampler | None = None
        self._blocks: BlockResampler | None = None
        self._form: tuple[object, ...] = ()
        self._seconds = 0.0

    @property
    def seconds(self) -> float:
        if self._wanted or self.collector.is_too_long:
            return self._seconds
        return self.collector.num_samples / self.rate_hz

    def take(self, frame: AudioFrame) -> None:
        start, self._seconds = self._seconds, self._seconds + frame.samples / frame.sample_rate
        if self.collector.is_too_long:  # from here on only the length is counted
            self._resampler = self._blocks = None
            return
        if self._wanted and not any(low < self._seconds and start < high for low, high in self._wanted):
            self.flush()
            return
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != self._form:  # a stream may change its channels or rate midway
            self.flush()
            self._form = form
            rate_hz = frame.sample_rate if self.resamples_whole else self.rate_hz
            # interleaved, because PyAV reads beyond the end of planes with eight or more channels
            self._resampler = AudioResampler(format="flt", layout=frame.layout, rate=rate_hz)
            self._blocks = BlockResampler(rate_hz, self.rate_hz) if self.resamples_whole else None
            if self._wanted:
                self.collector.skip_to(round(start * self.rate_hz))
        assert self._resampler is not None
        self._append(self._resampler.resample(frame))

    def flush(self) -> None:
        if self._resampler is None:
            return
        self._append(self._resampler.resample(None))
        for chunk in self._blocks.flush() if self._blocks is not None else ():
            self.collector.add(chunk)
        self._resampler, self._blocks, self._form = None, None, ()

    def _append(self, frames: list[AudioFrame]) -> None:
        for frame in frames:
            if not frame.samples:
                continue
            samples: Any = frame.to_ndarray().reshape(frame.samples, -1)
            planes = np.ascontiguousarray(samples.T)
            if self._blocks is None:
                self.collector.add(planes.mean(axis=0, dtype=np.float32))
            else:
                for chunk in self._blocks.feed(planes):
                    self.collector.add(chunk)

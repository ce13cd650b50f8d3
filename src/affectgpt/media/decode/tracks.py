"""Takes what is wanted from the packets of one track as they pass: frames at given times, or a mono waveform."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any, ClassVar

import av
import numpy as np
import torch
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from affectgpt.media.decode.packet_plan import plan_decoding
from affectgpt.media.decode.timeline import CUT_TOLERANCE_SECONDS, Timeline, floor_indices, stream_rate_hz
from affectgpt.media.pictures.scale import build_scaler
from affectgpt.media.profile import MediaProfile
from affectgpt.media.sound.resample import resample


class Track(ABC):
    """Decodes the packets of one stream, and counts those that cannot be decoded.

    Args:
        stream: A stream of the open container.
    """

    kind: ClassVar[str]

    def __init__(self, stream: Stream) -> None:
        # FFmpeg's own threads have deadlocked in the workers of a DataLoader; workers are the parallelism here
        self._decoder: Any = stream.codec_context
        self._decoder.thread_count = 1
        self._decoder.thread_type = "NONE"
        self.stream = stream
        self.index = stream.index
        self.codec: str = self._decoder.name
        self.num_packets = 0
        self.num_skipped = 0
        self.full = False

    def feed(self, packet: Packet[Any]) -> None:
        """Decode a packet, and take what is wanted from it."""
        if self.full:
            return
        self.num_packets += bool(packet.size)
        try:
            frames = packet.decode()
        except av.FFmpegError:
            self.num_skipped += 1
            return
        for frame in frames:
            self._take(frame)

    def finish(self) -> None:
        """Take what the decoder still holds, where the file ended without saying so."""
        with suppress(av.FFmpegError):
            for frame in [] if self.full else self._decoder.decode(None):
                self._take(frame)

    @property
    def is_certain(self) -> bool:
        """Whether decoding every frame would have given the same."""
        return True

    @property
    @abstractmethod
    def seconds(self) -> float:
        """Length of the track."""

    @abstractmethod
    def result(self) -> NDArray[Any] | None:
        """What was taken, or ``None`` if nothing could be decoded."""

    def notes(self) -> list[str]:
        """What went wrong, in words."""
        if not self.num_skipped:
            return []
        return [f"{self.num_skipped} of {self.num_packets} {self.kind} packets could not be decoded and were skipped"]

    @abstractmethod
    def _take(self, frame: Any) -> None:
        """Take what is wanted from a decoded frame."""


class VideoTrack(Track):
    """Keeps the frames that a profile chooses.

    These are the ones on screen at the middle of equal intervals; with the official policy, those whose number is
    ``i * n // T``. A frame holds from its place to the place of the next, in seconds or in frames.

    Args:
        stream: The video stream of the open container.
        timeline: When its frames are shown.
        num_frames: Frames to keep, T.
        profile: Gives the policy and the size.
        thorough: Whether to decode every frame, also those that are not needed.
    """

    kind = "video"

    def __init__(
        self, stream: Stream, timeline: Timeline, num_frames: int, profile: MediaProfile, thorough: bool = True
    ) -> None:
        super().__init__(stream)
        self._timeline = timeline
        self._by_number = profile.visual_policy == "official"
        self._targets: list[float] = (
            [*floor_indices(timeline.num_packets, num_frames)] if self._by_number else timeline.midpoints(num_frames)
        )
        numbers = [int(t) for t in self._targets] if self._by_number else timeline.numbers_at(self._targets)
        self._plan = None if thorough else plan_decoding(timeline.stamps, timeline.fresh_starts, numbers)
        self._is_exact = True
        self._rate_hz = stream_rate_hz(stream)
        self._scale = build_scaler(profile)
        self._pictures: list[NDArray[np.uint8]] = []
        self._waiting: VideoFrame | None = None
        self._num_seen = 0
        self._num_damaged = 0
        self._last_seconds = timeline.start_seconds

    @property
    def seconds(self) -> float:
        """Length of the video."""
        return self._timeline.end_seconds - self._timeline.start_seconds

    @property
    def is_certain(self) -> bool:
        """Whether decoding every frame would have given the same."""
        clean = self._is_exact and not self.num_skipped and not self._num_damaged
        return self._plan is None or (clean and len(self._pictures) == len(self._targets))

    def feed(self, packet: Packet[Any]) -> None:
        """Decode a packet if it is needed, and take what is wanted from it."""
        if self._plan is None or not packet.size:
            super().feed(packet)
            return
        position = self.num_packets
        if position not in self._plan.positions:
            self.num_packets += 1
            return
        # pictures that no other refers to are only decoded if they are wanted themselves
        self._decoder.skip_frame = "DEFAULT" if packet.pts in self._plan.stamps else "NONREF"
        super().feed(packet)
        if position == self._plan.last:
            self.finish()
            self.result()
            self.full = True

    def result(self) -> NDArray[np.uint8] | None:
        """The frames, uint8 ``[T, 3, H, W]``, or ``None`` if not one could be decoded."""
        if self._waiting is not None:
            self._keep_until(self._waiting, float("inf"))
        return np.stack(self._pictures) if self._pictures else None

    def notes(self) -> list[str]:
        """What went wrong, in words."""
        notes = super().notes()
        if self._num_damaged:
            notes.append(f"{self._num_damaged} of {self._num_seen} video frames are damaged")
        line = self._timeline
        if line.cut and line.claimed_seconds is not None:
            notes.append(
                f"the video is cut: {line.claimed_seconds:.1f} s by its header, {self.seconds:.1f} s in the file"
            )
        elif self._num_seen and not self.full and line.end_seconds - self._last_seconds > 1.0:
            reached = self._last_seconds - line.start_seconds
            notes.append(f"the video track could be decoded up to {reached:.1f} s of {self.seconds:.1f} s")
        return notes

    def _take(self, frame: VideoFrame) -> None:
        # frames that the decoder gives out at the end carry no time base of their own
        if frame.pts is None or self.stream.time_base is None:
            seconds = self._timeline.start_seconds + self._num_seen / self._rate_hz
        else:
            seconds = float(frame.pts * self.stream.time_base)
        if self._waiting is not None:
            number = self._plan.number(frame.pts) if self._plan and frame.pts is not None else self._num_seen
            self._keep_until(self._waiting, number if self._by_number else seconds)
        self._num_seen += 1
        self._num_damaged += frame.is_corrupt
        self._last_seconds = max(self._last_seconds, seconds)
        self._waiting = frame
        self.full = len(self._pictures) == len(self._targets)

    def _keep_until(self, frame: VideoFrame, end: float) -> None:
        """Keep ``frame`` for every target before ``end``, the place of the next frame."""
        picture = None
        while len(self._pictures) < len(self._targets) and self._targets[len(self._pictures)] < end:
            if self._plan is not None and frame.pts != self._plan.stamps[len(self._pictures)]:
                self._is_exact = False
            if picture is None:
                picture = self._scale(frame)
            if self._pictures and picture.shape != self._pictures[0].shape:
                picture = self._scale.like(picture, self._pictures[0])
            self._pictures.append(picture)


class AudioTrack(Track):
    """Collects the mono waveform at the profile's rate.

    Channels are resampled one by one and averaged; FFmpeg's own down-mix is louder for some sample formats than others.

    Args:
        stream: The audio stream of the open container.
        profile: Gives the rate and the policy.
        of_video: Whether it is a video's own track. The published code reads sound files only, which seem to be cut
            out of the videos by FFmpeg (the demo clip's is); such a track is resampled by FFmpeg under either policy.
    """

    kind = "audio"

    def __init__(self, stream: Stream, profile: MediaProfile, *, of_video: bool = False) -> None:
        super().__init__(stream)
        self._rate_hz = profile.sample_rate_hz
        self._resamples_whole = profile.audio_policy == "official" and not of_video
        self._pieces: list[NDArray[np.float32]] = []
        self._claimed_seconds = float((stream.duration or 0) * (stream.time_base or 0))
        self._resampler: AudioResampler | None = None
        self._form: tuple[object, ...] = ()
        self._chunks: list[NDArray[np.float32]] = []

    @property
    def seconds(self) -> float:
        """Length of the waveform so far."""
        return sum(len(chunk) for chunk in self._chunks) / self._rate_hz

    def result(self) -> NDArray[np.float32] | None:
        """The waveform, float32 ``[N]``, or ``None`` if not one sample could be decoded."""
        self._flush()
        return np.concatenate(self._chunks) if any(len(chunk) for chunk in self._chunks) else None

    def notes(self) -> list[str]:
        """What went wrong, in words."""
        notes = super().notes()
        if self._claimed_seconds - self.seconds > CUT_TOLERANCE_SECONDS:
            claim = f"{self._claimed_seconds:.1f} s by its header"
            notes.append(f"the audio track is cut: {claim}, {self.seconds:.1f} s decoded")
        return notes

    def _take(self, frame: AudioFrame) -> None:
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != self._form:  # a stream may change its channels or rate on the way
            self._flush()
            self._form = form
            rate_hz = frame.sample_rate if self._resamples_whole else self._rate_hz
            # interleaved: PyAV reads the planes of more than eight channels beyond their end
            self._resampler = AudioResampler(format="flt", layout=frame.layout, rate=rate_hz)
        assert self._resampler is not None
        self._append(self._resampler.resample(frame))

    def _flush(self) -> None:
        if self._resampler is None:
            return
        self._append(self._resampler.resample(None))
        if self._pieces:
            whole = resample(torch.from_numpy(np.concatenate(self._pieces, 1)), self._resampler.rate, self._rate_hz)
            self._chunks.append((whole[0] if len(whole) == 1 else whole.mean(0)).numpy())
            self._pieces = []
        self._resampler = None
        self._form = ()

    def _append(self, frames: list[AudioFrame]) -> None:
        planes = [_planes(frame) for frame in frames if frame.samples]
        if self._resamples_whole:
            self._pieces += planes
        else:
            self._chunks += [plane.mean(axis=0, dtype=np.float32) for plane in planes]


def _planes(frame: AudioFrame) -> NDArray[np.float32]:
    """The channels of an interleaved frame, float32 ``[C, N]``."""
    samples: Any = frame.to_ndarray().reshape(frame.samples, -1)
    return np.ascontiguousarray(samples.T)

"""Decodes the needed frames from the packets of a video track, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import av
import numpy as np
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from affectgpt.media.decode.packet_plan import DecodePlan, plan_decoding
from affectgpt.media.decode.timeline import Timeline, floor_indices, stream_rate_hz
from affectgpt.media.decode.tracks import Track
from affectgpt.media.decode.views import View
from affectgpt.media.limits import MAX_PIXELS
from affectgpt.media.pictures.picture_header import is_whole_gif, is_whole_jpeg
from affectgpt.media.pictures.scale import build_scaler


class VideoTrack(Track):
    """Keeps the frames that each view chooses.

    These are the ones on screen at the middle of equal intervals; with the official policy, those whose number is ``i *
    n // T``. A frame is on screen from its own time to that of the next, in seconds or in frames.

    Args:
        stream: The video stream of the open container.
        timeline: The times of its frames.
        views: The views that need frames.
        picture: Whether the file is a still picture, whose one frame every view gets.
        thorough: Whether to decode all frames, including those that are not needed.
    """

    kind = "video"

    def __init__(
        self, stream: Stream, timeline: Timeline, views: Sequence[View], *, picture: bool, thorough: bool = True
    ) -> None:
        super().__init__(stream)
        self._decoder.options = {"max_pixels": str(MAX_PIXELS)}
        self._tolerant: Any = None
        if self.codec == "mjpeg":  # otherwise broken pictures come out grey or green without an error
            self._decoder.options = {**self._decoder.options, "err_detect": "explode"}
        self._timeline = timeline
        self._eyes = {view: _Eye(view, timeline, 1 if picture else view.profile.num_frames) for view in views}
        numbers = [number for eye in self._eyes.values() for number in eye.numbers]
        self._plan = None if thorough else plan_decoding(timeline.stamps, timeline.fresh_starts, numbers)
        self._planned = frozenset(self._plan.stamps if self._plan is not None else ())
        self._rate_hz = stream_rate_hz(stream)
        self._waiting: VideoFrame | None = None
        self._num_seen = 0
        self._num_damaged = 0
        self._last_seconds = timeline.start_seconds

    def seconds(self, view: View) -> float:
        """Length of the video."""
        return self._timeline.end_seconds - self._timeline.start_seconds

    @property
    def is_certain(self) -> bool:
        """Whether decoding every frame would have given the same."""
        clean = not self.num_skipped and not self._num_damaged
        return self._plan is None or (clean and all(eye.is_exact and eye.is_full for eye in self._eyes.values()))

    def feed(self, packet: Packet[Any]) -> None:
        """Decode a packet if it is needed, and take the needed frames from it."""
        if self._plan is None or not packet.size:
            super().feed(packet)
            return
        position = self.num_packets
        if position not in self._plan.positions:
            self.num_packets += 1
            return
        # pictures that no other refers to are decoded only if a view needs them
        self._decoder.skip_frame = "DEFAULT" if packet.pts in self._planned else "NONREF"
        super().feed(packet)
        if position == self._plan.last:
            self.finish()
            self.end()
            self.full = True

    def times(self, view: View) -> tuple[float, ...]:
        """When each of a view's frames is shown, in seconds."""
        shown = self._timeline.seconds
        numbers = self._eyes[view].numbers if shown else []
        return tuple(shown[min(number, len(shown) - 1)] for number in numbers)

    def end(self) -> None:
        """Let the last frame stay on screen to the end."""
        for eye in self._eyes.values():
            if self._waiting is not None:
                eye.keep_until(self._waiting, float("inf"), self._plan)

    def result(self, view: View) -> NDArray[np.uint8] | None:
        """The frames of a view, uint8 ``[T, 3, H, W]``, or ``None`` if none could be decoded."""
        pictures = self._eyes[view].pictures
        return np.stack(pictures) if pictures else None

    def notes(self, view: View) -> list[str]:
        """What went wrong, in words."""
        notes = super().notes(view)
        if self._num_damaged:
            notes.append(f"{self._num_damaged} of {self._num_seen} video frames are damaged")
        line = self._timeline
        if line.cut and line.claimed_seconds is not None:
            notes.append(
                f"the video is cut: its header says {line.claimed_seconds:.1f} s, but the file has "
                f"{self.seconds(view):.1f} s"
            )
        elif self._num_seen and not self.full and line.end_seconds - self._last_seconds > 1.0:
            reached = self._last_seconds - line.start_seconds
            notes.append(f"the video track could be decoded up to {reached:.1f} s of {self.seconds(view):.1f} s")
        return notes

    def _decode(self, packet: Packet[Any]) -> list[Any]:
        if self.codec == "gif" and packet.size:
            shown = super()._decode(packet)
            self._num_damaged += bool(shown) and not is_whole_gif(bytes(packet))
            return shown
        if self.codec != "mjpeg" or not packet.size:
            return super()._decode(packet)
        try:
            frames = super()._decode(packet)
        except av.FFmpegError:
            if self._tolerant is None:
                self._tolerant = av.CodecContext.create("mjpeg", "r")
                self._tolerant.options = {"max_pixels": str(MAX_PIXELS)}
                self._tolerant.thread_count = 1
            frames = [*self._tolerant.decode(packet)]
            self._num_damaged += len(frames)
            return frames
        if frames and not is_whole_jpeg(bytes(packet)):
            self._num_damaged += 1
        return frames

    def _take(self, frame: VideoFrame) -> None:
        # frames that the decoder returns at the end have no time base of their own
        if frame.pts is None or self.stream.time_base is None:
            seconds = self._timeline.start_seconds + self._num_seen / self._rate_hz
        else:
            seconds = float(frame.pts * self.stream.time_base)
        if self._waiting is not None:
            number = self._plan.number(frame.pts) if self._plan and frame.pts is not None else self._num_seen
            for eye in self._eyes.values():
                eye.keep_until(self._waiting, number if eye.by_number else seconds, self._plan)
        self._num_seen += 1
        self._num_damaged += frame.is_corrupt
        self._last_seconds = max(self._last_seconds, seconds)
        self._waiting = frame
        self.full = all(eye.is_full for eye in self._eyes.values())


class _Eye:
    """Makes the frames of one view: chooses and scales them."""

    def __init__(self, view: View, timeline: Timeline, num_frames: int) -> None:
        if view.every_frame:
            num_frames = timeline.num_packets
        self.by_number = view.every_frame or view.profile.visual_policy == "official"
        self.targets: list[float] = (
            [*floor_indices(timeline.num_packets, num_frames)] if self.by_number else timeline.midpoints(num_frames)
        )
        self.numbers = [int(t) for t in self.targets] if self.by_number else timeline.numbers_at(self.targets)
        self.pictures: list[NDArray[np.uint8]] = []
        self.is_exact = True
        self._scale = build_scaler(view.profile)

    @property
    def is_full(self) -> bool:
        return len(self.pictures) == len(self.targets)

    def keep_until(self, frame: VideoFrame, end: float, plan: DecodePlan | None) -> None:
        """Keep ``frame`` for every target before ``end``, the time or the number of the next frame."""
        picture = None
        while not self.is_full and self.targets[len(self.pictures)] < end:
            if plan is not None and frame.pts != plan.order[self.numbers[len(self.pictures)]]:
                self.is_exact = False
            if picture is None:
                picture = self._scale(frame)
            if self.pictures and picture.shape != self.pictures[0].shape:
                picture = self._scale.like(picture, self.pictures[0])
            self.pictures.append(picture)

"""Converts a decoded picture to RGB, upright and at the size of the profile."""

from __future__ import annotations

from typing import Any

import av.filter
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from affectgpt.media.pictures.linear_resize import resize_linear
from affectgpt.media.profile import MediaProfile


class FrameScaler:
    """One libswscale context for all the frames of a clip.

    Scaling is bilinear over the covered area, so that smaller pictures have no aliasing; it runs in one thread.

    Args:
        profile: Gives the size; 0 keeps the clip's own.
    """

    def __init__(self, profile: MediaProfile) -> None:
        self._height = profile.frame_height
        self._width = profile.frame_width
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """Convert one frame of any pixel format.

        Args:
            frame: A frame from the decoder; its rotation flag is applied.

        Returns:
            uint8 ``[3, H, W]``.
        """
        quarter_turns = round(frame.rotation / 90) % 4
        height, width = self._height, self._width
        if quarter_turns % 2:
            height, width = width, height
        rgb = self._reformatter.reformat(frame, width=width or None, height=height or None, format="rgb24", threads=1)
        picture = np.rot90(rgb.to_ndarray(), quarter_turns)
        return np.ascontiguousarray(picture.transpose(2, 0, 1), dtype=np.uint8)

    def array(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Convert one RGB picture ``[H, W, 3]``, like a frame of a video.

        Returns:
            uint8 ``[3, H, W]``.
        """
        return self(VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24"))

    def like(self, picture: NDArray[np.uint8], model: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Scale ``[3, H, W]`` to the height and width of ``model``, for a video that changes its size midway."""
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture.transpose(1, 2, 0)), format="rgb24")
        height, width = model.shape[1:]
        scaled = self._reformatter.reformat(frame, width=width, height=height, threads=1)
        return np.ascontiguousarray(scaled.to_ndarray().transpose(2, 0, 1), dtype=np.uint8)


class OfficialScaler(FrameScaler):
    """The scaling of the published code, bit for bit: frames as decord scales them, faces as OpenCV does.

    decord runs FFmpeg's filter ``scale`` with ``flags=bilinear``, after turning the picture upright; libswscale called
    directly gives values that differ by up to 9.

    Args:
        profile: Gives the size.
    """

    def __init__(self, profile: MediaProfile) -> None:
        super().__init__(profile)
        self._graph: av.filter.Graph | None = None
        self._form: tuple[object, ...] = ()

    def __call__(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """Convert one frame; see ``FrameScaler``."""
        form = (frame.width, frame.height, frame.format.name, frame.rotation)
        if self._graph is None or form != self._form:
            self._graph, self._form = self._build(frame), form
        self._graph.push(frame)
        rgb: Any = self._graph.pull()
        return np.ascontiguousarray(rgb.to_ndarray().transpose(2, 0, 1), dtype=np.uint8)

    def array(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Convert one face crop ``[H, W, 3]`` to uint8 ``[3, H, W]``."""
        return np.ascontiguousarray(resize_linear(picture, self._height, self._width).transpose(2, 0, 1))

    def _build(self, frame: VideoFrame) -> av.filter.Graph:
        graph = av.filter.Graph()
        graph.threads = 1
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        turns = {1: ["2"], 2: ["1", "1"], 3: ["1"]}.get(round(frame.rotation / 90) % 4, [])  # 1: clockwise, 2: back
        steps = [graph.add("transpose", turn) for turn in turns]
        steps += [graph.add("scale", f"{self._width}:{self._height}:flags=bilinear"), graph.add("format", "rgb24")]
        graph.link_nodes(source, *steps, graph.add("buffersink")).configure()
        return graph


def build_scaler(profile: MediaProfile) -> FrameScaler:
    """Build the scaler that a profile asks for."""
    return OfficialScaler(profile) if profile.visual_policy == "official" else FrameScaler(profile)

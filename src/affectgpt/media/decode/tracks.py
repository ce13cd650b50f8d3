"""Decodes the packets of one track in one pass, and counts those that cannot be decoded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any, ClassVar

import av
from av.packet import Packet
from av.stream import Stream
from numpy.typing import NDArray

from affectgpt.media.decode.views import View


class Track(ABC):
    """Decodes the packets of one stream.

    Args:
        stream: A stream of the open container.
    """

    kind: ClassVar[str]

    def __init__(self, stream: Stream) -> None:
        # FFmpeg's own threads can deadlock in the workers of a DataLoader; the workers run in parallel instead
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
        """Decode a packet, and take the needed frames from it."""
        if self.full:
            return
        self.num_packets += bool(packet.size)
        try:
            for frame in self._decode(packet):
                self._take(frame)
        except (av.FFmpegError, ValueError):  # PyAV raises ValueError for a frame that no filter accepts
            self.num_skipped += 1

    def finish(self) -> None:
        """Take the frames that the decoder still holds, if the file ended abruptly."""
        with suppress(av.FFmpegError):
            for frame in [] if self.full else self._decoder.decode(None):
                self._take(frame)

    @property
    def is_certain(self) -> bool:
        """Whether decoding every frame would have given the same."""
        return True

    @abstractmethod
    def seconds(self, view: View) -> float:
        """Length of the track."""

    @abstractmethod
    def result(self, view: View) -> NDArray[Any] | None:
        """The result for a view, or ``None`` if there is none; call it after ``end``."""

    @abstractmethod
    def end(self) -> None:
        """Take the remaining data after the last packet."""

    def why_nothing(self, view: View) -> str:
        """Why there is no result, in words."""
        return f"nothing of its {self.codec} {self.kind} track could be decoded"

    def notes(self, view: View) -> list[str]:
        """What went wrong, in words."""
        if not self.num_skipped:
            return []
        return [f"{self.num_skipped} of {self.num_packets} {self.kind} packets could not be decoded and were skipped"]

    def _decode(self, packet: Packet[Any]) -> list[Any]:
        """The frames of a packet."""
        frames: list[Any] = packet.decode()
        return frames

    @abstractmethod
    def _take(self, frame: Any) -> None:
        """Take what the views need from a decoded frame."""

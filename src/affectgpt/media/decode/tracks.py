"""Decodes the packets of one track as they pass, and counts those that cannot be decoded."""

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
            for frame in self._decode(packet):
                self._take(frame)
        except (av.FFmpegError, ValueError):  # PyAV raises its own for a frame that no filter takes
            self.num_skipped += 1

    def finish(self) -> None:
        """Take what the decoder still holds, where the file ended without saying so."""
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
        """What a view wants, or ``None`` if there is nothing of it; after ``end``."""

    @abstractmethod
    def end(self) -> None:
        """Take what is still held back, after the last packet."""

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
        """Take what is wanted from a decoded frame."""

"""Reads the time stamps of a clip without decoding it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream

from affectgpt.media.decode.packet_plan import is_fresh_start
from affectgpt.media.limits import MAX_PACKETS, too_large

FALLBACK_RATE_HZ = 25.0
CUT_TOLERANCE_SECONDS = 0.5


@dataclass(frozen=True)
class Timeline:
    """When the pictures of a clip are shown, according to its packets rather than its header.

    Attributes:
        start_seconds: Presentation time of the first picture.
        end_seconds: End of the last picture; equal to the start for a single picture without duration.
        num_packets: Packets of the video stream.
        claimed_seconds: Length according to the header, or ``None``.
        problem: Why reading stopped early, or ``None``.
        seconds: When each frame is shown, in order of time.
        stamps: Stamp of each packet in the order of the file, or ``None``.
        fresh_starts: Numbers of the packets of an H.264 stream from which decoding can start.
    """

    start_seconds: float
    end_seconds: float
    num_packets: int
    claimed_seconds: float | None
    problem: str | None = None
    seconds: tuple[float, ...] = ()
    stamps: tuple[int | None, ...] = ()
    fresh_starts: tuple[int, ...] = ()

    @property
    def cut(self) -> bool:
        """Whether the file is clearly shorter than its header says."""
        found = self.end_seconds - self.start_seconds
        short = self.claimed_seconds is not None and self.claimed_seconds - found > CUT_TOLERANCE_SECONDS
        return short or self.problem is not None

    def numbers_at(self, times: Sequence[float]) -> list[int]:
        """Number of the frame that is on screen at each time: the last one shown at or before it.

        Examples:
            >>> Timeline(0.0, 0.3, 3, None, seconds=(0.0, 0.1, 0.2)).numbers_at([0.05, 0.1, 0.25])
            [0, 1, 2]
        """
        return [max(bisect_right(self.seconds, time) - 1, 0) for time in times]

    def midpoints(self, num_frames: int) -> list[float]:
        """Times at the middle of ``num_frames`` equal intervals.

        Examples:
            >>> Timeline(1.0, 3.0, 50, None).midpoints(2)
            [1.5, 2.5]
        """
        step = (self.end_seconds - self.start_seconds) / num_frames
        return [self.start_seconds + (index + 0.5) * step for index in range(num_frames)]


def floor_indices(num_items: int, num_wanted: int) -> list[int]:
    """The published choice: item ``i * n // T`` for ``i`` below T; if n < T, all items and then the last one again.

    Examples:
        >>> floor_indices(88, 8)
        [0, 11, 22, 33, 44, 55, 66, 77]
        >>> floor_indices(3, 5)
        [0, 1, 2, 2, 2]
    """
    if num_items < num_wanted:
        return [min(index, max(num_items, 1) - 1) for index in range(num_wanted)]
    return [index * num_items // num_wanted for index in range(num_wanted)]


def packet_seconds(packet: Packet[Stream], position: int, rate_hz: float) -> float:
    """Presentation time of a packet; from its number in the stream if it has none."""
    stamp = packet.pts if packet.pts is not None else packet.dts
    return position / rate_hz if stamp is None else float(stamp * packet.time_base)


def stream_rate_hz(stream: Stream) -> float:
    """Pictures per second according to the header, or 25 if it has no rate."""
    return float(stream.average_rate or 0) or FALLBACK_RATE_HZ


def read_timeline(container: InputContainer, stream: Stream, name: str) -> Timeline:
    """Read every packet of a video stream, without decoding.

    Args:
        container: A freshly opened file; it is read to its end.
        stream: Its video stream.
        name: The clip, for messages.

    Returns:
        The timeline; ``num_packets`` is 0 for a stream without packets.

    Raises:
        MediaError: If there are more packets than ``MAX_PACKETS``.
    """
    rate_hz = stream_rate_hz(stream)
    shown: list[tuple[float, float]] = []
    stamps: list[int | None] = []
    fresh_starts = []
    problem = None
    knows_starts = stream.codec_context.name == "h264"
    try:
        for packet in container.demux(stream):
            if not packet.size:
                continue
            if knows_starts and packet.is_keyframe and is_fresh_start(packet):
                fresh_starts.append(len(stamps))
            stamps.append(packet.pts)
            if len(stamps) > MAX_PACKETS:
                raise too_large(name, "has more video packets", "MAX_PACKETS")
            if packet.is_discard:
                knows_starts = False
            else:
                length = float((packet.duration or 0) * packet.time_base)
                shown.append((packet_seconds(packet, len(shown), rate_hz), length))
    except av.FFmpegError as error:
        problem = str(error.strerror or error)
    claimed = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
    if not shown:
        return Timeline(0.0, 0.0, 0, claimed, problem)
    first, (last, length) = min(shown)[0], max(shown)
    if not length and len(shown) > 1:
        length = (last - first) / (len(shown) - 1)
    seconds = tuple(sorted(time for time, _ in shown))
    starts = tuple(fresh_starts) if knows_starts else ()
    return Timeline(first, last + length, len(shown), claimed, problem, seconds, tuple(stamps), starts)

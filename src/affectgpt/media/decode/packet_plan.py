"""Finds the packets of a video that must be decoded to get given frames."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from av.packet import Packet
from av.stream import Stream

_IDR, _SLICES = 5, (1, 2, 3, 4)
"""Types of the units of an H.264 stream (ITU-T H.264, table 7-1)."""


@dataclass(frozen=True)
class DecodePlan:
    """The packets to decode.

    Attributes:
        positions: Numbers of the packets in the order of the file.
        last: The largest of them.
        stamps: For each target, the presentation stamp of its frame; targets may share a frame.
        order: Stamps of all frames, sorted: the index of a stamp is the number of its frame.
    """

    positions: frozenset[int]
    last: int
    stamps: tuple[int, ...]
    order: tuple[int, ...]

    def number(self, stamp: int) -> int:
        """Number of a frame among all frames of the video."""
        return bisect_left(self.order, stamp)


def plan_decoding(
    stamps: Sequence[int | None], fresh_starts: Sequence[int], wanted: Sequence[int]
) -> DecodePlan | None:
    """Plan the decoding of some frames of an H.264 video.

    No picture refers to anything before a fresh start (an IDR picture), so a frame needs the packets from the last
    fresh start up to its own. Among these the decoder itself skips pictures that no other refers to (``skip_frame``).
    The decoded frames are the same bit for bit.

    Args:
        stamps: Presentation stamp of every packet, in the order of the file.
        fresh_starts: Numbers of the packets that start with an IDR picture.
        wanted: For each target, the number of its frame in order of presentation.

    Returns:
        The plan, or ``None`` if missing or repeated stamps make the frames ambiguous.
    """
    known = [stamp for stamp in stamps if stamp is not None]
    order = tuple(sorted(set(known)))
    if not fresh_starts or not wanted or len(order) != len(stamps):
        return None
    position_of = {stamp: position for position, stamp in enumerate(known)}
    targets = tuple(order[number] for number in wanted)
    positions: set[int] = set()
    for stamp in set(targets):
        end = position_of[stamp]
        before = [start for start in fresh_starts if start <= end and known[start] <= stamp]
        positions.update(range(before[-1] if before else 0, end + 1))
    return DecodePlan(frozenset(positions), max(positions), targets, order)


def is_fresh_start(packet: Packet[Stream]) -> bool:
    """Whether an H.264 packet begins with an IDR picture; ``False`` if that cannot be determined."""
    content = memoryview(packet)
    offset = 0
    if bytes(content[:3]) == b"\0\0\1" or bytes(content[:4]) == b"\0\0\0\1":
        raw = bytes(content[:4096])
        while (offset := raw.find(b"\0\0\1", offset)) >= 0 and offset + 3 < len(raw):
            kind = raw[offset + 3] & 31
            if kind == _IDR or kind in _SLICES:
                return kind == _IDR
            offset += 3
        return False
    while offset + 4 < len(content):  # mp4: each unit follows its length, which nearly always has four bytes
        kind = content[offset + 4] & 31
        if kind == _IDR or kind in _SLICES:
            return kind == _IDR
        offset += 4 + int.from_bytes(content[offset : offset + 4], "big")
    return False

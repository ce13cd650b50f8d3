"""Reads the size of a picture, and whether a JPEG is whole, from its bytes, before memory is allocated."""

from __future__ import annotations

import re
import struct

_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
# within a scan, 0xFF is followed by a zero (an escaped value), by a restart marker, or by more fill bytes
_NEXT_MARK = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def picture_size(content: bytes) -> tuple[int, int] | None:
    """Width and height that a PNG, JPEG, GIF, BMP or WebP claims, or ``None``.

    Args:
        content: The file, or its beginning.
    """
    if content[:8] == b"\x89PNG\r\n\x1a\n" and len(content) >= 24:
        return struct.unpack(">II", content[16:24])
    if content[:4] in (b"GIF8",) and len(content) >= 10:
        return struct.unpack("<HH", content[6:10])
    if content[:2] == b"BM" and len(content) >= 26:
        width, height = struct.unpack("<ii", content[18:26])
        return abs(width), abs(height)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP" and len(content) >= 30:
        return _webp_size(content)
    if content[:2] == b"\xff\xd8":
        return next(((width, height) for mark, width, height in _marks(content) if mark in _SIZES), None)
    return None


def is_whole_jpeg(content: bytes) -> bool:
    """Whether a JPEG has its end marker; a truncated download has none.

    Data after the marker (other pictures, a film, padding) is ignored.
    """
    return any(mark == _END for mark, _, _ in _marks(content))


def is_whole_gif(content: bytes) -> bool:
    """Whether a picture of a GIF reaches its end; FFmpeg fills up one that was cut (GIF89a specification, section 15).

    Args:
        content: A file, or what a container holds of one picture: blocks up to the end of its data.
    """
    at = 0
    if content[:4] == b"GIF8" and len(content) > 10:
        at = 13 + _color_bytes(content[10])
    while at < len(content):
        kind = content[at]
        if kind == _GIF_EXTENSION:
            at += 2
        elif kind == _GIF_PICTURE and at + 10 < len(content):
            at += 10 + _color_bytes(content[at + 9]) + 1
        else:
            return False
        while at < len(content) and content[at]:
            at += 1 + content[at]
        if at >= len(content):
            return False
        if kind == _GIF_PICTURE:
            return True
        at += 1
    return False


_GIF_EXTENSION, _GIF_PICTURE = 0x21, 0x2C


def _color_bytes(flags: int) -> int:
    """Length of the table of colours that the flags of a GIF announce."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _marks(content: bytes) -> list[tuple[int, int, int]]:
    """The markers of a JPEG up to its end, with width and height where they state a size (ITU-T T.81, annex B)."""
    found = []
    offset = content.find(b"\xff\xd8")
    while offset >= 0 and offset + 1 < len(content):
        if content[offset] != 0xFF:
            break  # a segment with a wrong length
        mark = content[offset + 1]
        if mark == 0xFF:
            offset += 1
            continue
        width = height = 0
        if mark in _SIZES and offset + 9 <= len(content):
            height, width = struct.unpack(">HH", content[offset + 5 : offset + 9])
        found.append((mark, width, height))
        if mark == _END:
            break
        offset += 2
        if mark not in _WITHOUT_LENGTH:
            if offset + 2 > len(content):
                break
            offset += int.from_bytes(content[offset : offset + 2], "big")
        if mark == _SCAN:
            end = _NEXT_MARK.search(content, offset)
            offset = end.start() if end else -1
    return found


def _webp_size(content: bytes) -> tuple[int, int] | None:
    kind = content[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack("<HH", content[26:30])
    return width & 0x3FFF, height & 0x3FFF

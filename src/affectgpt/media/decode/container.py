"""Opens a media file and chooses the tracks to read."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer
from av.stream import Disposition, Stream

from affectgpt.errors import MediaError
from affectgpt.media.limits import MAX_FILE_BYTES, MAX_PIXELS, too_large
from affectgpt.media.pictures.picture_header import picture_size

# A playlist disguised as a clip could make FFmpeg open other files or URLs, so the clip is read through Python. FFmpeg
# decodes a first frame to probe a file, so the size of pictures must be limited already here.
_OPEN_OPTIONS: Mapping[str, str] = {"protocol_whitelist": "none", "max_pixels": str(MAX_PIXELS)}
_HEADER_BYTES = 1 << 20


@contextmanager
def opened(source: str | Path | bytes, name: str) -> Iterator[InputContainer]:
    """Open a file for reading.

    Raises:
        MediaError: If the file cannot be opened, is empty, is not a media file, or is too large.
    """
    file: BinaryIO
    if not isinstance(source, bytes) and is_endless(source):
        raise MediaError(f"{name} is a pipe or a device, and no file; put the clip itself there", "unreadable")
    try:
        file = io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb")  # noqa: SIM115
    except OSError as error:
        raise MediaError(f"{name} cannot be opened: {error.strerror}; check the path", "unreadable") from error
    with file:
        head = file.read(_HEADER_BYTES)
        if not head:
            raise MediaError(f"{name} is empty; fetch it again, or leave it out", "empty_file")
        if (num_bytes := file.seek(0, io.SEEK_END)) > MAX_FILE_BYTES:
            raise too_large(name, f"has {num_bytes:,} bytes", "MAX_FILE_BYTES")
        file.seek(0)
        width, height = picture_size(head) or (0, 0)
        if width * height > MAX_PIXELS:
            raise too_large(name, f"has {width:,} x {height:,} pixels", "MAX_PIXELS")
        try:
            container = av.open(file, "r", options=dict(_OPEN_OPTIONS), metadata_errors="ignore")
        except av.FFmpegError as error:
            raise MediaError(
                f"{name} is not a video, sound or picture that FFmpeg can read ({error.strerror}); it may be cut: an "
                "mp4 without its end has no header. Fetch it again, or leave it out",
                "not_media",
            ) from error
        with container:
            yield container


def is_endless(path: str | Path) -> bool:
    """Whether a path leads to what may never begin or never end: a pipe, a socket or a device."""
    try:
        mode = os.stat(path).st_mode
    except OSError:  # opening it says why
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def describe(source: str | Path | bytes, key: str | None) -> str:
    """Describe the clip for messages."""
    origin = f"{len(source)} bytes in memory" if isinstance(source, bytes) else f"file {str(source)!r}"
    return f"clip {key!r} ({origin})" if key else f"the clip in {origin}"


def is_picture(container: InputContainer) -> bool:
    """Whether the file is a still picture."""
    return container.format.name.endswith("_pipe") or container.format.name == "image2"


def video_stream(container: InputContainer) -> Stream | None:
    """The first video track that FFmpeg can decode; the cover picture of a song does not count."""
    covers = Disposition.attached_pic | Disposition.timed_thumbnails
    usable = [s for s in container.streams.video if s.codec_context is not None and not s.disposition & covers]
    return usable[0] if usable else None


def audio_stream(container: InputContainer) -> Stream | None:
    """The first audio track that FFmpeg can decode."""
    return next((stream for stream in container.streams.audio if stream.codec_context is not None), None)

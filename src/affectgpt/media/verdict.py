"""Checks whether a media file can be used, what it contains, and whether anything about it is odd."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from av.stream import Stream

from affectgpt.errors import DataError, MediaError
from affectgpt.media.decode.container import audio_stream, describe, opened, video_stream
from affectgpt.media.decode.decoder import Decoded, decode
from affectgpt.media.isolation import map_in_order
from affectgpt.media.profile import MediaProfile
from affectgpt.media.speech.activity import is_silent

_LOOK = MediaProfile(num_frames=8, frame_height=32, frame_width=32)


@dataclass(frozen=True)
class MediaCheck:
    """The result of checking one file.

    Attributes:
        file: Its path.
        verdict: ``ok``; ``notes``: it can be used, but something is odd; or ``refused``.
        code: Why it is refused: ``unreadable``, ``empty_file``, ``not_media``, ``no_tracks``, ``undecodable``,
            ``too_large``, ``crashed``; or the first oddity: ``damaged``, ``no_video``, ``no_audio``, ``silent``; empty
            if all is well.
        notes: What is wrong or odd, in words.
        duration_seconds: Its length; 0 for a picture, ``None`` if it is refused.
        streams: The tracks to read, ``video`` and ``audio``, with their codec and format.
    """

    file: str
    verdict: str
    code: str = ""
    notes: tuple[str, ...] = ()
    duration_seconds: float | None = None
    streams: dict[str, dict[str, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON of the result."""
        return {**asdict(self), "notes": list(self.notes)}


def check_media(path: str | Path) -> MediaCheck:
    """Decode a file to see whether it can be used; every problem is in the result, none is raised.

    It decodes the whole sound, and the video up to the last of eight sampled frames, because a header says nothing
    about the data after it.
    """
    name = str(path)
    streams: dict[str, dict[str, Any]] = {}
    try:
        with opened(path, describe(path, None)) as container:
            found = {"video": video_stream(container), "audio": audio_stream(container)}
            streams = {kind: _form(stream) for kind, stream in found.items() if stream is not None}
        decoded = decode(path, _LOOK, thorough=True, windows_do=True)
    except DataError as error:
        code = error.code if isinstance(error, MediaError) else "undecodable"
        return MediaCheck(name, "refused", code, (str(error),), streams=streams)
    odd = list(_oddities(decoded))
    return MediaCheck(
        file=name,
        verdict="notes" if odd else "ok",
        code=odd[0][0] if odd else "",
        notes=tuple(text for _, text in odd),
        duration_seconds=round(decoded.duration_seconds, 3),
        streams=streams,
    )


def check_files(paths: Iterable[str | Path], workers: int = 1) -> Iterator[MediaCheck]:
    """Check many files, in order.

    Args:
        paths: The files.
        workers: Number of processes that decode; a file that crashes its process is refused with the code ``crashed``.
            With 0 the files are decoded in this process.
    """
    return map_in_order(check_media, paths, workers, _crashed)


def _crashed(path: str | Path, how: str) -> MediaCheck:
    note = f"{describe(path, None)} crashes the process that decodes it ({how}); leave it out, or convert it"
    return MediaCheck(str(path), "refused", "crashed", (note,))


def _oddities(decoded: Decoded) -> Iterator[tuple[str, str]]:
    for note in decoded.notes:
        yield "damaged", note
    if not decoded.picture:
        for modality, code in (("visual", "no_video"), ("audio", "no_audio")):
            if modality in decoded.missing:
                yield code, decoded.missing[modality]
    if decoded.waveform is not None and is_silent(decoded.waveform):
        yield "silent", "its audio track is silent"
    if decoded.windows is not None and is_silent(decoded.windows.flatten()):
        yield "silent", f"its audio track is silent in all {len(decoded.windows)} windows that were decoded"


def _form(stream: Stream) -> dict[str, Any]:
    codec: Any = stream.codec_context
    if stream.type == "video":
        rate_hz = round(float(stream.average_rate or 0), 3)
        return {"codec": codec.name, "width": codec.width, "height": codec.height, "rate_hz": rate_hz}
    return {"codec": codec.name, "rate_hz": codec.sample_rate, "channels": codec.channels}

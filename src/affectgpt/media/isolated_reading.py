"""Decodes the clips of a command in a separate process, so that no file can crash the command."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import av

from affectgpt.errors import AffectGPTError, DataError, MediaError
from affectgpt.media.clip import name_of
from affectgpt.media.decode.container import opened
from affectgpt.media.decoded_files import DecodedFiles, decode_files
from affectgpt.media.faces.base import FaceDetector
from affectgpt.media.material import SourceFile
from affectgpt.media.profile import MediaProfile
from affectgpt.registry import FACE_DETECTORS


@dataclass(frozen=True)
class Request:
    """One clip to decode.

    Attributes:
        clip: The file, or its content; ``None`` for a clip that has only files of its sources.
        profile: The settings of decoding.
        audio: A separate sound file, or its content, used in place of the clip's own track.
        face_detector: The detector of the main face: a name in ``FACE_DETECTORS``, or ``None``.
        speech: Whether to also decode the sound for speech recognition.
        key: The clip's name in messages; by default the file's name.
        files: Source name to its file, or its content, for sources with files of their own.
        longest_seconds: Longest clip that is decoded; ``None`` for any length.
    """

    clip: str | bytes | None
    profile: MediaProfile
    audio: str | bytes | None = None
    face_detector: str | None = None
    speech: bool = False
    key: str | None = None
    files: Mapping[str, str | bytes | SourceFile] = field(default_factory=dict)
    longest_seconds: float | None = None

    @property
    def shown(self) -> str:
        """The clip in a message."""
        if isinstance(self.clip, str):
            return repr(self.clip)
        size = f" ({len(self.clip)} bytes)" if self.clip is not None else ""
        return f"clip {self.key or name_of(self.clip)!r}{size}"


@dataclass(frozen=True)
class Read:
    """The result of a request.

    Attributes:
        decoded: The media; ``None`` if the file cannot be used.
        problem: Why it cannot be used.
        seconds: Time that decoding took.
    """

    decoded: DecodedFiles | None = None
    problem: DataError | None = None
    seconds: float = 0.0


def read_request(request: Request | None) -> Read:
    """Decode a clip: a job for ``affectgpt.media.isolation``. Without a request the process only loads what it needs.

    Raises:
        ConfigError: If the detector cannot be used.
    """
    if request is None:
        return Read()
    start = time.perf_counter()
    detector = None
    if request.face_detector is not None and "face" in request.profile.sources:
        detector = _detector(request.face_detector)
    try:
        for file in (request.clip, request.audio) if request.longest_seconds is not None else ():
            _check_length(request, _told_seconds(file, request.shown) if file is not None else 0.0)
        decoded = decode_files(
            request.clip,
            request.profile,
            key=request.key or name_of(request.clip),
            audio=request.audio,
            detector=detector,
            speech=request.speech,
            files=request.files,
        )
        for part in (decoded.seen, decoded.heard):  # a recording of a browser does not tell its length in its header
            _check_length(request, part.duration_seconds if part is not None else 0.0)
    except DataError as error:
        return Read(problem=error)
    except AffectGPTError:
        raise
    except Exception as error:  # an error that one file causes must not end the work on others
        what = f"{type(error).__name__}: {error}"
        return Read(problem=MediaError(f"{request.shown} breaks the decoder ({what}); leave it out, or convert it"))
    return Read(decoded, seconds=time.perf_counter() - start)


def _told_seconds(file: str | bytes, shown: str) -> float:
    """The length that a file's header tells; 0 if it tells none."""
    with opened(file, shown) as container:
        return (container.duration or 0) / av.time_base


def _check_length(request: Request, seconds: float) -> None:
    if request.longest_seconds is not None and seconds > request.longest_seconds:
        raise MediaError(
            f"{request.shown} lasts {seconds:.1f} s, but may last {request.longest_seconds:g} s here; cut out the "
            "stretch that matters",
            "too_long",
        )


def crashed(request: Request | None, how: str) -> Read:
    """The result of a request that crashed its process.

    Raises:
        MediaError: If the process died before it had anything to do.
    """
    if request is None:
        raise MediaError(f"the process that decodes media died when it was started ({how})", "crashed")
    message = f"{request.shown} crashes the process that decodes it ({how}); leave it out, or convert it"
    return Read(problem=MediaError(message, "crashed"))


@lru_cache(maxsize=2)
def _detector(name: str) -> FaceDetector:
    detector: FaceDetector = FACE_DETECTORS.build(name)
    return detector

"""Decodes what clients send, in separate processes, and writes down its words."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Self

from affectgpt.errors import AffectGPTError, DataError, MediaError
from affectgpt.media.clip import clip_of
from affectgpt.media.isolated_reading import Request, crashed, read_request
from affectgpt.media.isolation import Isolated
from affectgpt.media.material import SourceFile, source_file
from affectgpt.media.profile import MediaProfile
from affectgpt.media.speech.base import Asr
from affectgpt.media.speech.transcribe import transcribe_sound
from affectgpt.registry import FACE_DETECTORS
from affectgpt.serve.error_form import ServiceError
from affectgpt.types import Clip


@dataclass(frozen=True)
class SentFile:
    """The file of a source from a plug-in, as a client sent it.

    Attributes:
        content: Its bytes.
        name: Its name, whose ending counts; without one it has the source's first ending.
    """

    content: bytes
    name: str | None = None


@dataclass(frozen=True)
class Upload:
    """Media that a client sent.

    Attributes:
        content: The bytes of a video, sound or picture file; ``None`` for a clip that has only files of its sources.
        key: Its name in messages and in the answer.
        audio: The bytes of a separate sound file, used in place of the file's own track.
        subtitle: The spoken words, if known.
        files: Source name to its file, for sources with files of their own.
    """

    content: bytes | None
    key: str = "clip"
    audio: bytes | None = None
    subtitle: str | None = None
    files: Mapping[str, SentFile] = field(default_factory=dict)


@dataclass(frozen=True)
class ReadUpload:
    """Decoded media.

    Attributes:
        clip: What the model gets.
        missing: Inputs that the clip lacks, with the reason.
        transcript: Words that were heard and are used as the subtitle.
        seconds: Time that each stage took.
    """

    clip: Clip
    missing: Mapping[str, str] = field(default_factory=dict)
    transcript: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)


class ClipReader:
    """Decodes uploads; use it as a context manager.

    Args:
        profile: How the model's clips are decoded.
        decoders: Number of processes.
        face_detector: Name of the face detector, if the profile looks at faces; ``None`` leaves the face out.
        asr: Writes down the words of clips without subtitle.
        longest_seconds: Longest clip that is decoded.

    Raises:
        ConfigError: If the face detector cannot be used.
    """

    def __init__(
        self,
        profile: MediaProfile,
        decoders: int,
        face_detector: str | None,
        asr: Asr | None = None,
        longest_seconds: float | None = None,
    ) -> None:
        self._profile, self._asr, self._num_decoders = profile, asr, decoders
        self._longest_seconds = longest_seconds
        self._detector = face_detector if "face" in profile.sources else None
        if self._detector is not None:
            FACE_DETECTORS.build(self._detector)
        self._isolated: Isolated[Request | None, Any] = Isolated(read_request, decoders, crashed)
        self._listening = ThreadPoolExecutor(1, thread_name_prefix="asr")
        self._free = asyncio.Semaphore(decoders)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._isolated.__exit__()
        self._listening.shutdown(cancel_futures=True)

    async def warm(self) -> None:
        """Start the processes, which takes seconds, before the first upload comes.

        Raises:
            MediaError: If one cannot be started.
        """
        await asyncio.gather(*(asyncio.wrap_future(self._isolated.submit(None)) for _ in range(self._num_decoders)))

    async def read(self, upload: Upload) -> ReadUpload:
        """Decode an upload.

        Raises:
            ServiceError: 422 if the media cannot be used, or the model reads no such source.
        """
        files = {name: self._source_file(name, sent, upload.key) for name, sent in upload.files.items()}
        listens = self._asr is not None and not (upload.subtitle and upload.subtitle.strip())
        request = Request(
            upload.content,
            self._profile,
            upload.audio,
            self._detector,
            listens,
            key=upload.key,
            longest_seconds=self._longest_seconds,
            files=files,
        )
        try:
            async with self._free:  # an upload that waits has not been copied for its decoder yet
                read = await asyncio.wrap_future(self._isolated.submit(request))
            if read.decoded is None:
                raise read.problem or MediaError(f"clip {upload.key!r} has no usable stream", "no_tracks")
            seconds = {"read": read.seconds}
            subtitle, heard = upload.subtitle, None
            if self._asr is not None and listens and read.decoded.speech is not None:
                loop = asyncio.get_running_loop()
                start = loop.time()
                hear = functools.partial(transcribe_sound, read.decoded.speech, self._asr)
                heard = await loop.run_in_executor(self._listening, hear)
                subtitle, seconds["hear"] = heard.text, loop.time() - start
            make = functools.partial(clip_of, read.decoded, self._profile, key=upload.key, subtitle=subtitle)
            clip, missing = await asyncio.to_thread(make)
        except DataError as error:
            raise ServiceError(422, str(error), getattr(error, "code", "unusable_media"), "file") from error
        notes = clip.extra.get("media_notes", ())
        missing = {**missing, **({"media": "; ".join(notes)} if notes else {})}
        if heard is not None and heard.reason is not None:
            missing["subtitle"] = f"none was given, and speech recognition found none: {heard.reason}"
        return ReadUpload(clip, missing, heard.text if heard is not None else None, seconds)

    def _source_file(self, name: str, sent: SentFile, key: str) -> SourceFile:
        try:
            return source_file(name, sent.content, sent.name, self._profile, key)
        except AffectGPTError as error:
            raise ServiceError(422, str(error), "invalid_field", name) from error

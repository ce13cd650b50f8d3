"""The files of a clip, wherever they lie: beside a manifest, or in a shard."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from affectgpt.errors import DataError
from affectgpt.manifests.record import AUDIO_SUFFIXES, VIDEO_SUFFIXES
from affectgpt.media import ClipMedia, Decoded, read_clip
from affectgpt.media.decode.decoder import decode
from affectgpt.media.speech.transcribe import SPEECH_PROFILE
from affectgpt.shards.facts import read_facts
from affectgpt.shards.read import ShardReader


class ClipMediaFiles(ABC):
    """The video and the sound of a clip; cheap to send to another process."""

    @abstractmethod
    def video(self) -> Path | bytes | None:
        """The video or picture file, or its content; ``None`` for a clip that is sound alone."""

    @abstractmethod
    def audio(self) -> Path | bytes | None:
        """The separate sound file, or its content; ``None`` where the video's own track is heard."""

    @abstractmethod
    def digest(self) -> str:
        """Sha256 of the content, in hex."""

    def see(self, key: str, *, num_frames: int | None, size: tuple[int, int] | None = None) -> ClipMedia | None:
        """The frames, see ``affectgpt.media.read_clip``; ``None`` for a clip that is sound alone."""
        video = self.video()
        return None if video is None else read_clip(video, num_frames=num_frames, size=size, key=key)

    def hear(self, key: str) -> Decoded:
        """The sound as speech recognisers hear it: mono, 16 kHz; its ``waveform`` is ``None`` where there is none.

        Raises:
            DataError: If the clip has no file.
            MediaError: If the file cannot be decoded.
        """
        audio = self.audio()
        source = audio if audio is not None else self.video()
        if source is None:
            raise DataError(f"clip {key!r} has no file")
        return decode(source, SPEECH_PROFILE, key=key)


@dataclass(frozen=True)
class LooseFiles(ClipMediaFiles):
    """Files on disk.

    Attributes:
        video_path: Video or picture.
        audio_path: Separate sound.
        source_paths: Name of a source from a plug-in to its file, which no stage looks at.
    """

    video_path: Path | None
    audio_path: Path | None
    source_paths: Mapping[str, Path] = field(default_factory=dict, hash=False)

    def video(self) -> Path | None:
        """The path of the video."""
        return self.video_path

    def audio(self) -> Path | None:
        """The path of the sound."""
        return self.audio_path

    def digest(self) -> str:
        """Of all files; reads them."""
        digest = hashlib.sha256()
        for name, path in (("video", self.video_path), ("audio", self.audio_path), *self.source_paths.items()):
            if path is not None:
                with path.open("rb") as file:
                    digest.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\0".encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class ShardFiles(ClipMediaFiles):
    """Members of a tar.

    Attributes:
        path: The tar.
        num_samples: Samples in it.
        position: Which of them this is.
    """

    path: Path
    num_samples: int
    position: int

    def read(self) -> tuple[str, dict[str, bytes]]:
        """The sample's key, and suffix to content of every member.

        Raises:
            DataError: If the shard is broken, or another one lies in its place.
        """
        return _reader(self.path, self.num_samples).read(self.position)

    def members(self) -> dict[str, bytes]:
        """Suffix to content of every member; see ``read``."""
        return self.read()[1]

    def video(self) -> bytes | None:
        """The content of the video."""
        return _first(self.members(), VIDEO_SUFFIXES)

    def audio(self) -> bytes | None:
        """The content of the sound."""
        return _first(self.members(), AUDIO_SUFFIXES)

    def digest(self) -> str:
        """Of video, sound, and the files of sources from plug-ins."""
        key, members = self.read()
        digest = hashlib.sha256()
        for name, suffixes in (("video", VIDEO_SUFFIXES), ("audio", AUDIO_SUFFIXES)):
            content = _first(members, suffixes)
            if content is not None:
                digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\0".encode())
        for name in read_facts(key, members).get("source_files") or ():
            for content in (members[suffix] for suffix in members if suffix.startswith(f"{name}.")):
                digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\0".encode())
        return digest.hexdigest()


def _first(members: Mapping[str, bytes], suffixes: frozenset[str]) -> bytes | None:
    return next((members[suffix] for suffix in members if suffix in suffixes), None)


@lru_cache(maxsize=4)
def _reader(path: Path, num_samples: int) -> ShardReader:
    return ShardReader(path, num_samples)

"""One sample of a data set as listed in a manifest, and the error for a faulty one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from affectgpt.errors import DataError
from affectgpt.text import clean_text

PICTURE_SUFFIXES = frozenset({"jpg", "jpeg", "png", "webp", "bmp"})
VIDEO_SUFFIXES = PICTURE_SUFFIXES | {
    *("mp4", "mkv", "mov", "avi", "webm", "m4v", "mpg", "mpeg", "ts", "flv", "wmv", "3gp", "gif"),
}
AUDIO_SUFFIXES = frozenset({"wav", "flac", "mp3", "m4a", "ogg", "opus", "aac"})
FACES_SUFFIX = "faces.npy"


class SampleError(DataError):
    """The fault of one sample.

    Args:
        key: The sample's key, or the location of its line if it has none.
        stage: ``"manifest"``, ``"select"`` or ``"probe"`` when packing; ``"load"`` or ``"ask"`` when reading.
        code: One word for the kind of fault, for tables.
        message: The whole explanation: location, value, what was expected, what to do.
    """

    def __init__(self, key: str, stage: str, code: str, message: str) -> None:
        message = clean_text(message)  # a path or a name may not be encodable in UTF-8
        super().__init__(message)
        self.key = clean_text(key)
        self.stage = stage
        self.code = code

    @classmethod
    def of(cls, saved: Mapping[str, str]) -> Self:
        """Read a line of ``rejects.jsonl``."""
        return cls(saved["key"], saved["stage"], saved["code"], saved["message"])

    def __reduce__(self) -> tuple[Any, ...]:  # the default passes only the message
        return type(self), (self.key, self.stage, self.code, str(self))

    def to_json(self) -> dict[str, str]:
        """Plain JSON, a line of ``rejects.jsonl``."""
        return {"key": self.key, "stage": self.stage, "code": self.code, "message": str(self)}


@dataclass(frozen=True)
class Record:
    """One entry of a manifest.

    Attributes:
        key: Name of the sample (``name`` in the manifest); unique, and valid as a file name in a shard.
        video: Video or picture file; ``None`` for a clip that is only sound.
        audio: Separate sound file, used in place of the video's own track, or ``None``.
        faces: uint8 ``[T, H, W, 3]`` npy file of face crops, or a folder of pictures of one size, in the order of their
            names, or ``None``.
        subtitle: Spoken words, or ``None``.
        labels: Open-vocabulary emotion labels; empty if unknown.
        description: Free-form emotion description, or ``None``.
        split: Such as ``"train"``, or ``None``.
        source_files: Name of a source from a plug-in to its file.
        extra: Every other key of the line.
        notes: Notes on values that the reader of the manifest changed.
    """

    key: str
    video: Path | None = None
    audio: Path | None = None
    faces: Path | None = None
    subtitle: str | None = None
    labels: tuple[str, ...] = ()
    description: str | None = None
    split: str | None = None
    source_files: Mapping[str, Path] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def files(self) -> list[Path]:
        """The files of the sample."""
        found = (self.video, self.audio, *self.face_files(), *self.source_files.values())
        return [path for path in found if path is not None]

    def face_files(self) -> list[Path]:
        """The npy file of the face crops, or the pictures of them."""
        if self.faces is None or not self.faces.is_dir():
            return [] if self.faces is None else [self.faces]
        return sorted(path for path in self.faces.iterdir() if path.suffix.lower().lstrip(".") in PICTURE_SUFFIXES)

    def identity(self) -> str:
        """A text that changes whenever the sample does: its line, and name, size and time of its files."""
        stamps = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in self.files()]
        return json.dumps([self.to_json(), stamps], sort_keys=True)

    def to_json(self) -> dict[str, Any]:
        """The facts that the shard stores beside the media, as plain JSON."""
        return {
            "key": self.key,
            "subtitle": self.subtitle,
            "labels": list(self.labels),
            "description": self.description,
            "split": self.split,
            "extra": dict(self.extra),
            "manifest_notes": list(self.notes),
        }

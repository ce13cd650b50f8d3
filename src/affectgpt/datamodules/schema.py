"""The manifest of a data set: one JSON object a line, read strictly."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from affectgpt.errors import DataError

PICTURE_SUFFIXES = frozenset({"jpg", "jpeg", "png", "webp", "bmp"})
VIDEO_SUFFIXES = PICTURE_SUFFIXES | {
    *("mp4", "mkv", "mov", "avi", "webm", "m4v", "mpg", "mpeg", "ts", "flv", "wmv", "3gp", "gif"),
}
AUDIO_SUFFIXES = frozenset({"wav", "flac", "mp3", "m4a", "ogg", "opus", "aac"})
FACES_SUFFIX = "faces.npy"

MAX_KEY_BYTES = 80
_KEY = re.compile(r"[\w-]+")
_FILES: Mapping[str, frozenset[str]] = {
    "video": frozenset(VIDEO_SUFFIXES),
    "audio": AUDIO_SUFFIXES,
    "faces": frozenset({"npy"}),
}


class SampleError(DataError):
    """What is wrong with one sample.

    Args:
        key: The sample's key, or the place of its line where it has none.
        stage: ``"manifest"``, ``"select"`` or ``"probe"``.
        code: One word for the kind of fault, for tables.
        message: The whole story: place, value, what was expected, what to do.
    """

    def __init__(self, key: str, stage: str, code: str, message: str) -> None:
        super().__init__(message)
        self.key = key
        self.stage = stage
        self.code = code

    @classmethod
    def of(cls, saved: Mapping[str, str]) -> Self:
        """Read a line of ``rejects.jsonl``."""
        return cls(saved["key"], saved["stage"], saved["code"], saved["message"])

    def __reduce__(self) -> tuple[Any, ...]:  # the default passes the message alone
        return type(self), (self.key, self.stage, self.code, str(self))

    def to_json(self) -> dict[str, str]:
        """Plain JSON, a line of ``rejects.jsonl``."""
        return {"key": self.key, "stage": self.stage, "code": self.code, "message": str(self)}


@dataclass(frozen=True)
class Record:
    """One line of a manifest.

    Attributes:
        key: Name of the sample (``name`` in the manifest); unique, and fit for a file name in a shard.
        video: Video or picture file; ``None`` for a clip that is sound alone.
        audio: Separate sound file, heard in place of the video's own track; ``None`` where there is none.
        faces: uint8 ``[T, H, W, 3]`` npy file of face crops, or ``None``.
        subtitle: Spoken words, or ``None``.
        labels: Open-vocabulary emotion labels; empty where none are known.
        description: Free-form emotion description, or ``None``.
        split: Such as ``"train"``, or ``None``.
        extra: Every other key of the line.
    """

    key: str
    video: Path | None = None
    audio: Path | None = None
    faces: Path | None = None
    subtitle: str | None = None
    labels: tuple[str, ...] = ()
    description: str | None = None
    split: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def files(self) -> list[Path]:
        """The files of the sample."""
        return [path for path in (self.video, self.audio, self.faces) if path is not None]

    def identity(self) -> str:
        """A text that changes whenever the sample does: its line, and name, size and time of its files."""
        stamps = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in self.files()]
        return json.dumps([self.to_json(), stamps], sort_keys=True)

    def to_json(self) -> dict[str, Any]:
        """What the shard keeps beside the media, as plain JSON."""
        return {
            "key": self.key,
            "subtitle": self.subtitle,
            "labels": list(self.labels),
            "description": self.description,
            "split": self.split,
            "extra": dict(self.extra),
        }


def read_manifest(path: str | Path) -> list[Record]:
    """Read a manifest; file names in it are relative to its folder.

    A line holds ``name`` and ``video`` or ``audio``, and may hold ``faces``, ``subtitle``, ``labels`` (a list),
    ``description`` and ``split``; other keys are kept in ``extra``. Blank lines are skipped.

    Raises:
        DataError: At the first line that is not such an object, whose file is missing, or whose key came before.
    """
    records, problems = scan_manifest(path)
    if problems:
        raise problems[0]
    return records


def scan_manifest(path: str | Path) -> tuple[list[Record], list[SampleError]]:
    """Read a manifest, with the faults of its lines collected instead of raised.

    Raises:
        DataError: If the file cannot be read, or has no line.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"manifest {str(path)!r} cannot be opened: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise DataError(f"manifest {str(path)!r} is not UTF-8 text ({error}); save it as UTF-8") from error
    records: list[Record] = []
    problems: list[SampleError] = []
    first_line: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = _Line(path, number).parse(line)
            if record.key in first_line:
                raise SampleError(
                    record.key,
                    "manifest",
                    "duplicate_key",
                    f"{path}:{number}: the name {record.key!r} was used on line {first_line[record.key]} already; "
                    "every sample needs a name of its own",
                )
        except SampleError as problem:
            problems.append(problem)
            continue
        first_line[record.key] = number
        records.append(record)
    if not records and not problems:
        raise DataError(f"manifest {str(path)!r} has no line; write one JSON object a line")
    return records, problems


class _Line:
    """Parses one line; its place and its key, once known, are in every message."""

    def __init__(self, path: Path, number: int) -> None:
        self.folder = path.parent
        self.place = f"{path}:{number}"
        self.key = ""

    def fault(self, code: str, message: str) -> SampleError:
        who = f" ({self.key!r})" if self.key else ""
        return SampleError(self.key or self.place, "manifest", code, f"{self.place}{who}: {message}")

    def parse(self, line: str) -> Record:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise self.fault("not_json", f"not JSON ({error}); write one object a line") from None
        if not isinstance(entry, dict):
            raise self.fault("not_an_object", f'{line.strip()[:60]!r} is no JSON object; write {{"name": ...}}')
        self.key = self.take_key(entry)
        video, audio, faces = (self.take_file(entry, name) for name in _FILES)
        if video is None and audio is None:
            raise self.fault("no_media", "neither 'video' nor 'audio' is given; name a media file")
        return Record(
            key=self.key,
            video=video,
            audio=audio,
            faces=faces,
            subtitle=self.take_text(entry, "subtitle"),
            labels=self.take_labels(entry),
            description=self.take_text(entry, "description"),
            split=self.take_text(entry, "split"),
            extra=entry,
        )

    def take_key(self, entry: dict[str, Any]) -> str:
        key = entry.pop("name", None)
        if not isinstance(key, str):
            raise self.fault("no_name", f"'name' must be a string that names the sample, but is {key!r}")
        if not _KEY.fullmatch(key) or len(key.encode()) > MAX_KEY_BYTES:
            raise self.fault(
                "bad_name",
                f"the name {key!r} cannot be a key in a shard; use letters, digits, '-' and '_' (no dot, slash or "
                f"space), at most {MAX_KEY_BYTES} bytes",
            )
        return key

    def take_text(self, entry: dict[str, Any], name: str) -> str | None:
        value = entry.pop(name, None)
        if value is not None and not isinstance(value, str):
            raise self.fault("wrong_type", f"{name!r} must be a string or null, but is {value!r}")
        return value.strip() or None if value else None

    def take_labels(self, entry: dict[str, Any]) -> tuple[str, ...]:
        labels = entry.pop("labels", None) or []
        if not isinstance(labels, list) or not all(isinstance(label, str) and label.strip() for label in labels):
            raise self.fault("wrong_type", f"'labels' must be a list of words, such as [\"happy\"], but is {labels!r}")
        return tuple(label.strip() for label in labels)

    def take_file(self, entry: dict[str, Any], name: str) -> Path | None:
        value = entry.pop(name, None)
        if value is None:
            return None
        if not isinstance(value, str) or not value:
            raise self.fault("wrong_type", f"{name!r} must be a file name, but is {value!r}")
        suffix = value.rpartition(".")[2].lower()
        if suffix not in _FILES[name]:
            raise self.fault(
                "unknown_suffix", f"{name!r} is {value!r}, but must end in one of: {', '.join(sorted(_FILES[name]))}"
            )
        path = self.folder / value
        if not path.is_file():
            raise self.fault("missing_file", f"{name!r} names {str(path)!r}, which is no file; check the path")
        return path

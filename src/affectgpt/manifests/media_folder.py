"""Reads a bare folder of media files as a data set: one clip a file, its name from its path, words from side files."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from affectgpt.errors import DataError
from affectgpt.manifests.entries import MAX_KEY_BYTES, Entries, fault
from affectgpt.manifests.record import AUDIO_SUFFIXES, PICTURE_SUFFIXES, VIDEO_SUFFIXES
from affectgpt.manifests.text_tables import read_text

_MOVING = VIDEO_SUFFIXES - PICTURE_SUFFIXES
_SIDE_FILES = ("json", "txt", "srt")
_SRT_TIME = re.compile(r"^\d+:\d\d:\d\d[,.]\d+ --> .*$")


def folder_entries(folder: Path) -> Entries:
    """Entries of all media files below a folder, sorted by name; hidden files and folders are passed over.

    Files of one name are one clip: ``a.mp4`` is the video, ``a.wav`` beside it the sound, ``a.faces.npy`` the face
    crops, ``a.txt`` or ``a.srt`` the subtitle, and ``a.json`` an object with any keys of a manifest (``labels``,
    ``description``, ...). The sample is named by its path: ``dia 1/utt0.mp4`` is ``dia_1-utt0``.
    """
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in inside.parts):
            groups[(inside.parent / inside.name.removesuffix(".faces.npy")).with_suffix("").as_posix()].append(inside)
    for stem, paths in groups.items():
        media = [path for path in paths if _suffix(path) in VIDEO_SUFFIXES | AUDIO_SUFFIXES]
        if media:
            place = str(folder / media[0])
            try:
                yield place, _entry(folder, stem, media, paths)
            except _AmbiguousError as error:
                yield place, fault(place, "ambiguous", str(error))
            except DataError as error:
                yield place, fault(place, "bad_side_file", str(error))


class _AmbiguousError(Exception):
    """Two files that could be the same part of a clip."""


def _entry(folder: Path, stem: str, media: list[Path], paths: list[Path]) -> dict[str, Any]:
    by_suffix = {_suffix(path): path for path in paths}
    entry: dict[str, Any] = {}
    for suffix in _SIDE_FILES:
        if suffix in by_suffix:
            entry |= _side_file(suffix, read_text(folder / by_suffix[suffix]), folder / by_suffix[suffix])
    moving = [path for path in media if _suffix(path) in _MOVING]
    pictures = [path for path in media if _suffix(path) in PICTURE_SUFFIXES]
    sounds = [path for path in media if _suffix(path) in AUDIO_SUFFIXES]
    for kind, found in (("video", moving or pictures), ("audio", sounds)):
        if len(found) > 1:
            raise _AmbiguousError(
                f"{' and '.join(path.name for path in found)} are both the {kind} of {stem!r}; rename one"
            )
        if found:
            entry[kind] = found[0].as_posix()
    faces = Path(f"{stem}.faces.npy")
    if faces in paths:
        entry["faces"] = faces.as_posix()
    key = re.sub(r"[^\w-]", "_", stem.replace("/", "-"))
    while len(key.encode()) > MAX_KEY_BYTES:
        key = key[1:]  # the end tells the clips of a folder apart
    return {**entry, "name": key, "file": media[0].as_posix()}


def _side_file(suffix: str, text: str, path: Path) -> dict[str, Any]:
    if suffix == "txt":
        return {"subtitle": text}
    if suffix == "srt":
        lines = [line.strip() for line in text.splitlines()]
        return {"subtitle": " ".join(s for s in lines if s and not s.isdecimal() and not _SRT_TIME.match(s))}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise DataError(f"{str(path)!r} is no JSON ({error}); mend it, or rename it") from error
    if not isinstance(found, dict):
        raise DataError(f"{str(path)!r} holds no object with the keys of a manifest; mend it, or rename it")
    return found


def _suffix(path: Path) -> str:
    return path.suffix.lower().lstrip(".")

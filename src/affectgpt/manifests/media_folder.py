"""Reads a bare folder of media files: one clip per file, named by its path, with words from side files."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from affectgpt.errors import DataError
from affectgpt.files import parse_json
from affectgpt.manifests.entries import MAX_KEY_BYTES, PLACEHOLDERS, Entries, NotedEntry, fault
from affectgpt.manifests.folder_walk import FolderWalk
from affectgpt.manifests.record import AUDIO_SUFFIXES, FACES_SUFFIX, PICTURE_SUFFIXES, VIDEO_SUFFIXES
from affectgpt.manifests.subtitles import SUBTITLE_SUFFIXES, read_subtitle
from affectgpt.manifests.text_tables import read_text
from affectgpt.text import clean_name, clean_text

_MEDIA = VIDEO_SUFFIXES | AUDIO_SUFFIXES
_MOVING = VIDEO_SUFFIXES - PICTURE_SUFFIXES
_SIDE_FILES = SUBTITLE_SUFFIXES | {"json", "txt", FACES_SUFFIX}
# u1.en.srt, u1.pt-BR.srt, u1.en.forced.srt, u1.mp4.srt: tags that recognisers and downloaders put between name and
# suffix
_LANGUAGE = re.compile(r"[a-z]{2,3}([-_][a-z0-9]{2,8})*", re.IGNORECASE)
_NO_LANGUAGE = ("forced", "auto", "orig", "default", "sdh", "cc")
_ADDED = re.compile(rf"{_LANGUAGE.pattern}|{'|'.join((*_NO_LANGUAGE, *sorted(_MEDIA)))}", re.IGNORECASE)
_FOUND_BY_PATH = ("name", "file", "video", "audio", "faces")

NO_CLIP = "they belong to no clip"
BESIDE_VIDEO = "pictures next to a video of the same name"


@dataclass(frozen=True)
class MediaFolder:
    """A folder of media files, sorted into clips.

    Attributes:
        folder: The folder.
        clips: Path of a clip without suffix to its media and side files, relative to the folder.
        unused: Every other file to the reason why it is not used.
        subtitle: The language to take where there are several; see ``survey_manifest``.
        source_files: Path of a clip without suffix to its files of sources from plug-ins, by the name of the source.
    """

    folder: Path
    clips: Mapping[str, Sequence[Path]]
    unused: Mapping[Path, str]
    subtitle: str | None = None
    source_files: Mapping[str, Mapping[str, Sequence[Path]]] = field(default_factory=dict)

    def entries(self) -> Entries:
        """An entry for each clip, sorted by path.

        Files of the same name are one clip: ``a.mp4`` is the video, ``a.wav`` next to it the sound, ``a.faces.npy`` the
        face crops, ``a.txt``, ``a.srt``, ``a.vtt`` or ``a.ass`` the subtitle (also ``a.en.srt`` and ``a.mp4.srt``), and
        ``a.json`` an object with any keys of a manifest (``labels``, ``description``, ...), and ``a.gaze.csv`` the file
        of a source ``gaze`` from a plug-in. The sample is named by its path: ``dia 1/utt0.mp4`` is ``dia_1-utt0``.
        """
        for stem, paths in self.clips.items():
            media = [path for path in paths if _suffix(path) in _MEDIA]
            location = str(self.folder / media[0])
            try:
                side_files = [path for path in paths if path not in media]
                owned = self.source_files.get(stem, {})
                yield location, _entry(self.folder, stem, media, side_files, owned, self.subtitle)
            except _AmbiguousError as error:
                yield location, fault(location, "ambiguous", str(error))
            except DataError as error:
                yield location, fault(location, "bad_side_file", str(error))


def sort_into_clips(
    walk: FolderWalk, subtitle: str | None = None, sources: Mapping[str, frozenset[str]] | None = None
) -> MediaFolder:
    """Find the clips of a folder, and the side files of each.

    Args:
        walk: The files of the folder.
        subtitle: See ``survey_manifest``.
        sources: Name of a source from a plug-in to the endings of its file.
    """
    owned = {path: found for path in walk.files if (found := _source_of(path, sources or {})) is not None}
    media: dict[str, list[Path]] = defaultdict(list)
    for path in walk.files:
        if path not in owned and _suffix(path) in _MEDIA:
            media[_stem(path)].append(path)
    clips: dict[str, list[Path]] = {}
    unused: dict[Path, str] = dict(walk.passed_over)
    for stem, paths in media.items():
        moving = [path for path in paths if _suffix(path) in _MOVING]
        pictures = [path for path in paths if _suffix(path) in PICTURE_SUFFIXES]
        if moving:
            unused |= dict.fromkeys(pictures, BESIDE_VIDEO)
        clips[stem] = [path for path in paths if not moving or path not in pictures]
    source_files: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path, (stem, name) in owned.items():
        if stem in clips:
            source_files[stem][name].append(path)
        else:
            unused[path] = NO_CLIP
    for path in walk.files:
        if path not in owned and _suffix(path) not in _MEDIA:
            clip = _clip_of(path, clips)
            if clip is None:
                unused[path] = NO_CLIP
            else:
                clips[clip].append(path)
    return MediaFolder(walk.folder, clips, unused, subtitle, source_files)


class _AmbiguousError(Exception):
    """Two files with the same role in a clip."""


def _entry(
    folder: Path,
    stem: str,
    media: Sequence[Path],
    side_files: Sequence[Path],
    owned: Mapping[str, Sequence[Path]],
    language: str | None,
) -> NotedEntry:
    found: dict[str, list[Path]] = {
        "video": [path for path in media if _suffix(path) in VIDEO_SUFFIXES],
        "audio": [path for path in media if _suffix(path) in AUDIO_SUFFIXES],
        "faces": [path for path in side_files if _suffix(path) == FACES_SUFFIX],
        **{name: list(paths) for name, paths in owned.items()},
    }
    key = re.sub(r"[^\w-]", "_", stem.replace("/", "-"))
    while len(key.encode()) > MAX_KEY_BYTES:
        key = key[1:]  # keep the end, which distinguishes the clips of a folder
    by_path: dict[str, Any] = {"name": key, "file": clean_text(media[0].as_posix())}
    for kind, paths in found.items():
        if len(paths) > 1:
            raise _AmbiguousError(f"{_names(paths)} are both the {kind} of {stem!r}; rename one")
        if paths:
            by_path[kind] = paths[0].as_posix()
    said, words_of = _side_words(folder, side_files)
    notes = [
        f"{name!r} in its .json is {said[name]!r}, but the file in the folder is used"
        for name in (*_FOUND_BY_PATH, *owned)
        if name in said and said[name] != by_path.get(name)
    ]
    subtitle = said.get("subtitle")
    if isinstance(subtitle, str) and subtitle.strip() and subtitle.strip() not in PLACEHOLDERS:
        others = [path for path, words in words_of.items() if words != _words(subtitle)]
        if others:
            notes.append(f"the subtitle is that of the .json; other words were ignored: {_names(others)}")
    elif words_of:
        languages = {path: _languages(path, stem) for path in words_of}
        chosen = words_of if language is None else _in_language(words_of, languages, language)
        if len(set(chosen.values())) > 1:
            known = sorted({tag for path in chosen for tag in languages[path]})
            choice = f", choose a language (--subtitle {known[0]}; there are {', '.join(known)})" if known else ""
            raise _AmbiguousError(
                f"{_names(list(chosen))} give different subtitles of {stem!r}; keep one{choice}, or write 'subtitle' "
                f"into {Path(stem).name}.json"
            )
        if chosen:
            said["subtitle"] = next(iter(chosen.values()))
        others = [path for path, words in words_of.items() if words not in chosen.values()]
        if others:
            notes.append(f"of the subtitles, that in {language!r} was asked for; passed over: {_names(others)}")
    entry = NotedEntry({**said, **by_path})
    entry.notes = tuple(notes)
    return entry


def _languages(path: Path, stem: str) -> tuple[str, ...]:
    """The languages that the name of a side file says, such as ``pt-BR`` of ``u1.pt-BR.forced.srt``."""
    added = _stem(path)[len(stem) :].strip(".").split(".")
    others = {*_MEDIA, *_NO_LANGUAGE}
    return tuple(tag for tag in added if _LANGUAGE.fullmatch(tag) and tag.lower() not in others)


def _in_language(
    words_of: Mapping[Path, str], languages: Mapping[Path, Sequence[str]], language: str
) -> dict[Path, str]:
    """The words in a language: of files of just that name, else of a kind of it, else of those that name none."""
    wanted = language.lower().replace("_", "-")
    for fits in (
        lambda tags: wanted in tags,
        lambda tags: any(tag.startswith(f"{wanted}-") for tag in tags),
        lambda tags: not tags,
    ):
        found = {
            path: words
            for path, words in words_of.items()
            if fits([tag.lower().replace("_", "-") for tag in languages[path]])
        }
        if found:
            return found
    return {}


def _side_words(folder: Path, side_files: Sequence[Path]) -> tuple[dict[str, Any], dict[Path, str]]:
    """The content of the json file, and the words of every file that has some."""
    objects: dict[Path, dict[str, Any]] = {}
    words: dict[Path, str] = {}
    for path in side_files:
        suffix = _suffix(path)
        if suffix == "json":
            found = parse_json(read_text(folder / path), str(folder / path))
            if not isinstance(found, dict):
                raise DataError(
                    f"{str(folder / path)!r} has no object with the keys of a manifest; correct it, or rename it"
                )
            if isinstance(found.get("text"), str) and isinstance(found.get("segments"), list):
                words[path] = _words(found["text"])  # a transcript, as Whisper writes it
            else:
                objects[path] = found
        elif suffix == "txt":
            words[path] = _words(read_text(folder / path))
        elif suffix in SUBTITLE_SUFFIXES:
            words[path] = read_subtitle(folder / path)
    if len(objects) > 1:
        raise _AmbiguousError(f"{_names(list(objects))} belong to the same clip; keep one")
    said = dict(next(iter(objects.values()), {}))
    return said, {path: text for path, text in words.items() if text}


def _clip_of(path: Path, clips: Mapping[str, object]) -> str | None:
    """The clip that a side file belongs to, by its name; ``None`` if there is none."""
    if _suffix(path) not in _SIDE_FILES:
        return None
    stem = _stem(path)
    while stem not in clips:
        base, dot, added = stem.rpartition(".")
        if not dot or not _ADDED.fullmatch(added):
            return None
        stem = base
    return stem


def _source_of(path: Path, sources: Mapping[str, frozenset[str]]) -> tuple[str, str] | None:
    """The clip and the source that a file ``a.gaze.csv`` is of; ``None`` for any other file."""
    whole = clean_name(path.as_posix())
    for name, suffixes in sources.items():
        for suffix in suffixes:
            if whole.lower().endswith(f".{name}.{suffix}"):
                return whole[: -len(f".{name}.{suffix}")], name
    return None


def _stem(path: Path) -> str:
    """Path without suffix, NFC-normalised, because macOS encodes letters of file names differently."""
    return clean_name(path.as_posix()[: -len(_suffix(path)) - 1] if _suffix(path) else path.as_posix())


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return FACES_SUFFIX if name.endswith(f".{FACES_SUFFIX}") else path.suffix.lower().lstrip(".")


def _words(text: str) -> str:
    return " ".join(text.split())


def _names(paths: Sequence[Path]) -> str:
    return " and ".join(path.name for path in paths)

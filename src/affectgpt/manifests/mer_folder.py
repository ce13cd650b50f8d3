"""Shared reading of the MER release folders: media by name, subtitles in two languages, and tables by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from affectgpt.errors import ConfigError, DataError
from affectgpt.manifests.entries import PLACEHOLDERS, NotedEntry, fault
from affectgpt.manifests.record import AUDIO_SUFFIXES, PICTURE_SUFFIXES, VIDEO_SUFFIXES, SampleError
from affectgpt.manifests.text_tables import table_rows
from affectgpt.text import clean_name

SUBTITLES = "subtitle_chieng.csv"
NOT_NAMED = "no table of the subset names them"
OTHER_FILE = "not in the subset"
IGNORABLE = ("audio", "faces", "subtitle")
MEDIA_FOLDERS = {"video": "video", "audio": "audio", "openface_face": "faces"}

Table: TypeAlias = dict[str, tuple[str, dict[str, str]]]
"""Name to location and row."""


def check_ignored(ignore: Iterable[str]) -> None:
    """Refuse names of things that cannot be left out.

    Raises:
        ConfigError: If there is one.
    """
    unknown = set(ignore) - set(IGNORABLE)
    if unknown:
        raise ConfigError(f"ignore takes {', '.join(IGNORABLE)}, but got {', '.join(sorted(unknown))}")


class MerMedia:
    """The media and the subtitles of a folder, by name; the folder is listed once.

    Args:
        folder: Holds ``video/NAME.mp4``, ``audio/NAME.wav`` and ``openface_face/NAME/NAME.npy``.
        tables: Holds ``subtitle_chieng.csv``.
        subtitles: Columns of the subtitle: the first that has words counts, the others are kept as ``subtitle_COLUMN``.
        ignore: What to leave out: ``audio``, ``faces``, ``subtitle``.

    Raises:
        DataError: If there are no videos, or the table of subtitles is missing or lacks a column.
    """

    def __init__(self, folder: Path, tables: Path, subtitles: Sequence[str], ignore: Iterable[str]) -> None:
        self.folder = folder
        self.faults: list[SampleError] = []
        self._languages = tuple(subtitles)
        self._subtitles: Table = {}
        if "subtitle" not in ignore:
            self._subtitles, self.faults = read_name_table(tables / SUBTITLES, *subtitles)
        self._videos = _by_stem(folder / "video", VIDEO_SUFFIXES)
        if not self._videos:
            raise DataError(
                f"{str(folder / 'video')!r} has no videos; check that {str(folder)!r} is the folder of the set"
            )
        self._sounds = _by_stem(folder / "audio", AUDIO_SUFFIXES) if "audio" not in ignore else {}
        self._with_faces = "faces" not in ignore and (folder / "openface_face").is_dir()

    def entry(self, name: str, location: str) -> dict[str, Any] | SampleError:
        """The media and the subtitle of a name as a manifest entry, or their fault."""
        several = [paths for paths in (self._videos.get(name, []), self._sounds.get(name, [])) if len(paths) > 1]
        if several:
            return fault(location, "ambiguous", f"{' and '.join(several[0])} both exist; remove one", name)
        entry = NotedEntry({"name": name, "video": self._videos.get(name, [f"video/{name}.mp4"])[0]})
        if self._sounds:
            entry["audio"] = self._sounds.get(name, [f"audio/{name}.wav"])[0]
        if self._with_faces:
            entry["faces"] = _find_faces(self.folder, name)
            if entry["faces"].endswith(".npy"):
                entry["faces_channels"] = "bgr"
        words = dict(self._subtitles[name][1]) if name in self._subtitles else {}
        words.pop("name", None)
        said = [column for column in self._languages if words.get(column, "").strip() not in ("", *PLACEHOLDERS)]
        language = said[0] if said else self._languages[0]
        entry["subtitle"] = words.pop(language, None)
        if entry["subtitle"] is not None and language != self._languages[0]:
            entry.notes = (f"the subtitle is that of column {language!r}, as {self._languages[0]!r} has none",)
        entry.update({f"subtitle_{other}": text for other, text in words.items()})
        return entry


def read_name_table(path: Path, *columns: str) -> tuple[Table, list[SampleError]]:
    """Name to location and row, and the faults of the table: names that occur twice with different words.

    Raises:
        DataError: If the table is missing, or lacks a column.
    """
    rows: Table = {}
    faults: list[SampleError] = []
    for location, row in table_rows(path, *columns):
        if isinstance(row, SampleError):
            faults.append(row)
            continue
        name = clean_name(row.get("name", ""))
        if name in rows and row != rows[name][1]:
            other = ", ".join(map(repr, columns))
            message = f"the name already occurs in {rows[name][0]}, with another {other}; remove one"
            faults.append(fault(location, "duplicate_key", message, name))
        else:
            rows.setdefault(name, (location, row))
    return rows, faults


def unused_media(folder: Path, names: set[str], ignore: Iterable[str]) -> dict[Path, str]:
    """The clips, sounds and face crops that no table names, relative to the folder."""
    return {
        path.relative_to(folder): NOT_NAMED
        for media, ignored in MEDIA_FOLDERS.items()
        if ignored not in ignore
        for path in listing(folder / media)
        if clean_name(path.stem).removesuffix("_aligned") not in names and clean_name(path.name) not in names
    }


def listing(folder: Path) -> list[Path]:
    """The content of a folder, sorted; empty if the folder does not exist."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _by_stem(folder: Path, suffixes: Iterable[str]) -> dict[str, list[str]]:
    """Name to paths relative to the folder's parent; one listing is faster than a hundred thousand look-ups."""
    found: dict[str, list[str]] = defaultdict(list)
    wanted = set(suffixes)
    for path in listing(folder):
        if path.suffix.lower().lstrip(".") in wanted:
            found[clean_name(path.stem)].append(f"{folder.name}/{path.name}")
    return found


def _find_faces(folder: Path, name: str) -> str:
    base = f"openface_face/{name}"
    for relative in (f"{base}/{name}.npy", f"{base}.npy", f"{base}/{name}_aligned", f"{base}_aligned"):
        if (folder / relative).exists():
            return relative
    if any(path.suffix.lower().lstrip(".") in PICTURE_SUFFIXES for path in listing(folder / base)):
        return base
    return f"{base}/{name}.npy"

"""Reads the folder of the MER2025 release, in which the authors publish MER-Caption+ and OV-MERD."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from affectgpt.errors import ConfigError, DataError
from affectgpt.manifests.entries import Entries, fault
from affectgpt.manifests.record import AUDIO_SUFFIXES, PICTURE_SUFFIXES, VIDEO_SUFFIXES, SampleError
from affectgpt.manifests.text_tables import table_rows
from affectgpt.text import clean_name

SUBTITLES = "subtitle_chieng.csv"
_Table: TypeAlias = dict[str, tuple[str, dict[str, str]]]
_PARTS = ("audio", "faces", "subtitle")
_TRACKS = {"openset": "track2_train_{}.csv", "reason": "track3_train_{}.csv"}
NOT_NAMED = "no table of the subset names them"
OTHER_FILE = "no part of the subset"


@dataclass(frozen=True)
class Mer2025:
    """The layout ``mer2025-dataset``.

    ``video/NAME.mp4``, ``audio/NAME.wav``, ``openface_face/NAME/NAME.npy`` (crops in the channel order of OpenCV, BGR),
    ``subtitle_chieng.csv`` (name, chinese, english), and for each set of labels ``track2_train_SUBSET.csv`` (name,
    openset) and ``track3_train_SUBSET.csv`` (name, reason). A clip is taken if either table names it. Face crops may
    also be ``openface_face/NAME.npy``, or pictures in ``openface_face/NAME`` or in a folder ``NAME_aligned`` there, as
    OpenFace leaves them.

    A name without its video is a fault, and so is one without its sound or its faces where the folder of them is
    there: nothing is replaced. ``ignore`` does without a part of them.

    Args:
        subset: Part of the tables' names: ``mercaptionplus`` (31,327 clips), ``ovmerd``, or that of a table of one's
            own, such as the 115,595 clips of MER-Caption.
        subtitle: Column of the subtitle, ``english`` or ``chinese``; the other is kept in ``extra``.
        ignore: What is left out: ``audio`` (the video's own track is heard then), ``faces``, ``subtitle``.

    Raises:
        ConfigError: If ``ignore`` names something else.
    """

    subset: str = "mercaptionplus"
    subtitle: str = "english"
    ignore: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = set(self.ignore) - set(_PARTS)
        if unknown:
            raise ConfigError(f"ignore takes {', '.join(_PARTS)}, but got {', '.join(sorted(unknown))}")

    def entries(self, folder: Path) -> Entries:
        """The clips that the tables name, in their order.

        Raises:
            DataError: If a table or the folder of videos is missing, or lacks a column.
        """
        tables, faults = self._tables(folder)
        subtitles: _Table = {}
        if "subtitle" not in self.ignore:
            subtitles, found = _read_table(folder / SUBTITLES, self.subtitle)
            faults += found
        videos = _by_stem(folder / "video", VIDEO_SUFFIXES)
        if not videos:
            raise DataError(f"{str(folder / 'video')!r} holds no video; is {str(folder)!r} the folder of the set?")
        sounds = _by_stem(folder / "audio", AUDIO_SUFFIXES) if "audio" not in self.ignore else {}
        with_faces = "faces" not in self.ignore and (folder / "openface_face").is_dir()
        labels, reasons = tables.get("openset", {}), tables.get("reason", {})
        for name in dict.fromkeys([*labels, *reasons]):
            location = (labels.get(name) or reasons[name])[0]
            several = [paths for paths in (videos.get(name, []), sounds.get(name, [])) if len(paths) > 1]
            if several:
                message = f"{' and '.join(several[0])} are both there; remove one"
                yield location, fault(location, "ambiguous", message, name)
                continue
            entry: dict[str, Any] = {"name": name, "video": videos.get(name, [f"video/{name}.mp4"])[0]}
            entry["labels"] = labels[name][1].get("openset") if name in labels else None
            entry["description"] = reasons[name][1].get("reason") if name in reasons else None
            if sounds:
                entry["audio"] = sounds.get(name, [f"audio/{name}.wav"])[0]
            if with_faces:
                entry["faces"] = _find_faces(folder, name)
                if entry["faces"].endswith(".npy"):
                    entry["faces_channels"] = "bgr"
            words = dict(subtitles[name][1]) if name in subtitles else {}
            entry["subtitle"] = words.pop(self.subtitle, None)
            words.pop("name", None)
            yield location, {**entry, **{f"subtitle_{language}": text for language, text in words.items()}}
        for problem in faults:
            yield problem.key, problem

    def unused(self, folder: Path) -> dict[Path, str]:
        """The clips, sounds and face crops that the tables do not name, and other files of the folder.

        Raises:
            DataError: See ``entries``.
        """
        names = {name for table in self._tables(folder)[0].values() for name in table}
        parts = {"video": "video", "audio": "audio", "openface_face": "faces"}
        found = {
            path.relative_to(folder): NOT_NAMED
            for part, ignored in parts.items()
            if ignored not in self.ignore
            for path in _listing(folder / part)
            if clean_name(path.stem).removesuffix("_aligned") not in names and clean_name(path.name) not in names
        }
        read = {track.format(self.subset) for track in _TRACKS.values()} | {SUBTITLES}
        others = [path for path in _listing(folder) if path.is_file() and path.name not in read]
        return found | {path.relative_to(folder): OTHER_FILE for path in others}

    def _tables(self, folder: Path) -> tuple[dict[str, _Table], list[SampleError]]:
        """Column of the labels and of the descriptions to the table of the subset, and the faults of the tables."""
        tables: dict[str, _Table] = {}
        faults: list[SampleError] = []
        for column, track in _TRACKS.items():
            path = folder / track.format(self.subset)
            if path.is_file():
                tables[column], found = _read_table(path, column)
                faults += found
        if not tables:
            raise DataError(_no_tables(folder, self.subset))
        return tables, faults


def _read_table(path: Path, column: str) -> tuple[_Table, list[SampleError]]:
    """Name to location and row, and the faults of the table: a name that comes twice with different words."""
    rows: _Table = {}
    faults: list[SampleError] = []
    for location, row in table_rows(path, column):
        if isinstance(row, SampleError):
            faults.append(row)
            continue
        name = clean_name(row.get("name", ""))
        if name in rows and row != rows[name][1]:
            message = f"the name was used in {rows[name][0]} already, with another {column!r}; remove one"
            faults.append(fault(location, "duplicate_key", message, name))
        else:
            rows.setdefault(name, (location, row))
    return rows, faults


def _by_stem(folder: Path, suffixes: Iterable[str]) -> dict[str, list[str]]:
    """Name to paths relative to the folder's parent; one listing is faster than a hundred thousand look-ups."""
    found: dict[str, list[str]] = defaultdict(list)
    wanted = set(suffixes)
    for path in _listing(folder):
        if path.suffix.lower().lstrip(".") in wanted:
            found[clean_name(path.stem)].append(f"{folder.name}/{path.name}")
    return found


def _find_faces(folder: Path, name: str) -> str:
    base = f"openface_face/{name}"
    for relative in (f"{base}/{name}.npy", f"{base}.npy", f"{base}/{name}_aligned", f"{base}_aligned"):
        if (folder / relative).exists():
            return relative
    if any(path.suffix.lower().lstrip(".") in PICTURE_SUFFIXES for path in _listing(folder / base)):
        return base
    return f"{base}/{name}.npy"


def _listing(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _no_tables(folder: Path, subset: str) -> str:
    known = sorted({path.stem.partition("_train_")[2] for path in folder.glob("track[23]_train_*.csv")})
    there = f"it has the subsets {', '.join(known)}" if known else "it has no track2_train_*.csv or track3_train_*.csv"
    return f"{str(folder)!r} has neither track2_train_{subset}.csv nor track3_train_{subset}.csv; {there}"

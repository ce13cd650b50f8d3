"""Reads the folder of the MER2025 release, in which the authors publish MER-Caption+ and OV-MERD."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affectgpt.errors import DataError
from affectgpt.manifests.entries import Entries
from affectgpt.manifests.mer_folder import (
    OTHER_FILE,
    SUBTITLES,
    MerMedia,
    Table,
    check_ignored,
    listing,
    read_name_table,
    unused_media,
)
from affectgpt.manifests.record import SampleError

_TRACKS = {"openset": "track2_train_{}.csv", "reason": "track3_train_{}.csv"}


@dataclass(frozen=True)
class Mer2025:
    """The layout ``mer2025-dataset``.

    ``video/NAME.mp4``, ``audio/NAME.wav``, ``openface_face/NAME/NAME.npy`` (crops in the channel order of OpenCV, BGR),
    ``subtitle_chieng.csv`` (name, chinese, english), and for each set of labels ``track2_train_SUBSET.csv`` (name,
    openset) and ``track3_train_SUBSET.csv`` (name, reason). A clip is taken if either table names it. Face crops may
    also be ``openface_face/NAME.npy``, or pictures in ``openface_face/NAME`` or in a folder ``NAME_aligned`` there, as
    OpenFace leaves them.

    A name without a video is a fault; so is one without sound or face crops, if the folder for them exists. Nothing is
    substituted; use ``ignore`` to leave such media out.

    Args:
        subset: Ending of the tables' names: ``mercaptionplus`` (31,327 clips), ``ovmerd``, or that of your own table,
            such as the 115,595 clips of MER-Caption.
        subtitle: Column of the subtitle, ``english`` or ``chinese``; the other is kept in ``extra``.
        ignore: What to leave out: ``audio`` (the video's own track is then used), ``faces``, ``subtitle``.

    Raises:
        ConfigError: If ``ignore`` names anything else.
    """

    subset: str = "mercaptionplus"
    subtitle: str = "english"
    ignore: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_ignored(self.ignore)

    def entries(self, folder: Path) -> Entries:
        """The clips that the tables name, in their order.

        Raises:
            DataError: If a table or the folder of videos is missing, or lacks a column.
        """
        tables, faults = self._tables(folder)
        media = MerMedia(folder, folder, [self.subtitle], self.ignore)
        labels, reasons = tables.get("openset", {}), tables.get("reason", {})
        for name in dict.fromkeys([*labels, *reasons]):
            location = (labels.get(name) or reasons[name])[0]
            entry: dict[str, Any] | SampleError = media.entry(name, location)
            if not isinstance(entry, SampleError):
                entry["labels"] = labels[name][1].get("openset") if name in labels else None
                entry["description"] = reasons[name][1].get("reason") if name in reasons else None
            yield location, entry
        for problem in [*faults, *media.faults]:
            yield problem.key, problem

    def unused(self, folder: Path) -> dict[Path, str]:
        """The clips, sounds and face crops that the tables do not name, and other files of the folder.

        Raises:
            DataError: See ``entries``.
        """
        names = {name for table in self._tables(folder)[0].values() for name in table}
        read = {track.format(self.subset) for track in _TRACKS.values()} | {SUBTITLES}
        others = [path for path in listing(folder) if path.is_file() and path.name not in read]
        return unused_media(folder, names, self.ignore) | {path.relative_to(folder): OTHER_FILE for path in others}

    def _tables(self, folder: Path) -> tuple[dict[str, Table], list[SampleError]]:
        """Column of the labels and of the descriptions to the table of the subset, and the faults of the tables."""
        tables: dict[str, Table] = {}
        faults: list[SampleError] = []
        for column, track in _TRACKS.items():
            path = folder / track.format(self.subset)
            if path.is_file():
                tables[column], found = read_name_table(path, column)
                faults += found
        if not tables:
            raise DataError(_no_tables(folder, self.subset))
        return tables, faults


def _no_tables(folder: Path, subset: str) -> str:
    known = sorted({path.stem.partition("_train_")[2] for path in folder.glob("track[23]_train_*.csv")})
    there = f"it has the subsets {', '.join(known)}" if known else "it has no track2_train_*.csv or track3_train_*.csv"
    return f"{str(folder)!r} has neither track2_train_{subset}.csv nor track3_train_{subset}.csv; {there}"

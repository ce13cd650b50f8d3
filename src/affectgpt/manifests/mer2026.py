"""Reads the folder of the MER2026 release: the training sets, the candidates and the preference pairs of its tracks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affectgpt.errors import ConfigError, DataError, did_you_mean
from affectgpt.manifests.entries import Entries
from affectgpt.manifests.mer_folder import (
    MEDIA_FOLDERS,
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
from affectgpt.manifests.text_tables import table_rows
from affectgpt.text import clean_name

SUBSETS: Mapping[str, str] = {
    "track1_train": "9,395 clips with one of six emotions of the speaker",
    "track2_train_human": "1,532 clips with labels by people",
    "track2_train_mercaptionplus": "31,327 clips with labels; the descriptions are those of MER2025",
    "track1_track2_candidate": "20,000 clips to answer in Tracks 1 and 2",
    "track3_emoprefer": "574 pairs of descriptions with the preference of three people",
    "track3_emopreferv2": "2,096 pairs of descriptions with the preference of one person",
    "track3_candidate": "10,000 pairs of descriptions to answer in Track 3",
}
"""Table of the release, without ``.csv``, to what it holds."""

LANGUAGES = ("english", "chinese")
_PAIR = "_pair"


@dataclass(frozen=True)
class Mer2026:
    """The layout ``mer2026-dataset``.

    Media as in ``Mer2025``; each table of ``SUBSETS`` is a set of its own, and its columns say what it holds:
    ``discrete`` (one emotion) or ``openset`` (labels, as a list or with commas between), ``a1`` and ``a2`` (two
    descriptions) with ``preference``, or the name alone. What is named in Track 1 as the emotion of the speaker is
    that of the listener in the candidates, whose picture is the listener's and whose sound is the speaker's.

    Of pairs, each is a sample: a clip that comes again has ``_pair2``, ``_pair3`` ... after its name, in the order of
    the table. The pair is kept in ``extra["pair"]``: ``clip``, ``a1``, ``a2`` and, where it is known, ``preference``.

    Args:
        subset: One of ``SUBSETS``, or the name of a table of one's own in the folder.
        subtitle: Column of the subtitle: ``english`` (which a tenth of the clips lack), ``chinese``, or both in the
            order of choice, ``english,chinese``. The others are kept in ``extra``.
        ignore: What is left out: ``audio`` (the video's own track is heard then), ``faces``, ``subtitle``.
        descriptions: Table with ``name`` and ``reason``, joined by name: ``track3_train_mercaptionplus.csv`` of
            MER2025.
        media: Folder with ``video``, ``audio`` and ``openface_face``, where it is not that of the tables.

    Raises:
        ConfigError: If ``ignore`` or ``subtitle`` names something else.
    """

    subset: str = "track2_train_mercaptionplus"
    subtitle: str = "english"
    ignore: tuple[str, ...] = ()
    descriptions: str | None = None
    media: str | None = None

    def __post_init__(self) -> None:
        check_ignored(self.ignore)
        unknown = [column for column in self.columns if column not in LANGUAGES]
        if unknown:
            raise ConfigError(f"subtitle is {self.subtitle!r}; expected english, chinese, or english,chinese")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the subtitle, in the order of choice."""
        return tuple(column.strip() for column in self.subtitle.split(","))

    def entries(self, folder: Path) -> Entries:
        """The clips or pairs of the table, in its order.

        Raises:
            DataError: If a table or the folder of videos is missing, or lacks a column; or if no description joins.
        """
        rows = list(self.rows(folder))
        media = MerMedia(self._media_folder(folder), folder, self.columns, self.ignore)
        reasons, faults = self._reasons()
        joined = 0
        for location, key, row in rows:
            if isinstance(row, SampleError):
                yield location, row
                continue
            name = row["name"]
            entry: dict[str, Any] | SampleError = media.entry(name, location)
            if isinstance(entry, SampleError):
                yield location, entry
                continue
            entry.update(self._media_paths(folder, entry))
            entry["name"] = key
            entry["labels"] = [row["discrete"]] if "discrete" in row else row.get("openset")
            entry["description"] = reasons[name][1].get("reason") if name in reasons else None
            joined += name in reasons
            if "a1" in row:
                known = {column: row[column] for column in ("a1", "a2", "preference") if column in row}
                entry["pair"] = {"clip": name, **known}
            yield location, entry
        if reasons and not joined:
            raise DataError(f"{self.descriptions} describes none of the {len(rows)} samples of {self.subset}.csv")
        for problem in [*media.faults, *faults]:
            yield problem.key, problem

    def rows(self, folder: Path) -> Iterator[tuple[str, str, dict[str, str] | SampleError]]:
        """The rows of the table: location, key of the sample, and column to text.

        Raises:
            DataError: If the table is missing, or is none of the release.
        """
        path = folder / f"{self.subset}.csv"
        if not path.is_file():
            known = sorted(table.stem for table in folder.glob("track*.csv"))
            there = f"it has {', '.join(known)}" if known else "it has no track*.csv"
            hint = did_you_mean(self.subset, known or SUBSETS)
            raise DataError(f"{str(folder)!r} has no {self.subset}.csv; {there}.{hint}")
        yield from keyed_rows(path)

    def unused(self, folder: Path) -> dict[Path, str]:
        """The clips, sounds and face crops that the table does not name, and other files of the folder.

        Raises:
            DataError: See ``entries``.
        """
        names = {row["name"] for _, _, row in self.rows(folder) if not isinstance(row, SampleError)}
        read = {f"{self.subset}.csv", SUBTITLES}
        others = [path for path in listing(folder) if path.is_file() and path.name not in read]
        found = {path.relative_to(folder): OTHER_FILE for path in others}
        return found if self.media is not None else unused_media(folder, names, self.ignore) | found

    def _media_folder(self, folder: Path) -> Path:
        media = folder if self.media is None else Path(self.media)
        if not (media / "video").is_dir() and (folder / "video_7z").is_dir():
            raise DataError(
                f"{str(folder)!r} holds the archives of the release, and {str(media)!r} no folder video; unpack those "
                f"of the subset first: affectgpt pack with --unpack FOLDER does it"
            )
        return media

    def _media_paths(self, folder: Path, entry: Mapping[str, Any]) -> dict[str, str]:
        """The paths of an entry's media, from the folder of the tables."""
        if self.media is None:
            return {}
        return {
            key: str(Path(self.media).absolute() / entry[key])
            for key in MEDIA_FOLDERS.values()
            if entry.get(key) is not None
        }

    def _reasons(self) -> tuple[Table, list[SampleError]]:
        if self.descriptions is None:
            return {}, []
        return read_name_table(Path(self.descriptions), "reason")


def keyed_rows(path: Path) -> Iterator[tuple[str, str, dict[str, str] | SampleError]]:
    """The rows of a table of clips or pairs: location, key of the sample, and column to text.

    The key is the clip's name; of pairs whose clip came before, the name with ``_pair2``, ``_pair3`` ... after it.

    Raises:
        DataError: If the file is no table with a column ``name``, or has ``a1`` without ``a2``.
    """
    used: set[str] = set()
    times: dict[str, int] = {}
    for location, row in table_rows(path):
        if isinstance(row, SampleError):
            yield location, "", row
            continue
        row = {**row, "name": clean_name(row.get("name", ""))}
        if ("a1" in row) != ("a2" in row):
            raise DataError(f"{location}: a pair needs both a1 and a2; give two descriptions")
        key = name = row["name"]
        if "a1" in row:
            times[name] = times.get(name, 0) + 1
            while key in used or (times[name] > 1 and key == name):
                key = f"{name}{_PAIR}{times[name]}"
                times[name] += key in used
        used.add(key)
        yield location, key, row


def clip_of_key(key: str) -> str:
    """The name of the clip that a key of a pair is about.

    Examples:
        >>> clip_of_key("sample_00000012_pair2"), clip_of_key("sample_00000012")
        ('sample_00000012', 'sample_00000012')
    """
    name, pair, number = key.rpartition(_PAIR)
    return name if pair and number.isdecimal() else key

"""Reads the rows that a track asks about: the list of candidates, or a labelled table of the same shape."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from affectgpt.bench.submission.challenge_tracks import Track
from affectgpt.errors import DataError, first_few
from affectgpt.manifests.mer2026 import keyed_rows
from affectgpt.manifests.record import SampleError


@dataclass(frozen=True)
class AskedRow:
    """One row.

    Attributes:
        key: Of the sample: the clip's name, with a number after it where the clip comes again in another pair.
        cells: Column to text.
    """

    key: str
    cells: Mapping[str, str]

    def identity(self, track: Track) -> tuple[str, ...]:
        """What names the row in an answer; white space apart, as programs write line breaks differently."""
        return tuple(" ".join(self.cells.get(column, "").split()) for column in track.keys)


def read_candidates(path: str | os.PathLike[str], track: Track, count: int | None = None) -> list[AskedRow]:
    """Read a list of candidates.

    Args:
        path: The table.
        track: Whose candidates they are.
        count: How many there must be; by default that of the track, and any number if it is 0.

    Raises:
        DataError: If a row is damaged, a column is missing, a name comes twice where it may not, or the number differs.
    """
    rows = read_asked_rows(path, track)
    expected = track.count if count is None else count
    if expected and len(rows) != expected:
        raise DataError(
            f"{path} has {len(rows)} rows, but Track {track.number} has {expected} candidates ({track.table}); give "
            "the whole list, or another number with --count"
        )
    return rows


def read_asked_rows(path: str | os.PathLike[str], track: Track) -> list[AskedRow]:
    """Read the rows of a table whatever their number; see ``read_candidates``."""
    rows = []
    for location, key, row in keyed_rows(Path(path)):
        if isinstance(row, SampleError):
            raise row
        lacking = [column for column in track.keys if not row.get(column)]
        if lacking:
            raise DataError(f"{location} has no {' and no '.join(lacking)}, which Track {track.number} needs in a row")
        rows.append(AskedRow(key, row))
    twice = [key for key, times in Counter(row.key for row in rows).items() if times > 1]
    if twice:
        raise DataError(f"{path} repeats {len(twice)} names: {first_few(twice)}; Track {track.number} asks once a clip")
    if not rows:
        raise DataError(f"{path} has no row")
    return rows

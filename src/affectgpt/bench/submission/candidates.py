"""Reads the rows of a track: the list of candidates, or a labelled table in the same format."""

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
    """One row of a track's table.

    Attributes:
        key: Key of the sample: the clip's name, followed by a number if the clip occurs again in another pair.
        cells: Column to text.
    """

    key: str
    cells: Mapping[str, str]

    def identity(self, track: Track) -> tuple[str, ...]:
        """The cells that identify the row, without white space, because programs write line breaks differently."""
        return tuple(" ".join(self.cells.get(column, "").split()) for column in track.keys)


def read_candidates(path: str | os.PathLike[str], track: Track, count: int | None = None) -> list[AskedRow]:
    """Read a list of candidates.

    Args:
        path: The table.
        track: The track of the candidates.
        count: Required number of candidates; by default that of the track; 0 allows any number.

    Raises:
        DataError: If a row is damaged, a column is missing, a name is repeated although it must be unique, or the
            number differs.
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
    """Read the rows of a table with any number of rows; see ``read_candidates``."""
    rows = []
    for location, key, row in keyed_rows(Path(path)):
        if isinstance(row, SampleError):
            raise row
        lacking = [column for column in track.keys if not row.get(column)]
        if lacking:
            raise DataError(
                f"{location} has no {' and no '.join(lacking)}, which Track {track.number} needs in every row"
            )
        rows.append(AskedRow(key, row))
    twice = [key for key, times in Counter(row.key for row in rows).items() if times > 1]
    if twice:
        raise DataError(
            f"{path} repeats {len(twice)} names: {first_few(twice)}; Track {track.number} asks once per clip"
        )
    if not rows:
        raise DataError(f"{path} has no rows")
    return rows

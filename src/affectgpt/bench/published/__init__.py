"""Published results on MER-UniBench, as data with their sources."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_FOLDER = Path(__file__).parent
_ABSENT = "-"


@dataclass(frozen=True)
class Source:
    """The source of published rows.

    Attributes:
        citation: The publication.
        place: The table in the publication, or how we obtained the figures.
        note: Caveats for comparisons.
    """

    citation: str
    place: str
    note: str


@dataclass(frozen=True)
class PublishedRow:
    """One row of a published table.

    Attributes:
        system: The model, as printed.
        inputs: Modalities, such as ``AVT`` (audio, video, text); empty where the source does not say.
        scores: Fractions by name of the figure: a test set (its own figure), or ``mosi.accuracy`` and the like in the
            secondary table. Figures that the source does not give are left out.
        mean: Mean of the nine sets as printed, a fraction; ``None`` if the source does not give it.
        source: The source of the row.
    """

    system: str
    inputs: str
    scores: Mapping[str, float]
    mean: float | None
    source: Source

    @property
    def title(self) -> str:
        """The system with its inputs."""
        return f"{self.system} ({self.inputs})" if self.inputs else self.system


@dataclass(frozen=True)
class PublishedViews:
    """The published scores of one system on one set by shown modalities.

    Attributes:
        title: The model, as printed.
        dataset: The test set (its own figure), or ``mean`` of the nine.
        scores: Fractions by view, such as ``AT``; views that the source does not give are left out.
        source: The source of the row.
    """

    title: str
    dataset: str
    scores: Mapping[str, float]
    source: Source


@lru_cache(maxsize=1)
def published_rows() -> tuple[PublishedRow, ...]:
    """The sets' own figures and their mean, from table 2 of the AffectGPT paper and from later papers.

    Examples:
        >>> best = next(row for row in published_rows() if row.title == "AffectGPT (AVT)")
        >>> best.scores["meld"], best.mean
        (0.5565, 0.7477)
    """
    return _read("rows.tsv")


@lru_cache(maxsize=1)
def secondary_rows() -> tuple[PublishedRow, ...]:
    """Accuracy of the sentiment sets, and precision and recall of OV-MERD+, from table 12 of the AffectGPT paper."""
    return _read("secondary.tsv")


@lru_cache(maxsize=1)
def published_views() -> tuple[PublishedViews, ...]:
    """The scores of systems by shown modalities, from table 6 of the AffectGPT paper and from later papers.

    Examples:
        >>> text_alone = {row.title: row.scores["T"] for row in published_views() if row.dataset == "ovmerdplus"}
        >>> text_alone["AffectGPT, as APCF ran it"]
        0.53775
    """
    sources = _sources()
    rows = []
    for cells in _cells("views.tsv"):
        title, dataset, source = cells.pop("system"), cells.pop("dataset"), sources[cells.pop("source")]
        rows.append(PublishedViews(title, dataset, {view: _fraction(cell) for view, cell in cells.items()}, source))
    return tuple(rows)


def _read(name: str) -> tuple[PublishedRow, ...]:
    sources = _sources()
    return tuple(_row(cells, sources) for cells in _cells(name))


def _sources() -> dict[str, Source]:
    listed = json.loads((_FOLDER / "sources.json").read_text(encoding="utf-8"))
    return {key: Source(**fields) for key, fields in listed.items()}


def _cells(name: str) -> list[dict[str, str]]:
    """The rows of a table, without their empty cells."""
    with (_FOLDER / name).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [{column: cell for column, cell in row.items() if cell != _ABSENT} for row in rows]


def _row(known: dict[str, str], sources: Mapping[str, Source]) -> PublishedRow:
    system, source = known.pop("system"), sources[known.pop("source")]
    inputs = known.pop("inputs", "")
    scores = {column: _fraction(cell) for column, cell in known.items()}
    mean = scores.pop("mean", None)
    return PublishedRow(system, inputs, scores, mean, source)


def _fraction(percent: str) -> float:
    return round(float(percent) / 100, 6)

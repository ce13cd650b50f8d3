"""A test set that was read: its clips in order, and its differences from the published split."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from affectgpt.datamodules.unibench.sets import TestSet
from affectgpt.errors import DataError, first_few
from affectgpt.files import write_whole

_SHOWN = 5


@dataclass(frozen=True)
class BenchSample:
    """One clip of a test set.

    Attributes:
        key: The sample's name, as in the authors' released predictions.
        gold: The true label, the true score, or (open labels) the text of a list.
        subtitle: Spoken words, or ``None``.
        video: The clip, or ``None``.
        audio: A separate sound file, or ``None`` to use the clip's own track.
        faces: Face crops, or ``None``.
    """

    key: str
    gold: str | float
    subtitle: str | None = None
    video: Path | None = None
    audio: Path | None = None
    faces: Path | None = None


@dataclass(frozen=True)
class Difference:
    """One way in which a folder differs from the published split.

    Attributes:
        kind: ``count``, ``labels``, ``range``, ``media`` or ``subtitles``.
        message: What was found and what was expected.
        keys: All samples that it concerns.
    """

    kind: str
    message: str
    keys: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, for a report."""
        return {"kind": self.kind, "message": self.message, "keys": list(self.keys)}


@dataclass(frozen=True)
class BenchSet:
    """A test set that was read.

    Attributes:
        test_set: The published set.
        labels: The file or folder that its gold labels come from.
        layout: ``processed`` (the authors' copy) or ``original``.
        samples: Its clips, in the order of the labels.
        differences: Where it differs from the published split; empty if it is that split.
        notes: Further remarks for a report.
    """

    test_set: TestSet
    labels: Path
    layout: str
    samples: tuple[BenchSample, ...]
    differences: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.samples)

    def write_gold(self, path: str | Path) -> None:
        """Write the true labels in the form that ``affectgpt score`` reads: a csv with ``name`` and ``label``."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("name", "label"))
        writer.writerows((sample.key, sample.gold) for sample in self.samples)
        write_whole(path, text.getvalue())

    def record(self) -> dict[str, Any]:
        """Plain JSON for a report: the origin of the set, and its differences from the published split."""
        return {
            "labels": str(self.labels),
            "layout": self.layout,
            "samples": len(self.samples),
            "expected_samples": self.test_set.num_samples,
            "differences": [difference.to_json() for difference in self.differences],
            "notes": list(self.notes),
        }


def check_keys(keys: Iterable[str], label_file: Path) -> None:
    """Refuse an empty set, and repeated names.

    Raises:
        DataError: If there is no name, or one is repeated.
    """
    counts = Counter(iter(keys))  # iter() counts the names of a mapping, not its values
    if not counts:
        raise DataError(f"{label_file} has no samples of the test split")
    repeated = [key for key, count in counts.items() if count > 1]
    if repeated:
        raise DataError(
            f"{label_file} names {len(repeated)} samples more than once: {first_few(repeated)}; each must occur once"
        )


def find_differences(test_set: TestSet, samples: Sequence[BenchSample]) -> list[Difference]:
    """Compare gold labels with the published split: number, labels, range."""
    found = []
    if len(samples) != test_set.num_samples:
        found.append(
            Difference(
                "count",
                f"{len(samples)} samples, but the published split ({test_set.split}) has {test_set.num_samples}",
            )
        )
    if test_set.labels:
        odd = {sample.key: sample.gold for sample in samples if sample.gold not in test_set.labels}
        if odd:
            names = ", ".join(sorted({repr(gold) for gold in odd.values()})[:_SHOWN])
            found.append(
                Difference(
                    "labels",
                    f"{len(odd)} gold labels are outside the set ({names}); it has {', '.join(test_set.labels)}",
                    tuple(odd),
                )
            )
    if test_set.gold_range is not None:
        low, high = test_set.gold_range
        beyond = tuple(s.key for s in samples if not isinstance(s.gold, float) or not low <= s.gold <= high)
        if beyond:
            found.append(
                Difference(
                    "range", f"{len(beyond)} gold scores are outside [{low:g}, {high:g}]: {first_few(beyond)}", beyond
                )
            )
    return found


def as_score(value: Any, key: str, label_file: Path) -> float:
    """Read a gold score as a number.

    Raises:
        DataError: If it is not a number.
    """
    try:
        score = float(value)
    except (TypeError, ValueError):
        score = math.nan
    if math.isnan(score):
        raise DataError(f"{label_file}, sample {key!r}: the gold score is {value!r}, which is not a number")
    return score

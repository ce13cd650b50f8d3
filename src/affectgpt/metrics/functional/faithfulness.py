"""Labels that stay in an answer though their only evidence is gone: whether a model reads its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from affectgpt.errors import DataError
from affectgpt.metrics.functional.bootstrap import Floats, Summands
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel
from affectgpt.text import clean_label
from affectgpt.types import Labels


@dataclass(frozen=True)
class Faithfulness:
    """Counts over the labels of answers to whole clips.

    Attributes:
        labels: All labels.
        blind: Those that the model names though nothing is shown to it.
        tested: Those of the others with one only evidence: the answer to one input alone has the label, the answers to
            the other inputs alone have not.
        stay: Those of the tested ones that are still there once this input is gone.
    """

    labels: int
    blind: int
    tested: int
    stay: int

    @property
    def share(self) -> float:
        """The share of the tested labels that stay; NaN where none was tested."""
        return self.stay / self.tested if self.tested else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; ``share`` is ``None`` where no label was tested."""
        return {**asdict(self), "share": self.share if self.tested else None}


def unsupported_labels(
    whole: Labels,
    alone: Mapping[str, Labels],
    without: Mapping[str, Labels],
    wheel: EmotionWheel,
    blind: Sequence[str] = (),
) -> list[tuple[str, ...]]:
    """The labels of each answer that stay though their only evidence is gone.

    Args:
        whole: Labels of the answer to each whole clip.
        alone: Name of an input to the labels of the answers to it alone; none for a clip that lacks it.
        without: Name of an input to the labels of the answers to all but it.
        wheel: Labels of one group of its first wheel are the same emotion; a label of no group is its own.
        blind: Labels that the model names though nothing is shown to it: no input is evidence for them.

    Raises:
        DataError: If the inputs or the numbers of clips differ.

    Examples:
        >>> wheel = EmotionWheel.builtin()
        >>> alone = {"sound": [["angry"]], "picture": [["calm"]]}
        >>> unsupported_labels([["furious"]], alone, {"sound": [["mad"]], "picture": [["angry"]]}, wheel)
        [('furious',)]
        >>> unsupported_labels([["furious"]], alone, {"sound": [["calm"]], "picture": [["angry"]]}, wheel)
        [()]
    """
    return [row.stay for row in _sorted(whole, alone, without, wheel, blind)]


def faithfulness(
    whole: Labels,
    alone: Mapping[str, Labels],
    without: Mapping[str, Labels],
    wheel: EmotionWheel,
    blind: Sequence[str] = (),
) -> Faithfulness:
    """Count them; arguments and errors: ``unsupported_labels``."""
    rows = _sorted(whole, alone, without, wheel, blind)
    numbers = (sum(len(labels) for labels in kind) for kind in zip(*rows, strict=True))
    return Faithfulness(sum(map(len, whole)), *(numbers if rows else (0, 0, 0)))


def faithfulness_summands(
    whole: Labels,
    alone: Mapping[str, Labels],
    without: Mapping[str, Labels],
    wheel: EmotionWheel,
    blind: Sequence[str] = (),
) -> Summands:
    """Per clip: the labels with one only evidence, and those of them that stay; the figure is their share.

    Arguments and errors: ``unsupported_labels``.
    """
    rows = [(len(row.tested), len(row.stay)) for row in _sorted(whole, alone, without, wheel, blind)]

    def figure(sums: Floats) -> Floats:
        with np.errstate(invalid="ignore"):  # a resample may have no such label
            share: Floats = sums[..., 1] / sums[..., 0]
        return share

    return Summands(np.asarray(rows, np.float64).reshape(-1, 2), figure)


class _Sorted(NamedTuple):
    """Labels of one answer by what speaks for them."""

    blind: tuple[str, ...]
    tested: tuple[str, ...]
    stay: tuple[str, ...]


def _sorted(
    whole: Labels,
    alone: Mapping[str, Labels],
    without: Mapping[str, Labels],
    wheel: EmotionWheel,
    blind: Sequence[str],
) -> list[_Sorted]:
    if alone.keys() != without.keys():
        raise DataError(f"answers to {sorted(alone)} alone, but to all without {sorted(without)}; give both of each")
    for name, rows in (*alone.items(), *without.items()):
        if len(rows) != len(whole):
            raise DataError(f"{len(whole)} clips, but {len(rows)} answers for the input {name!r}")
    imagined = _emotions(blind, wheel)
    found = []
    for clip, labels in enumerate(whole):
        single = {name: _emotions(rows[clip], wheel) for name, rows in alone.items()}
        rest = {name: _emotions(rows[clip], wheel) for name, rows in without.items()}
        guessed, tested, stay = [], [], []
        for label in labels:
            (emotion,) = _emotions([label], wheel)
            evidence = [name for name, emotions in single.items() if emotion in emotions]
            if emotion in imagined:
                guessed.append(label)
            elif len(evidence) == 1:
                tested.append(label)
                if emotion in rest[evidence[0]]:
                    stay.append(label)
        found.append(_Sorted(tuple(guessed), tuple(tested), tuple(stay)))
    return found


def _emotions(labels: Sequence[str], wheel: EmotionWheel) -> set[str]:
    return {wheel.group(label) or clean_label(label).lower() for label in labels}

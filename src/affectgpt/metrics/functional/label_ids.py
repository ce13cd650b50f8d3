"""Turns lists of labels into flat arrays of label numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from affectgpt.errors import DataError
from affectgpt.metrics.labels import Mode, parse_labels
from affectgpt.metrics.wheel.emotion_wheel import NEUTRAL, EmotionWheel
from affectgpt.text import clean_label

Ints = npt.NDArray[np.int64]

_LISTS = frozenset({list, tuple})


@dataclass(frozen=True)
class LabelBatch:
    """The labels of N samples, one after the other.

    Attributes:
        ids: int64 ``[num_labels]``. Numbers below ``V`` (size of the vocabulary) are known labels; ``V`` is "neutral"
            in mode strict, and numbers above it are unseen labels; -1 is an unseen label in mode official.
        starts: int64 ``[N + 1]``: sample i owns ``ids[starts[i]:starts[i + 1]]``.
    """

    ids: Ints
    starts: Ints

    @property
    def num_samples(self) -> int:
        """Number of samples."""
        return len(self.starts) - 1

    @property
    def rows(self) -> Ints:
        """The sample of each label, int64 ``[num_labels]``."""
        return np.repeat(np.arange(self.num_samples), np.diff(self.starts))


class LabelEncoder:
    """Numbers the labels of predictions and targets together, so that equal unseen labels get equal numbers."""

    def __init__(self, wheel: EmotionWheel, mode: Mode) -> None:
        self._wheel = wheel
        self._mode = mode
        self._ids: dict[Any, int] = {}
        self._unseen: dict[str, int] = {}
        self._parsed: dict[str, list[str]] = {}

    @property
    def unseen(self) -> list[str]:
        """The unseen labels of mode strict, in the order of their numbers."""
        return list(self._unseen)

    def encode(self, samples: Sequence[Any], role: str) -> LabelBatch:
        """Number the labels.

        Args:
            samples: Per sample a list of labels, or a text for ``parse_labels``.
            role: What the samples are, for messages.

        Raises:
            DataError: If an answer or a label is not a text, with the sample's position.
        """
        if all_texts(samples):
            parsed = {text: self._read(text, role, position) for text, position in _first_positions(samples).items()}
            samples = list(map(parsed.__getitem__, samples))
        elif not _LISTS.issuperset(map(type, samples)):
            samples = [s if type(s) in _LISTS else self._parse(s, role, i) for i, s in enumerate(samples)]
        flat = list(chain.from_iterable(samples))
        # Distinct labels are few, so the slow steps run once for each of them.
        distinct = _distinct_texts(flat)
        if distinct is None:
            samples = [s if _distinct_texts(s) is not None else self._parse(s, role, i) for i, s in enumerate(samples)]
            flat = list(chain.from_iterable(samples))
            distinct = set(flat)
        for label in distinct.difference(self._ids):
            self._ids[label] = self._number(label)
        starts = np.zeros(len(samples) + 1, dtype=np.int64)
        np.cumsum(np.fromiter(map(len, samples), dtype=np.int64, count=len(samples)), out=starts[1:])
        return LabelBatch(np.fromiter(map(self._ids.__getitem__, flat), dtype=np.int64, count=len(flat)), starts)

    def _parse(self, sample: Any, role: str, position: int) -> list[str]:
        # Texts repeat, above all in targets with a single label.
        if isinstance(sample, str):
            if sample not in self._parsed:
                self._parsed[sample] = self._read(sample, role, position)
            return self._parsed[sample]
        return self._read(sample, role, position)

    def _read(self, sample: Any, role: str, position: int) -> list[str]:
        try:
            labels = parse_labels(list(sample) if isinstance(sample, tuple) else sample, mode=self._mode)
        except DataError as error:
            raise DataError(f"{role} {position}: {error}") from None
        if _distinct_texts(labels) is None:
            wrong = next(label for label in labels if not isinstance(label, str))
            raise DataError(
                f"{role} {position}: the list {labels!r} holds {wrong!r}, which is not a label; leave it out, or use "
                "mode 'strict'"
            )
        return labels

    def _number(self, label: str) -> int:
        strict = self._mode == "strict"
        found = self._wheel.find(label, fold=strict)
        if found is not None:
            return found
        if not strict:
            return -1
        plain = " ".join(clean_label(label).lower().split())
        size = len(self._wheel.labels)
        return size if plain == NEUTRAL else size + 1 + self._unseen.setdefault(plain, len(self._unseen))


def all_texts(samples: Iterable[Any]) -> bool:
    """Whether every sample is a text."""
    return {str}.issuperset(map(type, samples))


def _first_positions(samples: Sequence[str]) -> dict[str, int]:
    return {text: position for position, text in zip(range(len(samples) - 1, -1, -1), reversed(samples), strict=True)}


def _distinct_texts(labels: Iterable[Any]) -> set[str] | None:
    """The distinct labels, or ``None`` if one is not a text."""
    try:
        distinct = set(labels)
    except TypeError:  # a list among them
        return None
    return distinct if all(isinstance(label, str) for label in distinct) else None

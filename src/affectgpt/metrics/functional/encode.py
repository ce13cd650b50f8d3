"""Turn lists of labels into flat arrays of label numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from affectgpt.errors import DataError
from affectgpt.metrics.labels import Mode, parse_labels
from affectgpt.metrics.wheel import NEUTRAL, EmotionWheel

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LabelBatch:
    """The labels of N samples, one after the other.

    Attributes:
        ids: int64 ``[num_labels]``. Below ``V`` (size of the vocabulary) a known label; ``V`` is "neutral" in mode
            strict; above it unseen labels; -1 an unseen label of mode official.
        starts: int64 ``[N + 1]``: sample i owns ``ids[starts[i]:starts[i + 1]]``.
    """

    ids: Ints
    starts: Ints

    @property
    def num_samples(self) -> int:
        """How many samples there are."""
        return len(self.starts) - 1

    @property
    def rows(self) -> Ints:
        """The sample of each label, int64 ``[num_labels]``."""
        return np.repeat(np.arange(self.num_samples), np.diff(self.starts))


class LabelEncoder:
    """Numbers the labels of predictions and targets alike, so that equal unseen labels get equal numbers."""

    def __init__(self, wheel: EmotionWheel, mode: Mode) -> None:
        self._wheel = wheel
        self._mode = mode
        self._ids: dict[Any, int] = {}
        self._unseen: dict[str, int] = {}

    def encode(self, samples: Sequence[Any], role: str) -> LabelBatch:
        """Number the labels.

        Args:
            samples: Per sample a list of labels, or a text for ``parse_labels``.
            role: What the samples are, for messages.

        Raises:
            DataError: If an answer or a label is not a text, with the sample's position.
        """
        flat: list[str] = []
        lengths = []
        for position, sample in enumerate(samples):
            if not _is_label_list(sample):
                sample = self._parse(sample, role, position)
            lengths.append(len(sample))
            flat += sample
        known = self._ids
        for label in set(flat).difference(known):
            known[label] = self._number(label)
        starts = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=starts[1:])
        return LabelBatch(np.fromiter(map(known.__getitem__, flat), dtype=np.int64, count=len(flat)), starts)

    def _parse(self, sample: Any, role: str, position: int) -> list[str]:
        try:
            labels = parse_labels(sample, mode=self._mode)
        except DataError as error:
            raise DataError(f"{role} {position}: {error}") from None
        wrong = next((label for label in labels if not isinstance(label, str)), None)
        if len(labels) and not all(isinstance(label, str) for label in labels):
            raise DataError(
                f"{role} {position}: the list {labels!r} holds {wrong!r}, which is no label; leave it out, or use "
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
        plain = " ".join(label.lower().split())
        size = len(self._wheel.labels)
        return size if plain == NEUTRAL else size + 1 + self._unseen.setdefault(plain, len(self._unseen))


def _is_label_list(sample: Any) -> bool:
    return isinstance(sample, (list, tuple)) and all(isinstance(label, str) for label in sample)

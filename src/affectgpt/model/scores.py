"""Scores the model's answers against true labels during validation and testing."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from affectgpt.errors import CheckpointError
from affectgpt.types import Prediction

LOGGED = ("f1", "precision", "recall", "coverage")
"""Figures of the wheel score that are logged."""


class StageScores:
    """One wheel score for each stage of the trainer, and the hit rate over samples that have a single true label.

    F1 is 0 if no answer is right. The published 0/0 is NaN, which callbacks take for a broken loss: early stopping
    would end the run, and no more checkpoints would be written.

    Args:
        wheel: ``builtin``, or the folder of the official tables; read at first use.
        may_read: Whether a folder may be read; ``False`` if a model that others stored names it.
    """

    def __init__(self, wheel: str = "builtin", *, may_read: bool = True) -> None:
        self.wheel = wheel
        self.may_read = may_read
        self._scores: dict[str, Any] = {}
        self._hits: dict[str, Any] = {}

    def add(
        self,
        stage: str,
        answers: Sequence[Prediction],
        labels: Sequence[Sequence[str]],
        device: torch.device,
    ) -> None:
        """Add a batch; samples without true labels do not count.

        Args:
            stage: ``"val"`` or ``"test"``.
            answers: The model's answers.
            labels: True labels of the same samples.
            device: Device of the counts, which are summed over ranks.
        """
        pairs = [(answer.labels, gold) for answer, gold in zip(answers, labels, strict=True) if gold]
        self._score(stage).to(device).update([given for given, _ in pairs], [gold for _, gold in pairs])
        single = [(given, gold[0]) for given, gold in pairs if len(gold) == 1]
        self._hits[stage].to(device).update([list(given) for given, _ in single], [gold for _, gold in single])

    def take(self, stage: str, device: torch.device) -> Mapping[str, Tensor]:
        """Return the figures of a stage over all ranks, none if nothing was scored, and reset the stage.

        Args:
            stage: ``"val"`` or ``"test"``.
            device: Device on which the ranks' counts are summed; a rank that scored no sample takes part too.
        """
        score = self._score(stage).to(device)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*was called before the ``update`` method")
            figures = score.compute()
            hits = self._hits[stage].to(device).compute()
        score.reset()
        self._hits[stage].reset()
        if not figures["samples"]:
            return {}
        taken = {name: figures[name] for name in LOGGED}
        return {**taken, "hit_rate": hits["hit_rate"]} if hits["samples"] else taken

    def _score(self, stage: str) -> Any:
        if stage not in self._scores:
            from affectgpt.metrics import EmotionHitRate, EmotionWheel, EmotionWheelScore

            builtin = self.wheel == "builtin"
            if not builtin and not self.may_read:
                raise CheckpointError(
                    f"the stored model scores with the word tables in the folder {self.wheel!r}, which is not read "
                    "because a stored model names it; load the model with allow_import=True if you trust its source"
                )
            wheel = EmotionWheel.builtin() if builtin else EmotionWheel.official(self.wheel)
            self._scores[stage] = EmotionWheelScore(wheel, zero_division=0.0)
            self._hits[stage] = EmotionHitRate(wheel, zero_division=0.0)
        return self._scores[stage]

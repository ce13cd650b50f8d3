"""Scores written preferences between two descriptions while a model is validated or tested."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from affectgpt.metrics.functional.preference import parse_preference
from affectgpt.metrics.preference import PreferenceScore
from affectgpt.prompts.preference import preference_wording
from affectgpt.prompts.template import PromptStyle
from affectgpt.types import Batch, Prediction

LOGGED = {"weighted_f1": "preference_f1", "accuracy": "preference_accuracy"}
"""Figures of the score that are logged, and what they are called there."""


class StagePreferences:
    """One preference score for each stage of the trainer, in mode ``strict``: an answer of ``same`` is no a1."""

    def __init__(self) -> None:
        self._scores: dict[str, PreferenceScore] = {}

    def add(
        self, stage: str, answers: Sequence[Prediction], target: Sequence[str | None], device: torch.device
    ) -> None:
        """Add a batch; samples without a true preference do not count.

        Args:
            stage: ``"val"`` or ``"test"``.
            answers: The model's answers.
            target: ``a1``, ``a2`` or ``same`` of the same samples, or ``None``.
            device: Where the counts are kept, for ranks to be summed.
        """
        pairs = [(answer.text, true) for answer, true in zip(answers, target, strict=True) if true is not None]
        self._score(stage).to(device).update([text for text, _ in pairs], [true for _, true in pairs])

    def take(self, stage: str, device: torch.device) -> Mapping[str, Tensor]:
        """The figures of a stage over all ranks, none if nothing was scored; the stage starts afresh."""
        score = self._score(stage).to(device)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*was called before the ``update`` method")
            figures = score.compute()
        score.reset()
        if not figures["samples"]:
            return {}
        return {shown: figures[name] for name, shown in LOGGED.items()}

    def _score(self, stage: str) -> PreferenceScore:
        return self._scores.setdefault(stage, PreferenceScore(mode="strict"))


def preference_targets(batch: Batch, style: PromptStyle) -> list[str | None]:
    """The true preference of each sample that was asked for one; ``None`` for others."""
    wording = preference_wording(style)
    answers = batch.answers or (None,) * len(batch)
    return [
        parse_preference(answer) if answer is not None and wording.asks(question) else None
        for question, answer in zip(batch.questions, answers, strict=True)
    ]

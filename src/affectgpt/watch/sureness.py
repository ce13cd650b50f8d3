"""How sure a model is of an answer: by the probability of its words, and by whether it says the same again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from affectgpt.errors import ConfigError
from affectgpt.llm.answer_sampling import AnswerSampling
from affectgpt.metrics import EmotionWheel, parse_labels
from affectgpt.model.answer import predictions_of
from affectgpt.part import in_eval_mode
from affectgpt.training.halving import in_halves
from affectgpt.types import Batch, Prediction


@dataclass(frozen=True)
class Sureness:
    """What speaks for an answer.

    Attributes:
        likelihood: Geometric mean of the probabilities of the answer's tokens, in (0, 1].
        agreement: Mean overlap of the labels with those of answers drawn at random, in [0, 1]; ``None`` if none were.
    """

    likelihood: float
    agreement: float | None = None

    @property
    def raw(self) -> float:
        """One number without calibration: the likelihood, or its geometric mean with the agreement."""
        return self.likelihood if self.agreement is None else (self.likelihood * self.agreement) ** 0.5


@dataclass(frozen=True)
class Asking:
    """How clips are answered.

    Attributes:
        num_drawn: Answers drawn at random for each clip, to see whether they agree; 0 for none.
        temperature: Of these.
        seed: Of these.
        max_new_tokens: Longest answer; the model's own limit by default.

    Raises:
        ConfigError: If a number is out of range.
    """

    num_drawn: int = 0
    temperature: float = 0.7
    seed: int = 0
    max_new_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.num_drawn < 0 or not self.temperature > 0:
            raise ConfigError(
                f"{self.num_drawn} drawn answers at temperature {self.temperature}; give 0 or more, above 0"
            )


def answer_surely(model: Any, batch: Batch, asking: Asking) -> list[tuple[Prediction, Sureness]]:
    """Answer a batch greedily, and say how sure each answer is.

    Where the device's memory does not hold the batch, halves of it are answered.

    Args:
        model: An ``AffectGPT``.
        batch: Clips and questions, on any device.
        asking: How.

    Raises:
        DataError: If the device's memory does not hold one clip.
    """

    def some(cut: slice) -> list[tuple[Prediction, Sureness]]:
        return _answer(model, batch.rows(range(cut.start, cut.stop)), asking)

    with torch.no_grad(), in_eval_mode(model):
        return in_halves(some, batch.keys, model.device)


def overlap(labels: Sequence[str], others: Sequence[str], wheel: EmotionWheel | None = None) -> float:
    """F1 of two lists of labels by the groups of the built-in wheel; words that it does not know count as themselves.

    Two empty lists are equal.

    Examples:
        >>> overlap(["joyful", "tense"], ["happy"]), overlap([], []), overlap(["sad"], [])
        (0.6666666666666666, 1.0, 0.0)
    """
    wheel = wheel or EmotionWheel.builtin()
    first, second = ({wheel.group(word) or word for word in words} for words in (labels, others))
    if not first and not second:
        return 1.0
    return 2 * len(first & second) / (len(first) + len(second))


def _answer(model: Any, batch: Batch, asking: Asking) -> list[tuple[Prediction, Sureness]]:
    longest = asking.max_new_tokens or model.max_new_tokens
    moved = batch.to(model.device)
    out = model(moved, longest)
    seen = replace(moved, features={**moved.features, **(out.features or {})})  # encoders need not run again
    # a group of one answer to each clip
    ids = tuple((tuple(row[kept].tolist()),) for row, kept in zip(out.written.ids, out.written.keep, strict=True))
    judged = model(replace(seen, answer_ids=ids))
    likelihoods = (-judged.sample_losses / judged.sample_tokens.clamp(min=1)).exp().tolist()
    greedy = [parse_labels(text) for text in out.texts]
    agreements: list[float | None] = [None] * len(batch)
    if asking.num_drawn:
        sampling = AnswerSampling(temperature=asking.temperature, num_answers=asking.num_drawn, seed=asking.seed)
        drawn = model(seen, longest, sampling=sampling).texts
        groups = [drawn[row * asking.num_drawn : (row + 1) * asking.num_drawn] for row in range(len(batch))]
        agreements = [
            sum(overlap(labels, parse_labels(text)) for text in texts) / len(texts)
            for labels, texts in zip(greedy, groups, strict=True)
        ]
    sure = [Sureness(*values) for values in zip(likelihoods, agreements, strict=True)]
    return list(zip(predictions_of(model, batch, out), sure, strict=True))

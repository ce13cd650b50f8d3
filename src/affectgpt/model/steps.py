"""What a model does in the trainer's steps: the loss of a whole step, the scores of a stage, and what is logged."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from affectgpt.errors import ConfigError
from affectgpt.model.answer import answer_batch
from affectgpt.model.objective import Objective
from affectgpt.model.preference_scores import StagePreferences, preference_targets
from affectgpt.model.scores import StageScores
from affectgpt.training.step_loss import DataRanks, LossMean, closure_of_mean, mean_of
from affectgpt.types import Batch

EXAMPLES = "examples.jsonl"
NUM_EXAMPLES = 8
"""Answers of a validation that are written down, the first ones of the first rank: the same clips each time."""


@dataclass
class Seen:
    """What was learnt from since somebody last looked, on this rank; not frozen, it is added up.

    Attributes:
        samples: Samples.
        tokens: Their tokens, placeholders included.
    """

    samples: int = 0
    tokens: int = 0

    def begin(self) -> None:
        """Begin anew."""
        self.samples = self.tokens = 0


class Steps:
    """The steps of one model; the module hands Lightning's calls on to them.

    Args:
        loss: What the loss is a mean of, see ``LossMean``.
        wheel: Vocabulary of the scores, see ``StageScores``.
        may_read: See ``StageScores``.
        answered_val_batches: See ``AffectGPT``.

    Raises:
        ConfigError: If there is no such mean, or a number is below 0.
    """

    def __init__(self, loss: str, wheel: str, *, may_read: bool, answered_val_batches: int | None = None) -> None:
        if answered_val_batches is not None and answered_val_batches < 0:
            raise ConfigError(f"answered_val_batches={answered_val_batches}, but must be at least 0, or left out")
        self.answered_val_batches = answered_val_batches
        self.loss = LossMean(loss)
        self._stage_losses = {stage: LossMean(loss) for stage in ("val", "test")}
        self.scores = StageScores(wheel, may_read=may_read)
        self._examples: list[dict[str, Any]] = []
        self.seen = Seen()
        self.preferences = StagePreferences()
        self.objective: Objective | None = None

    def callbacks(self) -> Sequence[lightning.Callback]:
        """What the objective asks the trainer to call."""
        return () if self.objective is None else self.objective.callbacks()

    def train(self, model: Any, batch: Batch) -> Tensor | None:
        """What the backward pass of a batch begins from; ``None`` where the objective has done it.

        Args:
            model: An ``AffectGPT``.
            batch: Clips with answers.

        Raises:
            ConfigError: If the batch has no answers.
        """
        if self.objective is not None:
            return self.objective.train(model, batch)
        out = model(leave_out(model, batch))
        if out.sample_losses is None:
            raise ConfigError("a training batch needs answers; the datamodule was asked for none")
        if any(out.is_cut):
            model.log("train/cut_subtitles", float(sum(out.is_cut)), reduce_fx="sum", batch_size=len(batch))
        self.seen.samples += len(batch)
        self.seen.tokens += out.num_positions - out.num_padding
        # a number of the CPU: Lightning would wait for a Python number on its way to the device
        padding = torch.tensor(out.num_padding / max(1, out.num_positions))
        model.log("train/padding_saved" if model.network.packing else "train/padding", padding, batch_size=len(batch))
        return self.loss.add(out.sample_losses, out.sample_tokens)

    def closure(self, model: Any, closure: Callable[[], Any]) -> Callable[[], Any]:
        """See ``closure_of_mean``; an objective takes care of its gradients itself."""
        return closure if self.objective is not None else closure_of_mean(model, self.loss, closure)

    def evaluate(self, model: Any, stage: str, batch: Batch, number: int) -> None:
        """Loss and answers of one batch.

        Args:
            model: An ``AffectGPT``.
            stage: ``"val"`` or ``"test"``.
            batch: Clips; without answers there is no loss, without true labels no score.
            number: Of the batch in the stage, the same on all ranks.
        """
        if batch.answers is not None:
            out = model(batch)
            self._stage_losses[stage].add(out.sample_losses, out.sample_tokens)
        if stage == "val" and self.answered_val_batches is not None and number >= self.answered_val_batches:
            return
        asked = [question == model.style.label_question for question in batch.questions]
        gold = [labels if there else () for labels, there in zip(batch.labels, asked, strict=False)]
        preferred = preference_targets(batch, model.style)
        # sharded ranks write together, or not at all
        if any(gold) or any(preferred) or model.network.is_sharded:
            answers, gold = answer_batch(model, batch), gold or [()] * len(batch)
            self.scores.add(stage, answers, gold, model.device)
            self.preferences.add(stage, answers, preferred, model.device)
            for answer, labels, better in zip(answers, gold, preferred, strict=False):
                if len(self._examples) < NUM_EXAMPLES:
                    true = list(labels) or ([better] if better else [])
                    self._examples.append({"key": answer.key, "labels": true, "answer": answer.text})

    def finish(self, model: Any, stage: str) -> None:
        """Log the loss and the scores of a stage over all ranks; the stage starts afresh."""
        sums = self._stage_losses[stage].take(model.device, DataRanks.of(model))
        if sums[1] > 0:
            model.log(f"{stage}/loss", mean_of(sums), prog_bar=True)
        for scores in (self.scores, self.preferences):
            for name, value in scores.take(stage, model.device).items():
                model.log(f"{stage}/{name}", value.float(), prog_bar=name in ("f1", "preference_f1"))
        examples, self._examples = self._examples, []
        if not model.trainer.sanity_checking:
            write_examples(model.trainer, stage, examples)


def leave_out(model: Any, batch: Batch) -> Batch:
    """A training batch without what the model's ``modality_dropout`` takes; the shares that it took are logged."""
    if model.modality_dropout is None:
        return batch
    found = model.modality_dropout(batch, model.specs, shows_words="subtitle" in model.slots)
    for name, share in found.shares.items():
        model.log(f"train/without_{name}", torch.tensor(share), batch_size=len(batch))
    left: Batch = found.batch
    return left


def write_examples(trainer: Any, stage: str, examples: Sequence[Mapping[str, Any]]) -> None:
    """Add answers of a stage to ``examples.jsonl`` in the log folder, and to loggers that take texts.

    Args:
        trainer: The trainer; every rank must call it.
        stage: ``"val"`` or ``"test"``.
        examples: Plain JSON each: key, true labels and answer.
    """
    folder = trainer.log_dir or trainer.default_root_dir  # every rank must ask
    if not (examples and trainer.loggers and trainer.is_global_zero) or "://" in str(folder):
        return
    path = Path(folder, EXAMPLES)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for example in examples:
            line = {"step": trainer.global_step, "stage": stage, **example}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    text = "\n\n".join(f"{e['key']} ({', '.join(e['labels'])}): {e['answer']}" for e in examples)
    for logger in trainer.loggers:
        if hasattr(logger, "log_text"):  # wandb, trackio
            rows = [[e["key"], ", ".join(e["labels"]), e["answer"]] for e in examples]
            logger.log_text(f"{stage}/answers", ["clip", "labels", "answer"], rows, step=trainer.global_step)
        elif hasattr(logger.experiment, "add_text"):  # tensorboard
            logger.experiment.add_text(f"{stage}/answers", text, trainer.global_step)

"""What a model does in the trainer's steps: the loss of a whole step, the scores of a stage, and what is logged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from affectgpt.errors import ConfigError
from affectgpt.model.answer import answer_batch
from affectgpt.model.scores import StageScores
from affectgpt.training.step_loss import DataRanks, LossMean, mean_of, scale_gradients
from affectgpt.types import Batch


class Steps:
    """The steps of one model; the module hands Lightning's calls on to them.

    Args:
        loss: What the loss is a mean of, see ``LossMean``.
        wheel: Vocabulary of the scores, see ``StageScores``.
        may_read: See ``StageScores``.

    Raises:
        ConfigError: If there is no such mean.
    """

    def __init__(self, loss: str, wheel: str, *, may_read: bool) -> None:
        self.loss = LossMean(loss)
        self._stage_losses = {stage: LossMean(loss) for stage in ("val", "test")}
        self._scores = StageScores(wheel, may_read=may_read)

    def train(self, model: Any, batch: Batch) -> Tensor:
        """What the backward pass of a batch begins from.

        Args:
            model: An ``AffectGPT``.
            batch: Clips with answers.

        Raises:
            ConfigError: If the batch has no answers.
        """
        out = model(batch)
        if out.sample_losses is None:
            raise ConfigError("a training batch needs answers; the datamodule was asked for none")
        if out.num_cut:
            model.log("train/cut_subtitles", float(out.num_cut), reduce_fx="sum", batch_size=len(batch))
        # a number of the CPU: Lightning would wait for a Python number on its way to the device
        padding = torch.tensor(out.num_padding / max(1, out.num_positions))
        model.log("train/padding_saved" if model.network.packing else "train/padding", padding, batch_size=len(batch))
        return self.loss.add(out.sample_losses, out.sample_tokens)

    def closure(self, model: Any, closure: Callable[[], Any]) -> Callable[[], Any]:
        """A closure for the optimiser that leaves the gradients of the step's loss, and logs it.

        It runs after the last backward pass of a step, before anything reads, clips or takes the gradients.

        Args:
            model: An ``AffectGPT`` in training.
            closure: Lightning's own: the forward and backward pass of the step's last batch.
        """

        def scaled() -> Any:
            result = closure()
            ranks = DataRanks.of(model)
            sums = self.loss.take(model.device, ranks)
            batches = ranks.number * model.trainer.accumulate_grad_batches
            scale_gradients(model.parameters(), sums, self.loss.kind, batches)
            model.log("train/loss", mean_of(sums), prog_bar=True)
            return result

        return scaled

    def evaluate(self, model: Any, stage: str, batch: Batch) -> None:
        """Loss and answers of one batch.

        Args:
            model: An ``AffectGPT``.
            stage: ``"val"`` or ``"test"``.
            batch: Clips; without answers there is no loss, without true labels no score.
        """
        if batch.answers is not None:
            out = model(batch)
            self._stage_losses[stage].add(out.sample_losses, out.sample_tokens)
        asked = [question == model.style.label_question for question in batch.questions]
        gold = [labels if there else () for labels, there in zip(batch.labels, asked, strict=False)]
        if any(gold) or model.network.is_sharded:  # sharded ranks write together, or not at all
            self._scores.add(stage, answer_batch(model, batch), gold or [()] * len(batch), model.device)

    def finish(self, model: Any, stage: str) -> None:
        """Log the loss and the scores of a stage over all ranks; the stage starts afresh."""
        sums = self._stage_losses[stage].take(model.device, DataRanks.of(model))
        if sums[1] > 0:
            model.log(f"{stage}/loss", mean_of(sums), prog_bar=True)
        for name, value in self._scores.take(stage, model.device).items():
            model.log(f"{stage}/{name}", value.float(), prog_bar=name == "f1")

"""Group-relative policy optimisation: the model learns from the rewards of its own answers.

``P`` clips, ``G`` answers to each, ``N = P * G`` answers, ``A`` tokens of the longest answer.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import lightning
import torch
from torch import Tensor

from affectgpt.errors import ConfigError
from affectgpt.llm.answer_sampling import AnswerSampling
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel
from affectgpt.model.objective import Objective
from affectgpt.part import in_eval_mode
from affectgpt.post_training.reference import REFERENCES, Reference
from affectgpt.post_training.reward_watch import RewardWatch, answer_figures
from affectgpt.post_training.rollouts import Rollouts, answer_logprobs, without_dropout, write_rollouts
from affectgpt.training.policy_loss import group_advantages, has_spread, policy_loss, variant_of
from affectgpt.training.rewards import RewardMix
from affectgpt.training.step_loss import DataRanks
from affectgpt.types import Batch

log = logging.getLogger(__name__)


class Grpo(Objective):
    """Learns from rewards; give it to ``learn_by``.

    For every clip a group of answers is drawn, each is rated, and what it earned above the mean of its group weighs
    the log-probabilities of its tokens (DeepSeekMath, arXiv 2402.03300; with the wheel as reward: AffectGPT-R1,
    arXiv 2508.01318). A step takes care of its own updates, so the trainer's ``accumulate_grad_batches`` and
    ``gradient_clip_val`` stay at their defaults.

    Args:
        rewards: What is rewarded, see ``RewardMix``.
        group_size: Answers to a clip, G.
        temperature: See ``AnswerSampling``; the policy that is trained is that of temperature 1.
        top_p: See ``AnswerSampling``.
        max_new_tokens: Longest answer; the model's own limit by default.
        variant: ``grpo``, ``dr-grpo`` or ``dapo``.
        kl_weight: Weight of the KL divergence from the reference; with 0 there is no reference.
        reference: ``start``: the weights at the beginning, of which a copy of the trained ones is kept.
            ``adapters-off``: the model without its adapters, which costs no memory.
        num_updates: Optimiser steps for each batch of answers; from the second on the ratios differ from 1.
        answers_per_pass: Answers in one forward and backward pass; all of a batch by default.
        normalises_each: Whether every reward is normalised within its group by itself before they are weighted and
            added (MER-R1, arXiv 2606.27652), rather than their weighted sum.
        clip_norm: Largest norm of the gradient; ``None`` for no clipping.
        watch_steps: Steps in each of the two windows between which a rise by length alone is looked for.

    Raises:
        ConfigError: If a setting is out of its range, or a reward or a variant is unknown.
    """

    is_automatic = False

    def __init__(
        self,
        rewards: Mapping[str, Mapping[str, Any] | str],
        group_size: int = 8,
        temperature: float = 1.0,
        top_p: float = 1.0,
        max_new_tokens: int | None = None,
        variant: str = "grpo",
        kl_weight: float = 0.04,
        reference: str = "start",
        num_updates: int = 1,
        answers_per_pass: int | None = None,
        normalises_each: bool = False,
        clip_norm: float | None = 1.0,
        watch_steps: int = 20,
    ) -> None:
        for name, value, least in (
            ("group_size", group_size, 2),
            ("num_updates", num_updates, 1),
            ("watch_steps", watch_steps, 1),
            ("answers_per_pass", 1 if answers_per_pass is None else answers_per_pass, 1),
        ):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(f"grpo: {name} is {value!r}; expected a whole number from {least}")
        if temperature <= 0:
            raise ConfigError(f"grpo: temperature is {temperature!r}; give more than 0, or all answers are the same")
        if kl_weight < 0 or (clip_norm is not None and clip_norm <= 0):
            raise ConfigError(f"grpo: kl_weight is {kl_weight!r} and clip_norm {clip_norm!r}; expected numbers above 0")
        if reference not in REFERENCES:
            raise ConfigError(f"grpo: reference is {reference!r}; choose one of {', '.join(REFERENCES)}")
        self.sampling = AnswerSampling(temperature=temperature, top_p=top_p, num_answers=group_size)
        self.max_new_tokens = max_new_tokens
        self.variant = variant_of(variant)
        self.kl_weight = kl_weight
        self.num_updates = num_updates
        self.answers_per_pass = answers_per_pass
        self.normalises_each = normalises_each
        self.clip_norm = clip_norm
        self.rewards = RewardMix(rewards)
        self.reference = Reference(reference) if kl_weight else None
        self.watch = RewardWatch(watch_steps)
        self._warned = False

    def callbacks(self) -> Sequence[lightning.Callback]:
        """What keeps the reference and the watch in checkpoints."""
        return [GrpoState(self.reference, self.watch)]

    def train(self, model: Any, batch: Batch) -> None:
        """Draw answers, rate them, and take the optimiser steps.

        Args:
            model: An ``AffectGPT`` in training.
            batch: Clips with true labels.

        Raises:
            ConfigError: If a clip has no true label.
        """
        unlabelled = [key for key, labels in zip(batch.keys, batch.labels, strict=True) if not labels]
        if unlabelled or not batch.labels:
            raise ConfigError(f"grpo: sample {(unlabelled or batch.keys)[0]!r} has no true label to be rewarded for")
        longest = self.max_new_tokens or model.max_new_tokens
        with in_eval_mode(model):
            rollouts = write_rollouts(model, batch, self.sampling, longest)
        rated = self.rewards(rollouts.answers)
        rewards_PG = self.rewards.add(rated).view(len(batch), -1)
        teaches_P = has_spread(rewards_PG)
        advantages_N = self._advantages(rated, rewards_PG).flatten().to(model.device)
        self._log_answers(model, rollouts, rated, rewards_PG, teaches_P)
        if not _anywhere(model, bool(teaches_P.any())):
            return  # a step would only move the weights by their decay and the old moments
        with without_dropout(model):
            old_NA, reference_NA = self._before(model, rollouts)
            num_tokens = _mean_over_ranks(model, int(rollouts.keep.sum()))
            for _ in range(self.num_updates):
                self._update(model, rollouts, advantages_N, old_NA, reference_NA, num_tokens, longest)

    def _advantages(self, rated: Mapping[str, Tensor], rewards_PG: Tensor) -> Tensor:
        scales = self.variant.scales
        if not self.normalises_each:
            return group_advantages(rewards_PG, scales=scales)
        each = {name: group_advantages(values.view_as(rewards_PG), scales=scales) for name, values in rated.items()}
        return self.rewards.add(each)

    @torch.no_grad()
    def _before(self, model: Any, rollouts: Rollouts) -> tuple[Tensor | None, Tensor | None]:
        """Log-probabilities ``[N, A]`` under the weights that wrote the answers, and under the reference.

        ``None``: those of the single update itself, or no reference.
        """
        old = None if self.num_updates == 1 else self._all_logprobs(model, rollouts)
        if self.reference is None:
            return old, None
        with self.reference.in_place(model):
            return old, self._all_logprobs(model, rollouts)

    def _all_logprobs(self, model: Any, rollouts: Rollouts) -> Tensor:
        return torch.cat([answer_logprobs(model, rollouts, rows) for rows in self._pieces(rollouts)])

    def _pieces(self, rollouts: Rollouts) -> list[slice]:
        return list(rollouts.pieces(self.answers_per_pass or len(rollouts.ids)))

    def _update(
        self,
        model: Any,
        rollouts: Rollouts,
        advantages_N: Tensor,
        old_NA: Tensor | None,
        reference_NA: Tensor | None,
        num_tokens: float,
        longest: int,
    ) -> None:
        """One optimiser step."""
        optimizer = model.optimizers()
        keep_NA = rollouts.keep.to(model.device)
        clipped, kl = torch.zeros((), device=model.device), torch.zeros((), device=model.device)
        for rows in self._pieces(rollouts):
            new_NA = answer_logprobs(model, rollouts, rows)
            found = policy_loss(
                new_NA,
                new_NA.detach() if old_NA is None else old_NA[rows],
                advantages_N[rows],
                keep_NA[rows],
                self.variant,
                num_answers=len(keep_NA),
                num_tokens=num_tokens,
                longest=longest,
                reference=None if reference_NA is None else reference_NA[rows],
                kl_weight=self.kl_weight,
            )
            model.manual_backward(found.loss)
            share = keep_NA[rows].sum() / keep_NA.sum()
            clipped, kl = clipped + share * found.clipped, kl + share * found.kl
        if self.clip_norm is not None:
            model.clip_gradients(optimizer, gradient_clip_val=self.clip_norm, gradient_clip_algorithm="norm")
        optimizer.step()
        optimizer.zero_grad()
        model.lr_schedulers().step()
        model.log("train/clipped_ratios", clipped, batch_size=len(rollouts.batch))
        if self.reference is not None:
            model.log("train/kl", kl, batch_size=len(rollouts.batch))

    def _log_answers(
        self, model: Any, rollouts: Rollouts, rated: Mapping[str, Tensor], rewards_PG: Tensor, teaches_P: Tensor
    ) -> None:
        """Log each reward alone, and what tells whether the sum is earned."""
        answers = rollouts.answers
        figures = {
            "train/reward": float(rewards_PG.mean()),
            **{f"reward/{name}": float(values.mean()) for name, values in rated.items()},
            "train/groups_without_spread": float((~teaches_P).sum()),
            "answers/tokens": sum(answers.num_tokens) / len(answers),
            "answers/ended": sum(answers.ended) / len(answers),
            **{f"answers/{name}": value for name, value in answer_figures(answers, EmotionWheel.builtin()).items()},
        }
        found = self.watch.add(answers, rewards_PG.flatten().tolist())
        if found is not None:
            figures["watch/rise"] = found.rise
            figures["watch/rise_at_equal_length"] = found.matched
            figures["watch/only_longer"] = float(found.is_length)
            if found.is_length and not self._warned:
                self._warned = True
                log.warning(
                    "the reward rose by %.3f while answers grew by %.1f labels; among answers with equally many labels "
                    "it rose by %.3f: length alone may be what is learnt. Add a length or label-count penalty, or "
                    "reward the precision",
                    *(found.rise, found.longer, found.matched),
                )
        for name, value in figures.items():
            if math.isfinite(value):
                model.log(name, value, prog_bar=name == "train/reward", batch_size=len(rollouts.batch))


class GrpoState(lightning.Callback):
    """Stores what a resumed run goes on with, and notes the reference before the first step.

    Args:
        reference: The reference of the run, if it has one.
        watch: The watch of the run.
    """

    def __init__(self, reference: Reference | None, watch: RewardWatch) -> None:
        self.reference = reference
        self.watch = watch

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Take the weights for the reference, unless a checkpoint brought one."""
        if self.reference is not None:
            self.reference.remember(pl_module)

    def state_dict(self) -> dict[str, Any]:
        """The reference's weights, and the windows of the watch."""
        return {"reference": {} if self.reference is None else self.reference.state(), "watch": self.watch.state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        if self.reference is not None:
            self.reference.restore(state_dict["reference"])
        self.watch.restore(state_dict["watch"])


def _anywhere(model: Any, here: bool) -> bool:
    """Whether it is so on any rank; the ranks must step together."""
    return _mean_over_ranks(model, int(here)) > 0


def _mean_over_ranks(model: Any, value: int) -> float:
    ranks = DataRanks.of(model)
    if ranks.number == 1:
        return value
    total = torch.tensor(float(value), device=model.device)
    torch.distributed.all_reduce(total, group=ranks.group)
    return float(total) / ranks.number

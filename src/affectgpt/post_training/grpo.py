"""Group-relative policy optimisation: the model learns from the rewards of its own answers.

``P`` clips, ``G`` answers to each, ``N = P * G`` answers, ``A`` tokens of the longest answer.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

import lightning
import torch
from torch import Tensor

from affectgpt.errors import ConfigError
from affectgpt.llm.answer_sampling import AnswerSampling
from affectgpt.metrics.functional.faithfulness import unsupported_labels
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel
from affectgpt.model.objective import Objective
from affectgpt.part import in_eval_mode
from affectgpt.post_training.clip_views import answer_views, check_way
from affectgpt.post_training.optimizer_step import take_step
from affectgpt.post_training.rank_exchange import gathered, over_ranks
from affectgpt.post_training.reference import Reference, ReferenceState
from affectgpt.post_training.reward_watch import RewardWatch, label_figures, labels_and_rewards
from affectgpt.post_training.rollouts import Piece, Rollouts, answer_pass, without_dropout, write_rollouts
from affectgpt.training.policy_loss import group_advantages, has_spread, policy_loss, variant_of
from affectgpt.training.rewards import RatedAnswers, RewardMix
from affectgpt.training.step_loss import DataRanks
from affectgpt.types import Batch, Labels

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
        evidence: How a clip's inputs are taken away for the reward ``faithfulness``: ``mask`` or ``swap``.

    Raises:
        ConfigError: If a setting is out of its range, or a reward or a variant is unknown.
    """

    is_automatic = False
    learns: ClassVar[str] = "rewards of its own answers (group-relative policy optimisation)"

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
        evidence: str = "mask",
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
        self.sampling = AnswerSampling(temperature=temperature, top_p=top_p, num_answers=group_size)
        self.max_new_tokens = max_new_tokens
        self.variant, self.variant_name = variant_of(variant), variant
        self.kl_weight = kl_weight
        self.num_updates = num_updates
        self.answers_per_pass = answers_per_pass
        self.normalises_each = normalises_each
        self.clip_norm = clip_norm
        self.rewards = RewardMix(rewards)
        anchor = Reference(reference)
        self.reference = anchor if kl_weight else None
        self.watch = RewardWatch(watch_steps)
        self.evidence = check_way(evidence)
        self._warned = False

    def settings(self) -> Mapping[str, Any]:
        """The rewards with their weights, how answers are drawn, and what else decides the loss."""
        found: dict[str, Any] = {
            "rewards": self.rewards.to_json(),
            "variant": self.variant_name,
            "group_size": self.sampling.num_answers,
            "temperature": self.sampling.temperature,
            "top_p": self.sampling.top_p,
            "max_new_tokens": self.max_new_tokens,
            "kl_weight": self.kl_weight,
            "reference": None if self.reference is None else self.reference.kind,
            "num_updates": self.num_updates,
            "normalises_each": self.normalises_each,
            "clip_norm": self.clip_norm,
            "evidence": self.evidence if self.rewards.needs_views else None,
        }
        return {name: value for name, value in found.items() if value is not None}

    def callbacks(self) -> Sequence[lightning.Callback]:
        """What keeps the reference and the watch in checkpoints."""
        return [ReferenceState(self.reference), WatchState(self.watch)]

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
            if self.rewards.needs_views:
                rollouts = self._with_unsupported(model, rollouts, longest)
        rated = self.rewards(rollouts.answers)
        rewards_PG = self.rewards.add(rated).view(len(batch), -1)
        teaches_P = has_spread(rewards_PG)
        advantages_N = self._advantages(rated, rewards_PG).flatten().to(model.device)
        self._log_answers(model, rollouts, rated, rewards_PG, teaches_P)
        model.steps.seen.samples += len(batch)
        taught = teaches_P.nonzero().flatten().tolist()
        work = self._share(model, rollouts, taught)
        if work.num_answers == 0:
            return  # a step would only move the weights by their decay and the old moments
        with without_dropout(model):
            old, reference = self._before(model, rollouts, work)
            for _ in range(self.num_updates):
                self._update(model, rollouts, work, advantages_N, old, reference, longest)

    def _with_unsupported(self, model: Any, rollouts: Rollouts, longest: int) -> Rollouts:
        """The same with the labels that stay though their only evidence is gone."""
        views = answer_views(model, rollouts.batch, self.evidence, longest)
        group = rollouts.group_size

        def repeated(rows: Labels) -> list[Sequence[str]]:
            return [row for row in rows for _ in range(group)]

        alone, without = (
            {name: repeated(rows) for name, rows in found.items()} for found in (views.alone, views.without)
        )
        stay = unsupported_labels(rollouts.answers.labels, alone, without, EmotionWheel.builtin(), views.blind)
        return replace(rollouts, answers=replace(rollouts.answers, unsupported=tuple(stay)))

    def _advantages(self, rated: Mapping[str, Tensor], rewards_PG: Tensor) -> Tensor:
        scales = self.variant.scales
        if not self.normalises_each:
            return group_advantages(rewards_PG, scales=scales)
        each = {name: group_advantages(values.view_as(rewards_PG), scales=scales) for name, values in rated.items()}
        return self.rewards.add(each)

    def _share(self, model: Any, rollouts: Rollouts, taught: Sequence[int]) -> Work:
        """What this rank learns from: the groups with spread, in as many pieces as the rank with the most has."""
        pieces = rollouts.pieces(self.answers_per_pass, taught)
        num_answers = len(taught) * rollouts.group_size
        num_tokens = int(rollouts.keep.view(len(rollouts.batch), -1)[taught].sum())
        ranks = DataRanks.of(model)
        totals = over_ranks(ranks, [num_answers, num_tokens], model.device)
        most = over_ranks(ranks, [len(pieces)], model.device, highest=True)
        idle = [Piece((0,), slice(0, 1))] * (int(most[0]) - len(pieces))
        return Work([*pieces, *idle], len(pieces), totals[0] / ranks.number, totals[1] / ranks.number)

    @torch.no_grad()
    def _before(self, model: Any, rollouts: Rollouts, work: Work) -> tuple[list[Tensor] | None, list[Tensor] | None]:
        """Log-probabilities ``[N', A]`` of each piece under the weights that wrote the answers, and the reference.

        ``None``: those of the single update itself, or no reference.
        """
        old = None if self.num_updates == 1 else [answer_pass(model, rollouts, piece).logprobs for piece in work.pieces]
        if self.reference is None:
            return old, None
        with self.reference.in_place(model):
            return old, [answer_pass(model, rollouts, piece).logprobs for piece in work.pieces]

    def _update(
        self,
        model: Any,
        rollouts: Rollouts,
        work: Work,
        advantages_N: Tensor,
        old: Sequence[Tensor] | None,
        reference: Sequence[Tensor] | None,
        longest: int,
    ) -> None:
        """One optimiser step."""
        clipped, kl = torch.zeros((), device=model.device), torch.zeros((), device=model.device)

        def loss_of(number: int) -> Tensor:
            nonlocal clipped, kl
            rows = rollouts.rows(work.pieces[number])
            done = answer_pass(model, rollouts, work.pieces[number])
            model.steps.seen.tokens += done.num_tokens
            found = policy_loss(
                done.logprobs,
                done.logprobs.detach() if old is None else old[number],
                advantages_N[rows.to(model.device)],
                rollouts.keep[rows].to(model.device),
                self.variant,
                num_answers=work.num_answers,
                num_tokens=work.num_tokens,
                longest=longest,
                reference=None if reference is None else reference[number],
                kl_weight=self.kl_weight,
            )
            counts = number < work.num_own
            share = counts * float(rollouts.keep[rows].sum()) / work.num_tokens
            clipped, kl = clipped + share * found.clipped, kl + share * found.kl
            return found.loss if counts else 0 * found.loss

        take_step(model, [partial(loss_of, number) for number in range(len(work.pieces))], self.clip_norm)
        model.log("train/clipped_ratios", clipped, batch_size=len(rollouts.batch))
        if self.reference is not None:
            model.log("train/kl", kl, batch_size=len(rollouts.batch))

    def _log_answers(
        self, model: Any, rollouts: Rollouts, rated: Mapping[str, Tensor], rewards_PG: Tensor, teaches_P: Tensor
    ) -> None:
        """Log each reward alone, and what tells whether the sum is earned."""
        answers, ranks = rollouts.answers, DataRanks.of(model)
        own = {
            "train/reward": float(rewards_PG.mean()),
            **{f"reward/{name}": float(values.mean()) for name, values in rated.items()},
            "train/groups_without_spread": float((~teaches_P).sum()),
            "answers/tokens": sum(answers.num_tokens) / len(answers),
            "answers/ended": sum(answers.ended) / len(answers),
            **{f"answers/{name}": value for name, value in self._beside(answers).items()},
        }
        sums = over_ranks(ranks, list(own.values()), model.device)
        figures = {name: value / ranks.number for name, value in zip(own, sums, strict=True)}
        figures["train/groups_without_spread"] *= ranks.number
        found = self.watch.add(gathered(ranks, labels_and_rewards(answers, rewards_PG.flatten().tolist())))
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

    @staticmethod
    def _beside(answers: RatedAnswers) -> Mapping[str, float]:
        return label_figures(answers.labels, answers.target, EmotionWheel.builtin())


class Work(NamedTuple):
    """What a rank learns from in a step.

    Attributes:
        pieces: Answers that go through the model together; every rank has equally many.
        num_own: How many of them count; the others are there because ranks must walk in step.
        num_answers: Answers that count, the mean over ranks.
        num_tokens: Their tokens, the mean over ranks.
    """

    pieces: list[Piece]
    num_own: int
    num_answers: float
    num_tokens: float


class WatchState(lightning.Callback):
    """Keeps the windows of the watch in checkpoints.

    Args:
        watch: The watch of the run.
    """

    def __init__(self, watch: RewardWatch) -> None:
        self.watch = watch

    def state_dict(self) -> dict[str, Any]:
        """The windows of the watch."""
        return dict(self.watch.state())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.watch.restore(state_dict)

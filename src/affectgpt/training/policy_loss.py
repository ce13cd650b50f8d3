"""The losses of group-relative policy optimisation: advantages within a group, clipped ratios, and the KL penalty.

``P`` prompts, ``G`` answers to each, ``N = P * G`` answers, ``A`` tokens of the longest answer. GRPO: DeepSeekMath,
arXiv 2402.03300, equations 3 and 4; Dr. GRPO: arXiv 2503.20783; DAPO: arXiv 2503.14476.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from affectgpt.errors import ConfigError

EPSILON = 1e-6


@dataclass(frozen=True)
class PolicyVariant:
    """How the terms of the tokens become one loss.

    Attributes:
        average: ``answer``: the mean over an answer's tokens, then over answers, so that a token of a long answer
            counts less. ``token``: the mean over all tokens. ``limit``: the sum over tokens, divided by the answers
            times the longest length that is allowed, so that the length of an answer changes nothing.
        scales: Whether advantages are divided by the spread of their group.
        clip_low: How far below 1 the ratio still counts.
        clip_high: How far above 1 the ratio still counts.
    """

    average: str
    scales: bool
    clip_low: float = 0.2
    clip_high: float = 0.2


VARIANTS: Mapping[str, PolicyVariant] = {
    "grpo": PolicyVariant("answer", scales=True),
    "dr-grpo": PolicyVariant("limit", scales=False),
    "dapo": PolicyVariant("token", scales=True, clip_high=0.28),
}


@dataclass(frozen=True)
class PolicyLoss:
    """The loss of a batch of answers.

    Attributes:
        loss: The scalar to minimise.
        clipped: Share of the tokens whose ratio was clipped.
        kl: Mean over the tokens of the estimated KL divergence from the reference; 0 without one.
    """

    loss: Tensor
    clipped: Tensor
    kl: Tensor


def variant_of(name: str) -> PolicyVariant:
    """The variant of a name.

    Raises:
        ConfigError: If there is none.
    """
    if name not in VARIANTS:
        raise ConfigError(f"no variant of GRPO is called {name!r}; known: {', '.join(VARIANTS)}")
    return VARIANTS[name]


def group_advantages(rewards: Tensor, *, scales: bool) -> Tensor:
    """What each answer earned above the mean of its group.

    Args:
        rewards: float64 ``[P, G]``.
        scales: Whether to divide by the standard deviation of the group (of the sample, with ``G - 1``).

    Returns:
        float64 ``[P, G]``; 0 in a group whose rewards are all equal.

    Examples:
        >>> group_advantages(torch.tensor([[0.0, 1.0], [1.0, 1.0]]), scales=False).tolist()
        [[-0.5, 0.5], [0.0, 0.0]]
    """
    centred_PG = rewards - rewards.mean(1, keepdim=True)
    return centred_PG / (rewards.std(1, keepdim=True) + EPSILON) if scales else centred_PG


def has_spread(rewards: Tensor) -> Tensor:
    """Which groups of ``[P, G]`` teach anything, Bool ``[P]``: those in which not all answers earned the same."""
    return rewards.amax(1) - rewards.amin(1) > EPSILON


def policy_loss(
    new: Tensor,
    old: Tensor,
    advantages: Tensor,
    keep: Tensor,
    variant: PolicyVariant,
    *,
    num_answers: float,
    num_tokens: float,
    longest: int,
    reference: Tensor | None = None,
    kl_weight: float = 0.0,
) -> PolicyLoss:
    r"""The clipped objective of a piece of a batch; the losses of all pieces add up to that of the batch.

    With the ratio :math:`r = \exp(new - old)` a token's term is ``-min(r A, clip(r) A) + kl_weight * kl``, where
    ``kl = exp(d) - d - 1`` with ``d = reference - new`` is never negative and has the KL divergence as its mean over
    tokens drawn from ``new``.

    Args:
        new: Log-probabilities under the weights in training, float32 ``[N, A]``; gradients flow through these alone.
        old: The same under the weights that wrote the answers, ``[N, A]``.
        advantages: ``[N]``.
        keep: Bool ``[N, A]``; ``True`` marks a token of an answer, its end included.
        variant: How the terms become one loss.
        num_answers: Answers of the whole batch; with several ranks, the mean over these.
        num_tokens: Tokens of all answers of the whole batch; with several ranks, the mean over these.
        longest: Longest answer that is allowed, in tokens.
        reference: The same under the reference, ``[N, A]``.
        kl_weight: Weight of the KL penalty.
    """
    ratio_NA = (new - old).exp()
    clipped_NA = ratio_NA.clamp(1 - variant.clip_low, 1 + variant.clip_high)
    gain_NA = advantages.to(new.dtype)[:, None] * torch.stack([ratio_NA, clipped_NA])
    terms_NA = -gain_NA.amin(0)
    kl_NA = torch.zeros_like(terms_NA)
    if reference is not None:
        drift_NA = reference - new
        kl_NA = drift_NA.exp() - drift_NA - 1
        terms_NA = terms_NA + kl_weight * kl_NA
    terms_NA = terms_NA.where(keep, 0)
    if variant.average == "answer":
        loss = (terms_NA.sum(1) / keep.sum(1).clamp(min=1)).sum() / num_answers
    else:
        loss = terms_NA.sum() / (num_tokens if variant.average == "token" else num_answers * longest)
    with torch.no_grad():
        total = keep.sum().clamp(min=1)
        is_clipped_NA = (gain_NA[1] < gain_NA[0]) & keep
        kl = kl_NA.where(keep, 0).sum() / total
    return PolicyLoss(loss, is_clipped_NA.sum() / total, kl)

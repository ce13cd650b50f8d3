"""The losses of group-relative policy optimisation against a plain, slow reference."""

from __future__ import annotations

import math

import pytest
import torch

from affectgpt.errors import ConfigError
from affectgpt.training.policy_loss import VARIANTS, group_advantages, has_spread, policy_loss, variant_of

LENGTHS = [3, 1, 5, 2]
LONGEST = 6


def drawn(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """New, old and reference log-probabilities, float64 [4, 5], and the mask of the answers' tokens."""
    generator = torch.Generator().manual_seed(seed)
    new, old, reference = -2 * torch.rand(3, 4, 5, dtype=torch.float64, generator=generator)
    keep = torch.arange(5) < torch.tensor(LENGTHS)[:, None]
    return new, old, reference, keep


def slow_loss(new, old, reference, advantages, variant, kl_weight) -> float:
    """The formula, token by token."""
    per_answer = []
    for i, length in enumerate(LENGTHS):
        terms = []
        for t in range(length):
            ratio = math.exp(new[i, t] - old[i, t])
            clipped = min(max(ratio, 1 - variant.clip_low), 1 + variant.clip_high)
            drift = float(reference[i, t] - new[i, t])
            gain = min(ratio * float(advantages[i]), clipped * float(advantages[i]))
            terms.append(-gain + kl_weight * (math.exp(drift) - drift - 1))
        per_answer.append(terms)
    if variant.average == "answer":
        return sum(sum(terms) / len(terms) for terms in per_answer) / len(per_answer)
    total = sum(map(sum, per_answer))
    return total / (sum(LENGTHS) if variant.average == "token" else len(LENGTHS) * LONGEST)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_loss_is_that_of_the_formula(name):
    new, old, reference, keep = drawn()
    advantages = torch.tensor([1.0, -0.5, 0.3, -2.0], dtype=torch.float64)
    sizes = {"num_answers": 4, "num_tokens": sum(LENGTHS), "longest": LONGEST}
    found = policy_loss(new, old, advantages, keep, variant_of(name), **sizes, reference=reference, kl_weight=0.1)
    assert float(found.loss) == pytest.approx(
        slow_loss(new, old, reference, advantages, VARIANTS[name], 0.1), abs=1e-12
    )
    assert 0 < float(found.clipped) < 1
    assert float(found.kl) > 0


@pytest.mark.parametrize("name", VARIANTS)
def test_pieces_of_a_batch_add_up(name):
    new, old, reference, keep = drawn()
    advantages = torch.tensor([1.0, -0.5, 0.3, -2.0], dtype=torch.float64)
    sizes = {"num_answers": 4, "num_tokens": sum(LENGTHS), "longest": LONGEST, "kl_weight": 0.1}

    def loss_of(rows: slice) -> float:
        given = (new[rows], old[rows], advantages[rows], keep[rows], variant_of(name))
        return float(policy_loss(*given, **sizes, reference=reference[rows]).loss)

    assert loss_of(slice(0, 1)) + loss_of(slice(1, 4)) == pytest.approx(loss_of(slice(0, 4)), abs=1e-12)


def test_on_policy_the_gradient_is_the_policy_gradient():
    new, _, _, keep = drawn()
    new.requires_grad_()
    advantages = torch.tensor([1.0, -0.5, 0.3, -2.0], dtype=torch.float64)
    found = policy_loss(
        new, new.detach(), advantages, keep, variant_of("dapo"), num_answers=4, num_tokens=11, longest=LONGEST
    )
    found.loss.backward()
    assert float(found.clipped) == 0
    torch.testing.assert_close(new.grad, -advantages[:, None] * keep / 11)


def test_padding_may_hold_anything():
    new, old, reference, keep = drawn()
    advantages = torch.ones(4, dtype=torch.float64)
    sizes = {"num_answers": 4, "num_tokens": 11, "longest": LONGEST, "kl_weight": 0.1}
    clean = policy_loss(new, old, advantages, keep, variant_of("grpo"), **sizes, reference=reference)
    dirty = [x.masked_fill(~keep, value) for x, value in ((new, -1e9), (old, -1e9), (reference, 700.0))]
    found = policy_loss(dirty[0], dirty[1], advantages, keep, variant_of("grpo"), **sizes, reference=dirty[2])
    assert float(found.loss) == float(clean.loss)


def test_advantages_compare_within_a_group():
    rewards = torch.tensor([[0.0, 1.0, 2.0], [5.0, 5.0, 5.0]], dtype=torch.float64)
    assert group_advantages(rewards, scales=False).tolist() == [[-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    assert group_advantages(10 * rewards, scales=True)[0].tolist() == pytest.approx([-1.0, 0.0, 1.0], abs=1e-5)
    assert has_spread(rewards).tolist() == [True, False]


def test_an_unknown_variant_is_refused():
    with pytest.raises(ConfigError, match="known: grpo, dr-grpo, dapo"):
        variant_of("ppo")

"""Several answers to one prompt: the same losses and gradients as one by one, from one pass over the prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from affectgpt.llm import AnswerSampling, LLMHead
from gruhead import GruHead
from tinyheads import eager, tiny


def capped() -> LLMHead:
    """Its logits are not what its output layer gives."""
    head = tiny()
    head._plain_output = False
    return head


def windowed() -> LLMHead:
    """Says that it sees no further than four tokens, so the prompt is computed again for each answer."""
    head = tiny()
    head.network.config.sliding_window = 4
    return head


def prompts_and_answers(head: LLMHead) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    embeds = torch.randn(2, 5, head.hidden_dim, generator=generator).requires_grad_()
    keep = torch.ones(2, 5, dtype=torch.bool)
    keep[1, :2] = False
    ids = torch.randint(3, 100, (6, 4), generator=generator)
    answered = torch.arange(4) < torch.tensor([4, 1, 2, 3, 4, 1])[:, None]
    return embeds, keep, ids, answered


def one_by_one(
    head: LLMHead, embeds: torch.Tensor, keep: torch.Tensor, ids: torch.Tensor, answered: torch.Tensor
) -> Any:
    """Cross-entropies from all logits of each answer alone behind its prompt."""
    rows = torch.zeros(ids.shape)
    for i, (answer, there) in enumerate(zip(ids, answered, strict=True)):
        prompt = embeds[i // 3][keep[i // 3]][None]
        full = torch.cat([prompt, head.embed(answer[there][None])], 1)
        logits = head(full, torch.ones(full.shape[:2], dtype=torch.bool)).logits[0, prompt.shape[1] - 1 : -1]
        losses = -logits.log_softmax(-1).gather(1, answer[there][:, None]).squeeze(1)
        rows[i, : int(there.sum())] = losses
    return rows


@pytest.mark.parametrize("make", [tiny, eager, capped, windowed, GruHead])
def test_answers_behind_one_prompt_give_what_each_gives_alone(make: Callable[[], LLMHead]) -> None:
    torch.manual_seed(0)
    head = make()
    embeds, keep, ids, answered = prompts_and_answers(head)
    weights = torch.rand(ids.shape)
    found = head.group_losses(embeds, keep, ids, answered)
    expected = one_by_one(head, embeds, keep, ids, answered)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert found[~answered].eq(0).all()
    wanted = [embeds, *(p for p in head.parameters() if p.requires_grad)]
    gradients = [torch.autograd.grad((one * weights).sum(), wanted) for one in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_prompt_passes_once_for_all_of_its_answers() -> None:
    torch.manual_seed(0)
    head = tiny()
    embeds, keep, ids, answered = prompts_and_answers(head)
    seen: list[tuple[int, ...]] = []
    drawn = AnswerSampling(temperature=1.0, num_answers=3, seed=0)
    head.group_losses(embeds, keep, ids, answered)  # both have trials, which are over then
    head.write(embeds, keep, 3, sampling=drawn)
    head._base().get_decoder().register_forward_pre_hook(
        lambda module, args, given: seen.append(tuple(given["inputs_embeds"].shape[:2])), with_kwargs=True
    )
    head.group_losses(embeds, keep, ids, answered)
    assert seen == [(2, 5 + 8)]  # the prompt of five, and seven or eight tokens of three answers
    seen.clear()
    assert len(head.write(embeds, keep, 3, sampling=drawn).texts) == 6
    assert seen[0] == (1, 5 + 3)  # both prompts, end to end
    assert [length for _, length in seen[1:]] == [1] * len(seen[1:])


def test_answers_drawn_from_one_pass_follow_the_probabilities() -> None:
    torch.manual_seed(0)
    head = tiny()
    embeds, keep, _, _ = prompts_and_answers(head)
    sampling = AnswerSampling(temperature=1.0, num_answers=2000, seed=0)
    first = head.write(embeds, keep, 1, sampling=sampling).ids[:, 0].view(2, -1)
    for row in range(2):
        prompt = embeds[row][keep[row]][None]
        expected = head(prompt, torch.ones(prompt.shape[:2], dtype=torch.bool)).logits[0, -1].softmax(-1)
        found = torch.bincount(first[row], minlength=len(expected)) / 2000
        assert float((found - expected).abs().max()) < 0.03

"""What a loss is a mean of, and what becomes of gradients."""

from __future__ import annotations

import pytest
import torch

from affectgpt.errors import ConfigError
from affectgpt.training.step_loss import LOSSES, LossMean, mean_of, scale_gradients

BATCHES = [(torch.tensor([6.0, 2.0]), torch.tensor([3, 1])), (torch.tensor([9.0, 0.0]), torch.tensor([1, 0]))]


@pytest.mark.parametrize(("kind", "expected"), [("tokens", 17 / 5), ("samples", 13 / 3), ("official", (2 + 9) / 2)])
def test_each_kind_is_the_mean_that_its_name_says(kind, expected):
    mean = LossMean(kind)
    for losses, tokens in BATCHES:
        mean.add(losses, tokens)
    assert float(mean_of(mean.take())) == pytest.approx(expected)
    assert mean.take().tolist() == [0.0, 0.0], "the next step begins anew"


@pytest.mark.parametrize("kind", LOSSES)
def test_gradients_averaged_by_the_trainer_become_those_of_the_mean(kind):
    weight = torch.nn.Parameter(torch.tensor(2.0))
    mean = LossMean(kind)
    for losses, tokens in BATCHES:
        (mean.add(losses * weight, tokens) / len(BATCHES)).backward()
    sums = mean.take()
    scale_gradients([weight], sums, kind, len(BATCHES))
    torch.testing.assert_close(weight.grad, mean_of(sums).detach() / 2)


def test_nothing_supervised_is_a_loss_of_nothing():
    mean = LossMean("tokens")
    loss = mean.add(torch.zeros(2, requires_grad=True), torch.zeros(2, dtype=torch.long))
    loss.backward()
    assert float(mean_of(mean.take())) == 0.0


def test_an_unknown_mean_is_refused():
    with pytest.raises(ConfigError, match="Did you mean 'tokens'"):
        LossMean("token")

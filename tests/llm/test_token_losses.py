"""Cross-entropy in pieces is that of all logits, in values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from affectgpt.llm import token_losses as module
from affectgpt.llm.token_losses import token_losses

VOCABULARY = 300


class Watched(nn.Linear):
    """Notes how many rows it is given at a time."""

    def __init__(self, *, trainable: bool) -> None:
        super().__init__(16, VOCABULARY)
        self.requires_grad_(trainable)
        self.rows: list[int] = []

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        self.rows.append(len(hidden))
        return super().forward(hidden)


@pytest.mark.parametrize("trainable", [False, True])
def test_losses_and_gradients_are_those_of_all_logits(trainable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE_BYTES", 4 * VOCABULARY * 8)
    torch.manual_seed(0)
    output = Watched(trainable=trainable)
    hidden = torch.randn(50, 16, requires_grad=True)
    target, weight = torch.randint(0, VOCABULARY, (50,)), torch.rand(50)
    whole = hidden.detach().clone().requires_grad_()
    expected = F.cross_entropy(F.linear(whole, output.weight, output.bias), target, reduction="none")
    (expected * weight).sum().backward()
    of_weight, output.weight.grad = output.weight.grad, None

    found = token_losses(hidden, target, output, VOCABULARY)
    assert max(output.rows) == 8
    (found * weight).sum().backward()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(hidden.grad, whole.grad, rtol=1e-5, atol=1e-6)
    if trainable:
        torch.testing.assert_close(output.weight.grad, of_weight, rtol=1e-5, atol=1e-6)
    else:
        assert sum(output.rows) == 50  # no piece is computed twice


def test_a_batch_without_labels_has_gradients_of_zero() -> None:
    hidden = torch.randn(0, 16, requires_grad=True)
    token_losses(hidden, torch.zeros(0, dtype=torch.long), Watched(trainable=False), VOCABULARY).sum().backward()
    assert hidden.grad is not None

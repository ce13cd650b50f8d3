"""Adapters in one function of autograd: peft's own layer is the reference, for values and for gradients."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from peft.tuners.lora.layer import Linear
from torch import nn

from affectgpt.llm.lora import LoraSpec, add_lora
from affectgpt.llm.lora_linear import LoraLinear, kept_inputs, masked


class Block(nn.Module):
    """One layer with the name that adapters look for."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.config: dict[str, Any] = {}
        self.q_proj = nn.Linear(12, 8, dtype=dtype).requires_grad_(False)

    def prepare_inputs_for_generation(self) -> None: ...

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.q_proj(x)


def adapted(dtype: torch.dtype = torch.float32, dropout: float = 0.0) -> Any:
    """A layer with an adapter that does something."""
    torch.manual_seed(0)
    network = add_lora(Block(dtype), LoraSpec(rank=3, alpha=5, dropout=dropout, targets=("q_proj",))).train()
    for parameter in network.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)
    return network.base_model.model.q_proj


def of_peft(layer: LoraLinear) -> Linear:
    other = copy.deepcopy(layer)
    other.__class__ = Linear
    return other


def stepped(layer: nn.Module, x: torch.Tensor, cast: bool) -> list[torch.Tensor]:
    """The output, and the gradients of input and adapter."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=cast):
        out = layer(x)
    (out.float() * torch.arange(out.numel()).view_as(out)).sum().backward()
    return [out, x.grad, *(p.grad for p in layer.parameters() if p.requires_grad)]


@pytest.mark.parametrize(
    ("dtype", "cast", "rounding"),
    [
        (torch.float32, False, 1e-6),
        (torch.bfloat16, True, 2e-2),
        (torch.bfloat16, False, 1e-2),
        (torch.float32, True, 2e-2),
    ],
)
def test_values_and_gradients_are_those_of_peft(dtype: torch.dtype, cast: bool, rounding: float) -> None:
    layer = adapted(dtype)
    assert isinstance(layer, LoraLinear)
    x = torch.randn(2, 5, 12, dtype=dtype)
    for found, expected in zip(stepped(layer, x, cast), stepped(of_peft(layer), x, cast), strict=True):
        assert found.dtype == expected.dtype
        assert (found - expected).float().norm() <= rounding * expected.float().norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_inputs_are_dropped_at_the_rate_and_the_others_are_kept_as_they_are(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    x = torch.randn(401, 503, dtype=dtype) + 9
    for rate in (0.05, 0.5):
        kept = masked(x, kept_inputs(x, rate))
        assert (kept != 0).float().mean() == pytest.approx(1 - rate, abs=5e-3)
        assert torch.equal(kept[kept != 0], x[kept != 0])
        for place in range(4):  # four are decided by one random number
            assert (kept.flatten()[place::4] != 0).float().mean() == pytest.approx(1 - rate, abs=1e-2)
        assert not torch.equal(kept, masked(x, kept_inputs(x, rate)))


def test_a_dropped_input_has_no_gradient_and_the_mean_is_that_without_dropout() -> None:
    layer = adapted(dropout=0.4)
    x = torch.randn(1, 6, 12)
    torch.manual_seed(3)
    keep = kept_inputs(x, 0.4)
    torch.manual_seed(3)
    x_grad = stepped(layer, x, False)[1]
    base = torch.arange(48.0).view(6, 8) @ layer.base_layer.weight
    assert torch.allclose(x_grad[0][keep[0] == 0], base[keep[0] == 0], rtol=1e-4)
    with torch.no_grad():
        mean = torch.stack([layer(x) for _ in range(4000)]).mean(0)
        expected = layer.eval()(x)
    assert (mean - expected).abs().max() < 0.08 * expected.abs().max()
    assert torch.equal(layer(x), layer(x)), "nothing is dropped in eval mode"


def test_gradients_with_dropout_are_those_of_the_function_that_was_computed() -> None:
    layer = adapted(torch.float64, dropout=0.3).double()
    x = torch.randn(3, 12, dtype=torch.float64, requires_grad=True)

    def run(*given: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(5)  # the same inputs are dropped
        return torch.func.functional_call(layer, dict(zip(names, given[1:], strict=True)), (given[0],))

    names = [name for name, p in layer.named_parameters() if p.requires_grad]
    weights = [p for p in layer.parameters() if p.requires_grad]
    assert torch.autograd.gradcheck(run, (x, *weights))


def test_without_adapters_it_is_the_layer_itself() -> None:
    layer = adapted()
    x = torch.randn(2, 12)
    layer.enable_adapters(False)
    assert torch.equal(layer(x), layer.base_layer(x))
    layer.enable_adapters(True)
    assert not torch.equal(layer(x), layer.base_layer(x))


def test_without_gradients_the_values_are_the_same() -> None:
    layer = adapted()
    x = torch.randn(3, 5, 12)
    expected = layer(x)
    assert expected.requires_grad
    with torch.no_grad():
        before = x.clone()
        torch.testing.assert_close(layer(x), expected)
    assert torch.equal(x, before)


def test_a_layer_with_dropout_can_be_compiled() -> None:
    layer = adapted(dropout=0.5)
    layer.compile(backend="aot_eager", dynamic=True)
    for tokens in (5, 7):
        x = torch.randn(2, tokens, 12, requires_grad=True)
        layer(x).sum().backward()
        assert x.grad is not None
        assert x.grad.abs().sum() > 0

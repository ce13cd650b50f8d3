"""Where a step's time went: every operation counts once, under what it is for."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import DeviceType
from torch.nn import functional as F  # noqa: N812
from torch.profiler import ProfilerActivity, profile

from affectgpt.llm.token_losses import token_losses
from conftest import load_script


@pytest.fixture(scope="module")
def step_shares() -> ModuleType:
    return load_script("benchmarks/step_shares.py")


def operation(name: str, own: float, caller: Any = None, device: DeviceType = DeviceType.CPU) -> Any:
    return SimpleNamespace(
        name=name, self_cpu_time_total=own, self_device_time_total=2 * own, cpu_parent=caller, device_type=device
    )


def test_each_operation_counts_once_under_what_it_is_for(step_shares):
    attention = operation("aten::_scaled_dot_product_attention_math", 1)
    backward = operation("autograd::engine::evaluate_function: ScaledDotProductFlashAttentionForCpuBackward0", 2)
    loss = operation("_FrozenOutput", 4)
    events = [
        *(attention, backward, loss),
        operation("aten::bmm", 8, attention),  # a product within attention is attention
        operation("aten::_scaled_dot_product_flash_attention_for_cpu_backward", 16, backward),
        operation("aten::addmm_", 32, loss),  # the product that makes logits is a product
        operation("aten::_log_softmax", 64, operation("aten::log_softmax", 0, loss)),
        operation("aten::mm", 128),
        operation("aten::mul", 256),
        operation("gemm_kernel", 512, device=DeviceType.CUDA),
    ]
    found = step_shares.shares(events, on_gpu=False)
    assert (found.attention, found.attention_backward) == (27, 18)
    assert (found.products, found.losses, dict(found.others)) == (160, 68, {"mul": 256})
    assert found.total == 511
    assert step_shares.shares(events, on_gpu=True).total == 2 * 511
    assert found.told(2) == (
        "Where the time of a step of the last row went (`torch.profiler`, mean of 2, 0.00 s): matrix products 31%, "
        "attention of the samples 5% (backward 4%), losses of the answers 13%, everything else 50% (mul 50%)."
    )


def test_a_recorded_step_has_all_kinds_of_operations(step_shares):
    output = nn.Linear(16, 32, bias=False).requires_grad_(False)
    hidden = torch.randn(1, 2, 40, 16, requires_grad=True)
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        attended = F.scaled_dot_product_attention(hidden, hidden, hidden, is_causal=True)
        rows = F.silu(attended.flatten(0, 2) @ torch.randn(16, 16))
        token_losses(rows, torch.zeros(80, dtype=torch.long), output, 32).mean().backward()
    found = step_shares.shares(recorded.events(), on_gpu=False)
    for share in (found.products, found.losses, found.attention_backward, found.others["silu"]):
        assert share > 0
    assert found.attention > found.attention_backward
    assert found.total == pytest.approx(sum(event.self_cpu_time_total for event in recorded.events()))

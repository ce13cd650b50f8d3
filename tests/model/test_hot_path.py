"""A training step asks the device for nothing: the host runs ahead of it.

The device of these tests is ``meta``, whose tensors have no values: whatever reads one to decide what comes next is an
error there, and is counted besides.
"""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from affectgpt import AffectGPT
from affectgpt.encoders.base import VisualSpec, prepare_frames
from affectgpt.training.optim import build_optimizer
from affectgpt.types import Batch

WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "_unique2", "unique_dim"}


class Waits(TorchDispatchMode):
    """Counts operations for which the host waits for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        on_device = any(isinstance(value, torch.Tensor) and value.device.type == "meta" for value in args)
        target = torch.device((kwargs or {}).get("device") or "meta")
        masks = (
            [value for value in args[1] if value is not None and value.dtype == torch.bool] if name == "index" else []
        )
        if on_device and (name in WAITING or masks or (name == "_to_copy" and target.type == "cpu")):
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def _autocast_of_meta(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autocast knows no device without values; what switches it off has nothing to switch off there."""
    real = torch.autocast
    monkeypatch.setattr(
        torch, "autocast", lambda kind, **given: nullcontext() if kind == "meta" else real(kind, **given)
    )


def build(**changes: Any) -> AffectGPT:
    torch.manual_seed(0)
    lora = {"name": "tiny", "args": {"dim": 32, "lora": {"rank": 2}, "trainable": False}}
    streams = {"frame": "tiny-vision", "audio": "tiny-audio"}
    media = {"num_frames": 2, "num_segments": 2, "segment_seconds": 0.25, "frame_height": 32, "frame_width": 32}
    return AffectGPT.from_config({"streams": streams, "llm": lora, "style": "brief", "media": media, **changes})


def make_batch() -> Batch:
    return Batch(
        keys=("a", "b", "c"),
        media={"frame": torch.zeros(3, 2, 3, 32, 32, dtype=torch.uint8), "audio": torch.zeros(3, 2, 4000)},
        keep={
            "frame": torch.ones(3, 2, dtype=torch.bool),
            "audio": torch.tensor([[True] * 2, [False] * 2, [True] * 2]),
        },
        subtitles=("words", None, "a few more words"),
        questions=("How?",) * 3,
        answers=("sad", "happy, surprised", "calm"),
    )


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("trainable", [False, True])
def test_a_training_step_waits_for_nothing(packing: bool, trainable: bool) -> None:
    model = build(packing=packing, slot_dropout=0.3).train()
    if trainable:
        model.llm.network.requires_grad_(True)
    used = model(make_batch()).used
    assert len({*used}) > 1
    model.to("meta")
    batch = make_batch().to("meta")
    optimizer, _ = build_optimizer(model.named_parameters(), model.optim)
    with Waits() as waits:
        out = model(batch)
        (out.sample_losses.sum() / out.sample_tokens.sum()).backward()
        optimizer.step()
    assert not waits.found
    assert all(p.grad is not None for p in model.projectors.parameters())


def test_the_counter_finds_what_waits() -> None:
    value = torch.ones(3, device="meta")
    for wait in (
        lambda: value[0].item(),
        lambda: value.nonzero(),
        lambda: value[value > 0],
        lambda: value.cpu(),
        lambda: bool(value.sum() > 0),
    ):
        with Waits() as waits, pytest.raises((RuntimeError, NotImplementedError)):
            wait()
        assert waits.found


def test_a_batch_remembers_on_the_host_who_lacks_what() -> None:
    batch = make_batch().to("meta")
    model = build().eval()
    expected = model(make_batch()).used
    assert (
        model.to("meta")(batch).used
        == expected
        == (("frame", "audio", "multi"), ("frame",), ("frame", "audio", "multi"))
    )


def test_frames_are_normalised_without_tensors_that_are_sent_over() -> None:
    frames = torch.randint(0, 256, (2, 3, 3, 8, 8), dtype=torch.uint8)
    spec = VisualSpec(8, 8, (0.48, 0.45, 0.4), (0.26, 0.25, 0.27))
    mean, std = (torch.tensor(values)[:, None, None] for values in (spec.mean, spec.std))
    torch.testing.assert_close(prepare_frames(frames, spec, "x"), (frames.flatten(0, 1) / 255 - mean) / std)

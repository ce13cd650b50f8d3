"""Samples that are packed learn as they do in rows of their own, and see nothing of each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.datamodules import MERCaptionDataModule
from affectgpt.types import Batch
from quiettrainer import quiet_trainer

CONFIG: dict[str, Any] = {
    "streams": {"frame": "tiny-vision", "audio": "tiny-audio"},
    "style": "brief",
    "media": {"num_frames": 2, "num_segments": 2, "segment_seconds": 0.25, "frame_height": 32, "frame_width": 32},
    "optim": {"lr": 0.003, "warmup_steps": 0},
}


def build(*, packing: bool, backend: str = "sdpa", lora: dict[str, Any] | None = None, **llm: Any) -> AffectGPT:
    torch.manual_seed(0)
    arguments = {"dim": 32, "lora": lora, "trainable": lora is None, **llm}
    model = AffectGPT.from_config({**CONFIG, "llm": {"name": "tiny", "args": arguments}, "packing": packing})
    if backend != "sdpa":
        network = model.llm.network.get_base_model() if lora else model.llm.network
        network.config._attn_implementation = backend
    for name, p in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p)
    return model


def make_batch(size: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(1)
    return Batch(
        keys=tuple(f"clip{i}" for i in range(size)),
        media={
            "frame": torch.randint(0, 255, (size, 2, 3, 32, 32), dtype=torch.uint8, generator=generator),
            "audio": torch.randn(size, 2, 4000, generator=generator),
        },
        keep={
            "frame": torch.ones(size, 2, dtype=torch.bool),
            "audio": torch.tensor([[True, True], [True, False], [False, False], [True, True]])[:size],
        },
        subtitles=("", "some words", "many words that make a long prompt of it", None)[:size],
        questions=("How?",) * size,
        answers=("sad", "happy and rather surprised", "a", "calm, but tired of it all")[:size],
    )


def losses_and_gradients(model: AffectGPT, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    torch.manual_seed(2)
    out = model.train()(batch)
    assert out.sample_losses is not None
    (out.sample_losses * torch.linspace(0.5, 2, len(batch))).sum().backward()
    return out.sample_losses.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
@pytest.mark.parametrize("lora", [None, {"rank": 2, "dropout": 0.0}])
def test_losses_and_gradients_are_those_of_the_unpacked_run(backend: str, lora: dict[str, Any] | None) -> None:
    plain, packed = (build(packing=packing, backend=backend, lora=lora) for packing in (False, True))
    batch = make_batch()
    expected, found = losses_and_gradients(plain, batch), losses_and_gradients(packed, batch)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-5, atol=1e-5)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_gradients_in_half_precision_are_those_of_the_unpacked_run(dtype: torch.dtype) -> None:
    batch = make_batch()
    found = []
    for packing in (False, True):
        model = build(packing=packing)
        model.llm.to(dtype)
        with torch.autocast("cpu", torch.bfloat16):
            found.append(losses_and_gradients(model, batch)[1])
    padded, packed = (torch.cat([grad.float().flatten() for grad in grads.values()]) for grads in found)
    assert (packed - padded).norm() <= 0.05 * padded.norm()


def test_gradient_checkpointing_keeps_packed_samples_apart() -> None:
    plain, packed = build(packing=False), build(packing=True)
    packed.llm.network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    expected, found = losses_and_gradients(plain, make_batch()), losses_and_gradients(packed, make_batch())
    for name, gradient in expected[1].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
def test_a_changed_sample_leaves_its_neighbours_as_they_were(backend: str) -> None:
    model = build(packing=True, backend=backend).eval()
    batch = make_batch()
    before = model(batch).sample_losses
    answers = (*batch.answers[:1], "quite another answer, which is long", *batch.answers[2:])
    frames = batch.media["frame"].clone()
    frames[1] = 255 - frames[1]
    after = model(replace(batch, answers=answers, media={**batch.media, "frame": frames})).sample_losses
    others = torch.tensor([0, 2, 3])
    torch.testing.assert_close(after[others], before[others], rtol=1e-6, atol=1e-6)
    assert abs(after[1] - before[1]) > 0.1


@pytest.mark.slow
def test_flex_attention_keeps_packed_samples_apart() -> None:
    with torch.no_grad():  # torch has no backward pass of it on the CPU
        found = build(packing=True, backend="flex_attention", heads=2).eval()(make_batch()).sample_losses
        expected = build(packing=False, heads=2).eval()(make_batch()).sample_losses
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_training_packed_logs_the_padding_that_it_saves(shards: Path, tmp_path: Path) -> None:
    figures = {}
    for packing in (False, True):
        model = build(packing=packing)
        data = MERCaptionDataModule(
            str(shards), batch_size=3, num_workers=0, media=model.media.to_json(), style="brief", bad_sample_budget=0.0
        )
        trainer = quiet_trainer(max_steps=2, default_root_dir=tmp_path)
        trainer.fit(model, data)
        figures[packing] = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert 0 < figures[True]["train/padding_saved"] == figures[False]["train/padding"] < 1
    assert figures[True]["train/loss"] == pytest.approx(figures[False]["train/loss"], rel=1e-4)

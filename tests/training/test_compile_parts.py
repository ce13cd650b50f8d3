"""Compiled parts compute what they did, under the same names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import nn

from affectgpt import AffectGPT
from affectgpt.datamodules import MERCaptionDataModule
from affectgpt.errors import ConfigError
from affectgpt.training.compile_parts import CompileParts
from affectgpt.training.optim import OptimSpec, build_optimizer
from quiettrainer import quiet_trainer


def trained(shards: Path, folder: Path, callbacks: list[lightning.Callback]) -> AffectGPT:
    torch.manual_seed(0)
    model = AffectGPT.from_config(
        {
            "streams": {"frame": "tiny-vision", "audio": "tiny-audio"},
            "llm": {"name": "tiny", "args": {"dim": 16, "layers": 1, "heads": 2}},
            "style": "brief",
            "media": {
                "num_frames": 2,
                "num_segments": 1,
                "segment_seconds": 0.25,
                "frame_height": 32,
                "frame_width": 32,
            },
        }
    )
    data = MERCaptionDataModule(
        str(shards), batch_size=2, num_workers=0, media=model.media.to_json(), style="brief", bad_sample_budget=0.0
    )
    trainer = quiet_trainer(max_steps=2, default_root_dir=folder, callbacks=callbacks)
    trainer.fit(model, data)
    return model


def test_compiled_parts_learn_the_same_under_the_same_names(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []
    real = nn.Module.compile

    def note(module: nn.Module, **options: Any) -> None:
        compiled.append(type(module).__name__)
        real(module, **options)

    monkeypatch.setattr(nn.Module, "compile", note)
    plain = trained(shards, tmp_path, [])
    assert not compiled
    other = trained(shards, tmp_path, [CompileParts(["fusion", "llm"], backend="eager")])
    assert "LlamaDecoderLayer" in compiled
    assert other.state_dict().keys() == plain.state_dict().keys()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"there is no part 'lmm'.*Did you mean 'llm'"):
        CompileParts(["lmm"])


def test_the_fused_optimiser_takes_the_same_step() -> None:
    values = []
    for fused in (None, True):
        torch.manual_seed(0)
        layer = nn.Linear(4, 3)
        optimizer, _ = build_optimizer(layer.named_parameters(), OptimSpec(lr=0.1, warmup_steps=0, fused=fused))
        assert optimizer.param_groups[0]["fused"] is fused
        layer(torch.ones(2, 4)).sum().backward()
        optimizer.step()
        values.append(layer.weight.detach())
    torch.testing.assert_close(values[0], values[1])

"""Training starts over merged adapters: the fusion goes on alone, and what is stored comes back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.checkpoints.merged_llm import RECORD, digest_of_adapters, export_merged
from affectgpt.datamodules.collate import collate
from affectgpt.errors import CheckpointError
from affectgpt.types import Batch, Clip

CONFIG = {"streams": {"frame": "tiny-vision", "audio": "tiny-audio"}, "prefusion": "attention", "style": "brief"}
ADAPTERS = {"rank": 4, "alpha": 8, "dropout": 0.1}


def adapted(seed: int = 0) -> AffectGPT:
    """A model whose adapters, which begin at zero, were moved as training moves them."""
    torch.manual_seed(seed)
    llm = {"name": "tiny", "args": {"lora": ADAPTERS, "trainable": False}}
    model = AffectGPT.from_config({**CONFIG, "llm": llm}).eval()
    for name, weight in model.llm.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.2)
    return model


def over(folder: Path, lora: dict | None = None) -> AffectGPT:
    """A model of other weights over the language model in a folder, of which the fusion alone is trained."""
    torch.manual_seed(1)
    llm = {"name": "causal-lm", "args": {"path": str(folder), "lora": lora}}
    optim = {"lr": 0.01, "warmup_steps": 0, "train_only": ["poolings", "prefusion", "projectors"]}
    return AffectGPT.from_config({**CONFIG, "llm": llm, "optim": optim}).eval()


def batch_of(model: AffectGPT) -> Batch:
    """Two clips with noise for pictures and sound, and their answers."""
    media = model.media
    draw = torch.Generator().manual_seed(2)
    clips = [
        Clip(
            name,
            media={
                "frame": torch.randint(0, 256, (2, 3, media.frame_height, media.frame_width), generator=draw).byte(),
                "audio": torch.randn(2, round(media.segment_seconds * media.sample_rate_hz), generator=draw),
            },
            subtitle="Well.",
        )
        for name in ("a", "b")
    ]
    return collate(clips, [model.style.label_question] * 2, ["calm", "angry"], profile=media)


def losses_of(model: AffectGPT, batch: Batch) -> torch.Tensor:
    with torch.no_grad():
        return model(batch).sample_losses


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model as ``model.ckpt`` and ``shared``, and its merged language model as ``merged``."""
    root, model = tmp_path_factory.mktemp("stored"), adapted()
    model.save_checkpoint(root / "model.ckpt")
    model.save_pretrained(root / "shared")
    facts = export_merged(model, root / "merged")
    assert facts.adapters_digest == digest_of_adapters(model.state_dict())
    return root


@pytest.mark.parametrize("source", ["model.ckpt", "shared"])
def test_the_fusion_goes_on_over_merged_adapters_and_comes_back(stored: Path, tmp_path: Path, source: str) -> None:
    model, started = adapted(), over(stored / "merged")
    batch = batch_of(model)
    expected = losses_of(model, batch)
    assert not torch.allclose(losses_of(started, batch), expected, atol=1e-2)
    started.start_from(stored / source)
    torch.testing.assert_close(losses_of(started, batch), expected, rtol=1e-4, atol=1e-4)

    trained = {name for name, weight in started.named_parameters() if weight.requires_grad}
    assert trained
    assert {name.split(".")[0] for name in trained} <= {"poolings", "prefusion", "projectors"}
    started.train()
    started(batch).sample_losses.mean().backward()
    with torch.no_grad():
        for weight in started.parameters():
            if weight.grad is not None:
                weight -= 0.01 * weight.grad.sign()
    started.eval()
    learnt = losses_of(started, batch)
    assert not torch.allclose(learnt, expected, atol=1e-3)
    started.save_checkpoint(tmp_path / "after.ckpt")
    saved = torch.load(tmp_path / "after.ckpt", weights_only=True)["state_dict"]
    assert not any(name.startswith("llm.") for name in saved), "the merged weights are read from their own folder"
    torch.testing.assert_close(losses_of(AffectGPT.from_checkpoint(tmp_path / "after.ckpt").eval(), batch), learnt)


def test_other_adapters_or_adapters_on_top_are_refused(stored: Path, tmp_path: Path) -> None:
    adapted(seed=5).save_checkpoint(tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match=r"other adapters merged into it .* affectgpt export"):
        over(stored / "merged").start_from(tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="set lora: null"):
        over(stored / "merged", ADAPTERS).start_from(stored / "model.ckpt")


def test_a_damaged_record_is_named(stored: Path, tmp_path: Path) -> None:
    folder = tmp_path / "merged"
    export_merged(adapted(), folder)
    (folder / RECORD).write_text("{")
    with pytest.raises(CheckpointError, match=RECORD):
        over(folder).start_from(stored / "model.ckpt")

"""The authors' folder, packed and streamed as the published configuration says, gives the authors' inputs."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from affectgpt import AffectGPT
from affectgpt.cli.main import main
from affectgpt.datamodules import MERCaptionDataModule
from affectgpt.media import MediaProfile
from affectgpt.prompts import get_style
from affectgpt.training.optim import OptimSpec, build_optimizer
from releasedmodel import FILE, load

ROOT = Path(__file__).resolve().parents[2]
CONFIG = yaml.safe_load((ROOT / "experiments" / "affectgpt_mercaption_plus.yaml").read_text())


@pytest.fixture(scope="module")
def packed(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("published") / "shards"
    assert main(["pack", str(shared / "oracle" / "model" / "data"), str(out), "--layout", "mer2025"]) == 0
    return out


def test_frames_faces_and_sound_out_of_the_shards_are_the_published_ones(shared: Path, packed: Path) -> None:
    sources = ("frame", "face", "audio")
    media = {**CONFIG["model"]["media"], "sources": sources}
    assert MediaProfile.of(media) == MediaProfile.named("official", sources=sources)
    data = MERCaptionDataModule(predict=str(packed), media=media, batch_size=2, num_workers=0)
    (batch,) = list(data.predict_dataloader())
    assert set(batch.keys) == {"sample_00000000", "sample_short"}
    with np.load(shared / "oracle" / "model" / "preproc.npz") as expected:
        for row, key in enumerate(batch.keys):
            for source in ("frame", "face"):
                theirs = torch.from_numpy(expected[f"{key}.raw_{source}_uint8"]).transpose(0, 1)
                assert torch.equal(batch.media[source][row], theirs), (key, source)
            sound = torch.from_numpy(expected[f"{key}.audio_as_loaded"] - expected[f"{key}.audio_clip_mean"][..., None])
            assert torch.equal(batch.media["audio"][row], sound[:, 0]), key
    assert all(keep.all() for keep in batch.keep.values())


def test_both_questions_are_asked_about_half_the_time(packed: Path) -> None:
    arguments = {**CONFIG["data"]["args"], "train": str(packed), "num_workers": 0, "batch_size": 1}
    data = MERCaptionDataModule(**arguments, media={"sources": ["audio"]})  # quick to decode
    style, asked = get_style(CONFIG["model"]["style"]), []
    for epoch in range(20):
        loader = data.train_dataloader()
        loader.dataset.clips.set_epoch(epoch)
        for batch in loader.dataset:
            clip, question, answer = batch
            asked.append(question)
            wanted = clip.description if question == style.description_question else style.answer_of(clip.labels)
            assert answer == wanted
    share = asked.count(style.label_question) / len(asked)
    assert len(asked) == 40
    assert 0.3 < share < 0.7
    assert set(asked) == {style.label_question, style.description_question}


@pytest.mark.parametrize("config", ["A", "B"])
def test_the_groups_of_the_optimiser_are_the_published_ones(shared: Path, config: str) -> None:
    oracle = shared / "oracle" / "model"
    theirs = torch.load(oracle / config / FILE, weights_only=False)["optimizer"]["param_groups"]
    model: AffectGPT = load(oracle, config, "multiface_audio_face_text")
    optimizer, _ = build_optimizer(model.named_parameters(), OptimSpec.of(CONFIG["model"]["optim"]))
    ours = {group["weight_decay"]: group for group in optimizer.param_groups}
    for group in theirs:
        # theirs has a projector for pictures too: a matrix, and a bias
        assert len(ours[group["weight_decay"]]["params"]) == len(group["params"]) - 1
        assert ours[group["weight_decay"]]["initial_lr"] == group["lr"]
        assert ours[group["weight_decay"]]["betas"] == group["betas"]
        assert ours[group["weight_decay"]]["eps"] == group["eps"]


def test_the_learning_rate_rises_for_5000_steps_and_stays() -> None:
    spec = OptimSpec.of(CONFIG["model"]["optim"])
    rates = [spec.lr * spec.factor(step) for step in (0, 2500, 5000, 299_999)]
    assert rates == pytest.approx([1e-6, 5.5e-6, 1e-5, 1e-5])


def test_the_configuration_runs_over_networks_of_the_released_kind(
    shared: Path, packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All but the sizes is as published: CLIP, HuBERT and Qwen2 folders, bfloat16, LoRA, faces, the guard."""
    models = shared / "oracle" / "model" / "models"
    streams = deepcopy(CONFIG["model"]["streams"])
    streams["face"]["encoder"]["args"] = {"path": str(models / "clip-vit-large-patch14")}
    streams["audio"]["encoder"]["args"]["path"] = str(models / "chinese-hubert-large")
    over = tmp_path / "over.yaml"
    over.write_text(yaml.safe_dump({"model": {"streams": streams}}))
    changes = {
        "model.llm.args.path": models / "Qwen2.5-7B-Instruct",
        "data.args.train": packed,
        "data.args.batch_size": 2,
        "data.args.num_workers": 0,
        "trainer.max_epochs": 2,
        "trainer.accelerator": "cpu",
        "trainer.default_root_dir": tmp_path,
    }
    arguments = [word for name, value in changes.items() for word in (f"--{name}", str(value))]
    config = ROOT / "experiments" / "affectgpt_mercaption_plus.yaml"
    assert main(["fit", "--config", str(config), "--config", str(over), *arguments, "--debug"]) == 0
    checkpoint = next(tmp_path.rglob("last.ckpt"))
    assert not (tmp_path / "non_finite.jsonl").exists()
    clip = shared / "oracle" / "model" / "data" / "video" / "sample_00000000.mp4"
    capsys.readouterr()
    assert main(["predict", str(clip), "--checkpoint", str(checkpoint), "--subtitle", "Hi.", "--json"]) == 0
    assert "audio" in capsys.readouterr().out

"""``fit --start``: training goes on from a stored model, with its configuration and its weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from affectgpt import AffectGPT
from affectgpt.cli.main import main
from affectgpt.llm import TinyLM
from affectgpt.registry import LLMS

pytestmark = pytest.mark.filterwarnings("ignore")

STREAMS = {
    "audio": {"encoder": {"name": "tiny-audio", "args": {"dim": 8, "num_mels": 8, "channels": 4}}},
    "frame": {"encoder": {"name": "tiny-vision", "args": {"size": 16, "dim": 8, "channels": 2}}},
}
MEDIA = {"frame_height": 32, "frame_width": 32, "segment_seconds": 0.2, "num_frames": 2}
LLM = {"name": "tiny", "args": {"dim": 32, "lora": {"rank": 2, "targets": ["q_proj"]}, "trainable": False}}


@pytest.fixture
def stored(tmp_path: Path) -> AffectGPT:
    torch.manual_seed(5)
    model = AffectGPT(streams=STREAMS, llm=LLM, media=MEDIA, style="brief", max_tokens=256)
    model.save_pretrained(tmp_path / "stored")
    model.save_checkpoint(tmp_path / "stored.ckpt")
    return model


def fit(shards: Path, tmp_path: Path, *more: str) -> int:
    config = tmp_path / "fit.yaml"
    config.write_text(
        f"model: {{optim: {{lr: 1.0e-3, warmup_steps: 0}}}}\n"
        f"data: {{name: mercaption, args: {{train: {shards}, batch_size: 2}}}}\n"
        f"trainer: {{max_steps: 1, accelerator: cpu, logger: false, enable_progress_bar: false, "
        f"enable_model_summary: false, default_root_dir: {tmp_path}}}\n"
    )
    return main(["fit", "--config", str(config), *more])


@pytest.mark.parametrize("form", ["stored", "stored.ckpt"])
def test_training_starts_from_the_weights_and_settings_of_a_stored_model(shards, tmp_path, stored, form):
    assert fit(shards, tmp_path, "--start", str(tmp_path / form)) == 0
    (written,) = (tmp_path / "checkpoints").glob("*.ckpt")
    tuned = AffectGPT.from_checkpoint(written)
    assert tuned.optim.lr == 1e-3
    assert list(tuned.specs) == ["audio", "frame"], "the order of the streams is that of the stored model"
    before, after = stored.state_dict(), tuned.state_dict()
    assert before.keys() == after.keys()
    trained = {name for name, p in stored.named_parameters() if p.requires_grad}
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same >= before.keys() - trained
    steps = [float((before[name] - after[name]).abs().max()) for name in trained]
    assert 0 < max(steps) < 5e-3, "one step of 1e-3 away from where it started"


@pytest.mark.parametrize("form", ["stored", "stored.ckpt"])
def test_the_language_model_is_replaced_with_new_projectors(shards, tmp_path, stored, form, caplog):
    other = ["--model.llm.name", "smaller", "--model.llm.args.dim", "16", "--model.llm.args.lora", "null"]
    LLMS.register("smaller", overwrite=True)(type("Smaller", (TinyLM,), {}))
    assert fit(shards, tmp_path, "--start", str(tmp_path / form), *other) == 0
    (written,) = (tmp_path / "checkpoints").glob("*.ckpt")
    tuned = AffectGPT.from_checkpoint(written)
    assert tuned.llm.hidden_dim == 16
    assert tuned.hparams["llm"] == {"name": "smaller", "args": {"dim": 16, "lora": None}}
    kept = [name for name in stored.state_dict() if name.startswith("encoders.")]
    assert kept
    assert all(torch.equal(stored.state_dict()[name], tuned.state_dict()[name]) for name in kept)
    assert "THE LANGUAGE MODEL DIFFERS" in caplog.text


def test_a_language_model_at_another_place_is_the_same_one_if_it_fits(shards, tmp_path, caplog):
    torch.manual_seed(1)
    head = TinyLM(dim=32)
    for folder in ("here", "there"):
        head.network.save_pretrained(tmp_path / folder)
        head.tokenizer.save_pretrained(tmp_path / folder)
    llm = {"name": "causal-lm", "args": {"path": str(tmp_path / "here"), "lora": {"rank": 2, "targets": ["q_proj"]}}}
    model = AffectGPT(streams=STREAMS, llm=llm, media=MEDIA, style="brief", max_tokens=256)
    with torch.no_grad():
        for parameter in model.llm.parameters():
            if parameter.requires_grad:
                parameter.add_(0.5)
    model.save_pretrained(tmp_path / "adapted")
    assert (
        fit(shards, tmp_path, "--start", str(tmp_path / "adapted"), f"--model.llm.args.path={tmp_path / 'there'}") == 0
    )
    (written,) = (tmp_path / "checkpoints").glob("*.ckpt")
    state, tuned = model.state_dict(), AffectGPT.from_checkpoint(written).state_dict()
    adapters = [name for name in state if "lora_B" in name]
    assert max(float((state[name] - tuned[name]).abs().max()) for name in adapters) < 0.1, "they started from 0.5"
    assert "LANGUAGE MODEL DIFFERS" not in caplog.text


def test_the_projectors_are_replaced(shards, tmp_path, stored, caplog):
    change = ["--model.projector.args.hidden_dim=6"]
    assert fit(shards, tmp_path, "--start", str(tmp_path / "stored"), *change) == 0
    (written,) = (tmp_path / "checkpoints").glob("*.ckpt")
    tuned = AffectGPT.from_checkpoint(written)
    assert "projectors.audio.layers.2.weight" in tuned.state_dict()
    assert "the projectors differ" in caplog.text
    (saved,) = tmp_path.glob("**/config.yaml")
    model = yaml.safe_load(saved.read_text())["model"]
    assert model["projector"] == {"name": "linear", "args": {"hidden_dim": 6}}
    assert AffectGPT.from_config(saved).specs == stored.specs


def test_the_prefusion_is_replaced_with_its_projector(shards, tmp_path, stored, caplog):
    only = ["--model.optim.train_only", '["prefusion", "projectors.multi"]', "--model.modality_dropout.modality", "0.5"]
    change = ["--model.prefusion", "experts", *only]
    assert fit(shards, tmp_path, "--start", str(tmp_path / "stored.ckpt"), *change) == 0
    assert "the pre-fusion experts differs from that of the stored model, attention" in caplog.text
    (written,) = (tmp_path / "checkpoints").glob("*.ckpt")
    before, after = stored.state_dict(), AffectGPT.from_checkpoint(written).state_dict()
    kept = [name for name in before if not name.startswith(("prefusion.", "projectors.multi."))]
    assert any("lora_" in name for name in kept)
    assert all(torch.equal(before[name], after[name]) for name in kept), "all but the fusion is as it was stored"


def test_the_same_prefusion_for_other_subsets_keeps_its_weights(shards, tmp_path, stored, caplog):
    change = ["--model.prefusion.args.any_subset", "true", "--model.optim.train_only", '["poolings"]']
    assert fit(shards, tmp_path, "--start", str(tmp_path / "stored"), *change) == 0
    (written,) = (tmp_path / "checkpoints").glob("*.ckpt")
    tuned = AffectGPT.from_checkpoint(written)
    assert tuned.network.prefusion.any_subset
    before, after = stored.state_dict(), tuned.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if not name.startswith("poolings."))
    assert "pre-fusion" not in caplog.text


def test_bare_names_of_parts_are_read_from_a_configuration(shards, tmp_path):
    config = tmp_path / "bare.yaml"
    config.write_text(
        "model:\n  streams: {frame: tiny-vision, audio: {encoder: tiny-audio, pooling: mean}}\n"
        "  llm: tiny\n  prefusion: none\n  projector: linear\n  media: {frame_height: 32, frame_width: 32, "
        "segment_seconds: 0.2, num_frames: 2}\n"
        f"data: {{name: mercaption, args: {{train: {shards}, batch_size: 2}}}}\n"
        "trainer: {max_steps: 1, accelerator: cpu, logger: false, enable_progress_bar: false, "
        f"enable_model_summary: false, default_root_dir: {tmp_path}}}\n"
    )
    assert main(["fit", "--config", str(config), "--debug"]) == 0
    (written,) = (tmp_path / "checkpoints").glob("*.ckpt")
    model = AffectGPT.from_checkpoint(written)
    assert list(model.specs) == ["frame", "audio"]


def test_another_configuration_is_refused(shards, tmp_path, stored, capsys):
    assert (
        fit(shards, tmp_path, f"--start={tmp_path / 'stored'}", "--model.max_new_tokens=7", "--model.style=official")
        == 1
    )
    said = capsys.readouterr().err
    assert "style: 'brief' in the checkpoint, 'official' here" in said
    assert "only its language model (model.llm), its projectors (model.projector) and its pre-fusion" in said
    assert fit(shards, tmp_path, f"--start={tmp_path / 'none.ckpt'}") == 1
    assert "no checkpoint at" in capsys.readouterr().err

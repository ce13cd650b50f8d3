"""A model records its trainings truly: each run writes its own, and resuming, starting and saving keep them."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from affectgpt import AffectGPT
from affectgpt.checkpoints.history import read_history
from affectgpt.datamodules import MERCaptionDataModule
from affectgpt.shards import pack
from affectgpt.shards.index import read_index
from quiettrainer import quiet_trainer
from tinytrain import SMALL


@pytest.fixture(scope="module")
def clips(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("set") / "joy-2026"
    pack(corpus / "manifest.jsonl", out, provenance={"licence": "CC-BY-4.0", "source": "drawn here"})
    return out


def fit(model: AffectGPT, clips: Path, folder: Path, epochs: int, resume: Path | None = None) -> Path:
    data = MERCaptionDataModule(
        str(clips), str(clips), batch_size=5, num_workers=0, style="brief", task="labels", media=model.media.to_json()
    )
    saver = ModelCheckpoint(folder, save_last=True, save_top_k=0)
    trainer = quiet_trainer(max_epochs=epochs, enable_checkpointing=True, default_root_dir=folder, callbacks=[saver])
    trainer.fit(model, data, ckpt_path=resume)
    return folder / "last.ckpt"


@pytest.fixture(scope="module")
def runs(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of a run of one epoch, of the same run gone on with to three, and of one that starts from it."""
    folder = tmp_path_factory.mktemp("runs")
    once = fit(AffectGPT.from_config(SMALL), clips, folder / "once", 1)
    on = fit(AffectGPT.from_config(SMALL), clips, folder / "on", 3, resume=once)
    further = AffectGPT.from_config(SMALL)
    further.start_from(on)
    return {"once": once, "on": on, "further": fit(further, clips, folder / "further", 1)}


def told(path: Path) -> list[dict]:
    return AffectGPT.load(path).record.trainings()


def test_a_run_tells_what_it_did(runs, clips) -> None:
    (one,) = told(runs["once"])
    checkpoint = torch.load(runs["once"], weights_only=True)
    assert one["steps"] == checkpoint["global_step"] == 2
    assert one["epochs"] == 1
    (found,) = one["sets"]
    assert found.pop("digest") == read_index(clips).digest
    assert found == {"name": "joy-2026", "samples": 10, "source": "drawn here", "licence": "CC-BY-4.0"}
    assert one["versions"]["torch"] == version("torch")
    assert one["validation"].keys() >= {"val/loss"}
    model = AffectGPT.load(runs["once"])
    assert sum(one["trained"].values()) == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_a_run_that_went_on_is_one_training_and_a_start_from_it_a_second(runs) -> None:
    assert [one["steps"] for one in told(runs["on"])] == [6]
    assert [one["epochs"] for one in told(runs["on"])] == [3]
    assert [one["steps"] for one in told(runs["further"])] == [6, 2]


def test_a_run_that_goes_on_with_the_same_sets_does_not_compare_them_again(runs, clips, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("affectgpt.model.training_note.shared_clips", lambda data: pytest.fail("compared again"))
    on = fit(AffectGPT.from_config(SMALL), clips, tmp_path, 2, resume=runs["once"])
    assert [one["shared_clips"] for one in told(on)] == [10]


def test_the_card_tells_all_of_it_and_saving_again_loses_nothing(runs, clips, tmp_path) -> None:
    model = AffectGPT.load(runs["further"])
    model.save_pretrained(tmp_path / "one", licence="cc-by-nc-4.0")
    card = (tmp_path / "one" / "README.md").read_text("utf-8")
    assert "6 steps in 3 epochs, from the networks named above" in card
    digest = read_index(clips).digest[:16]
    assert card.count(f"joy-2026 (10 samples, digest {digest}, source drawn here, licence CC-BY-4.0)") == 4
    assert "2 steps in 1 epoch, from the weights of on/last.ckpt" in card
    assert 'license: "cc-by-nc-4.0"' in card
    assert "joy-2026: CC-BY-4.0" in card
    assert f"torch {version('torch')}" in card
    for name in SMALL["streams"]:
        frozen = not any(p.requires_grad for p in model.encoder(name).parameters())
        row = next(line for line in card.splitlines() if line.startswith(f"| {name} |"))
        assert ("| trained, see below |" in row) != frozen
    again = AffectGPT.from_pretrained(tmp_path / "one")
    assert again.record.trainings() == model.record.trainings()
    again.save_pretrained(tmp_path / "two")
    assert (tmp_path / "two" / "README.md").read_text("utf-8") == card


def test_an_untrained_model_says_so_and_names_no_licence(tmp_path) -> None:
    AffectGPT.from_config(SMALL).save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text("utf-8")
    assert "None is recorded" in card
    assert "Nobody has named a licence" in card
    assert "license:" not in card
    assert str(tmp_path) not in card


@pytest.mark.parametrize(
    "forged", [None, 3, {"a": 1}, [1, "x", None], [{"objective": "x"}], [{"averaged": [3]}], [{"steps": "many"}]]
)
def test_a_forged_history_is_left_out(forged) -> None:
    assert read_history(forged) == []


def test_a_forged_history_of_a_folder_does_not_end_in_a_fault(tmp_path) -> None:
    AffectGPT.from_config(SMALL).save_pretrained(tmp_path / "one")
    path = tmp_path / "one" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "history": [{"objective": 3, "sets": "all"}]}))
    model = AffectGPT.from_pretrained(tmp_path / "one")
    assert model.record.trainings() == []
    model.save_pretrained(tmp_path / "two")

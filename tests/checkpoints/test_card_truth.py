"""Whatever a model was trained by, its card tells it, and tells nothing that was not done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging

import rewardrun  # registers the reward "vowels"
from affectgpt import AffectGPT
from affectgpt.cli.main import main
from affectgpt.datamodules import MERCaptionDataModule
from affectgpt.files import digest_of_file
from affectgpt.model.objective import Objective, learn_by
from affectgpt.registry import OBJECTIVES
from affectgpt.shards import pack
from affectgpt.shards.index import read_index
from affectgpt.training.weight_average import WeightAverage
from clipmaker import make_clip
from quiettrainer import quiet_trainer
from tinytrain import SMALL

LORA = {"name": "tiny", "args": {"dim": 16, "layers": 1, "heads": 2, "lora": {"rank": 2}, "trainable": False}}
DROPS = {"modality": 0.5}
KINDS: dict[str, dict[str, Any]] = {
    "answers": {"tells": ["cross-entropy of the given answers, a mean over tokens", "task labels"]},
    "fusion-only": {
        "model": {"optim": {"lr": 1e-3, "warmup_steps": 0, "train_only": ["poolings", "projectors"]}},
        "tells": ["optim.train_only [poolings, projectors]"],
        "tells_not": ["llm ("],
    },
    "missing-views": {"model": {"modality_dropout": DROPS}, "tells": ["modality_dropout.modality 0.5"]},
    "moving-average": {"callbacks": [WeightAverage], "tells": ["average over the steps (WeightAverage)"]},
    "lightnings-average": {"callbacks": [EMAWeightAveraging], "tells": ["average over the steps (EMAWeightAveraging)"]},
    "grpo": {
        "objective": {
            "rewards": {"vowels": {"name": "vowels", "weight": 2.0}, "f1": {"name": "wheel", "args": {"level": 2}}},
            "group_size": 4,
            "kl_weight": 0.1,
        },
        "model": {"modality_dropout": DROPS},
        "tells": [
            "rewards of its own answers (group-relative policy optimisation)",
            "objective.rewards.vowels.weight 2",
            "objective.rewards.f1.name wheel",
            "objective.rewards.f1.args.level 2",
            "objective.group_size 4",
            "objective.kl_weight 0.1",
            "objective.reference start",
        ],
        "tells_not": ["modality\\_dropout", "cross-entropy"],  # it leaves nothing out of the clips
    },
    "dpo": {
        "objective": {"beta": 0.2, "reference": "adapters-off"},
        "model": {"llm": LORA},
        "task": "preference",
        "tells": ["which of two answers people prefer", "objective.beta 0.2", "objective.reference adapters-off"],
        "tells_not": ["cross-entropy"],
    },
    "view-distillation": {
        "objective": {"teacher": "start", "temperature": 2.0},
        "model": {"modality_dropout": DROPS},
        "tells": ["distillation between views", "objective.teacher start", "objective.temperature 2"],
        "tells_not": ["cross-entropy of the given"],
    },
}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards to train on and to validate on, without a clip in common."""
    folder = tmp_path_factory.mktemp("sets")
    for start, name in ((0, "joy-2026"), (4, "held-out")):
        lines = []
        for number in range(start, start + 4):
            (folder / f"c{number}.mp4").write_bytes(make_clip(0.3, shade=20 + 25 * number))
            pair = {
                "clip": f"c{number}",
                "a1": "She smiles.",
                "a2": "He frowns.",
                "preference": ["a1", "a2"][number % 2],
            }
            labels = ["happy", "calm"] if number % 2 else ["sad"]
            lines.append({"name": f"c{number}", "video": f"c{number}.mp4", "labels": labels, "pair": pair})
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        pack(folder / f"{name}.jsonl", folder / name, provenance={"licence": "CC-BY-4.0", "source": "drawn here"})
    return folder


def config_of(kind: dict[str, Any]) -> dict[str, Any]:
    return {**SMALL, **kind.get("model", {})}


def train(
    model: AffectGPT, train_on: Path, *, val: Path | None = None, ckpt: Path | None = None, **options: Any
) -> Any:
    data = MERCaptionDataModule(
        str(train_on),
        None if val is None else str(val),
        batch_size=2,
        num_workers=0,
        style="brief",
        task=options.pop("task", "labels"),
        media=model.media.to_json(),
    )
    trainer = quiet_trainer(**{"max_epochs": 1, **options})
    trainer.fit(model, data, ckpt_path=ckpt)
    return trainer


def card_of(model: AffectGPT, folder: Path) -> str:
    model.save_pretrained(folder)
    return (folder / "README.md").read_text("utf-8")


def test_every_objective_is_among_the_kinds() -> None:
    assert set(OBJECTIVES.names()) <= KINDS.keys()
    assert rewardrun.GROUP


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("validates", [True, False])
def test_the_card_tells_kind_start_data_and_settings_and_only_figures_that_were_taken(
    sets: Path, tmp_path: Path, name: str, validates: bool
) -> None:
    kind = KINDS[name]
    torch.manual_seed(1)
    start = AffectGPT.from_config(config_of(kind))
    start.save_pretrained(tmp_path / "begun", licence="cc-by-nc-4.0")
    model = AffectGPT.from_config(config_of(kind))
    model.start_from(tmp_path / "begun")
    if "objective" in kind:
        learn_by(model, OBJECTIVES.build({"name": name, "args": kind["objective"]}))
    callbacks = [make() for make in kind.get("callbacks", ())]
    val = sets / "held-out" if validates else None
    trainer = train(model, sets / "joy-2026", val=val, callbacks=callbacks, task=kind.get("task", "labels"))
    steps = trainer.global_step
    assert steps > 0
    card = card_of(AffectGPT.load(saved(model, tmp_path / "last.ckpt")), tmp_path / "shared")
    plain = card.replace("\\", "")
    training = plain.split("## Training")[1].split("## Evaluation")[0]
    assert f"{steps:,} steps in 1 epoch, from the weights of {tmp_path.name}/begun" in training
    assert digest_of_file(tmp_path / "begun" / "model.safetensors")[:16] in training
    index = read_index(sets / "joy-2026")
    assert f"Data: joy-2026 (4 samples, digest {index.digest[:16]}, source drawn here, licence CC-BY-4.0)" in training
    for words in ("batch_size 2", "seed 42", "optim.lr 0.001", *kind["tells"]):
        assert words in training, words
    for words in kind.get("tells_not", ()):
        assert words not in card, words
    trained = {part.split(".")[0] for part, p in model.named_parameters() if p.requires_grad} - {"encoders"}
    assert all(f"{part} (" in training for part in trained)
    assert ("held-out" in plain) == validates
    assert ("val/" in plain) == validates
    assert ("No validation was made." in plain) != validates
    assert ("No evaluation is recorded." in plain) != validates
    if validates:
        figure = f"val/loss {float(trainer.callback_metrics['val/loss']):.4g}"
        assert f"Validation after step {steps} on held-out (4 samples" in training
        assert figure in training
        assert ("scored by the wheel builtin" in training) == ("val/f1" in training)
        assert "training clips too" not in training
    assert "This card has no figure of a test set" in plain
    assert "the models that it was trained on from: " in plain
    assert "cc-by-nc-4.0" in plain.split("## Licence")[1]
    assert "license:" not in card  # that licence is of the weights before
    assert str(tmp_path.parent) not in card


def saved(model: AffectGPT, path: Path) -> Path:
    model.save_checkpoint(path)
    return path


def test_an_objective_that_tells_nothing_is_named(sets: Path, tmp_path: Path) -> None:
    class Nudge(Objective):
        def train(self, model: Any, batch: Any) -> Any:
            return model(batch).sample_losses.sum()

    model = AffectGPT.from_config(SMALL)
    learn_by(model, Nudge())
    train(model, sets / "joy-2026")
    card = card_of(model, tmp_path)
    assert "Learnt from the objective Nudge: 2 steps" in card
    assert "from the networks named above, and the rest as initialised" in card


def test_a_test_on_other_data_after_a_training_changes_nothing_of_the_card(sets: Path, tmp_path: Path) -> None:
    model = AffectGPT.from_config(SMALL)
    trainer = train(model, sets / "joy-2026", val=sets / "held-out")
    card = card_of(model, tmp_path / "before")
    other = MERCaptionDataModule(
        val=str(sets / "joy-2026"), test=str(sets / "held-out"), num_workers=0, style="brief",
        media=model.media.to_json(),
    )  # fmt: skip
    trainer.test(model, other, verbose=False)
    trainer.validate(model, other, verbose=False)
    assert card_of(model, tmp_path / "after") == card
    fresh = lightning.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
    fresh.test(model, other, verbose=False)
    assert card_of(model, tmp_path / "fresh") == card
    train(model, sets / "held-out")
    again = card_of(model, tmp_path / "again").replace("\\", "")
    assert "2. Learnt from" in again
    assert "from the weights after training 1." in again
    assert "measured before the last training; the weights here were not evaluated" in again


def test_a_run_that_went_on_with_other_data_is_told_as_two(sets: Path, tmp_path: Path) -> None:
    model = AffectGPT.from_config(SMALL)
    train(model, sets / "joy-2026").save_checkpoint(tmp_path / "one.ckpt")
    on = AffectGPT.from_config(SMALL)
    train(on, sets / "held-out", ckpt=tmp_path / "one.ckpt", max_epochs=3)
    first, second = on.record.trainings()
    assert (first["steps"], second["steps"]) == (2, 4)
    assert [one["sets"][0]["name"] for one in (first, second)] == ["joy-2026", "held-out"]
    card = card_of(on, tmp_path / "shared").replace("\\", "")
    assert "4 steps in 2 epochs, going on with training 1 with other data or settings" in card


def test_validating_on_training_clips_is_said(sets: Path, tmp_path: Path) -> None:
    model = AffectGPT.from_config(SMALL)
    train(model, sets / "joy-2026", val=sets / "joy-2026", limit_val_batches=1)
    card = card_of(model, tmp_path).replace("\\", "")
    assert "(the first batch)" in card
    assert "4 of these clips are training clips too." in card


def test_the_mean_of_checkpoints_is_told_as_one_and_has_no_figures(sets: Path, tmp_path: Path) -> None:
    model = AffectGPT.from_config(SMALL)
    for number in (1, 2):
        train(model, sets / "joy-2026", val=sets / "held-out").save_checkpoint(tmp_path / f"{number}.ckpt")
    mean, folder = tmp_path / "mean.safetensors", tmp_path / "shared"
    paths = [str(tmp_path / f"{number}.ckpt") for number in (1, 2)]
    assert main(["convert", paths[0], str(mean), "--average", paths[1]]) == 0
    assert main(["convert", str(mean), str(folder), "--licence", "cc-by-4.0"]) == 0
    card = (folder / "README.md").read_text("utf-8").replace("\\", "")
    assert f"the mean of 2 checkpoints: {tmp_path.name}/1.ckpt (2 steps), {tmp_path.name}/2.ckpt (4 steps)" in card
    assert "the mean of their weights was not evaluated" in card
    assert 'license: "cc-by-4.0"' in card
    again = AffectGPT.from_pretrained(folder)
    again.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "README.md").read_text("utf-8") == (folder / "README.md").read_text("utf-8")
    on = AffectGPT.from_config(SMALL)
    on.start_from(folder)
    train(on, sets / "joy-2026")
    assert "3. Learnt from" in card_of(on, tmp_path / "on")


def test_a_part_that_started_anew_is_named(sets: Path, tmp_path: Path) -> None:
    AffectGPT.from_config(SMALL).save_pretrained(tmp_path / "begun")
    model = AffectGPT.from_config({**SMALL, "prefusion": {"name": "qformer"}})
    model.start_from(tmp_path / "begun")
    train(model, sets / "joy-2026")
    card = card_of(model, tmp_path / "shared").replace("\\", "")
    assert "with prefusion, projectors as initialised" in card

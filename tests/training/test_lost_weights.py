"""A training whose weights are lost writes no checkpoint and does not end well."""

from __future__ import annotations

from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from affectgpt.cli.main import main
from affectgpt.datamodules.stream_loader import QuestionStream
from affectgpt.errors import CheckpointError, DataError
from affectgpt.training.finite import LARGEST_GRADIENT, FiniteGuard, gradients_are_usable
from affectgpt.training.rank_watch import RankWatch
from affectgpt.training.resume_report import ResumeReport
from affectgpt.training.run_folder import RunFolder
from affectgpt.training.safeguards import add_safeguards
from affectgpt.training.stop_signals import StopTogether
from affectgpt.training.whole_file import WholeFileIO
from conftest import load_script
from fitconfig import write_fit_config

train = load_script("tests/training/guard_worker.py").train

pytestmark = pytest.mark.filterwarnings("ignore")


class Lost(lightning.Callback):
    """Loses a weight at a step, as an overflowing update would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer, pl_module, *args) -> None:
        if trainer.global_step == self.step:
            next(p for p in pl_module.parameters() if p.requires_grad).data[0] = float("inf")


def test_gradients_whose_square_overflows_are_no_gradients():
    weight = nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([0.5, LARGEST_GRADIENT])
    assert gradients_are_usable([weight])
    weight.grad *= 10
    assert not gradients_are_usable([weight])
    assert not torch.isfinite(weight.grad.square() * 10).all()


def test_no_checkpoint_of_lost_weights_is_written(tmp_path):
    saver = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    with pytest.raises(CheckpointError, match=r"no checkpoint is written at step 2: 1 weights are not finite"):
        train([0, 1, 2, 3], set(), FiniteGuard(folder=str(tmp_path)), Lost(2), saver)
    assert [path.name for path in tmp_path.glob("*.ckpt")] == ["step=1.ckpt"]


def test_a_run_without_checkpoints_that_loses_its_weights_ends_with_an_error(tmp_path):
    with pytest.raises(DataError, match=r"training stopped at step 1: 1 weights are not finite .*'step1-rank0'"):
        train([0, 1, 2], set(), FiniteGuard(folder=str(tmp_path)), Lost(1))
    with pytest.raises(DataError, match=r"training ended, but 1 weights are not finite"):
        train([0, 1], set(), FiniteGuard(folder=str(tmp_path)), Lost(2))


def test_a_run_that_took_no_step_ends_with_an_error(tmp_path):
    with pytest.raises(DataError, match=r"learnt nothing: all its steps \(2\)"):
        train([0, 1], {(0, 0), (1, 0)}, FiniteGuard(folder=str(tmp_path)))


def test_weights_alone_are_not_written_with_nan_either(tmp_path):
    with pytest.raises(CheckpointError, match="1 weights are NaN"):
        WholeFileIO().save_checkpoint({"state_dict": {"w": torch.tensor([1.0, float("nan")])}}, tmp_path / "w.ckpt")
    assert not list(tmp_path.iterdir())


def test_the_guard_is_on_by_default_and_given_ones_stand():
    trainer = lightning.Trainer(logger=False, accelerator="cpu", callbacks=[FiniteGuard(max_skipped=3)])
    watch = RankWatch(1.0, print)
    add_safeguards(trainer, StopTogether(), RunFolder({}), ResumeReport({}, print), watch)
    assert [guard.max_skipped for guard in trainer.callbacks if isinstance(guard, FiniteGuard)] == [3]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e20])
def test_fit_survives_one_wild_sample_and_names_it(shards: Path, tmp_path: Path, monkeypatch, value):
    ask = QuestionStream.ask

    def wild(self, address, clip):
        if clip.key == "clip4":
            clip.media["audio"].fill_(value)
        return ask(self, address, clip)

    monkeypatch.setattr(QuestionStream, "ask", wild)
    config = write_fit_config(tmp_path / "config.yaml", shards, trainer={"max_epochs": 1, "logger": False})
    assert main(["fit", "--config", str(config)]) == 0
    (written,) = (tmp_path / "checkpoints").glob("*.ckpt")
    state = torch.load(written, weights_only=True)["state_dict"]
    assert all(torch.isfinite(tensor).all() for tensor in state.values())
    if value != 1e20:
        assert '"clip4"' in (tmp_path / "non_finite.jsonl").read_text()


def test_fit_whose_every_sample_is_broken_is_no_success(shards: Path, tmp_path: Path, monkeypatch, capsys):
    ask = QuestionStream.ask

    def broken(self, address, clip):
        if "audio" in clip.media:
            clip.media["audio"].fill_(float("nan"))
        return ask(self, address, clip)

    monkeypatch.setattr(QuestionStream, "ask", broken)
    config = write_fit_config(tmp_path / "config.yaml", shards, trainer={"max_epochs": 1, "logger": False})
    assert main(["fit", "--config", str(config), "--data.args.batch_size", "5"]) == 1
    assert "learnt nothing" in capsys.readouterr().err

"""The moving average of the weights: what it is, where it is used, and that a stopped run goes on exactly."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning
import pytest
import torch

import dealing
import tinytrain
from affectgpt import AffectGPT
from affectgpt.errors import ConfigError
from affectgpt.training.sharding import ShardedStrategy
from affectgpt.training.weight_average import CURRENT, WeightAverage

DECAY = 0.9


class Weights(lightning.Callback):
    """Notes the trained weights after each step, and those that a validation or the end sees."""

    def __init__(self) -> None:
        self.steps: list[dict[str, torch.Tensor]] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.steps.append(trained(pl_module))


def trained(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def run(folder: Path, steps: range, ckpt: Path | None = None, epochs: int = 1) -> tuple[Weights, lightning.Trainer]:
    notes = Weights()
    trainer = tinytrain.train(
        dealing.CONFIG, steps, lambda step: dealing.make_batch(range(2 * step, 2 * step + 2)),
        [notes, WeightAverage(DECAY)], max_epochs=epochs, ckpt_path=ckpt, default_root_dir=folder,
    )  # fmt: skip
    return notes, trainer


def test_it_is_the_mean_that_forgets(tmp_path: Path) -> None:
    torch.manual_seed(0)
    lightning.seed_everything(7, verbose=False)
    start = trained(AffectGPT.from_config(dealing.CONFIG))
    notes, trainer = run(tmp_path, range(4))
    names = [name for name in start if not torch.equal(notes.steps[0][name], notes.steps[-1][name])]
    assert names
    for name in names:
        expected = start[name].clone()
        for number, step in enumerate(notes.steps, start=1):
            stays = min(DECAY, (1 + number) / (10 + number))
            expected += (1 - stays) * (step[name] - expected)
        assert torch.allclose(trained(trainer.lightning_module)[name], expected, rtol=1e-5, atol=1e-7)


def test_a_checkpoint_holds_the_average_and_goes_on_from_the_weights(tmp_path: Path) -> None:
    whole, done = run(tmp_path, range(3), epochs=2)
    half, stopped = run(tmp_path, range(3), epochs=1)
    stopped.save_checkpoint(tmp_path / "half.ckpt")
    stored = torch.load(tmp_path / "half.ckpt", weights_only=True)
    name = next(name for name in stored[CURRENT] if not torch.equal(stored[CURRENT][name], stored["state_dict"][name]))
    assert torch.equal(stored[CURRENT][name], half.steps[-1][name])
    assert torch.equal(stored["state_dict"][name], trained(stopped.lightning_module)[name])
    assert torch.equal(
        dict(AffectGPT.load(tmp_path / "half.ckpt").named_parameters())[name], stored["state_dict"][name]
    )
    rest, again = run(tmp_path, range(3), tmp_path / "half.ckpt", epochs=2)
    for step, expected in zip(rest.steps, whole.steps[3:], strict=True):
        assert all(torch.equal(step[one], expected[one]) for one in step)
    ends = trained(again.lightning_module), trained(done.lightning_module)
    assert all(torch.equal(ends[0][one], ends[1][one]) for one in ends[0])


def test_a_validation_sees_the_average_and_training_goes_on_with_the_weights() -> None:
    module, average = torch.nn.Linear(1, 1, bias=False), WeightAverage(DECAY)
    trainer: Any = SimpleNamespace(global_step=0)
    torch.nn.init.constant_(module.weight, 1.0)
    average.on_train_start(trainer, module)
    torch.nn.init.constant_(module.weight, 2.0)
    average.on_train_batch_end(trainer, module, None, None, 0)  # a batch whose gradients are accumulated
    trainer.global_step = 1
    average.on_train_batch_end(trainer, module, None, None, 1)
    average.on_validation_start(trainer, module)
    assert module.weight.item() == pytest.approx(1 + 9 / 11)
    average.on_validation_end(trainer, module)
    assert module.weight.item() == 2.0


def test_what_would_lose_the_average_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="decay=1, but"):
        WeightAverage(1.0)
    options: dict[str, Any] = {"accelerator": "cpu", "logger": False, "default_root_dir": tmp_path}
    saver = lightning.pytorch.callbacks.ModelCheckpoint(tmp_path, save_weights_only=True)
    with pytest.raises(ConfigError, match="save_weights_only"):
        WeightAverage().setup(lightning.Trainer(callbacks=[saver], **options), None, "fit")
    with pytest.raises(ConfigError, match="convert --average"):
        WeightAverage().setup(lightning.Trainer(strategy=ShardedStrategy(), **options), None, "fit")

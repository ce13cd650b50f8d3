"""What the strategy fsdp2 refuses, and what a resumed run takes from its own configuration."""

from __future__ import annotations

from types import SimpleNamespace

import lightning
import pytest
import torch
from torch import nn

from affectgpt.errors import CheckpointError, ConfigError
from affectgpt.training.sharding import ShardedStrategy, shard_model
from affectgpt.training.whole_file import WholeFileIO


def strategy(tensor_parallel: int = 1) -> SimpleNamespace:
    sizes = {"data_parallel": 2, "tensor_parallel": tensor_parallel}
    return SimpleNamespace(device_mesh={name: SimpleNamespace(size=lambda n=n: n) for name, n in sizes.items()})


def test_tensor_parallelism_and_packed_weights_are_refused() -> None:
    with pytest.raises(ConfigError, match="tensor parallelism over 2 devices"):
        shard_model(nn.Linear(2, 2), [], strategy(tensor_parallel=2))
    packed = nn.Linear(2, 2)
    packed.weight = nn.Parameter(torch.zeros(4, 1, dtype=torch.uint8), requires_grad=False)
    with pytest.raises(ConfigError, match=r"weight and 0 more weights are in 4 bits"):
        shard_model(packed, [], strategy())


def test_the_trainer_knows_it_by_name() -> None:
    trainer = lightning.Trainer(accelerator="cpu", devices=2, strategy="fsdp2", logger=False, barebones=True)
    assert isinstance(trainer.strategy, ShardedStrategy)


def test_a_resumed_run_takes_rates_from_the_checkpoint_as_the_report_left_them() -> None:
    weight = nn.Parameter(torch.ones(2))
    shared = ShardedStrategy()
    shared.optimizers = [torch.optim.AdamW([weight], lr=1.0)]
    group = {"lr": 0.5, "weight_decay": 0.1, "params": ["weight"], "param_names": ["weight"]}
    shared.load_optimizer_state_dict({"optimizer_states": [{"state": {}, "param_groups": [group]}]})
    (found,) = shared.optimizers[0].param_groups
    assert (found["lr"], found["weight_decay"]) == (0.5, 0.1)
    assert found["params"] == [weight]


def test_one_device_says_how_to_go_on_from_shards(tmp_path) -> None:
    from affectgpt.checkpoints.shard_writer import ShardWriter

    ShardWriter().write({"state_dict": {"weight": torch.ones(4)}}, {"step": 1}, tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match=r"trainer\.strategy=fsdp2"):
        WholeFileIO().load_checkpoint(tmp_path / "last.ckpt")

"""Shards that are written in the background: the values of that moment, and a whole checkpoint at any time."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.distributed.checkpoint.filesystem import FileSystemWriter

import dealing
import tinytrain
from affectgpt.checkpoints.shard_folder import is_shard_folder, read_facts, read_weights
from affectgpt.checkpoints.shard_writer import ShardWriter
from affectgpt.errors import CheckpointError, ConfigError
from affectgpt.training.sharding import ShardedStrategy
from fulldisk import largest_file
from processes import in_processes


def tensors(value: float, count: int = 4) -> dict[str, dict[str, torch.Tensor]]:
    return {"state_dict": {"weight": torch.full((count,), value)}}


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Nothing is written before it is set."""
    event = threading.Event()
    write = FileSystemWriter.write_data

    def waiting(self, *args):
        assert event.wait(60)
        return write(self, *args)

    monkeypatch.setattr(FileSystemWriter, "write_data", waiting)
    return event


def test_it_holds_the_values_of_its_moment_and_takes_its_name_when_whole(held: threading.Event, tmp_path: Path) -> None:
    first, second = tmp_path / "first.ckpt", tmp_path / "second.ckpt"
    held.set()
    writer = ShardWriter(background=True)
    writer.write(tensors(1), {"step": 1}, first)
    writer.finish()
    assert is_shard_folder(first)
    held.clear()
    given = tensors(2)
    writer.write(given, {"step": 2}, second)
    given["state_dict"]["weight"].zero_()  # training goes on
    assert writer.remove(first), "it stays until the second is whole"
    assert not is_shard_folder(second)
    assert read_weights(first)["weight"].tolist() == [1.0] * 4
    held.set()
    writer.finish()
    assert read_weights(second)["weight"].tolist() == [2.0] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["second.ckpt"]
    assert not writer.remove(second)


def test_what_failed_is_said_at_the_next_call_and_removes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    writer = ShardWriter(background=True)
    writer.write(tensors(1), {"step": 1}, path)
    writer.finish()
    with largest_file(200_000):
        writer.write(tensors(2, 10**6), {"step": 2}, tmp_path / "next.ckpt")
        writer.remove(path)
        with pytest.raises(CheckpointError, match=r"next\.ckpt' cannot be written \(File too large"):
            writer.finish()
    assert [one.name for one in tmp_path.iterdir()] == ["last.ckpt"]
    writer.write(tensors(3), {"step": 3}, path)
    writer.finish()
    assert read_facts(path) == {"step": 3}


def killed(path: Path) -> None:
    """Replace a checkpoint, and be killed while the new one is written."""
    writer = ShardWriter()
    writer.write(tensors(1), {"step": 1}, path)
    FileSystemWriter.finish = lambda self, *_, **__: os.kill(os.getpid(), signal.SIGKILL)
    writer = ShardWriter(background=True)
    writer.write(tensors(2), {"step": 2}, path)
    writer.finish()


def test_a_kill_meanwhile_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    assert in_processes(killed, path) == [-signal.SIGKILL]
    assert is_shard_folder(path)
    assert read_facts(path) == {"step": 1}
    ShardWriter().write(tensors(3), {"step": 3}, path)
    assert [one.name for one in tmp_path.iterdir()] == ["last.ckpt"]


def learn(folder: Path) -> None:
    """Train on two ranks that share the weights, with a checkpoint a step in the background."""
    rank, _ = tinytrain.place()

    def make(step: int) -> object:
        return dealing.make_batch([2 * step + rank])

    saver = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=1, save_top_k=1, monitor="step", mode="max")
    strategy = ShardedStrategy(background=True, process_group_backend="gloo")
    tinytrain.train(tinytrain.SMALL, range(3), make, [saver], strategy=strategy)


def test_two_ranks_train_on_while_they_write(tmp_path: Path) -> None:
    assert in_processes(learn, tmp_path, world=2) == [0, 0]
    assert [path.name for path in tmp_path.glob("[!.]*")] == ["step=3.ckpt"], "the others were removed"
    assert read_facts(tmp_path / "step=3.ckpt")["global_step"] == 3
    assert any(name.startswith("llm.") for name in read_weights(tmp_path / "step=3.ckpt"))


def test_it_needs_shards() -> None:
    with pytest.raises(ConfigError, match="background=True"):
        ShardedStrategy(shards=False, background=True)

"""Real training processes are killed, and go on: what they saw is what one run would have seen."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import resume_worker
from affectgpt.cli.main import main as cli
from affectgpt.errors import CheckpointError
from affectgpt.training.whole_file import WholeFileIO
from fulldisk import largest_file
from processes import in_processes, settings_for

WORKER = Path(resume_worker.__file__)


def train(out: Path, world: int = 1, **options: object) -> int | None:
    """Run the worker; returns the first rank's exit code."""
    codes = in_processes(resume_worker.main, settings_for(out, world=world, **options), world=world)
    assert options.get("kill_at") is not None or codes == [0] * world
    return codes[0]


def seen(out: Path, rank: int = 0) -> dict[int, list]:
    """Step to (epoch, batch, keys, questions); what was learnt again after a kill must be the same."""
    found: dict[int, list] = {}
    for line in (out / f"seen-{rank}.jsonl").read_text().splitlines():
        epoch, batch, step, *content = json.loads(line)
        assert found.setdefault(step, [epoch, batch, *content]) == [epoch, batch, *content]
    return found


def test_killed_twice_with_workers_it_sees_what_one_run_sees(shards, tmp_path):
    """Failures 19 and 20: ``Reader.configure_optimizers`` asks for the number of steps."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(whole, shards=str(shards), max_epochs=2)
    assert train(killed, shards=str(shards), max_epochs=2, kill_at=4, num_workers=2) == -signal.SIGKILL
    assert train(killed, shards=str(shards), max_epochs=2, kill_at=5, num_workers=1) == -signal.SIGKILL
    train(killed, shards=str(shards), max_epochs=2, num_workers=2)
    assert seen(killed) == seen(whole)
    assert len(seen(whole)) == 10
    weights = [torch.load(folder / "final.pt", weights_only=True) for folder in (whole, killed)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_from_one_rank_to_two_and_back_every_sample_comes_once(shards, tmp_path):
    """Failure 21. 10 samples: 4 alone, 4 on two ranks, the last 2 alone."""
    out = tmp_path / "run"
    keys: list[str] = []
    for world, batch_size, kill_at, learnt in ((1, 1, 5, 4), (2, 1, 3, 2), (1, 1, None, 2)):
        for file in out.glob("seen-*"):
            file.unlink()
        train(out, world, shards=str(shards), max_epochs=1, batch_size=batch_size, kill_at=kill_at)
        for rank in range(world):
            lines = [json.loads(line) for line in (out / f"seen-{rank}.jsonl").read_text().splitlines()]
            assert len(lines) == learnt + (kill_at is not None)
            keys += [key for line in lines[:learnt] for key in line[3]]
    assert sorted(keys) == [f"clip{i}" for i in range(10)]


def test_sigterm_ends_the_command_with_143_and_a_checkpoint_that_goes_on(shards, tmp_path):
    """Failure 22."""
    saver = {"dirpath": str(tmp_path), "save_last": True, "save_top_k": 0, "save_on_exception": True}
    config = {
        "trainer": {
            "max_epochs": 1,
            "accelerator": "cpu",
            "default_root_dir": str(tmp_path),
            "logger": False,
            "callbacks": [
                {"class_path": "ModelCheckpoint", "init_args": saver},
                {"class_path": "resume_worker.SeenLog", "init_args": {"out": str(tmp_path), "kill_at": 3}},
            ],
        },
        "model": resume_worker.TINY,
        "data": {"name": "mercaption", "args": {"train": str(shards), "batch_size": 2, "num_workers": 0}},
    }
    config["trainer"]["callbacks"][1]["init_args"]["kill_with"] = int(signal.SIGTERM)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    command = ["fit", "--config", str(tmp_path / "config.yaml")]
    assert in_processes(cli, command) == [128 + signal.SIGTERM]
    assert len(seen(tmp_path)) == 3
    assert in_processes(cli, [*command, "--ckpt_path", str(tmp_path / "last.ckpt"), "--trainer.max_epochs", "2"]) == [
        143
    ]
    lines = [json.loads(line)[:3] for line in (tmp_path / "seen-0.jsonl").read_text().splitlines()]
    assert lines == [[0, 0, 0], [0, 1, 1], [0, 2, 2], [0, 3, 3], [0, 4, 4], [1, 0, 5]]  # nothing was learnt twice


def stopping_config(out: Path, shards: Path, *, devices: int = 1, saver: dict | None = None, **seen: object) -> Path:
    """A configuration whose run signals to itself; returns the file."""
    callbacks = [{"class_path": "resume_worker.SeenLog", "init_args": {"out": str(out), "kill_at": 3, **seen}}]
    if saver is not None:
        callbacks.append({"class_path": "ModelCheckpoint", "init_args": {"dirpath": str(out), **saver}})
    trainer = {"max_epochs": 4, "accelerator": "cpu", "default_root_dir": str(out), "logger": False, "devices": devices}
    if devices > 1:
        backend = {"process_group_backend": "gloo"}
        trainer["strategy"] = {"class_path": "lightning.pytorch.strategies.DDPStrategy", "init_args": backend}
        trainer["use_distributed_sampler"] = False
    config = {
        "trainer": {**trainer, "callbacks": callbacks},
        "model": resume_worker.TINY,
        "data": {"name": "mercaption", "args": {"train": str(shards), "batch_size": 2, "num_workers": 2}},
    }
    (out / "config.yaml").write_text(yaml.safe_dump(config))
    return out / "config.yaml"


def in_a_group(*args: str) -> int:
    os.setpgrp()
    return cli(args)


def test_sigterm_to_the_whole_group_ends_with_143_and_a_checkpoint(shards, tmp_path):
    """Failure 22: as schedulers send it, to the workers too, and with no checkpoint callback in the configuration."""
    config = stopping_config(tmp_path, shards, kill_with=int(signal.SIGTERM), group=True)
    assert in_processes(in_a_group, "fit", "--config", str(config)) == [128 + signal.SIGTERM]
    (written,) = tmp_path.rglob("*.ckpt")
    assert torch.load(written, weights_only=True)["global_step"] == 3


def test_the_warning_signal_of_a_scheduler_ends_a_run_as_sigterm_does(shards, tmp_path):
    """Failure 22: SLURM's ``--signal=USR1`` reaches the data workers too."""
    config = stopping_config(tmp_path, shards, kill_with=int(signal.SIGUSR1), group=True)
    assert in_processes(in_a_group, "fit", "--config", str(config)) == [128 + signal.SIGTERM]
    (written,) = tmp_path.rglob("*.ckpt")
    assert torch.load(written, weights_only=True)["global_step"] == 3


def test_a_second_sigterm_does_not_break_the_saving(shards, tmp_path):
    """Failure 22."""
    saver = {"save_last": True, "save_top_k": 0, "save_on_exception": True}
    config = stopping_config(tmp_path, shards, saver=saver, kill_with=int(signal.SIGTERM), kill_on_save=True)
    assert in_processes(in_a_group, "fit", "--config", str(config)) == [128 + signal.SIGTERM]
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 3


def test_sigterm_to_one_rank_stops_both_at_the_same_step(shards, tmp_path):
    """Failure 22."""
    config = stopping_config(tmp_path, shards, devices=2, kill_with=int(signal.SIGTERM), kill_rank=1, kill_at=2)
    assert in_processes(cli, ["fit", "--config", str(config)], world=2) == [128 + signal.SIGTERM] * 2
    (written,) = tmp_path.rglob("*.ckpt")
    assert torch.load(written, weights_only=True)["global_step"] == 2


def test_a_killed_rank_is_named(shards, tmp_path, capfd):
    """Failure 22."""
    config = stopping_config(tmp_path, shards, devices=2, kill_with=int(signal.SIGKILL), kill_rank=1, kill_at=2)
    assert in_processes(cli, ["fit", "--config", str(config)], world=2) == [1, -signal.SIGKILL]
    words = r"error: rank 0: rank 1 \(process \d+ on \S+, last seen at step \d\) is gone: .*--ckpt_path"
    assert re.search(words, capfd.readouterr().err)


def test_a_stopped_rank_does_not_hold_the_other_for_ever_and_is_named(shards, tmp_path, capfd):
    """Failure 22."""
    config = stopping_config(tmp_path, shards, devices=2, kill_with=int(signal.SIGSTOP), kill_rank=1, kill_at=2)
    command = ["fit", "--config", str(config), "--rank_timeout=4"]
    assert in_processes(cli, command, world=2, kill_last=True) == [1, -signal.SIGKILL]
    assert re.search(r"error: rank 1 \(process \d+ on .*gave no sign of life for 4 s", capfd.readouterr().err)


def test_a_run_killed_while_it_writes_a_checkpoint_leaves_the_one_before(tmp_path):
    """Failure 23; nor does what was begun stay for ever."""
    path = tmp_path / "last.ckpt"
    WholeFileIO().save_checkpoint({"step": 1}, path)
    assert in_processes(die_while_writing, path) == [-signal.SIGKILL]
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert len(list(tmp_path.iterdir())) == 2
    WholeFileIO().save_checkpoint({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 2}
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_keeps_the_checkpoint_before_and_is_named(tmp_path):
    """Failure 24."""
    path = tmp_path / "last.ckpt"
    WholeFileIO().save_checkpoint({"step": 1}, path)
    words = r"last\.ckpt' cannot be written \(File too large\)\. Earlier checkpoints are unchanged"
    with largest_file(100_000), pytest.raises(CheckpointError, match=words):
        WholeFileIO().save_checkpoint({"weights": torch.zeros(100_000)}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def die_while_writing(path: Path) -> None:
    class Deadly:
        def __reduce__(self):
            os.kill(os.getpid(), signal.SIGKILL)

    WholeFileIO().save_checkpoint({"weights": torch.zeros(10_000), "then": Deadly()}, path)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_killed_twenty_times_at_random_steps_the_tiny_model_learns_the_same(shards, tmp_path):
    """Failures 19, 20 and 23."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    options = {"shards": str(shards), "model": "affectgpt", "max_epochs": 12}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

    def run(out: Path, kill_at: int | None, num_workers: int) -> None:
        settings = settings_for(out, **options, kill_at=kill_at, num_workers=num_workers)
        done = subprocess.run([sys.executable, str(WORKER), settings], capture_output=True, env=environment)
        assert done.returncode == (0 if kill_at is None else -signal.SIGKILL), done.stderr[-3000:]

    draw = random.Random(0)
    run(whole, None, 0)
    for kill_at in [*(draw.randint(1, 5) for _ in range(20)), None]:
        run(killed, kill_at, draw.choice([0, 1, 2]))
    assert seen(killed) == seen(whole)
    assert len(seen(whole)) == 60
    weights = [torch.load(folder / "final.pt", weights_only=True) for folder in (whole, killed)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])

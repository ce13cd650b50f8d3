"""Ranks that stop, fail or are killed: the others end, name them, and ask a shared disk for little."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
import torch

from affectgpt.cli.main import main
from affectgpt.training import rank_watch
from affectgpt.training.rank_watch import RankWatch
from processes import in_processes
from rankfaults import ddp_config


def watch_of(rank: int, folder: Path, world: int = 8) -> RankWatch:
    """A watch as ``setup`` leaves it, without its thread."""
    watch = RankWatch(60.0, pytest.fail)
    watch._rank, watch._world, watch._folder, watch._run = rank, world, folder, "run"
    watch._give_sign()
    return watch


def make_old(file: Path, seconds: float) -> None:
    now = time.time()
    os.utime(file, (now - seconds, now - seconds))


def test_a_rank_that_fails_alone_writes_nothing_and_holds_no_other(shards: Path, tmp_path: Path, capfd) -> None:
    saver = {"dirpath": str(tmp_path), "every_n_train_steps": 2, "save_last": True, "save_on_exception": True}
    callbacks = [
        {"class_path": "rankfaults.RaiseAt", "init_args": {"batch": 4, "rank": 1}},
        {"class_path": "ModelCheckpoint", "init_args": saver},
    ]
    config = ddp_config(tmp_path, shards, callbacks)
    assert in_processes(main, ["fit", "--config", str(config)], world=2) == [1, 3]
    told = capfd.readouterr().err
    assert "error: rank 1: ValueError: this rank alone has a problem" in told
    assert re.search(r"error: rank 0: rank 1 \(process \d+ on \S+, last seen at step \d\) is gone", told)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 2


def test_a_rank_that_cannot_read_its_data_is_named_by_the_others(shards: Path, tmp_path: Path, capfd) -> None:
    config = ddp_config(tmp_path, shards, [{"class_path": "rankfaults.NoDisk", "init_args": {"rank": 1}}])
    assert in_processes(main, ["fit", "--config", str(config)], world=2) == [1, 1]
    told = capfd.readouterr().err
    assert "error: rank 1: no disk here" in told
    assert "error: rank 0: 1 of the ranks cannot set up their data, such as rank 1: no disk here" in told


def test_ranks_draw_differently(shards: Path, tmp_path: Path) -> None:
    config = ddp_config(tmp_path, shards, [{"class_path": "rankfaults.DrawOnce", "init_args": {"out": str(tmp_path)}}])
    assert in_processes(main, ["fit", "--config", str(config), "--trainer.max_steps", "1"], world=2) == [0, 0]
    assert (tmp_path / "draw-0").read_text() != (tmp_path / "draw-1").read_text()


def test_the_first_rank_looks_at_all_and_the_others_at_it_alone(tmp_path: Path, monkeypatch) -> None:
    watches = [watch_of(rank, tmp_path) for rank in range(8)]
    asked: list[str] = []
    age_of = rank_watch._age_of
    monkeypatch.setattr(rank_watch, "_age_of", lambda sign: (asked.append(sign.name), age_of(sign))[1])
    assert watches[5]._look(30.0, "is silent") is None
    assert asked == ["run-5.json", "run-0.json"]
    make_old(watches[0]._file(6), 40)
    assert watches[5]._look(30.0, "is silent") is None
    found = watches[0]._look(30.0, "is silent")
    assert found is not None
    assert re.match(r"rank 6 \(process \d+ on \S+, last seen at step 0\) is silent; .*--ckpt_path", found)
    assert watches[5]._told() == found
    assert watches[0]._told() is None


def test_every_rank_finds_that_the_first_one_is_lost(tmp_path: Path) -> None:
    watches = [watch_of(rank, tmp_path) for rank in range(3)]
    make_old(watches[0]._file(0), 40)
    for watch in watches[1:]:
        found = watch._find()
        assert found is not None
        assert found.startswith("rank 0 (process")


def test_what_a_killed_run_left_goes_and_what_another_run_needs_stays(tmp_path: Path) -> None:
    watch = watch_of(0, tmp_path)
    for name, seconds in (("gone-3.json", 1000), ("gone-lost.txt", 1000), ("other-1.json", 5)):
        (tmp_path / name).write_text("{}")
        make_old(tmp_path / name, seconds)
    watch._sweep()
    assert {path.name for path in tmp_path.iterdir()} == {"run-0.json", "other-1.json"}


def test_once_a_run_is_told_to_end_a_silent_rank_is_found_sooner(tmp_path: Path, monkeypatch) -> None:
    found: list[str] = []
    monkeypatch.setattr(rank_watch, "SECONDS_AT_END", 0.5)
    watch = watch_of(0, tmp_path, world=2)
    watch.end = lambda message: (found.append(message), watch._over.set())
    watch_of(1, tmp_path, world=2)
    make_old(watch._file(1), 40)
    watch.is_ending = lambda: True
    watch._watch()
    assert "rank 1" in found[0]
    assert "gave no sign of life for 0.5 s;" in found[0]

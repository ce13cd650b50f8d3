"""A step that is not finite is left out by all ranks, reported with its samples, and stops a run that has many."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import lightning
import pytest
import torch
from torch import nn

from affectgpt.errors import ConfigError, DataError
from affectgpt.training.finite import REPORT, FiniteGuard, gradients_are_finite
from conftest import load_script

train = load_script("tests/training/guard_worker.py").train

WORKER = Path(__file__).with_name("guard_worker.py")


def test_a_broken_step_leaves_no_trace_in_the_weights(tmp_path):
    guard = FiniteGuard(folder=str(tmp_path))
    guarded = train([0, 1, 2], {(1, 0)}, guard).state_dict()
    without = train([0, 2], set(), FiniteGuard(folder=str(tmp_path))).state_dict()
    assert guard.num_skipped == 1
    assert all(torch.equal(guarded[name], without[name]) for name in without)
    (line,) = map(json.loads, (tmp_path / REPORT).read_text().splitlines())
    assert line["step"] == 1
    assert line["ranks"][0]["keys"] == ["step1-rank0"]
    assert line["ranks"][0]["losses"] == ["nan"]
    assert line["ranks"][0]["parameters"]


def test_without_the_guard_the_weights_are_lost(tmp_path):
    weights = train([0, 1, 2], {(1, 0)}, lightning.Callback()).state_dict()
    assert any(not torch.isfinite(value).all() for value in weights.values())


def test_all_batches_of_an_accumulated_step_are_named(tmp_path):
    guard = FiniteGuard(folder=str(tmp_path))
    model = train([0, 1, 2, 3], {(1, 0)}, guard, accumulate=2)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    (line,) = map(json.loads, (tmp_path / REPORT).read_text().splitlines())
    assert line["ranks"][0]["keys"] == ["step0-rank0", "step1-rank0"]


def test_too_many_broken_steps_stop_the_run(tmp_path):
    guard = FiniteGuard(max_skipped=1, folder=str(tmp_path))
    with pytest.raises(DataError, match=r"stopped at step 2: 2 steps .*max_skipped is 1.*non_finite\.jsonl"):
        train([0, 1, 2, 3], {(1, 0), (2, 0)}, guard)
    assert len((tmp_path / REPORT).read_text().splitlines()) == 2
    again = FiniteGuard(max_skipped=1)
    again.load_state_dict(guard.state_dict())
    assert again.num_skipped == 2


def test_two_ranks_leave_the_same_step_out_and_stop_together(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--rdzv-backend=c10d"]
    command += ["--rdzv-endpoint=localhost:0", str(WORKER), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    for rank in (0, 1):
        record = json.loads((tmp_path / f"rank{rank}.json").read_text())
        assert record["num_skipped"] == 1
        assert record["same"]
        assert record["same_sharded"]
        assert "2 steps" in record["message"], record
    first, second = (torch.load(tmp_path / f"weights{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    lines = [json.loads(line) for line in (tmp_path / REPORT).read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 0, 1]
    assert lines[0]["ranks"][0]["keys"] == ["step1-rank0"]
    assert lines[0]["ranks"][1]["keys"] == ["step1-rank1"]
    assert isinstance(lines[0]["ranks"][0]["losses"][0], float)  # rank 0's own loss was finite
    assert lines[0]["ranks"][1]["losses"] == ["nan"]


def test_large_gradients_are_finite_and_empty_ones_too():
    weights = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(0)), nn.Parameter(torch.zeros(1))]
    weights[0].grad, weights[1].grad = torch.tensor([3e38, 3e38]), torch.zeros(0)
    assert gradients_are_finite(weights)
    weights[2].grad = torch.tensor([float("-inf")])
    assert not gradients_are_finite(weights)
    assert gradients_are_finite([])


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="max_skipped=-1"):
        FiniteGuard(max_skipped=-1)
    trainer = lightning.Trainer(logger=False, barebones=True, accelerator="cpu")
    trainer.strategy.precision_plugin.precision = "16-mixed"
    with pytest.raises(ConfigError, match="bf16-mixed"):
        FiniteGuard().setup(trainer, lightning.LightningModule(), "fit")

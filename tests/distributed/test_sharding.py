"""Two processes with FSDP2 learn what one process with DDP learns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from affectgpt import AffectGPT

WORKER = Path(__file__).with_name("train_worker.py")


def run(world: int, strategy: str, out: Path) -> dict:
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={world}", "--rdzv-backend=c10d"]
    command += ["--rdzv-endpoint=localhost:0", str(WORKER), strategy, str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((out / f"{strategy}.json").read_text())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, dict]:
    out = tmp_path_factory.mktemp("sharding")
    return out, run(1, "ddp", out), run(2, "fsdp2", out)


def test_fsdp2_on_two_ranks_has_the_losses_of_one_process(runs: tuple[Path, dict, dict]) -> None:
    _, alone, sharded = runs
    assert alone["sharded"] == 0
    assert sharded["sharded"] > 0
    assert alone["losses"][-1] < alone["losses"][0]
    assert sharded["losses"] == pytest.approx(alone["losses"], rel=1e-5)
    assert sharded["texts"] == alone["texts"]


def test_checkpoint_of_a_sharded_run_loads_in_one_process(runs: tuple[Path, dict, dict]) -> None:
    out, _, _ = runs
    assert torch.load(out / "fsdp2.ckpt", weights_only=True)["affectgpt"]["format"] == 1
    ours, theirs = (AffectGPT.from_checkpoint(out / f"{name}.ckpt").state_dict() for name in ("ddp", "fsdp2"))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, rtol=1e-4, atol=1e-5, msg=name)

"""Two nodes of one process each, on one machine, started by the script that a cluster would call."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from conftest import ROOT
from tinytrain import SMALL

SCRIPT = ROOT / "experiments" / "launch" / "torchrun.sh"


def start(node: int, port: int, config: Path, run: Path) -> subprocess.Popen[str]:
    environment = {
        **os.environ, "NODES": "2", "NODE_RANK": str(node), "RANKS": "1", "HEAD": "127.0.0.1", "PORT": str(port),
        "RUN": str(run), "OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip
    return subprocess.Popen(
        [str(SCRIPT), "--config", str(config)], env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def write_config(path: Path, shards: Path, run: Path, epochs: int) -> Path:
    saver = {"dirpath": str(run), "save_last": True, "every_n_train_steps": 1}
    config = {
        "model": SMALL,
        "data": {"name": "mercaption", "args": {"train": str(shards), "batch_size": 1, "num_workers": 0}},
        "trainer": {
            "max_epochs": epochs, "accelerator": "cpu", "strategy": "fsdp2", "default_root_dir": str(run),
            "enable_progress_bar": False, "enable_model_summary": False,
            "callbacks": [{"class_path": "ModelCheckpoint", "init_args": saver}],
        },
    }  # fmt: skip
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_nodes_train_go_on_and_name_a_rank_that_is_killed(shards: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    port = free_port()
    nodes = [start(node, port, write_config(tmp_path / "a.yaml", shards, run, 1), run) for node in (0, 1)]
    told = [node.communicate(timeout=400)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], told
    assert "run: 2 ranks on 2 nodes, weights shared by FSDP2" in told[0]
    assert "run: 2 ranks" not in told[1], "the first rank speaks for all"
    done = torch.load(run / "last.ckpt" / "meta.pt", weights_only=True)["global_step"]
    assert done == 5
    port = free_port()
    nodes = [start(node, port, write_config(tmp_path / "b.yaml", shards, run, 500), run) for node in (0, 1)]
    until = time.monotonic() + 300
    while torch.load(run / "last.ckpt" / "meta.pt", weights_only=True)["global_step"] < done + 2:
        assert time.monotonic() < until
        time.sleep(0.5)
    signs = {path.name.rpartition("-")[2]: yaml.safe_load(path.read_text()) for path in run.glob(".ranks/*.json")}
    os.kill(signs["1.json"]["process"], signal.SIGKILL)
    killed = time.monotonic()
    told = [node.communicate(timeout=300)[0] for node in nodes]
    assert time.monotonic() - killed < 120
    assert all(node.returncode != 0 for node in nodes)
    assert "resuming from" in told[0]
    assert re.search(r"rank 1 \(process \d+ on \S+, last seen at step \d+\) is gone", told[0]), told[0][-3000:]
    assert torch.load(run / "last.ckpt" / "meta.pt", weights_only=True)["global_step"] >= done + 2

"""The scripts that start runs on clusters, with stand-ins for the programs that they call."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from conftest import ROOT

LAUNCH = ROOT / "experiments" / "launch"


def stand_in(folder: Path, name: str, body: str) -> None:
    """A program that writes down how it was called."""
    file = folder / name
    file.write_text(f'#!/bin/bash\necho "{name} $* [$TORCH_ELASTIC_SHUTDOWN_TIMEOUT]" >> "{folder}/calls"\n{body}\n')
    file.chmod(0o755)


def run(script: str, folder: Path, *args: str, **environment: str) -> tuple[int, list[str]]:
    """Exit code of a script, and the calls that it made."""
    done = subprocess.run(
        ["bash", str(LAUNCH / script), *args],
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "RUN": str(folder / "run"), **environment},
        capture_output=True,
        text=True,
    )
    calls = folder / "calls"
    found = calls.read_text().splitlines() if calls.exists() else []
    calls.unlink(missing_ok=True)
    return done.returncode, found


def test_torchrun_starts_one_node_alone_and_several_at_the_head(tmp_path: Path) -> None:
    stand_in(tmp_path, "python", "exit 0")
    code, (call,) = run("torchrun.sh", tmp_path, "--config", "a.yaml", RANKS="4")
    assert code == 0
    assert "--standalone" in call, "two runs on one machine must not meet at one port"
    assert "fit --config a.yaml --trainer.num_nodes 1 --trainer.devices 4 [270]" in call
    several = {"NODES": "3", "NODE_RANK": "2", "HEAD": "head", "GRACE": "100"}
    _, (call,) = run("torchrun.sh", tmp_path, "--config", "a.yaml", **several)
    assert "--nnodes 3 --node-rank 2" in call
    assert "--master-addr head --master-port 29500" in call
    assert call.endswith("[100]")


@pytest.mark.parametrize("name", ["last.ckpt", ".last.ckpt-replaced"])
def test_both_scripts_go_on_from_the_last_checkpoint(tmp_path: Path, name: str) -> None:
    (tmp_path / "run" / name).mkdir(parents=True)
    stand_in(tmp_path, "python", "exit 0")
    stand_in(tmp_path, "srun", "exit 0")
    slurm = {"SLURM_NNODES": "4", "SLURM_NTASKS_PER_NODE": "8", "SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "12"}
    for script, environment in (("torchrun.sh", {}), ("slurm.sbatch", slurm)):
        code, (call,) = run(script, tmp_path, "--config", "a.yaml", **environment)
        assert code == 0
        assert f"--ckpt_path {tmp_path}/run/last.ckpt" in call
    assert "--cpus-per-task=12" in call
    assert "--trainer.num_nodes 4 --trainer.devices 8" in call


@pytest.mark.parametrize(
    ("code", "restarts", "has_checkpoint", "again"),
    [
        (0, 0, True, False),
        (143, 9, False, True),
        (1, 0, True, True),
        (1, 0, False, False),
        (1, 5, True, False),
    ],
)
def test_slurm_queues_a_job_again_where_that_helps(
    tmp_path: Path, code: int, restarts: int, has_checkpoint: bool, again: bool
) -> None:
    if has_checkpoint:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "last.ckpt").touch()
    stand_in(tmp_path, "srun", f"exit {code}")
    stand_in(tmp_path, "scontrol", "exit 0")
    slurm = {"SLURM_NNODES": "1", "SLURM_NTASKS_PER_NODE": "1", "SLURM_JOB_ID": "7"}
    ended, calls = run("slurm.sbatch", tmp_path, "--config", "a.yaml", SLURM_RESTART_COUNT=str(restarts), **slurm)
    assert ended == code
    assert any(call.startswith("scontrol requeue 7") for call in calls) == again


def test_the_pods_of_kubernetes_call_the_script_with_what_it_needs() -> None:
    service, job = yaml.safe_load_all((LAUNCH / "kubernetes.yaml").read_text())
    assert service["spec"]["publishNotReadyAddresses"], "a pod must find the first one before that is ready"
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    values = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert {"NODES", "NODE_RANK", "RANKS", "HEAD", "RUN"} <= values.keys()
    assert int(values["NODES"]) == job["spec"]["completions"] == job["spec"]["parallelism"]
    name = job["metadata"]["name"]
    assert values["HEAD"] == f"{name}-0.{service['metadata']['name']}"
    assert service["spec"]["selector"] == {"job-name": name}
    assert pod["terminationGracePeriodSeconds"] > 270, "the script needs its GRACE before the pod is killed"
    assert (ROOT / container["command"][0]).is_file()

"""What a run tells of itself: its start, its speed and gradients, its answers, and what did not fit into memory."""

from __future__ import annotations

import csv
import json
import sqlite3
import sys
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch.strategies import SingleDeviceStrategy

from affectgpt.cli.main import main
from affectgpt.errors import ConfigError
from affectgpt.model.steps import Steps
from affectgpt.training.meters import gradient_norms, operations_a_token
from affectgpt.training.run_comparison import read_runs
from affectgpt.training.trackio_logger import TrackioLogger
from fitconfig import write_fit_config
from processes import in_processes


@pytest.fixture
def config(shards: Path, tmp_path: Path) -> Path:
    trainer = {"max_epochs": 1, "log_every_n_steps": 2, "gradient_clip_val": 0.1, "num_sanity_val_steps": 0}
    trainer |= {"accumulate_grad_batches": 2}
    return write_fit_config(tmp_path / "fit.yaml", shards, data={"val": str(shards)}, trainer=trainer)


def test_a_run_logs_what_it_is_and_how_it_goes(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "--config", str(config), "--model.optim.lr_of", '{"llm": 0.001}']) == 0
    told = capsys.readouterr().err
    assert "learning rate: 0.001 (llm 0.001), constant\n" in told
    assert "run: 1 rank on 1 node, one device, precision 32-true, on cpu" in told
    assert "attention of the language model: sdpa (the tiny model runs no other)\n" in told
    assert "llm  " in told
    assert "effective batch: 2 x 2 accumulated x 1 rank = 4" in told
    assert "data: 10 samples in 4 shards; each rank reads 10 an epoch, in 5 batches of 2" in told
    (file,) = tmp_path.rglob("metrics.csv")
    assert list(file.parent.glob("events.out.tfevents*")), "tensorboard is the default, beside the table"
    found: dict[str, list[float]] = {}
    for row in csv.DictReader(file.open()):
        for name, value in row.items():
            if value:
                found.setdefault(name, []).append(float(value))
    assert set(found) >= {
        "train/loss", "train/lr", "train/grad_norm", "train/grad_norm/llm", "train/grad_norm/projectors",
        "speed/samples_per_s", "speed/tokens_per_s", "speed/data_wait", "memory/gb", "data/bad_samples", "val/loss",
        "val/f1", "val/hit_rate",
    }  # fmt: skip
    assert found["train/lr"] == [pytest.approx(1e-3)]
    assert found["train/grad_norm"][0] > 0.1, "before it is clipped"
    parts = [values[0] for name, values in found.items() if name.startswith("train/grad_norm/")]
    assert sum(value**2 for value in parts) ** 0.5 == pytest.approx(found["train/grad_norm"][0], rel=1e-4)
    assert 0 <= found["speed/data_wait"][0] <= 1
    assert found["speed/tokens_per_s"][0] > found["speed/samples_per_s"][0] > 0
    examples = [json.loads(line) for line in (file.parent / "examples.jsonl").read_text().splitlines()]
    assert [example["key"] for example in examples] == [f"clip{number}" for number in range(8)]
    assert examples[1]["labels"] == ["sad", "tired"]


def test_a_job_that_slurm_queues_again_keeps_the_figures_of_its_first_start(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")  # by it the log is named, at each start
    argv = ["fit", "--config", str(config), "--data.args.val", "null", "--trainer.log_every_n_steps", "1"]
    assert main(argv) == 0
    (saved,) = tmp_path.rglob("*.ckpt")
    (first,) = read_runs([tmp_path])
    assert list(first.figures["train/loss"]) == [0, 1, 2]
    assert main([*argv, "--trainer.max_epochs", "2", "--ckpt_path", str(saved)]) == 0
    (run,) = read_runs([tmp_path])
    assert run.folder.name == "version_77"
    assert run.starts == 2
    assert list(run.figures["train/loss"]) == [0, 1, 2, 3, 4, 5]
    assert list(run.figures["train/loss"].values())[:3] == list(first.figures["train/loss"].values())


def test_a_dry_run_tells_and_trains_nothing(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--config", str(config), "--dry-run", "--trainer.strategy", "fsdp2"]) == 0
    told = capsys.readouterr().out
    assert "weights shared by FSDP2" in told
    assert "memory a device, estimated for 2 x 256 tokens" in told
    assert not list(tmp_path.rglob("*.ckpt"))
    assert not list(tmp_path.rglob("metrics.csv"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "each rank reads 10 an epoch, in 5 batches of 2\n"),
        (["--data.args.batch_size", "4"], "each rank reads 8 an epoch, in 2 batches of 4; 2 others each time are left"),
        (["--data.args.bad_sample_budget", "0.2"], "each rank reads 8 an epoch, in 4 batches of 2; 2 others"),
        (
            ["--trainer.limit_train_batches", "3"],
            "each rank reads 6 an epoch, in 3 batches of 2, a limit of the trainer; 4 others each time are left out\n",
        ),
        (["--data.args.val_batch_size", "4"], "validation: 10 samples, 3 batches of 4 on each rank\n"),
        (["--model.answered_val_batches", "1"], "5 batches of 2 on each rank, of which the first 1 are answered\n"),
        (["--data.args.val", "null"], "validation: none, there is no val set\n"),
    ],
)
def test_the_report_counts_what_an_epoch_reads(
    config: Path, capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    assert main(["fit", "--config", str(config), "--dry-run", *options]) == 0
    assert told in capsys.readouterr().out


def test_the_report_counts_groups_that_split_the_layers(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ranks = ["--trainer.devices", "4", "--trainer.strategy", "tensor_parallel"]
    assert main(["fit", "--config", str(config), "--dry-run", *ranks]) == 0
    told = capsys.readouterr().out
    assert "2 groups of 2 ranks that split the layers of the language model (tensor parallelism)" in told
    assert "each group reads 4 an epoch" in told
    assert "on each group\n" in told
    assert "effective batch: 2 x 2 accumulated x 2 groups = 8" in told


def test_a_batch_that_does_not_fit_is_described(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(Steps, "train", full)
    assert main(["fit", "--config", str(config)]) == 1
    told = capsys.readouterr().err
    assert "training ran out of memory (CUDA out of memory" in told
    assert "with a batch of 2 samples (" in told
    assert "frame [2, 1, 3, 16, 16]" in told
    assert "lower data.args.batch_size" in told


def test_what_is_to_be_lowered_is_what_the_run_has(config: Path, monkeypatch, capsys) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(Steps, "train", full)
    assert main(["fit", "--config", str(config), "--data.args.batch_tokens", "400"]) == 1
    assert "lower data.args.batch_tokens (400)" in capsys.readouterr().err
    monkeypatch.setattr(SingleDeviceStrategy, "setup", full)
    assert main(["fit", "--config", str(config)]) == 1
    told = capsys.readouterr().err
    assert "the model does not fit into memory (CUDA error: out of memory), before its first batch" in told
    assert "batch_size" not in told


def test_several_nodes_need_a_launcher(config: Path, monkeypatch, capsys) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    assert main(["fit", "--config", str(config), "--trainer.num_nodes", "2", "--trainer.strategy", "ddp"]) == 1
    assert "trainer.num_nodes=2, but nothing says where the other nodes are" in capsys.readouterr().err


def test_devices_that_are_not_there_are_no_bug_of_ours(config: Path, monkeypatch, capsys) -> None:
    argv = ["fit", "--config", str(config)]
    assert main([*argv, "--trainer.accelerator", "cuda", "--trainer.devices", "99"]) == 1
    assert "--debug" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("launched", "name"),
    [
        ({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}, "torchrun"),
        ({"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0"}, "srun"),
    ],
)
def test_processes_of_a_launcher_never_train_each_alone(config: Path, monkeypatch, capsys, launched, name) -> None:
    for variable, value in launched.items():
        monkeypatch.setenv(variable, value)
    assert main(["fit", "--config", str(config), "--trainer.devices", "1"]) == 1
    assert f"{name} has started 2 processes, but trainer.devices x trainer.num_nodes is 1" in capsys.readouterr().err


def test_norms_of_parts_are_those_of_their_gradients() -> None:
    module = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 1), "b": torch.nn.Linear(2, 1)})
    module["a"](torch.ones(1, 2)).sum().backward()
    norms = gradient_norms(module)
    assert list(norms) == ["a"]
    assert float(norms["a"]) == pytest.approx(3**0.5)


def test_operations_of_a_token_follow_from_the_weights() -> None:
    from affectgpt.llm import TinyLM

    class Model:
        llm = TinyLM(dim=16, layers=2, heads=2)

    weights = sum(p.numel() for layer in Model.llm.network.model.layers for p in layer.parameters())
    assert operations_a_token(Model, 10) == 6 * weights + 6 * 10 * 16 * 2
    Model.llm.freeze()
    assert operations_a_token(Model, 10) == 4 * weights + 6 * 10 * 16 * 2


def test_trackio_has_the_figures_and_the_answers_without_a_network(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_spec("trackio") is None:  # imported in the process alone that reads the folder's name
        pytest.skip("trackio is not installed (affectgpt[trackio])")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    logger = {"class_path": "affectgpt.training.trackio_logger.TrackioLogger"}
    options = {"options": {"auto_log_cpu": False}, "save_dir": str(tmp_path / "run")}
    logger["init_args"] = {"project": "faces", "name": "first", **options}
    whole = yaml.safe_load(config.read_text())
    whole["trainer"]["logger"] = logger
    config.write_text(yaml.safe_dump(whole))
    assert in_processes(main, ["fit", "--config", str(config)]) == [0]
    with closing(sqlite3.connect(tmp_path / "trackio" / "faces.db")) as base:
        rows = base.execute("select run_name, step, metrics from metrics").fetchall()
    assert {name for name, _, _ in rows} == {"first"}
    found = {key: value for _, _, text in rows for key, value in json.loads(text).items()}
    assert {"train/loss", "speed/tokens_per_s", "val/f1"} <= found.keys()
    assert found["val/answers"]["_value"][1]["labels"] == "sad, tired"
    with closing(sqlite3.connect(tmp_path / "trackio" / "faces.db")) as base:
        (stored,) = base.execute("select config from configs").fetchone()
    assert json.loads(stored)["model"]["streams"]["audio"]["encoder"]["name"] == "tiny-audio"
    (figures,) = tmp_path.rglob("metrics.csv")
    assert {"config.yaml", "examples.jsonl"} <= {path.name for path in figures.parent.iterdir()}
    assert not (tmp_path / "run").exists()  # the folder of all runs, in which one would write over another's


def test_a_logger_that_is_not_installed_names_its_extra(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("affectgpt.training.watching.find_spec", lambda name: None)
    options = ["--trainer.logger", "WandbLogger", "--trainer.logger.project", "faces"]
    assert main(["fit", "--config", str(config), *options]) == 1
    assert "pip install 'affectgpt[wandb]'" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(ConfigError, match=r"pip install 'affectgpt\[trackio\]'"):
        TrackioLogger("faces")

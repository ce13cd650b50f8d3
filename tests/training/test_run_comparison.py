"""Runs side by side: what they logged, in what they differ, and a picture of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from affectgpt.cli.main import main
from affectgpt.errors import DataError
from affectgpt.training.run_comparison import draw, ranked, read_runs, table


def make_run(folder: Path, lr: float, f1: float, end: float, val: bool = True) -> None:
    folder.mkdir(parents=True)
    lines = ["epoch,step,train/loss,speed/tokens_per_s,val/loss,val/f1,val/hit_rate"]
    for step in range(100):
        lines.append(f"0,{step},{end + 3 / (1 + step)},{1000 * lr * 1e3},,,")
        if val and step % 25 == 24:
            lines.append(f"0,{step},,,{end + 0.1},{f1 * step / 99},0.5")
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    (folder / "config.yaml").write_text(f"model: {{optim: {{lr: {lr}}}}}\ntrainer: {{default_root_dir: {folder}}}\n")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    make_run(tmp_path / "runs" / "slow", 1e-4, 0.3, 1.0)
    make_run(tmp_path / "runs" / "fast", 1e-3, 0.6, 0.5)
    make_run(tmp_path / "runs" / "blind", 1e-3, 0.0, 0.4, val=False)
    return tmp_path / "runs"


def test_the_best_validated_run_comes_first_with_its_figures(runs: Path) -> None:
    first, second, last = ranked(read_runs([runs]))
    assert [first.name, second.name, last.name] == ["fast", "slow", "blind"]
    row = first.row()
    assert row["steps"] == 100
    assert row["val_f1"] == pytest.approx(0.6)
    assert row["at_step"] == 99
    assert row["val_loss"] == pytest.approx(0.6)
    assert row["tokens_per_s"] == pytest.approx(1000)
    assert row["train_loss"] == pytest.approx(0.5 + sum(3 / n for n in range(91, 101)) / 10)
    assert last.row()["val_f1"] is None


def test_the_table_says_in_what_runs_differ(runs: Path) -> None:
    lines = table(read_runs([runs]))
    assert lines[0].split()[:2] == ["run", "steps"]
    assert lines[1].startswith("fast")
    assert "slow has, unlike blind: model.optim.lr: 0.0001" in lines
    assert not any("default_root_dir" in line for line in lines)


def test_the_command_prints_json_and_writes_a_picture(runs: Path, tmp_path: Path, capsys) -> None:
    assert main(["runs", str(runs), "--json", "--picture", str(tmp_path / "runs.png")]) == 0
    assert [row["run"] for row in json.loads(capsys.readouterr().out)] == ["fast", "slow", "blind"]
    assert (tmp_path / "runs.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("content", ["step,train/loss\n1,many\n", "\xff"])
def test_a_broken_table_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "metrics.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=r"metrics\.csv is no table of figures"):
        read_runs([tmp_path])


def test_a_folder_without_runs_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no metrics\.csv in"):
        read_runs([tmp_path])
    with pytest.raises(DataError, match="there is no folder"):
        read_runs([tmp_path / "other"])


def test_a_run_without_any_loss_is_drawn_as_nothing(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,val/f1\n1,0.5\n")
    assert draw(read_runs([tmp_path])).startswith(b"\x89PNG")


def make_leg(folder: Path, steps: range, loss: float, checkpoints: str, resumed: str | None) -> None:
    folder.mkdir(parents=True)
    lines = ["epoch,step,train/loss", *(f"0,{step},{loss}" for step in steps)]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    saver = {"class_path": "ModelCheckpoint", "init_args": {"dirpath": checkpoints}}
    (folder / "config.yaml").write_text(json.dumps({"ckpt_path": resumed, "trainer": {"callbacks": [saver]}}))


def test_a_run_that_was_resumed_is_one_run(tmp_path: Path) -> None:
    log = tmp_path / "lightning_logs"
    make_leg(log / "version_8", range(10), 3.0, "runs/a", None)
    make_leg(log / "version_9", range(5), 9.0, "runs/b", None)
    make_leg(log / "version_10", range(6, 12), 2.0, "runs/a", "runs/a/last.ckpt")
    make_leg(log / "version_11", range(12, 14), 1.0, "runs/a/", "./runs/a/last.ckpt")
    runs = read_runs([tmp_path])
    assert [(run.name, run.starts) for run in runs] == [("version_8", 3), ("version_9", 1)]
    assert list(runs[0].figures["train/loss"]) == list(range(14))
    assert list(runs[0].figures["train/loss"].values()) == [3.0] * 6 + [2.0] * 6 + [1.0] * 2
    assert not any("ckpt_path" in line for line in table(runs))
    assert table(runs)[0].endswith("starts")


def test_a_run_that_resumed_from_beside_its_log_is_one_run_too(tmp_path: Path) -> None:
    log = tmp_path / "lightning_logs"
    make_leg(log / "version_0", range(4), 2.0, "elsewhere", None)
    resumed = str(log / "version_0" / "checkpoints" / "epoch=0-step=4.ckpt")
    make_leg(log / "version_1", range(4, 8), 1.0, "elsewhere-too", resumed)
    resumed = str(log / "version_1" / "checkpoints" / "epoch=1-step=8.ckpt")
    make_leg(log / "version_2", range(8, 9), 1.0, "elsewhere-too", resumed)
    (run,) = read_runs([tmp_path])
    assert list(run.figures["train/loss"]) == list(range(9))

"""A folder of checkpoints belongs to one run at a time and one configuration; a resumed run says what it took."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from pathlib import Path

import pytest
import torch
import yaml
from filelock import FileLock

from affectgpt.cli.main import main
from affectgpt.training import run_folder
from affectgpt.training.run_folder import LOCK, RECORD
from affectgpt.training.whole_file import WholeFileIO

pytestmark = pytest.mark.filterwarnings("ignore")


def config(shards: Path, out: Path, **trainer: object) -> dict:
    audio = {"encoder": {"name": "tiny-audio", "args": {"dim": 8, "num_mels": 8, "channels": 4}}}
    frame = {"encoder": {"name": "tiny-vision", "args": {"size": 16, "dim": 8, "channels": 2}}}
    saver = {"dirpath": str(out), "save_last": True, "enable_version_counter": False, "every_n_train_steps": 2}
    return {
        "model": {
            "streams": {"audio": audio, "frame": frame},
            "prefusion": {"name": "none"},
            "llm": {"name": "tiny", "args": {"dim": 16}},
            "style": "brief",
            "media": {
                "num_frames": 1,
                "frame_height": 16,
                "frame_width": 16,
                "num_segments": 1,
                "segment_seconds": 0.1,
            },
            "optim": {"lr": 1e-3, "warmup_steps": 4},
        },
        "data": {"name": "mercaption", "args": {"train": str(shards), "batch_size": 2, "num_workers": 0}},
        "trainer": {
            "max_steps": 2,
            "accelerator": "cpu",
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": str(out),
            "callbacks": [{"class_path": "ModelCheckpoint", "init_args": saver}],
            **trainer,
        },
    }


def fit(shards: Path, out: Path, *more: str, **trainer: object) -> int:
    out.mkdir(exist_ok=True)
    (out / "config.yaml").unlink(missing_ok=True)
    path = out.parent / "given.yaml"
    path.write_text(yaml.safe_dump(config(shards, out, **trainer)))
    return main(["fit", "--config", str(path), *more])


def last(out: Path) -> dict:
    return torch.load(out / "last.ckpt", weights_only=True)


def test_another_configuration_never_replaces_a_trained_model(shards, tmp_path, capsys):
    out = tmp_path / "run"
    assert fit(shards, out) == 0
    record = json.loads((out / RECORD).read_text())
    assert record["settings"]["model"]["llm"] == {"name": "tiny", "args": {"dim": 16}}
    before = (out / "last.ckpt").read_bytes()
    other = "--model.llm.args={dim: 32}"
    assert fit(shards, out, other) == 1
    said = capsys.readouterr().err
    assert "model.llm.args.dim: 16 then, 32 now" in said
    assert "--ckpt_path" in said
    assert "--overwrite" in said
    (out / RECORD).unlink()  # also where only the checkpoint tells
    assert fit(shards, out, other) == 1
    assert "model.llm.args.dim: 16 then, 32 now" in capsys.readouterr().err
    assert (out / "last.ckpt").read_bytes() == before
    assert fit(shards, out, other, "--overwrite") == 0
    assert last(out)["hyper_parameters"]["llm"]["args"]["dim"] == 32
    assert fit(shards, out, other, "--data.args.num_workers=1") == 0, "the same run, made anew"
    assert fit(shards, tmp_path / "elsewhere") == 0


def test_a_second_run_in_the_folder_is_refused_and_the_lock_is_given_back(shards, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    out.mkdir()
    monkeypatch.setattr(run_folder, "LOCK_SECONDS", 0.0)
    with FileLock(out / LOCK):
        assert fit(shards, out) == 1
    assert "is writing checkpoints into" in capsys.readouterr().err
    assert not list(out.glob("*.ckpt"))
    assert fit(shards, out) == 0
    assert fit(shards, out, "--data.args.batch_size=0") == 1
    assert fit(shards, out) == 0


def test_a_folder_that_cannot_be_written_is_one_line_before_the_first_step(shards, tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    (saver,) = config(shards, tmp_path / "file" / "run")["trainer"]["callbacks"]
    assert fit(shards, tmp_path / "run", callbacks=[saver]) == 1
    said = capsys.readouterr().err
    assert "error: checkpoints cannot be written into" in said
    assert "Not a directory" in said


def test_checkpoints_have_the_mode_that_the_umask_gives(tmp_path):
    before = os.umask(0o077)
    try:
        WholeFileIO().save_checkpoint({"step": 1}, tmp_path / "new" / "last.ckpt")
    finally:
        os.umask(before)
    assert (tmp_path / "new" / "last.ckpt").stat().st_mode & 0o777 == 0o600


def test_a_run_that_lives_is_not_waited_for(shards, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    assert fit(shards, out) == 0
    record = json.loads((out / RECORD).read_text())
    (out / RECORD).write_text(json.dumps({**record, "process": os.getppid()}))
    monkeypatch.setattr(run_folder, "LOCK_SECONDS", 3600.0)
    with FileLock(out / LOCK):
        assert fit(shards, out) == 1
    assert f"another run (process {os.getppid()} on" in capsys.readouterr().err
    (out / RECORD).write_text(json.dumps({**record, "host": "a machine that crashed"}))
    monkeypatch.setattr(run_folder, "LEASE_SECONDS", 0.1)
    with FileLock(out / LOCK):
        assert fit(shards, out) == 1
    assert "on a machine that crashed" in capsys.readouterr().err
    assert not run_folder._is_running({**record, "process": os.getpid()})
    assert not run_folder._is_running({**record, "process": 2**22 + 1})


def test_what_was_changed_on_resuming_is_in_effect_and_told(shards, tmp_path, capsys):
    out = tmp_path / "run"
    assert fit(shards, out) == 0
    resume = ["--ckpt_path", str(out / "last.ckpt")]
    changed = ["--model.optim.lr=0.1", "--model.optim.weight_decay=0", "--model.optim.lr_of={llm: 0.2}"]
    assert fit(shards, out, *resume, *changed, max_steps=4) == 0
    said = capsys.readouterr().err
    assert "resuming from" in said
    assert "step 2" in said
    assert "model.optim.lr 0.1 (was 0.001)" in said
    assert "trainer.max_steps 4 (was 2)" in said
    state = last(out)
    assert state["hyper_parameters"]["optim"]["lr"] == 0.1
    groups = state["optimizer_states"][0]["param_groups"]
    assert {group["initial_lr"] for group in groups} == {0.1, 0.2}
    assert {group["weight_decay"] for group in groups} == {0.0}
    assert {round(group["lr"], 6) for group in groups} == {0.1, 0.2}, "at step 4, after the warm-up"
    moments = state["optimizer_states"][0]["state"]
    assert all(float(moment["step"]) == 4 for moment in moments.values())
    names = [name for name in state["state_dict"] if name in dict.fromkeys(state["state_dict"])]
    sizes = [moments[i]["exp_avg"].shape for group in groups for i in group["params"]]
    assert sorted(map(tuple, sizes)) == sorted(
        tuple(state["state_dict"][name].shape) for name in names if not name.startswith("encoders")
    )


def test_what_cannot_be_taken_over_is_refused(shards, tmp_path, capsys):
    out = tmp_path / "run"
    assert fit(shards, out) == 0
    resume = ["--ckpt_path", str(out / "last.ckpt")]
    assert fit(shards, out, *resume, "--model.streams.audio.trainable=true", max_steps=4) == 1
    assert "'trainable' or 'lora' has changed" in capsys.readouterr().err


def test_the_patience_of_a_resumed_run_is_that_of_its_configuration(shards, tmp_path, capsys):
    out = tmp_path / "run"
    stopping = {"class_path": "EarlyStopping", "init_args": {"monitor": "train/loss", "patience": 3}}
    (saver,) = config(shards, out)["trainer"]["callbacks"]
    assert fit(shards, out, callbacks=[stopping, saver]) == 0
    stopping["init_args"]["patience"] = 5
    assert fit(shards, out, "--ckpt_path", str(out / "last.ckpt"), callbacks=[stopping, saver], max_steps=4) == 0
    assert "EarlyStopping.patience 5 (was 3)" in capsys.readouterr().err
    (state,) = (value for name, value in last(out)["callbacks"].items() if name.startswith("EarlyStopping"))
    assert state["patience"] == 5


def test_a_run_that_was_finished_says_so(shards, tmp_path, capsys):
    out = tmp_path / "run"
    assert fit(shards, out) == 0
    assert "nothing to do" not in capsys.readouterr().err
    assert fit(shards, out, "--ckpt_path", str(out / "last.ckpt")) == 0
    said = capsys.readouterr().err
    assert "no setting differs" in said
    assert "nothing to do: the run was finished after" in said
    assert "trainer.max_steps=2" in said


def test_what_a_killed_run_had_begun_to_write_is_removed(shards, tmp_path):
    out = tmp_path / "run"
    assert fit(shards, out) == 0
    (out / ".step=9.ckpt-a1b2c3d4").write_bytes(b"half of one")
    left = out / ".step=9.ckpt-saving-a1b2c3d4"
    left.mkdir()
    (left / "__0_0.distcp").write_bytes(b"half of one")
    assert fit(shards, out, "--ckpt_path", str(out / "last.ckpt"), max_steps=4) == 0
    assert not [one.name for one in out.iterdir() if ".ckpt-" in one.name]
    assert last(out)["global_step"] == 4


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_a_file_system_without_locks_holds_no_run(shards, tmp_path, caplog, monkeypatch, number):
    """Lustre may have none; NFS has none without its daemon. A killed run must not hold the folder either."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    out = tmp_path / "run"
    assert fit(shards, out) == 0
    assert "has no locks" in caplog.text
    assert not (out / LOCK).exists() or not (out / LOCK).read_text(), "nothing that a kill would leave behind"
    assert fit(shards, out, "--ckpt_path", str(out / "last.ckpt"), max_steps=4) == 0

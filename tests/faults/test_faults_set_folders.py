"""Hostile folders of a test set, through ``affectgpt bench``: every clip is answered, or said to be missing, once."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.cli.main import main
from clipmaker import make_clip
from setmaker import make_processed, write_csv

TINY = {
    "streams": {"frame": "tiny-vision", "audio": "tiny-audio", "face": "tiny-vision"},
    "llm": "tiny",
    "media": {"num_frames": 2, "num_segments": 2, "segment_seconds": 0.25, "frame_height": 32, "frame_width": 32},
    "max_new_tokens": 4,
}
NUM_CLIPS = 4
Harm = Callable[[Path, list[str]], Any]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    AffectGPT.from_config(TINY).save_checkpoint(folder / "model.ckpt")
    return folder / "model.ckpt"


def bench(root: Path, checkpoint: Path) -> int:
    argv = ["bench", "--model", str(checkpoint), "--data", str(root / "sets"), "--sets", "meld", "--allow-partial"]
    argv += ["--out", str(root / "out"), "--resamples", "0", "--num-workers", "0", "--device", "cpu"]
    return main([*argv, "--face-detector", "none"])


def clip_of(folder: Path, name: str) -> Path:
    return folder / "subvideo" / f"{name}.mp4"


def in_place_of(make: Callable[[Path], Any]) -> Harm:
    """Something else under the name of the first clip."""

    def harm(folder: Path, names: list[str]) -> None:
        clip_of(folder, names[0]).unlink()
        make(clip_of(folder, names[0]))

    return harm


def moved(new: str) -> Harm:
    """The first clip under another name."""

    def harm(folder: Path, names: list[str]) -> None:
        (folder / "subvideo" / new).parent.mkdir(exist_ok=True)
        clip_of(folder, names[0]).rename(folder / "subvideo" / new.format(names[0], upper=names[0].upper()))

    return harm


UNREAD: dict[str, tuple[Harm, str]] = {
    "a folder of that name": (in_place_of(Path.mkdir), "cannot be opened: Is a directory"),
    "a link to itself": (in_place_of(lambda path: path.symlink_to(path)), "Too many levels of symbolic links"),
    "a link to nothing": (in_place_of(lambda path: path.symlink_to("/nowhere/x.mp4")), "No such file or directory"),
    "a pipe": (in_place_of(os.mkfifo), "is a pipe or a device, and no file"),
    "a device": (in_place_of(lambda path: path.symlink_to("/dev/zero")), "is a pipe or a device, and no file"),
    "in a folder further down": (moved("more/{0}.mp4"), "video or sound"),
    "in capitals": (moved("{upper}.MP4"), "video or sound"),
    "half fetched": (moved("{0}.mp4.part"), "video or sound"),
}


@pytest.mark.parametrize("harm", UNREAD)
def test_a_clip_that_is_not_there_is_the_one_without_an_answer(harm: str, tmp_path, checkpoint, capsys) -> None:
    folder, names = make_processed(tmp_path / "sets", "meld", NUM_CLIPS, clip=make_clip(0.3))
    make, reason = UNREAD[harm]
    make(folder, names)
    assert bench(tmp_path, checkpoint) == 0
    (result,) = json.loads((tmp_path / "out/report.json").read_text("utf-8"))["results"]
    assert list(result["failed_answers"]) == [names[0]]
    assert reason in result["failed_answers"][names[0]]
    assert result["gold_samples"] == NUM_CLIPS
    assert names[0] in capsys.readouterr().err


def beside(*others: str) -> Harm:
    """Further files beside the clips."""

    def harm(folder: Path, names: list[str]) -> None:
        for other in others:
            shutil.copy(clip_of(folder, names[1]), folder / "subvideo" / other.format(names[0]))

    return harm


ODD: dict[str, tuple[Harm, str]] = {
    "a second file of one name": (beside("{0}.avi"), "subvideo has several files for 1 names"),
    "files of the system": (beside("._{0}.mp4", ".DS_Store", "Thumbs.db"), ""),
    "a copy with a number": (beside("{0} (1).mp4"), ""),
    "clips that no label names": (beside("unknown.mp4", "../subvideo/more.mkv"), ""),
    "a space at the end of the name": (moved("{0} .mp4"), ""),
    "words for a clip twice": (
        lambda folder, names: write_csv(
            folder / "transcription-engchi-polish.csv",
            ("name", "english", "chinese"),
            [(name, f"words {i}", "") for i, name in enumerate([*names, names[0]])],
        ),
        "has 1 names twice with different words",
    ),
}


@pytest.mark.parametrize("harm", ODD)
def test_what_is_odd_takes_no_answer_away(harm: str, tmp_path, checkpoint) -> None:
    folder, names = make_processed(tmp_path / "sets", "meld", NUM_CLIPS, clip=make_clip(0.3))
    make, note = ODD[harm]
    make(folder, names)
    assert bench(tmp_path, checkpoint) == 0
    (result,) = json.loads((tmp_path / "out/report.json").read_text("utf-8"))["results"]
    assert result["failed_answers"] == {}
    assert note in " ".join(result["data"]["notes"])
    log = (tmp_path / "out/answers/results-meld/model/model.answers.jsonl").read_text("utf-8")
    assert sorted(row["key"] for row in map(json.loads, log.splitlines()) if "key" in row) == names


def test_face_crops_that_never_end_are_not_waited_for(tmp_path: Path, checkpoint: Path) -> None:
    folder, names = make_processed(tmp_path / "sets", "meld", NUM_CLIPS, clip=make_clip(0.3))
    (folder / "openface_face").mkdir()
    os.mkfifo(folder / "openface_face" / f"{names[1]}.npy")
    assert bench(tmp_path, checkpoint) == 0
    (result,) = json.loads((tmp_path / "out/report.json").read_text("utf-8"))["results"]
    assert "is a pipe or a device, and no face crops" in result["failed_answers"][names[1]]


def test_names_that_lead_elsewhere_or_command_a_terminal_stay_names(tmp_path, checkpoint, capsys) -> None:
    folder, names = make_processed(tmp_path / "sets", "meld", NUM_CLIPS, clip=make_clip(0.3))
    hostile = ["../../../outside", "red\x1b[31m", "two\nlines", "=cmd()"]
    entries = {name: {"emo": 1, "val": -10} for name in (*names, *hostile)}
    np.savez_compressed(folder / "label.npz", test_corpus=np.array(entries))
    before = set(tmp_path.parent.iterdir())
    assert bench(tmp_path, checkpoint) == 0
    told = capsys.readouterr()
    assert "\x1b" not in told.out + told.err
    assert set(tmp_path.parent.iterdir()) == before
    assert not list(tmp_path.rglob("*outside*"))
    (result,) = json.loads((tmp_path / "out/report.json").read_text("utf-8"))["results"]
    assert len(result["failed_answers"]) == len(hostile)
    assert "<script" not in (tmp_path / "out/report.html").read_text("utf-8")

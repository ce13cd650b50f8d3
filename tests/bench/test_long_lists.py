"""A long list of clips: answered in order of length, killed at random, resumed, and written in the list's order."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.cli.main import main
from clipmaker import make_clip

COUNT = 40
MODEL = {
    "streams": {"frame": "tiny-vision", "audio": "tiny-audio"},
    "llm": "tiny",
    "media": {"num_frames": 1, "num_segments": 1, "segment_seconds": 0.1, "frame_height": 16, "frame_width": 16},
    "max_new_tokens": 8,
}
# Runs the command; it kills itself once so many answers are on the disk, and so needs no clock.
KILLED = """
import os, signal, sys
from affectgpt.bench.answer_log import AnswerLog
from affectgpt.bench.answerers import checkpoint
from affectgpt.cli.main import main
checkpoint.WINDOW = 8
left, add = int(sys.argv[1]), AnswerLog.add

def counting(self, answers):
    global left
    add(self, answers)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

AnswerLog.add = counting
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of clips with words of many lengths, in no order."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(5):
        (folder / f"{number}.mp4").write_bytes(make_clip(0.2, shade=40 * number, tone_hz=200 + 90 * number))
    order = list(range(COUNT))
    random.Random(3).shuffle(order)
    rows = [{"name": f"clip{i:02}", "video": f"{i % 5}.mp4", "subtitle": "ha " * (i * 7 % 23)} for i in order]
    (folder / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "list.jsonl"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "model.ckpt"
    AffectGPT.from_config(MODEL).save_checkpoint(path)
    return path


def command(clips: Path, model: Path, out: Path, *more: str) -> list[str]:
    argv = ["bench", "--model", str(model), "--clips", str(clips), "--out", str(out), "--profile", "published"]
    return [*argv, "--max-new-tokens", "8", "--num-workers", "0", "--device", "cpu", *more]


def log_of(out: Path) -> Path:
    (path,) = out.glob("answers/results-list/*/*.answers.jsonl")
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    lines = path.read_text("utf-8").splitlines()
    return [row for row in map(json.loads, lines) if "key" in row or "name" in row]


def test_a_list_is_answered_by_length_resumed_after_kills_and_written_in_its_order(
    clips: Path, model: Path, tmp_path: Path
) -> None:
    listed = [json.loads(line) for line in clips.read_text().splitlines()]
    lengths = {row["name"]: len(row["subtitle"].strip()) for row in listed}
    assert main(command(clips, model, tmp_path / "whole")) == 0
    whole = rows_of(log_of(tmp_path / "whole"))
    asked = [lengths[row["key"]] for row in whole]
    assert asked == sorted(asked, reverse=True)
    assert len({row["text"] for row in whole}) > 30  # answers are drawn

    chance, answered = random.Random(os.getpid()), 0
    killed = command(clips, model, tmp_path / "killed", "--batch-size", "3")  # other batches than the whole run
    for step in (chance.randint(3, 18), chance.randint(3, 18)):
        process = subprocess.run([sys.executable, "-c", KILLED, str(step), *killed], stdout=subprocess.DEVNULL)
        assert process.returncode == -signal.SIGKILL
        answered += step
        log = log_of(tmp_path / "killed")
        kept = [row["key"] for row in rows_of(log)]
        assert len(kept) == len({*kept}) == answered  # nothing was lost, and nothing asked twice
        with log.open("ab") as file:  # as if the kill had come in the middle of a line
            file.write(b'{"run": "0", "key": "cl')
    assert main(killed) == 0
    resumed = rows_of(log)
    assert len(resumed) == COUNT
    assert {row["key"]: row["text"] for row in resumed} == {row["key"]: row["text"] for row in whole}
    for out in (tmp_path / "whole", tmp_path / "killed"):
        (table,) = out.glob("answers/results-list/*/model.jsonl")
        assert [row["name"] for row in rows_of(table)] == [row["name"] for row in listed]
        with np.load(next(out.glob("answers/results-list/*/*-openset.npz"))) as arrays:
            assert arrays["filenames"].tolist() == [row["name"] for row in listed]

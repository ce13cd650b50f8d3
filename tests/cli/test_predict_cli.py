"""The verbs that decode somebody's files: no file ends them, and nothing in a name commands the terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.cli.main import main
from affectgpt.media import isolation
from clipmaker import make_clip, make_wav
from decodingworker import read_or_die


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    media = {"num_frames": 2, "num_segments": 2, "frame_height": 32, "frame_width": 32}
    streams = {"frame": "tiny-vision", "audio": "tiny-audio"}
    model = AffectGPT.from_config({"streams": streams, "llm": "tiny", "media": media, "max_new_tokens": 4})
    folder: Path = tmp_path_factory.mktemp("model") / "m"
    model.save_pretrained(folder)
    return folder


def test_what_kills_its_decoder_is_named_and_the_rest_is_answered_and_written(
    checkpoint, tmp_path, capsys, monkeypatch
) -> None:
    for name in ("a.mp4", "kills.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(make_clip(0.3))
    monkeypatch.setattr("affectgpt.media.isolated_reading.read_request", read_or_die)
    out = tmp_path / "answers.jsonl"
    clips = [str(tmp_path / name) for name in ("a.mp4", "kills.mp4", "nowhere.mp4", "b.mp4")]
    assert main(["predict", *clips, "--checkpoint", str(checkpoint), "--out", str(out), "--device", "cpu"]) == 1
    assert [json.loads(line)["key"] for line in out.read_text().splitlines()] == ["a", "b"]
    told = capsys.readouterr().err
    assert "kills.mp4' crashes the process that decodes it (the process was ended by SIGSEGV)" in told
    assert "nowhere.mp4') cannot be opened" in told.replace("\n", " ")
    assert f"wrote 2 answers to {out}" in told
    assert "next: affectgpt score" in told


def test_each_answer_is_on_the_disk_before_the_next_is_made(checkpoint, tmp_path, monkeypatch) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(make_clip(0.3))
    out = tmp_path / "answers.jsonl"
    out.write_text("an older line\n")
    seen = []
    real = isolation.Isolated.map

    def watched(self, items):
        for result in real(self, items):
            seen.append(out.read_text().count("\n"))
            yield result

    monkeypatch.setattr(isolation.Isolated, "map", watched)
    clips = [str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4")]
    assert main(["predict", *clips, "--checkpoint", str(checkpoint), "--out", str(out), "--device", "cpu"]) == 0
    assert seen == [1, 1]  # the older line, then the first answer
    assert len(out.read_text().splitlines()) == 2


def test_names_and_answers_do_not_command_the_terminal(checkpoint, tmp_path, capsys) -> None:
    folder = tmp_path / "a[" / "run]"
    folder.mkdir(parents=True)
    clip = folder / "x\x1b[31m[bold].mp4"
    clip.write_bytes(make_clip(0.3))
    assert main(["predict", str(clip), "--checkpoint", str(checkpoint), "--device", "cpu"]) == 0
    assert main(["check", "--media", str(clip), str(folder / "no\x1b]0;x\x07.mp4"), "--out", str(tmp_path / "r")]) == 1
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out + shown.err
    assert "x\\u001b[31m[bold]" in shown.out


def test_an_output_that_cannot_be_written_is_told_before_the_work(tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("")
    code = main(["predict", "clip.mp4", "--checkpoint", "nowhere", "--out", str(tmp_path / "file" / "a.jsonl")])
    assert code == 1
    assert "cannot be written" in capsys.readouterr().err


def test_check_media_prints_its_verdict_where_the_report_cannot_be_written(tmp_path, capsys) -> None:
    (tmp_path / "a.mp4").write_bytes(make_clip(0.3))
    (tmp_path / "file").write_text("")
    assert main(["check", "--media", str(tmp_path / "a.mp4"), "--out", str(tmp_path / "file" / "r.jsonl")]) == 0
    shown = capsys.readouterr().out
    assert "1 ok" in shown
    assert "could not be written" in shown
    assert "--out FILE" in shown


def test_check_media_follows_links_and_counts_what_it_does_not_look_at(tmp_path, capsys) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.wav").write_bytes(make_wav(0.2))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.mp4").write_bytes(make_clip(0.3))
    (tmp_path / "set" / "notes.txt").write_text("x")
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "set")
    report = tmp_path / "r.jsonl"
    assert main(["check", "--media", str(tmp_path / "set"), "--out", str(report)]) == 0
    assert [Path(json.loads(line)["file"]).name for line in report.read_text().splitlines()] == ["a.mp4", "b.wav"]
    assert "1 .txt" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["transformers:openai/whisper-nowhere", "faster-whisper:small"])
def test_a_recogniser_that_cannot_be_fetched_is_one_line_in_seconds(name, tmp_path) -> None:
    if name.startswith("faster"):
        pytest.importorskip("faster_whisper", reason="faster-whisper is not installed (affectgpt[asr])")
    code = f"from affectgpt.media.speech import build_asr; build_asr({name!r})"
    nobody = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **nobody}, capture_output=True, text=True, timeout=120
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("affectgpt.errors.ConfigError")
    assert "cannot be reached" in last
    assert "Retry" not in done.stderr


def test_a_folder_is_refused_before_the_model_is_loaded(tmp_path, capsys) -> None:
    assert main(["predict", str(tmp_path), "--checkpoint", "nowhere.ckpt"]) == 1
    told = capsys.readouterr().err
    assert f"is a folder, and predict takes files: give {tmp_path}/*.mp4" in told
    assert "nothing was written" not in told

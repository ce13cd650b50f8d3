"""Answering and scoring with a real tiny model: kill, resume, broken clips, several checkpoints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from affectgpt import AffectGPT
from affectgpt.bench.answer_log import AnswerLog
from affectgpt.bench.benchmark import Benchmark
from affectgpt.bench.checkpoint_scores import scores_in_checkpoints
from affectgpt.bench.system_result import SystemResult
from affectgpt.cli.main import main
from affectgpt.datamodules import UniBenchDataModule
from affectgpt.errors import CheckpointError, ConfigError, DataError
from affectgpt.model.network import Network
from clipmaker import make_clip
from setmaker import make_processed

MEDIA = {"num_frames": 2, "num_segments": 2, "segment_seconds": 0.25, "frame_height": 32, "frame_width": 32}
CONFIG = {
    "streams": {"frame": "tiny-vision", "audio": "tiny-audio"},
    "llm": "tiny",
    "media": MEDIA,
    "max_new_tokens": 6,
}


def save_model(path: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    AffectGPT.from_config(CONFIG).save_checkpoint(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two checkpoints, and two sets; clip 3 of MELD is cut."""
    root = tmp_path_factory.mktemp("bench")
    clip = make_clip(0.3)
    meld, names = make_processed(root / "sets", "meld", 9, clip=clip)
    (meld / "subvideo" / f"{names[3]}.mp4").write_bytes(clip[:90])
    make_processed(root / "sets", "sims", 5, clip=clip)
    for seed in (1, 2):
        save_model(root / "ckpt" / f"epoch={seed}.ckpt", seed)
    return root


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(folder: Path, out: Path, *options: str) -> int:
    argv = ["bench", "--model", str(folder / "ckpt/epoch=1.ckpt"), "--data", str(folder / "sets"), "--out", str(out)]
    return main([*argv, "--allow-partial", "--num-workers", "0", "--resamples", "50", "--device", "cpu", *options])


def test_answers_scores_and_reports(folder: Path, tmp_path: Path, capsys) -> None:
    assert run(folder, tmp_path, "--batch-size", "4") == 0
    said = capsys.readouterr()
    assert "1 clips without an answer" in said.out
    assert "MELD, no answer: 1 ('test_dia0_utt3'): " in " ".join(said.err.split())
    report = json.loads((tmp_path / "report.json").read_text())
    meld, sims = report["results"]
    assert (meld["system"], meld["dataset"], sims["dataset"]) == ("epoch=1", "meld", "sims")
    assert list(meld["failed_answers"]) == ["test_dia0_utt3"]
    assert (meld["gold_samples"], meld["missing_predictions"]) == (9, [])
    assert meld["answered_by"]["question"].startswith("Please recognize all possible")
    prompt = meld["answered_by"]["prompt"]
    assert prompt.startswith("###Human: ")
    for part in ("[multi: 1 token(s)]", "[audio: 1 token(s)]", "<Subtitle>{subtitle}</Subtitle>", "###Assistant: "):
        assert part in prompt
    assert meld["answered_by"]["media"]["num_frames"] == 2
    shown = "clips shown as in training: 2 frames of 32 x 32 pixels and 2 segments of sound of 0.25 s"
    assert shown in (tmp_path / "report.html").read_text()
    assert meld["extractor"]["name"] == "template"
    assert sims["sentiment_reader"]["name"] == "lexicon"
    assert [d["kind"] for d in meld["data"]["differences"]] == ["count"]
    folder_of = tmp_path / "answers" / "results-meld" / "epoch=1"
    with np.load(folder_of / "epoch=1-openset.npz") as arrays:
        assert arrays["filenames"].tolist() == [f"test_dia0_utt{i}" for i in range(9)]
        assert arrays["fileitems"][3] == "[]"
    assert (tmp_path / "answers/results-sims/epoch=1/epoch=1-openset-sentiment.npz").is_file()
    # The same figures from the files that the run left behind.
    argv = ["bench", "--predictions", str(tmp_path / "answers"), "--gold", str(tmp_path / "gold"), "--resamples", "0"]
    assert main([*argv, "--out", str(tmp_path / "again")]) == 0
    again = json.loads((tmp_path / "again/report.json").read_text())["results"]
    assert [r["score"] for r in again] == [meld["score"], sims["score"]]


KILLED = """
import os, signal, sys
from affectgpt.bench.benchmark import Benchmark
from affectgpt.datamodules import UniBenchDataModule
folder, out = sys.argv[1:]
data = UniBenchDataModule(folder + "/sets", ["meld"], batch_size=2, num_workers=0, allow_partial=True)
def progress(checkpoint, name, done, total):
    if done >= 5:
        os.kill(os.getpid(), signal.SIGKILL)
bench = Benchmark(out, resamples=0, allow_partial=True)
bench.run([folder + "/ckpt/epoch=1.ckpt"], data, system="me", progress=progress)
"""


def test_a_killed_run_goes_on_where_it_stopped_with_the_same_result(folder: Path, tmp_path: Path) -> None:
    def benchmark(out: Path) -> SystemResult:
        data = UniBenchDataModule(str(folder / "sets"), ["meld"], batch_size=2, num_workers=0, allow_partial=True)
        bench = Benchmark(out, resamples=0, allow_partial=True)
        return bench.run([folder / "ckpt/epoch=1.ckpt"], data, system="me")[0]

    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(tmp_path / "a")], check=False)
    assert killed.returncode == -signal.SIGKILL
    log = tmp_path / "a/answers/results-meld/me/epoch=1.answers.jsonl"
    before = rows(log)
    assert 4 <= len([row for row in before if "text" in row]) < 8
    with log.open("ab") as file:  # the kill came in the middle of a line
        file.write(b'{"run": "abc", "key": "test_dia0_u')
    resumed, whole = benchmark(tmp_path / "a"), benchmark(tmp_path / "b")
    after = rows(log)
    assert after[: len(before)] == before
    counts = Counter(row["key"] for row in after if "text" in row)
    assert set(counts.values()) == {1}
    assert len(counts) == 8
    assert resumed.result.score == whole.result.score
    texts = [
        {
            row["key"]: row["text"]
            for row in rows(tmp_path / one / "answers/results-meld/me/epoch=1.answers.jsonl")
            if "text" in row
        }
        for one in "ab"
    ]
    assert texts[0] == texts[1]
    # A third run asks for nothing but the broken clip.
    assert benchmark(tmp_path / "a").answered_by == resumed.answered_by
    assert Counter(row["key"] for row in rows(log) if "text" in row) == counts


def test_modalities_and_sampling_are_those_that_were_asked_for(folder: Path, tmp_path: Path) -> None:
    def texts(name: str, *options: str, repetition: str = "") -> dict[str, str]:
        assert run(folder, tmp_path / name, "--sets", "sims", *options) == 0
        log = rows(tmp_path / name / f"answers/results-sims/epoch=1/epoch=1{repetition}.answers.jsonl")
        kept = [row for row in log if "text" in row]
        slots = {"text": ["subtitle"], "audio,text": ["audio", "subtitle"]}
        wanted = slots.get(options[1]) if options[:1] == ("--modalities",) else None
        assert wanted is None or all(row["used"] == wanted for row in kept)
        return {str(row["key"]): str(row["text"]) for row in kept}

    assert len(texts("t", "--modalities", "text")) == len(texts("at", "--modalities", "audio,text")) == 5
    drawn = ["--profile", "published", "--max-new-tokens", "6"]
    first = texts("a", *drawn, "--repeats", "2")
    assert first == texts("b", *drawn)
    assert first != texts("a", *drawn, "--repeats", "2", repetition=".run2")
    (result,) = json.loads((tmp_path / "a/report.json").read_text())["results"]
    assert result["answered_by"]["sampling"] == {
        "temperature": 1.0, "top_p": 0.9, "repetition_penalty": 1.0, "max_tokens": 6,
    }  # fmt: skip
    assert len(result["repeats"]["scores"]) == 2
    asked = texts("q", "--question", "Who is there?")
    (result,) = json.loads((tmp_path / "q/report.json").read_text())["results"]
    assert result["answered_by"]["question"] == "Who is there?"
    assert asked != texts("d")


def test_a_clip_that_was_mended_is_asked_again(folder: Path, tmp_path: Path) -> None:
    sets, names = make_processed(tmp_path / "sets", "meld", 2, clip=make_clip(0.3))
    broken = sets / "subvideo" / f"{names[1]}.mp4"
    whole = broken.read_bytes()
    broken.write_bytes(b"")
    data = UniBenchDataModule(str(tmp_path / "sets"), num_workers=0, allow_partial=True)
    bench = Benchmark(tmp_path / "out", resamples=0, allow_partial=True)
    checkpoint = [folder / "ckpt/epoch=1.ckpt"]
    assert list(bench.run(checkpoint, data, system="me")[0].failed_answers) == [names[1]]
    broken.write_bytes(whole)
    assert bench.run(checkpoint, data, system="me")[0].failed_answers == {}


def test_several_checkpoints_are_selected_and_kept_apart(folder: Path, tmp_path: Path, capsys) -> None:
    second = str(folder / "ckpt/epoch=2.ckpt")
    argv = ["bench", "--model", second, str(folder / "ckpt/epoch=1.ckpt"), "--data", str(folder / "sets")]
    argv += ["--sets", "sims", "--out", str(tmp_path), "--allow-partial", "--num-workers", "0", "--resamples", "0"]
    assert main([*argv, "--name", "mine", "--select", "official"]) == 0
    (result,) = json.loads((tmp_path / "report.json").read_text())["results"]
    assert list(result["selection"]["candidates"]) == ["epoch=1", "epoch=2"]
    assert result["selection"]["honest"]["chosen"] == "epoch=2"
    assert "optimistic" in capsys.readouterr().out
    logs = [rows(tmp_path / f"answers/results-sims/mine/epoch={i}.answers.jsonl") for i in (1, 2)]
    assert logs[0][0]["identity"]["checkpoint"] != logs[1][0]["identity"]["checkpoint"]


def with_score(source: Path, path: Path, score: float | None, monitor: str = "val/f1", mode: str = "max") -> Path:
    """A checkpoint as a training with ModelCheckpoint writes it."""
    callback = ModelCheckpoint(monitor=monitor, mode=mode)
    callback.current_score = None if score is None else torch.tensor(score)
    checkpoint = torch.load(source, weights_only=True)
    checkpoint["callbacks"] = {callback.state_key: callback.state_dict()}
    path.parent.mkdir(exist_ok=True)
    torch.save(checkpoint, path)
    return path


def test_validation_scores_are_read_from_checkpoints(folder: Path, tmp_path: Path, capsys) -> None:
    source = folder / "ckpt/epoch=1.ckpt"
    paths = [with_score(source, tmp_path / f"a/epoch={i}.ckpt", s) for i, s in ((1, 0.2), (2, 0.5), (3, 0.4))]
    assert scores_in_checkpoints(paths) == pytest.approx({"epoch=1": 0.2, "epoch=2": 0.5, "epoch=3": 0.4})
    low = [with_score(source, tmp_path / f"b/epoch={i}.ckpt", s, "val/loss", "min") for i, s in ((1, 0.2), (2, 0.5))]
    assert scores_in_checkpoints(low) == pytest.approx({"epoch=1": -0.2, "epoch=2": -0.5})
    with pytest.raises(ConfigError, match=r"monitored different figures: val/f1 .* and val/loss"):
        scores_in_checkpoints([paths[0], low[0]])
    with pytest.raises(ConfigError, match=r"holds no validation score: train with a ModelCheckpoint"):
        scores_in_checkpoints([source])
    argv = ["bench", "--model", *map(str, paths), "--data", str(folder / "sets"), "--sets", "sims", "--allow-partial"]
    argv += ["--out", str(tmp_path / "out"), "--num-workers", "0", "--resamples", "0"]
    assert main([*argv, "--select", "best-on-validation"]) == 0
    assert "epoch=2, best-on-validation of 3 checkpoints" in capsys.readouterr().out
    assert main([*argv, "--select", "official"]) == 0
    assert "epoch=2, best-on-validation of 3 checkpoints; optimistic: " in capsys.readouterr().out


def test_a_batch_that_does_not_fit_the_memory_is_answered_in_halves(folder: Path, tmp_path: Path, monkeypatch) -> None:
    real, sizes = Network.write, []

    def small_device(network, prompt, *args):
        sizes.append(len(prompt.keep))
        if len(prompt.keep) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(network, prompt, *args)

    checkpoint = [folder / "ckpt/epoch=1.ckpt"]

    def texts(out: Path) -> dict[str, str]:
        data = UniBenchDataModule(str(folder / "sets"), ["sims"], batch_size=5, num_workers=0, allow_partial=True)
        Benchmark(out, resamples=0, allow_partial=True).run(checkpoint, data, system="me")
        log = rows(out / "answers/results-sims/me/epoch=1.answers.jsonl")
        return {row["key"]: row["text"] for row in log if "key" in row}

    whole = texts(tmp_path / "a")
    monkeypatch.setattr("affectgpt.model.answer_set.BATCH_TOKENS", {"cpu": 8192, "cuda": 8192})
    monkeypatch.setattr(Network, "write", small_device)
    assert texts(tmp_path / "b") == whole
    assert sizes == [5, 2, 3, 1, 2]


def test_a_folder_to_share_is_answered_with_too(folder: Path, tmp_path: Path) -> None:
    AffectGPT.from_checkpoint(folder / "ckpt/epoch=1.ckpt").save_pretrained(tmp_path / "mine")
    data = UniBenchDataModule(str(folder / "sets"), ["sims"], num_workers=0, allow_partial=True)
    bench = Benchmark(tmp_path / "out", resamples=0, allow_partial=True)
    shared, file = (bench.run([p], data, system="me")[0] for p in (tmp_path / "mine", folder / "ckpt/epoch=1.ckpt"))
    assert shared.checkpoint == "mine"
    assert shared.result.score == file.result.score


def test_answers_of_another_checkpoint_or_question_are_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "x.answers.jsonl"
    with AnswerLog(path, {"checkpoint": "a", "question": "How?"}) as log:
        log.add([{"key": "one", "text": "happy"}])
        log.add_errors({"two": "cut"})
    with AnswerLog(path, {"checkpoint": "b", "question": "How?"}) as log:
        assert log.answers == log.errors == {}
        assert log.num_others == 2
        log.add([{"key": "two", "text": "sad"}])
    with AnswerLog(path, {"question": "How?", "checkpoint": "a"}) as log:
        assert log.answers["one"]["text"] == "happy"
        assert log.errors == {"two": "cut"}
        log.add([{"key": "two", "text": "calm"}])
        assert log.errors == {}


def test_a_damaged_log_is_refused_and_a_cut_end_is_not(tmp_path: Path) -> None:
    path = tmp_path / "x.answers.jsonl"
    with AnswerLog(path, {"a": 1}) as log:
        log.add([{"key": "one", "text": "happy"}, {"key": "two", "text": "sad"}])
    content = path.read_bytes()
    for length in range(len(content) - 30, len(content)):
        path.write_bytes(content[:length])
        with AnswerLog(path, {"a": 1}) as log:
            assert "one" in log.answers
            log.add([{"key": "two", "text": "sad"}])
        assert rows(path)[-1]["key"] == "two"
    path.write_bytes(content.replace(b'"happy"', b'"happy'))
    with pytest.raises(DataError, match=r"line 2 is not a line of an answer log .* move the file away"):
        AnswerLog(path, {"a": 1})


def test_what_does_not_fit_is_refused(folder: Path, tmp_path: Path) -> None:
    data = UniBenchDataModule(str(folder / "sets"), ["sims"], num_workers=0, allow_partial=True)
    bench = Benchmark(tmp_path, resamples=0)
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        bench.run([tmp_path / "gone.ckpt"], data, system="me")
    (tmp_path / "text.ckpt").write_text("hello")
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        bench.run([tmp_path / "text.ckpt"], data, system="me")
    (tmp_path / "released.pth").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match=r"is in the released format, .*: affectgpt convert"):
        bench.run([tmp_path / "released.pth"], data, system="me")
    with pytest.raises(ConfigError, match="several checkpoints are called a"):
        bench.run([tmp_path / "x/a.ckpt", tmp_path / "y/a.ckpt"], data, system="me")
    os.makedirs(tmp_path / "answers/results-sims/me/epoch=1.answers.jsonl")
    with pytest.raises(DataError, match="cannot be opened for the answers"):
        bench.run([folder / "ckpt/epoch=1.ckpt"], data, system="me")

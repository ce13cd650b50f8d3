"""One checkpoint asked by views: the answers of separate runs, with each encoder run once a clip."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.bench.modality_views import read_views
from affectgpt.cli.main import main
from affectgpt.datamodules.collate import collate
from affectgpt.encoders.tiny import TinyAudioEncoder, TinyVisionEncoder
from affectgpt.errors import ConfigError
from affectgpt.metrics import EmotionWheel, parse_labels
from affectgpt.metrics.functional import faithfulness
from affectgpt.types import Clip
from clipmaker import make_clip
from setmaker import make_processed, make_shaded_meld

CONFIG = {
    "streams": {"frame": "tiny-vision", "audio": "tiny-audio"},
    "llm": "tiny",
    "media": {"num_frames": 2, "num_segments": 2, "segment_seconds": 0.25, "frame_height": 32, "frame_width": 32},
    "max_new_tokens": 6,
}
LETTERS = {"A": "audio", "V": "video", "T": "text"}
MISSING = {"VT": "A", "AT": "V", "AV": "T"}


def save_model(path: Path, **changes: object) -> Path:
    torch.manual_seed(3)
    AffectGPT.from_config({**CONFIG, **changes}).save_checkpoint(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint and two sets; clip 3 of MELD is cut, clip 4 is mute."""
    root = tmp_path_factory.mktemp("views")
    make_shaded_meld(root / "sets", 7)
    make_processed(root / "sets", "sims", 4, clip=make_clip(0.3))
    save_model(root / "model.ckpt")
    return root


def bench(folder: Path, out: Path, *options: str, model: str = "model.ckpt") -> int:
    argv = ["bench", "--model", str(folder / model), "--data", str(folder / "sets"), "--out", str(out)]
    argv += ["--allow-partial", "--num-workers", "0", "--device", "cpu", "--batch-size", "3"]
    return main([*argv, *options])


def texts(out: Path, name: str, system: str) -> dict[str, str]:
    (log,) = (out / "answers" / f"results-{name}" / system).glob("*.answers.jsonl")
    rows = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    return {row["key"]: row["text"] for row in rows if "text" in row and "error" not in row}


def slots_of(out: Path, name: str, system: str) -> set[str]:
    """Which slots of the prompt were filled, over all clips."""
    (log,) = (out / "answers" / f"results-{name}" / system).glob("*.answers.jsonl")
    return {" ".join(row["used"]) for row in map(json.loads, log.read_text("utf-8").splitlines()) if "used" in row}


def test_views_are_named_in_any_order():
    assert read_views("all") == ["A", "V", "T", "AV", "AT", "VT", "AVT"]
    assert read_views("tv, A") == ["A", "VT", "AVT"]
    for wrong in ("AA", "X", "", "A,B"):
        with pytest.raises(ConfigError, match="unknown view"):
            read_views(wrong)


def test_views_answer_as_separate_runs_with_each_clip_encoded_once(folder, tmp_path, capsys, monkeypatch):
    seen: Counter[str] = Counter()
    for kind in (TinyVisionEncoder, TinyAudioEncoder):

        def forward(self, media, keep, kind=kind, whole=kind.forward):
            seen[kind.__name__] += len(media)
            return whole(self, media, keep)

        monkeypatch.setattr(kind, "forward", forward)
    assert bench(folder, tmp_path / "views", "--views", "all", "--resamples", "50") == 0
    # six of MELD's clips can be read, and four of CH-SIMS; a batch in which nobody has sound is not encoded
    assert seen == {"TinyVisionEncoder": 10, "TinyAudioEncoder": 10}
    said = capsys.readouterr().out
    assert said.count("by view") == 2
    report = json.loads((tmp_path / "views/report.json").read_text("utf-8"))
    assert [row["system"] for row in report["systems"]] == ["model"]
    assert list(report["views"][0]["cells"]) == ["A", "V", "T", "AV", "AT", "VT", "AVT"]
    assert "By modality" in (tmp_path / "views/report.html").read_text("utf-8")

    assert said.count("named with nothing shown") == 2
    systems = {"": "model", **{view: f"model-{view}" for view in (*LETTERS, *MISSING)}}
    answers = {view: texts(tmp_path / "views", "sims", system) for view, system in systems.items()}
    read = {view: [parse_labels(found[key]) for key in sorted(found)] for view, found in answers.items()}
    blind = AffectGPT.load(folder / "model.ckpt")
    nothing = collate([Clip("nothing", media={})], [blind.style.label_question], profile=blind.media)
    counted = faithfulness(
        read[""],
        {letter: read[letter] for letter in LETTERS},
        {letter: read[view] for view, letter in MISSING.items()},
        EmotionWheel.builtin(),
        parse_labels(blind.eval()(nothing, blind.max_new_tokens).texts[0]),
    )
    assert counted.labels > 0
    evidence = {one["dataset"]: one["evidence"] for one in report["results"]}
    assert {name: evidence["sims"][name] for name in counted.to_json()} == counted.to_json()

    assert bench(folder, tmp_path / "whole", "--resamples", "0") == 0
    whole = json.loads((tmp_path / "whole/report.json").read_text("utf-8"))
    assert [one["score"] for one in whole["results"]] == [one["score"] for one in report["results"]]
    for view in ("A", "VT"):
        shown = ",".join(LETTERS[letter] for letter in view)
        assert bench(folder, tmp_path / view, "--modalities", shown, "--resamples", "0") == 0
        for name in ("meld", "sims"):
            assert texts(tmp_path / "views", name, f"model-{view}") == texts(tmp_path / view, name, "model")
        alone = json.loads((tmp_path / view / "report.json").read_text("utf-8"))
        cells = report["views"][0]["cells"][view]
        assert [one["score"] for one in alone["results"]] == [cells[name]["score"] for name in ("meld", "sims")]
    used = {view: slots_of(tmp_path / "views", "meld", f"model-{view}") for view in ("A", "V", "T", "AV", "VT")}
    assert used["A"] == {"audio"} | {""}  # the mute clip shows nothing
    assert used["V"] == {"frame"}
    assert used["T"] == {"subtitle"}
    assert used["AV"] == {"frame audio multi", "frame"}
    assert used["VT"] == {"frame subtitle"}

    # the same again asks nobody, and a run without views finds its answers
    seen.clear()
    assert bench(folder, tmp_path / "views", "--views", "all", "--resamples", "50") == 0
    assert bench(folder, tmp_path / "views", "--resamples", "50") == 0
    assert sum(seen.values()) == 0


KILLED = """
import os, signal, sys
import affectgpt.bench.clip_features as kept
from affectgpt.cli.main import main
add = kept.ClipFeatures.add
def killed(self, batch, features):
    add(self, batch, features)
    if self._number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
kept.ClipFeatures.add = killed
main(sys.argv[1:])
"""


def test_a_killed_run_keeps_what_was_encoded(folder, tmp_path, monkeypatch):
    argv = ["bench", "--model", str(folder / "model.ckpt"), "--data", str(folder / "sets"), "--sets", "meld"]
    argv += ["--allow-partial", "--num-workers", "0", "--device", "cpu", "--batch-size", "2", "--resamples", "0"]
    argv += ["--views", "A,T", "--out"]
    killed = subprocess.run([sys.executable, "-c", KILLED, *argv, str(tmp_path / "a")], check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    seen: Counter[str] = Counter()
    whole = TinyVisionEncoder.forward

    def forward(self, media, keep):
        seen["clips"] += len(media)
        return whole(self, media, keep)

    monkeypatch.setattr(TinyVisionEncoder, "forward", forward)
    assert main([*argv, str(tmp_path / "a")]) == 0
    assert seen["clips"] < 6  # the clips of the first batches were there
    assert main([*argv, str(tmp_path / "b")]) == 0
    for system in ("model", "model-A", "model-T"):
        assert texts(tmp_path / "a", "meld", system) == texts(tmp_path / "b", "meld", system)
    report = json.loads((tmp_path / "b/report.json").read_text("utf-8"))
    assert report["views"][0]["cells"]["A"]["meld"]["difference_low"] is None  # no resamples, no interval


def test_a_view_that_the_prompt_does_not_show_is_left_out_with_the_reason(folder, tmp_path, capsys):
    save_model(folder / "joined.ckpt", slots=["multi", "subtitle"])
    options = ("--sets", "sims", "--views", "all", "--resamples", "0")
    assert bench(folder, tmp_path, *options, model="joined.ckpt") == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "no view A: its prompt shows no audio of its own" in told
    assert "no view VT: its prompt shows no video of its own" in told
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert list(report["views"][0]["cells"]) == ["T", "AV", "AVT"]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--views", "AX"), "unknown view 'AX'"),
        (("--views", "A", "--modalities", "audio"), "leave --modalities out"),
        (("--views", "A", "--repeats", "2"), "repeats is 2"),
        (("--views", "A", "--answerer", "openai:http://127.0.0.1:9/v1"), "--views needs one checkpoint of ours"),
    ],
)
def test_what_does_not_go_with_views_is_refused(folder, tmp_path, capsys, options, what):
    assert bench(folder, tmp_path, "--sets", "sims", *options) == 1
    assert what in " ".join(capsys.readouterr().err.split())

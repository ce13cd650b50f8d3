"""Every registered answerer keeps the contract; and a real server answers, with the packaged small model."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.bench.answerers import Answerer, Asked, get_profile
from affectgpt.bench.answerers.base import Answer
from affectgpt.cli.main import main
from affectgpt.registry import ANSWERERS, Spec
from chatserver import Step, in_turn, serve
from clipmaker import make_clip
from realserver import serve_small_model
from setmaker import make_processed
from tinymodels import make_hearing_model

MEDIA = {"num_frames": 2, "num_segments": 2, "segment_seconds": 0.25, "frame_height": 32, "frame_width": 32}
MODEL = {"streams": {"frame": "tiny-vision", "audio": "tiny-audio"}, "llm": "tiny", "media": MEDIA, "max_new_tokens": 6}
ECHO = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    print(json.dumps({"key": asked["key"], "text": str(asked["subtitle"])}), flush=True)
"""


def checkpoint(folder: Path, stack: ExitStack) -> dict[str, Any]:
    torch.manual_seed(0)
    AffectGPT.from_config(MODEL).save_checkpoint(folder / "model.ckpt")
    return {"model": str(folder / "model.ckpt")}


def server(folder: Path, stack: ExitStack) -> dict[str, Any]:
    url, _ = stack.enter_context(serve(in_turn(Step("[calm]"))))
    return {"base_url": url, "model": "m"}


def program(folder: Path, stack: ExitStack) -> dict[str, Any]:
    (folder / "echo.py").write_text(ECHO)
    return {"command": f"{sys.executable} {folder / 'echo.py'}"}


def file(folder: Path, stack: ExitStack) -> dict[str, Any]:
    (folder / "mine.csv").write_text('name,labels\nclip0,happy\nclip1,"sad, angry"\nclip2,calm\n')
    return {"file": str(folder / "mine.csv")}


CASES: dict[str, Callable[[Path, ExitStack], dict[str, Any]]] = {
    "affectgpt": checkpoint,
    "openai": server,
    "command": program,
    "files": file,
    "transformers": lambda folder, stack: {"model": str(make_hearing_model(folder / "ear"))},
}


@pytest.fixture
def asked(tmp_path: Path) -> list[Asked]:
    for number in range(3):
        (tmp_path / f"{number}.mp4").write_bytes(make_clip(0.4, shade=50 * number))
    return [Asked(f"clip{i}", "How is she?", "meld", f"words {i}", tmp_path / f"{i}.mp4") for i in range(3)]


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Callable[[str], Answerer]]:
    with ExitStack() as stack:
        runtime = {"settings": get_profile("fast").changed(("audio", "text"), max_tokens=6), "num_workers": 0}
        args: dict[str, dict[str, Any]] = {}

        def make(name: str) -> Answerer:
            if name not in args:
                args[name] = CASES[name](tmp_path, stack)
            return ANSWERERS.build(Spec(name, args[name]), **runtime)

        yield make


@pytest.mark.parametrize("name", list(ANSWERERS))
def test_every_answerer_answers_each_clip_once_and_says_what_decides_it(name, build, asked) -> None:
    assert name in CASES, f"write a case for the answerer {name!r}"
    answerer = build(name)
    assert answerer.name == name
    assert answerer.title()
    found = list(answerer.answer(asked))
    assert sorted(one.key for one in found) == [one.key for one in asked]
    for one in found:
        assert one.kind == "answered"
        assert one.text
        assert one.reason is None
        assert Answer.from_json(json.loads(json.dumps(one.to_json()))) == one
    for record in (answerer.identity(), answerer.settings(), answerer.shown_and_drawn(), answerer.taken_by(found)):
        assert json.loads(json.dumps(record)) == record
    assert "label" in answerer.question or "emotional" in answerer.question
    assert list(answerer.answer([])) == []
    again = build(name)
    assert again.identity() == answerer.identity()
    assert {one.key: one.text for one in again.answer(asked[::-1])} == {one.key: one.text for one in found}


def test_a_real_server_answers_the_transcripts(tmp_path: Path) -> None:
    _, names = make_processed(tmp_path / "sets", "meld", 3, clip=make_clip(0.3))
    argv = ["bench", "--data", str(tmp_path / "sets"), "--allow-partial", "--modalities", "text", "--resamples", "20"]
    argv += ["--model", "smollm2-135m-instruct", "--max-new-tokens", "16", "--out", str(tmp_path / "out")]
    argv += ["--question", "Which emotions does the speaker feel? Answer with a few words."]
    with serve_small_model() as url:
        assert main([*argv, "--answerer", f"openai:{url}", "--arg", "num_parallel=1"]) == 0
    (result,) = json.loads((tmp_path / "out/report.json").read_text())["results"]
    assert (result["failed_answers"], result["samples"] is not None) == ({}, True)
    assert result["taken"]["prompt_tokens"] > 100
    assert 0 < result["taken"]["answer_tokens"] <= 48
    log = next((tmp_path / "out").glob("answers/results-meld/*/*.answers.jsonl")).read_text().splitlines()
    texts = {row["key"]: row["text"] for row in map(json.loads, log) if "key" in row}
    assert sorted(texts) == sorted(names)
    assert all(text.strip() for text in texts.values())

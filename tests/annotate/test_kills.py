"""Killed at random moments, whatever describes the clips, a run ends in the same data set and repeats no answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from affectgpt.annotate import annotate
from affectgpt.annotate.pipeline import make_pipeline
from affectgpt.files import digest_of_file
from killing import annotate_with_kills, answers_in
from standinserver import standin_server
from tinymodels import make_seeing_model

PARALLEL, READY = 2, 2
"""Requests at a time, and further ones that may have their answers before those are written down."""


def files_of(out: Path) -> dict[str, str]:
    """Digests of the data set; the card holds times."""
    paths = [*sorted((out / "shards").iterdir()), out / "manifest.jsonl", out / "left_out.jsonl"]
    return {path.name: digest_of_file(path) for path in paths}


def served(url: str, decoders: int) -> list:
    backend = {"num_parallel": PARALLEL, "backoff_seconds": 0.01}
    look = {"model": "m", "base_url": url, "num_frames": 1, "longest_side": 32, "decoders": decoders}
    merge = {"model": "m", "base_url": url, "backend": backend}
    hear = {**look, "sound": True, "prompt": "audio-clues", "writes": "audio_clues", "backend": backend}
    return [
        {"name": "openai", "as": "look", "args": {**look, "backend": backend}},
        {"name": "openai", "as": "listen", "args": hear},
        {"name": "merge", "args": merge},
        "labels",
        {"name": "description-length", "args": {"low": 0.2, "high": 0.8, "least": 4}},
    ]


def check_kills(pipeline: dict, clips: Path, tmp_path: Path, kills: int, workers: int = 0) -> None:
    annotate(make_pipeline(pipeline), clips, tmp_path / "whole", workers=workers)
    annotate_with_kills(pipeline, clips, tmp_path / "out", kills=kills, workers=workers)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")
    answers = answers_in(tmp_path / "out")
    assert len(answers) == len(set(answers)), "an answer that was written down was asked for again"
    assert set(answers) == set(answers_in(tmp_path / "whole"))


@pytest.mark.parametrize(
    ("kills", "decoders"),
    [(3, 0), pytest.param(20, 1, marks=[pytest.mark.slow, pytest.mark.timeout(900)])],
    ids=["quick", "many"],
)
def test_with_describers_behind_a_server(kills, decoders, corpus, tmp_path):
    with standin_server(tmp_path) as (url, log):
        check_kills({"stages": served(url, decoders)}, corpus, tmp_path, kills)
        requests = len(log.read_text().splitlines())
    assert requests <= 2 * 30 + kills * (PARALLEL + READY)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_with_a_model_in_the_process_and_decoding_processes(corpus, tmp_path):
    eye = str(make_seeing_model(tmp_path / "eye"))
    look = {"model": eye, "num_frames": 1, "max_tokens": 4}
    cues = {"face_mesh": None, "expression": None, "find_speech": False, "num_frames": 2}
    stages = [
        {"name": "voice", "args": {"find_speech": False}},
        {"name": "cues", "args": cues},
        {"name": "transformers", "args": {**look, "writes": "seen"}},
        "labels",
    ]
    check_kills({"stages": stages}, corpus, tmp_path, 20, workers=2)

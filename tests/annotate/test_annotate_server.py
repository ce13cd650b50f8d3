"""Annotation by a real multimodal server that stands behind a faulty proxy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from affectgpt.annotate import annotate
from affectgpt.annotate.pipeline import make_pipeline
from clipmaker import make_clip
from conftest import write_manifest
from seeingserver import faulty_proxy, serve_seeing_model

FAULTS = [429, 500, "cut", "garbage", None, 503, "wrong", "hang up"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    with serve_seeing_model(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    lines = []
    for number in range(3):
        (folder / f"c{number}.mp4").write_bytes(make_clip(0.5, shade=40 + 60 * number))
        lines.append({"name": f"c{number}", "video": f"c{number}.mp4", "subtitle": f"words {number}"})
    (folder / "c3.mp4").write_bytes(b"no video at all")
    write_manifest(folder, [*lines, {"name": "c3", "video": "c3.mp4"}])
    return folder


def pipeline(url: str, **look):
    backend = {"backoff_seconds": 0.01, "num_retries": 8, "num_parallel": 1}
    shown = {
        "model": "smollm2",
        "base_url": url,
        "max_tokens": 8,
        "decoders": 0,
        "longest_side": 64,
        "backend": backend,
    }
    stages = [
        {"name": "openai", "as": "look", "args": {**shown, "num_frames": 2, "writes": "visual_clues", **look}},
        {
            "name": "openai",
            "as": "listen",
            "args": {**shown, "num_frames": 0, "sound": True, "prompt": "audio-clues", "writes": "audio_clues"},
        },
        {"name": "merge", "args": {"model": "smollm2", "base_url": url, "max_tokens": 12, "backend": backend}},
        "labels",
    ]
    return make_pipeline({"name": "served", "stages": stages})


def test_a_real_server_sees_and_hears_through_every_fault(server, clips, tmp_path):
    with faulty_proxy(server, FAULTS) as (url, log):
        report = annotate(pipeline(url), clips, tmp_path / "out")
        first = len(log)
        again = annotate(pipeline(url), clips, tmp_path / "out")
    assert log[:8] == ["429", "500", "cut", "garbage", "200", "503", "wrong", "hang up"]
    assert log.count("200") == 9
    assert (again.num_answers, len(log)) == (0, first)
    assert report.outcomes == {"kept": 3, "dropped": 0, "person": 0, "failed": 1, "unreadable": 0}
    (left,) = map(json.loads, (tmp_path / "out" / "left_out.jsonl").read_text().splitlines())
    assert (left["key"], left["stage"]) == ("c3", "look")
    spent = report.card["spent"]["by_stage"]
    # sixteen tokens a picture, and more than a hundred for half a minute of sound, beside the words
    assert spent["look"]["requests"] == spent["listen"]["requests"] == 3
    assert spent["look"]["input_tokens"] > 3 * 2 * 16
    assert spent["listen"]["input_tokens"] > 3 * 100
    assert 0 < spent["merge"]["output_tokens"] <= 3 * 12


def test_a_server_that_dies_ends_the_run_and_the_next_goes_on(server, clips, tmp_path):
    from affectgpt.errors import DataError

    with faulty_proxy(server, [None, *[503] * 40]) as (url, _):
        run = pipeline(url, backend={"backoff_seconds": 0.001, "num_retries": 0, "max_failures": 2, "num_parallel": 1})
        with pytest.raises(DataError, match="one after the other failed"):
            annotate(run, clips, tmp_path / "out")
    with faulty_proxy(server, []) as (url, log):
        # those that failed before the end are rows, and are asked again when told so
        run = pipeline(url, backend={"backoff_seconds": 0.001, "num_retries": 0, "max_failures": 2, "num_parallel": 1})
        report = annotate(run, clips, tmp_path / "out", retry_failed=True)
    assert report.outcomes["kept"] == 3
    assert len(log) == 8  # one was answered before


def test_answers_that_come_too_late_or_never_end_are_asked_for_again(server, clips, tmp_path):
    patient = {"backoff_seconds": 0.01, "num_retries": 12, "num_parallel": 2, "timeout_seconds": 6.0}
    with faulty_proxy(server, ["silent", "drip"]) as (url, log):
        report = annotate(pipeline(url, backend=patient), clips, tmp_path / "out")
    assert sorted(log[:2]) == ["drip", "silent"]
    assert report.outcomes["kept"] == 3


def test_what_a_server_refuses_is_the_row_of_that_clip(server, clips, tmp_path):
    """More pictures than the model's context holds: a refusal of the server, which does not end the run."""
    with faulty_proxy(server, []) as (url, log):
        report = annotate(pipeline(url, num_frames=140), clips, tmp_path / "out")
    rows = map(json.loads, (tmp_path / "out" / "left_out.jsonl").read_text().splitlines())
    reasons = {row["key"]: row["reason"] for row in rows}
    assert report.outcomes["failed"] == 4
    assert all("context" in reasons[f"c{number}"] for number in range(3)), reasons
    assert log == ["400"] * 3

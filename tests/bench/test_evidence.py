"""Labels that stay though the view that alone brought them is gone: the counts, and what the report says of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from affectgpt.bench import score, write_report
from affectgpt.bench.benchmark import Benchmark
from affectgpt.bench.evidence import evidence_in_words, evidence_of
from affectgpt.bench.modality_views import compared_with
from affectgpt.bench.system_result import SystemResult
from affectgpt.datamodules.unibench import UniBenchDataModule
from setmaker import make_processed, write_csv

VIEWS = {  # four clips
    "AVT": ["[happy]", "[angry, sad]", "[calm]", "[afraid]"],
    "A": ["[glad]", "[angry]", "[calm]", "[bored]"],
    "V": ["[afraid]", "[happy]", "[calm]", "[scared]"],
    "T": ["[bored]", "[sad]", "[bored]", "[bored]"],
    "VT": ["[joyful]", "[happy]", "[sad]", "[afraid]"],
    "AT": ["[happy]", "[furious]", "[calm]", "[bored]"],
    "AV": ["[happy]", "[angry, unhappy]", "[calm]", "[afraid]"],
}
# clip 1: happy is of the sound (glad), and stays without it; clip 2: angry is of the sound, and goes, and sad is of the
# words, and stays (unhappy); clip 3: calm is of two inputs; clip 4: afraid is of the picture, and goes


@pytest.fixture
def answered(tmp_path):
    _, names = make_processed(tmp_path / "sets", "ovmerdplus", 4)
    data = UniBenchDataModule(str(tmp_path / "sets"), allow_partial=True)
    benchmark = Benchmark(tmp_path / "out", resamples=200)
    gold = write_csv(tmp_path / "gold.csv", ("name", "label"), [(name, "[happy]") for name in names])
    found = {}
    for view, answers in VIEWS.items():
        path = write_csv(tmp_path / f"{view}.csv", ("name", "openset"), zip(names, answers, strict=True))
        found[view] = SystemResult(score("ovmerdplus", path, gold, resamples=0), "mine", predictions=str(path))
    return benchmark, found.pop("AVT"), found, data.sets


def test_labels_are_counted_by_what_speaks_for_them(answered):
    benchmark, whole, found, _ = answered
    evidence = evidence_of(benchmark, whole, found, "AVT", "nothing")
    counts = evidence.counts
    assert (counts.labels, counts.blind, counts.tested, counts.stay) == (5, 0, 4, 2)
    assert evidence.interval.value == counts.share == 0.5
    assert 0 <= evidence.interval.low < 0.5 < evidence.interval.high <= 1
    blind = evidence_of(benchmark, whole, found, "AVT", "afraid, furious").counts
    assert (blind.labels, blind.blind, blind.tested, blind.stay) == (5, 2, 2, 2)
    # a model that reads no words is shown sound or picture alone, which is all but the other
    two = evidence_of(benchmark, whole, found, "AV", "").counts
    assert (two.tested, two.stay) == (3, 0)


def test_nothing_is_counted_without_every_view(answered):
    benchmark, whole, found, _ = answered
    for left_out in found:
        some = {view: one for view, one in found.items() if view != left_out}
        assert evidence_of(benchmark, whole, some, "AVT", "") is None
    assert evidence_of(benchmark, whole, found, "A", "") is None


def test_the_report_says_it(answered, tmp_path):
    benchmark, whole, found, sets = answered
    views = compared_with(benchmark, whole, {view: {"ovmerdplus": one} for view, one in found.items()}, sets)
    told = replace(whole, views=views, evidence=evidence_of(benchmark, whole, found, "AVT", ""))
    page = write_report([told], tmp_path / "report").read_text("utf-8")
    assert "Labels without their evidence" in page
    markdown = (tmp_path / "report" / "report.md").read_text("utf-8")
    assert "| OV-MERD+ | 5 | 0 | 4 | 2 | 50.00 |" in markdown
    (result,) = json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))["results"]
    assert {name: result["evidence"][name] for name in ("tested", "stay", "share")} == {
        "tested": 4,
        "stay": 2,
        "share": 0.5,
    }
    words = "2 of 4 labels with one only evidence stay without it (50 %); 0 of 5 are named with nothing shown"
    assert evidence_in_words(told) == words
    assert evidence_in_words(whole) == ""
    page = write_report([replace(told, evidence=None)], tmp_path / "other").read_text("utf-8")
    assert "Labels without their evidence" not in page

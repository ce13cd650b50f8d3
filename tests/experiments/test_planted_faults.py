"""The experiment on planted faults, in miniature: what is planted, what each pipeline keeps, and what the page says."""

from __future__ import annotations

import argparse
import json
import re
import runpy
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from affectgpt.media import MediaProfile, load_clip

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "experiments" / "planted_faults"
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*_planted_faults_cpu.md"))
SMALL = {"seeds": 1, "clean": 12, "raw": 40, "test": 4, "steps": 2, "voter_steps": 2, "workers": 1}


@pytest.fixture(scope="module")
def code() -> Any:
    """The names of the experiment's files, which are a program and no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        space = runpy.run_path(str(FOLDER / "__main__.py"))
        space["run"].__globals__["OTHER_LEVELS"] = (0.2,)
        import planting
        import result_page

        return SimpleNamespace(**{**vars(planting), **vars(result_page), **space})


@dataclass(frozen=True)
class Small:
    """A small run: its result, its page, and its folder."""

    result: dict[str, Any]
    page: str
    folder: Path

    def row(self, name: str, level: float = 0.45) -> dict[str, Any]:
        (found,) = [row for row in self.result["rows"] if (row["row"], row["level"]) == (name, level)]
        return found


@pytest.fixture(scope="module")
def small(code: Any, tmp_path_factory: pytest.TempPathFactory) -> Small:
    folder = tmp_path_factory.mktemp("planted")
    result = code.run(argparse.Namespace(**SMALL), folder / "work")
    result |= {"seconds": 60, "processor_seconds": 60}
    code.write_page(result, folder / "page.md")
    return Small(result, (folder / "page.md").read_text("utf-8"), folder)


def test_the_planted_faults_are_those_that_were_asked_for(small: Small) -> None:
    for level, number in ((0.2, 8), (0.45, 18)):
        planted = small.row("low", level)["planted"]
        assert planted == {"description": number, "sound": 4, "length": 2, "none": 40 - 6 - number}


def test_each_pipeline_keeps_what_its_stages_say(small: Small) -> None:
    kept = {row["row"]: row["kept"] for row in small.result["rows"] if row["level"] == 0.45}
    size = {name: sum(one.values()) for name, one in kept.items()}
    assert size["none"] == 40
    assert kept["low"].get("length", 0) < 2  # one clip at either end is 3 % of so small a set
    assert size["low + E + S"] <= min(size["low + E"], size["low + S"]) <= size["low"] < 40
    assert kept["oracle"] == {"none": small.row("none")["planted"]["none"]}
    assert size["random, as many as low + E + S"] == size["low + E + S"]


def test_the_page_says_what_the_result_holds(small: Small) -> None:
    taught = [row["answers"] for row in small.result["rows"] if "answers" in row]
    assert len(taught) == 9 + 2
    assert {len(one) for one in taught} == {4}
    wrong = small.row("none")["kept"]["description"]
    assert f"| none | 40 | {100 * wrong / 40:.1f} | 0.0 | 0.0 | 0.0 |" in small.page
    expected = small.page.split("## What was expected")[1]
    assert expected.count("| met |") + expected.count("| missed |") == 9
    assert "nan" not in small.page


def test_a_second_run_asks_and_trains_nothing(small: Small, code: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setitem(code.teach.__globals__, "train_classifier", refuse)
    journal = {path: path.read_bytes() for path in (small.folder / "work" / "journal").iterdir()}
    again = code.run(argparse.Namespace(**SMALL), small.folder / "work")
    assert json.loads(json.dumps(again["rows"])) == json.loads(json.dumps(small.result["rows"]))
    assert journal == {path: path.read_bytes() for path in journal}


def test_a_folder_of_other_settings_is_refused(small: Small, code: Any) -> None:
    with pytest.raises(SystemExit, match=r"was made with .*'raw': 40.*give another folder"):
        code.run(argparse.Namespace(**SMALL | {"raw": 50}), small.folder / "work")


def test_higher_levels_hold_the_faults_of_lower_ones(small: Small, code: Any, tmp_path: Path) -> None:
    corpus = small.folder / "work" / "corpus"
    rows = [json.loads(line) for line in (corpus / "train.jsonl").read_text().splitlines()][:20]
    low, high = (code.plant(rows, corpus, level, 5, tmp_path) for level in (0.2, 0.6))
    assert [clip.fault for clip in low].count("description") == 4
    for one, two in zip(low, high, strict=True):
        if one.fault != "none":
            assert one == two
    for clip, row in zip(high, rows, strict=True):
        assert (clip.description == row["description"]) == (clip.fault not in ("description", "length"))
    with pytest.raises(ValueError, match="more than all 20 clips"):
        code.plant(rows, corpus, 0.9, 5, tmp_path)
    swapped = next(clip for clip in high if clip.fault == "sound")
    profile = MediaProfile.of({"num_frames": 3, "num_segments": 1, "segment_seconds": 1.0})
    before, after = (
        load_clip(path, profile)[0].media for path in (corpus / "clips" / swapped.video.name, swapped.video)
    )
    assert torch.equal(before["frame"], after["frame"])
    assert not torch.allclose(before["audio"], after["audio"])


def test_a_filter_that_keeps_next_to_nothing_teaches_next_to_nothing(code: Any, tmp_path: Path) -> None:
    for labels, answer in ((), []), ((("sad",), ("sad",)), ["sad"]):
        lesson = code.Lesson(("a.mp4",) * len(labels), labels, steps=2, seed=0)
        assert code.teach(lesson, tmp_path / "none.pt", ["t.mp4", "u.mp4"], tmp_path) == [answer, answer]


def test_the_break_even_is_between_loss_and_profit(code: Any) -> None:
    assert code.break_even([(0.1, -4.0), (0.2, -2.0), (0.4, 2.0)]) == pytest.approx(0.3)
    assert code.break_even([(0.1, 1.0), (0.2, 2.0)]) is None


def test_the_docs_give_the_figures_of_the_result_file() -> None:
    assert RESULTS
    result = RESULTS[-1].read_text("utf-8")
    page = (ROOT / "docs" / "planted_faults.md").read_text("utf-8")
    figures = re.findall(r"[-+]?\d+\.\d+", re.sub(r"```.*?```|`[^`\n]+`", "", page, flags=re.S))
    assert len(figures) > 100
    assert [one for one in figures if not re.search(rf"(?<![\d.+-])[-+]?{re.escape(one)}(?!\d)", result)] == []

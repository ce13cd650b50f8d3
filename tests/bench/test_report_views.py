"""The report of a system that was asked by views: table, picture and files, beside the published rows."""

from __future__ import annotations

import csv
import json

import pytest

from affectgpt.bench import write_report
from affectgpt.bench.clip_features import ClipFeatures
from affectgpt.bench.report.content import build_report
from affectgpt.bench.report.view_chart import draw_views
from affectgpt.bench.report.view_content import VIEWS
from affectgpt.datamodules.collate import collate
from affectgpt.types import Clip, Features
from viewresults import make_view_results

SETS = ("meld", "mosi", "ovmerdplus")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return make_view_results(tmp_path_factory.mktemp("views"), SETS, VIEWS)


def test_every_view_stands_beside_the_whole(results, tmp_path):
    page = write_report(results, tmp_path)
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    (table,) = report["views"]
    assert list(table["cells"]) == list(VIEWS)
    for one in results:
        name = one.result.dataset
        whole = table["cells"]["AVT"][name]
        assert whole["score"] == one.result.score
        assert whole["difference"] is None
        for view in VIEWS[:-1]:
            cell = table["cells"][view][name]
            assert cell["score"] - whole["score"] == pytest.approx(cell["difference"])
            assert cell["difference_low"] <= cell["difference"] <= cell["difference_high"] <= 0
            assert cell["difference"] == one.views[view].difference.value
    means = [table["means"][view] for view in VIEWS]
    assert means[-1] == pytest.approx(sum(one.result.score for one in results) / 3)
    assert means[0] < means[2] < means[-1]
    # the picture, the table and the published rows are on the page, and in the other files
    html = page.read_text("utf-8")
    assert html.count("<h2>By modality</h2>") == 1
    assert 'alt="Scores by view"' in html
    assert "AffectGPT, as APCF ran it" in html
    assert f"&minus;{100 * abs(table['cells']['A']['meld']['difference']):.2f}" in html
    markdown = (tmp_path / "report.md").read_text("utf-8")
    assert "## By modality: mine" in markdown
    assert markdown.count("| against AVT |") == 6
    with (tmp_path / "report.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "view"]
    assert [(row["inputs"], row["dataset"]) for row in rows[:4]] == [("A", name) for name in (*SETS, "mean")]
    assert len(rows) == 7 * 4


def test_a_view_that_a_model_has_not_is_no_row(tmp_path):
    report = build_report(make_view_results(tmp_path, ["meld"], ["A", "AV", "AVT"]), "some")
    assert list(report.views[0].cells) == ["A", "AV", "AVT"]
    picture = draw_views(report.views[0], report.sets)
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 5000


def test_reports_without_views_stay_as_they_were(results, tmp_path):
    from dataclasses import replace

    page = write_report([replace(one, views=None) for one in results], tmp_path)
    assert "By modality" not in page.read_text("utf-8")
    assert "views" not in json.loads((tmp_path / "report.json").read_text("utf-8"))


def test_features_of_clips_are_kept_whole(tmp_path):
    torch = pytest.importorskip("torch")
    clips = [Clip(name, {"audio": torch.ones(1, 4)}, subtitle=f"says {name}") for name in ("a", "b", "c/d")]
    batch = collate(clips, ["How?"] * 3)
    keep = torch.tensor([[True, True], [True, False], [False, False]])
    hidden = torch.randn(3, 2, 5)
    kept = ClipFeatures(tmp_path, {"checkpoint": "x"})
    kept.add(batch.rows(range(2)), {"voice": Features(hidden[:2], keep[:2])})
    kept.add(batch.rows(range(2, 3)), {"voice": Features(hidden[2:], keep[2:])})

    again = ClipFeatures(tmp_path, {"checkpoint": "x"})
    assert [key in again for key in ("a", "b", "c/d", "e")] == [True, True, True, False]
    assert "a" not in ClipFeatures(tmp_path, {"checkpoint": "y"})
    assert torch.equal(again.clip("a", "words").features["voice"], hidden[0])
    assert torch.equal(again.clip("b", None).features["voice"], hidden[1, :1])
    assert again.clip("c/d", None).features == {}
    assert again.clip("a", "words").subtitle == "words"


def test_a_broken_file_of_features_is_passed_over(tmp_path, caplog):
    torch = pytest.importorskip("torch")
    batch = collate([Clip("a", {"audio": torch.ones(1, 4)})], ["How?"])
    one = Features(torch.ones(1, 1, 2), torch.ones(1, 1, dtype=torch.bool))
    first = ClipFeatures(tmp_path, {})
    first.add(batch, {"voice": one})
    (file,) = first.folder.iterdir()
    file.write_bytes(file.read_bytes()[:20])
    again = ClipFeatures(tmp_path, {})
    assert "a" not in again
    assert "encoded again" in caplog.text
    again.add(batch, {"voice": one})
    assert len(list(again.folder.iterdir())) == 2
    assert torch.equal(ClipFeatures(tmp_path, {}).clip("a", None).features["voice"], torch.ones(1, 2))

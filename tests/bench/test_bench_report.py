"""The report of the benchmark: the same figures in four files, nothing loaded, every doubt named."""

import csv
import json
import re
import sys
from dataclasses import replace

import pytest

from affectgpt.bench import score
from affectgpt.bench.report import write_report
from affectgpt.bench.report.content import build_report
from affectgpt.bench.report.markdown import to_markdown
from affectgpt.bench.result import SetResult
from affectgpt.bench.system_result import HonestChoice, Selection, SystemResult
from affectgpt.cli.main import main
from affectgpt.errors import ConfigError, DataError

LABELS = {"a": "[happy, zzz]", "b": "[<b>calm</b>]", "c": "[neutral]", "d": "[tearful, lonely]"}


def write_csv(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    truth = {"a": "joy", "b": "anger", "c": "neutral", "d": "sadness"}
    meld = write_csv(folder / "meld.csv", ["name", "label"], truth.items())
    mosi = write_csv(folder / "mosi.csv", ["name", "label"], [("a", 1), ("b", -1), ("c", 0), ("d", -2)])
    preds = write_csv(folder / "p.csv", ["name", "openset"], LABELS.items())
    open_gold = write_csv(folder / "ov.csv", ["name", "openset"], [(k, f"[{v}, hope]") for k, v in truth.items()])
    found = [score(*pair, resamples=100) for pair in (("meld", preds, meld), ("mosi", preds, mosi))]
    found.append(score("ovmerdplus", preds, open_gold, mode="strict", resamples=0))
    candidates = {"ep30": found[0].score, "ep60": 0.5}
    chosen = Selection("official", "ep30", candidates, HonestChoice("last", "ep60", 0.5))
    return [SystemResult(found[0], "<mine>", selection=chosen), *(SystemResult(one, "<mine>") for one in found[1:])]


@pytest.fixture(scope="module")
def written(results, tmp_path_factory):
    pytest.importorskip("matplotlib", reason="the page needs the report extra")
    out = tmp_path_factory.mktemp("report") / "new"
    assert write_report(results, out, title="A & B") == out / "report.html"
    return out


def test_json_holds_the_results_and_the_published_rows(results, written):
    report = json.loads((written / "report.json").read_text(), parse_constant=pytest.fail)
    assert [s["dataset"] for s in report["sets"]] == ["meld", "mosi", "ovmerdplus"]
    (system,) = report["systems"]
    assert {name: cell["score"] for name, cell in system["cells"].items()} == {
        r.result.dataset: r.result.score for r in results
    }
    assert system["mean"] == pytest.approx(sum(r.result.score for r in results) / 3)
    assert system["cells"]["meld"]["low"] == results[0].result.interval.low
    published = next(row for row in report["published"] if row["system"] == "AffectGPT" and row["inputs"] == "AVT")
    assert published["mean"] == pytest.approx((0.5565 + 0.813 + 0.6252) / 3)  # of the same sets
    assert report["results"][0]["unseen_words"] == [["zzz", 1], ["<b>calm</b>", 1], ["neutral", 1]]


def test_an_optimistic_figure_stands_beside_the_honest_one(written):
    report = json.loads((written / "report.json").read_text())
    cell, mean = report["systems"][0]["cells"]["meld"], report["systems"][0]["honest_mean"]
    assert (cell["optimistic"], cell["honest"]) == (True, 0.5)
    assert mean < report["systems"][0]["mean"]
    for name in ("report.md", "report.html"):
        text = (written / name).read_text()
        assert "50.00" in text
        assert "optimistic" in text
        assert "+16.67" in text  # what the choice gained


def test_doubts_are_named(written):
    warnings = " ".join(json.loads((written / "report.json").read_text())["warnings"])
    assert "wheel builtin" in warnings
    assert "mode strict" in warnings
    assert "Scored on other clips than the published split has: MELD 4 of 2,610" in warnings


def test_many_doubts_are_one_list(results, written, tmp_path):
    assert (written / "report.html").read_text().count('class="note"') == 1  # more than three
    assert "<li>Some figures are from mode strict." in (written / "report.html").read_text()
    write_report([replace(results[1], result=replace(results[1].result, gold_samples=686))], tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert page.count('<p class="note">') == len(json.loads((tmp_path / "report.json").read_text())["warnings"]) <= 3


def test_odd_answers_and_gold_values_are_named(tmp_path):
    gold = write_csv(tmp_path / "gold.csv", ["name", "label"], [("a", 1), ("b", 7), ("c", "")])
    preds = write_csv(tmp_path / "p.csv", ["name", "openset"], [(name, "[sad]") for name in "abc"])
    results = [score("mosi", preds, gold, resamples=0)]
    text = to_markdown(build_report(results, "Odd"))
    assert "1 samples have no gold value." in text
    assert "1 samples have a gold score outside the set's range." in text
    assert "no figures for mode strict, because" in text


def test_the_page_stands_alone_and_is_safe(written):
    page = (written / "report.html").read_text()
    assert "<b>calm</b>" not in page
    assert "<mine>" not in page
    assert "A &amp; B" in page
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:)|url\(|@import|<script""", page)
    assert page.count("data:image/png;base64,") == 1 + 3  # the sets; per set the classes
    for text in ("55.65", "hit rate", "weighted F1", "wheel F1", "zzz", "AffectGPT-R1", "2508.01318"):
        assert text in page


def test_csv_has_one_row_a_figure(results, written):
    with (written / "report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    own = {row["dataset"]: row for row in rows if row["kind"] == "scored here"}
    assert list(own) == ["meld", "mosi", "ovmerdplus", "mean"]
    assert float(own["meld"]["score"]) == pytest.approx(100 * results[0].result.score, abs=1e-4)
    assert own["ovmerdplus"]["score"] == own["ovmerdplus"]["strict_score"]
    published = [row for row in rows if row["kind"] == "published" and row["dataset"] == "meld"]
    assert len(published) == 29
    assert all(row["source"] for row in published)


def test_markdown_tables_are_whole(written):
    tables = re.findall(r"(?:^\|.*\n)+", (written / "report.md").read_text(), flags=re.M)
    assert len(tables) >= 8
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table


def test_results_that_do_not_fit_are_refused(results, tmp_path):
    with pytest.raises(DataError, match="no results to report"):
        write_report([], tmp_path)
    with pytest.raises(DataError, match=r"two results for 'meld'"):
        write_report([results[0], results[0]], tmp_path)
    with pytest.raises(DataError, match=r"result 1 is \{'dataset'.*; pass what affectgpt\.bench\.score returns"):
        write_report([results[0], results[1].to_json()], tmp_path)
    with pytest.raises(TypeError, match="score"):
        SetResult(dataset="meld", metric="hit_rate", mode="official", wheel="builtin")
    with pytest.raises(ConfigError, match=r"selected by 'luck'; known rules: last, best-on-validation, official"):
        write_report([replace(results[0], selection=Selection("luck", "a", {}))], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_the_tables_are_written_all_the_same(results, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match=r"(?s)report\.json, \.md and \.csv are in .*affectgpt\[report\]"):
        write_report(results, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.csv", "report.json", "report.md"]


def test_one_checkpoint_for_all_sets_is_told(results, tmp_path):
    pytest.importorskip("matplotlib", reason="the page needs the report extra")
    pair = [
        replace(one, selection=Selection("last", "ep60", {"ep30": 0.5, "ep60": one.result.score}))
        for one in results[:2]
    ]
    write_report(pair, tmp_path)
    mean = (results[0].result.score + results[1].result.score) / 2
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["systems"][0]["one_checkpoint"] == {"ep30": 0.5, "ep60": pytest.approx(mean)}
    told = f"one checkpoint for all sets: ep30 50.00, ep60 {100 * mean:.2f}; best on the test sets ep60"
    assert all(told in (tmp_path / name).read_text() for name in ("report.md", "report.html"))


def test_undefined_figures_are_empty(results, tmp_path):
    pytest.importorskip("matplotlib", reason="the page needs the report extra")
    bare = SetResult(dataset="meld", metric="hit_rate", score=float("nan"), mode="official", wheel="official-2025")
    write_report([bare], tmp_path)
    report = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert report["systems"][0]["mean"] is None
    assert "NaN" not in (tmp_path / "report.html").read_text()


def test_the_honest_figure_leads(written):
    page, text = ((written / name).read_text() for name in ("report.html", "report.md"))
    cards = re.findall(r'<div class="card ([a-z]*)"><b>([^<]*)</b><span>([^<]*)</span>', page)
    honest = json.loads((written / "report.json").read_text())["systems"][0]["honest_mean"]
    assert cards[0][:2] == ("main", f"{100 * honest:.2f}")
    assert "honest" in cards[0][2]
    assert cards[1][0] == "optimistic"
    assert "optimistic" in cards[1][2]
    row = re.search(r'<tr class="best">.*?</tr>', page, re.S).group()
    assert row.index("50.00") < row.index("best 66.67&nbsp;&dagger;")
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("| **"))
    assert "50.00" in lines[first]
    assert next(line for line in lines if line.startswith("| best on the test set")).count("66.67 †") == 1


EVIL = '=HYPERLINK("http://x","y")<img src=x onerror=alert(1)>|[a](javascript:b)\x1b[31m\ud83d'


def test_what_a_name_holds_stays_text_in_every_file(results, tmp_path):
    pytest.importorskip("matplotlib", reason="the page needs the report extra")
    first = results[0].result
    words = ((EVIL, 2), ("\ud83d", 1))
    result = replace(
        first,
        frequent_words=words,
        unseen_words=words,
        missing_predictions=(EVIL,),
        per_class=(replace(first.per_class[0], label=EVIL),),
    )
    selection = Selection("official", EVIL, {EVIL: 0.5}, HonestChoice("last", EVIL, 0.4))
    data = {"notes": [EVIL]}
    write_report([SystemResult(result, EVIL, EVIL, EVIL, data=data, selection=selection)], tmp_path, title=EVIL)
    page, text = ((tmp_path / name).read_text("utf-8") for name in ("report.html", "report.md"))
    for written in (page, text):
        assert "<img src=x" not in written
        assert "\x1b" not in written
    assert "[a](" not in text
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.M)
    assert all(len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1 for table in tables)
    with (tmp_path / "report.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert not any(cell.lstrip().startswith(("=", "+", "@", "-")) for row in rows for cell in row.values() if cell)
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert report["results"][0]["system"] == EVIL  # what was given is what JSON holds


def test_half_an_emoji_and_escapes_do_not_end_a_scoring(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="the page needs the report extra")
    gold = tmp_path / "gold.jsonl"
    gold.write_text('{"name": "a\\ud83d", "label": "joy"}\n{"name": "b", "label": "anger"}\n')
    mine = tmp_path / "mine.jsonl"
    rows = [{"name": "a\ud83d", "labels": ["happy\ud83d", "\x1b]0;evil\x07"]}, {"name": "b", "labels": ["\ud83d"]}]
    mine.write_text("".join(json.dumps(row) + "\n" for row in rows))
    argv = ["score", "meld", str(mine), str(gold), "--report", str(tmp_path / "r"), "--out", str(tmp_path / "o.json")]
    assert main([*argv, "--name", "\x1b[2J\ud83d"]) == 0
    assert "\x1b" not in capsys.readouterr().out
    assert main([*argv, "--json"]) == 0
    words = [word for word, _ in json.loads(capsys.readouterr().out)["unseen_words"]]
    assert words == [word for word, _ in json.loads((tmp_path / "o.json").read_text("utf-8"))["unseen_words"]]
    assert any("evil" in word for word in words)
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({"name": r["name"], "text": r["labels"][0]}) + "\n" for r in rows))
    for extractor in ("template", "lexicon"):
        assert main(["score", "meld", str(texts), str(gold), "--extractor", extractor]) == 0

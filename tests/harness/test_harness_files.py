"""What the harnesses are given, and how answers are graded, without any harness."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from affectgpt.bench import score
from affectgpt.cli.main import main
from affectgpt.datamodules.unibench import read_set
from affectgpt.errors import ConfigError, DataError
from affectgpt.harness import GradedItem, Grading, grade, read_items, write_lmms_folder
from affectgpt.harness.clusters import cluster_of
from affectgpt.harness.grading import grade_one
from affectgpt.harness.lmms_tasks import doc_to_visual, official, official_error, process_results, strict
from affectgpt.metrics import EmotionWheel
from affectgpt.metrics.functional import Summands, hit_rate_summands, jackknife_error, weighted_f1_summands
from examfiles import SETS, make_exam, write_predictions
from setmaker import sample_name


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(size=40)
    mean = Summands(np.stack([values, np.ones(40)], axis=1), lambda sums: sums[..., 0] / sums[..., 1])
    assert jackknife_error(mean) == pytest.approx(values.std(ddof=1) / 40**0.5, rel=1e-12)
    # ten clusters of four equal samples tell as much as ten samples
    four = Summands(np.repeat(mean.rows[:10], 4, axis=0), mean.figure)
    clusters = [number // 4 for number in range(40)]
    assert jackknife_error(four, clusters) == pytest.approx(values[:10].std(ddof=1) / 10**0.5, rel=1e-12)
    assert jackknife_error(four) < jackknife_error(four, clusters) / 1.9


def test_the_jackknife_forms_each_figure_anew():
    answers, gold = ["positive", "negative", "neutral", "positive"] * 6, [1.0, -1.0, 0.5, -0.5, 0.0, 2.0] * 4
    clusters = [number // 5 for number in range(24)]
    left = []
    for cluster in range(5):
        keep = [i for i in range(24) if clusters[i] != cluster]
        one = weighted_f1_summands([answers[i] for i in keep], [gold[i] for i in keep])
        left.append(float(one.figure(one.rows.sum(0))))
    expected = (4 * np.var(left)) ** 0.5
    assert jackknife_error(weighted_f1_summands(answers, gold), clusters) == pytest.approx(expected, rel=1e-12)


def test_the_jackknife_says_what_does_not_fit():
    two = hit_rate_summands([["glad"], ["angry"]], ["joy", "joy"], EmotionWheel.builtin())
    assert np.isnan(jackknife_error(two, ["one video", "one video"]))
    with pytest.raises(DataError, match="2 samples, but 1 clusters"):
        jackknife_error(two, ["a"])
    with pytest.raises(DataError, match="no sample"):
        jackknife_error(Summands(np.zeros((0, 2)), two.figure))


def test_names_say_dialogue_or_video():
    found = {name: cluster_of(name, sample_name(name, 123)) for name in SETS}
    assert found == {
        "mer2023": None,
        "meld": "dia12",
        "iemocap": "Ses05F_impro01",
        "mosi": "03bSnISJMiM",
        "mosei": "-3g5yACwYnA",
        "sims": "video_0001",
        "simsv2": "aqgy3",
        "ovmerdplus": None,
    }
    assert cluster_of("meld", "something else") is None


def test_items_hold_words_files_and_gold(tmp_path):
    answers = make_exam(tmp_path, ["meld", "mosi"], 12)
    items = read_items([tmp_path], allow_partial=True)
    assert list(items) == ["meld", "mosi"]
    assert [f"{one.set_name}/{one.name}" for listed in items.values() for one in listed] == list(answers)
    first = items["meld"][0]
    assert first.video is not None
    assert first.video.read_text() == "meld/test_dia0_utt0"
    assert "<Subtitle>words of test_dia0_utt0</Subtitle>" in first.question
    assert "Subtitle" not in read_items([tmp_path], ["meld"], allow_partial=True, subtitles=False)["meld"][0].question
    with pytest.raises(DataError, match="not the published test split"):
        read_items([tmp_path])
    with pytest.raises(DataError, match="nowhere does not exist"):
        read_items(["nowhere"])
    with pytest.raises(DataError, match="no test set in"):
        read_items([tmp_path / "meld-process" / "subvideo"])
    with pytest.raises(ConfigError, match="AFFECTGPT_UNIBENCH"):
        read_items([])


@pytest.mark.parametrize("extractor", ["lexicon", "template"])
@pytest.mark.parametrize("name", SETS)
def test_answers_in_memory_score_as_those_in_a_file(tmp_path, name, extractor):
    answers = make_exam(tmp_path, [name], 60)
    bench_set = read_set(name, tmp_path, allow_partial=True)
    bench_set.write_gold(tmp_path / "gold.csv")
    predictions = write_predictions(tmp_path / "answers.jsonl", answers, name)
    wanted = score(name, predictions, tmp_path / "gold.csv", resamples=0, extractor=extractor)
    items = {
        one.key: GradedItem(name, one.key, answers[f"{name}/{one.key}"][0], one.gold, cluster_of(name, one.key))
        for one in bench_set.samples
    }
    found = grade(items, Grading(extractor=extractor))
    for mode in ("official", "strict"):
        ours, theirs = getattr(found, mode).figures_json(), getattr(wanted, mode).figures_json()
        ours.pop("standard_error")
        assert json.dumps(ours) == json.dumps(theirs)
    assert wanted.standard_error is None  # no clusters were named
    for item in items.values():
        labels, own = grade_one(item, Grading(extractor=extractor))
        assert 0 <= own <= 1
        assert isinstance(labels, list)


def test_readers_that_need_a_model_are_refused():
    with pytest.raises(ConfigError, match="affectgpt score --extractor llm"):
        Grading(extractor="llm")


def test_the_lmms_folder_is_whole_and_has_no_code(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFECTGPT_CACHE", str(tmp_path / "cache"))
    make_exam(tmp_path / "data", ["meld", "sims"])
    items = read_items([tmp_path / "data"], allow_partial=True)
    folder = write_lmms_folder(items, Grading())
    assert folder == write_lmms_folder(items, Grading())
    assert folder != write_lmms_folder(items, Grading(extractor="template"))
    names = ["meld.jsonl", "mer_unibench.yaml", "mer_unibench_meld.yaml", "mer_unibench_sims.yaml", "sims.jsonl"]
    assert sorted(path.name for path in folder.iterdir()) == names
    group = yaml.safe_load((folder / "mer_unibench.yaml").read_text())
    assert group["task"] == ["mer_unibench_meld", "mer_unibench_sims"]
    assert group["group_alias"] == "MER-UniBench (2 of 9)"
    called = [
        line.split("!function ")[1]
        for line in (folder / "mer_unibench_meld.yaml").read_text().splitlines()
        if "!" in line
    ]
    assert len(called) == 6
    for one in called:
        module, _, function = one.rpartition(".")
        assert callable(getattr(__import__(module, fromlist=[function]), function))
    row = json.loads((folder / "meld.jsonl").read_text().splitlines()[0])
    assert doc_to_visual(row) == [str((tmp_path / "data/meld-process/subvideo/test_dia0_utt0.mp4").resolve())]
    assert row["cluster"] == "dia0"
    with pytest.raises(DataError, match=r"clip 'test_dia0_utt0' has no audio file"):
        write_lmms_folder(items, Grading(), modalities=["audio", "text"])
    with pytest.raises(ConfigError, match="got smell"):
        write_lmms_folder(items, Grading(), modalities=["smell"])


def test_repeats_are_scored_one_by_one(tmp_path):
    answers = make_exam(tmp_path / "data", ["meld"], 30, epochs=2)
    items = read_items([tmp_path / "data"], allow_partial=True)
    folder = write_lmms_folder(items, Grading(), out=tmp_path / "tasks")
    rows = [json.loads(line) for line in (folder / "meld.jsonl").read_text().splitlines()]
    kept = [process_results(row, answers[f"meld/{row['name']}"])["score"] for row in rows]
    read_set("meld", tmp_path / "data", allow_partial=True).write_gold(tmp_path / "gold.csv")
    runs = [
        score(
            "meld",
            write_predictions(tmp_path / "answers.jsonl", answers, "meld", epoch),
            tmp_path / "gold.csv",
            resamples=0,
            extractor="lexicon",
        )
        for epoch in range(2)
    ]
    assert official(kept) == sum(one.score for one in runs) / 2
    assert strict(kept) == sum(one.strict.hit_rate for one in runs) / 2
    assert 0 < official_error(kept) < 0.2


def test_the_verb_prints_the_folder_alone(tmp_path, monkeypatch, capsys):
    make_exam(tmp_path / "data", ["meld"])
    assert (
        main(
            ["harness", "lmms-eval", "--data", str(tmp_path / "data"), "--allow-partial", "--out", str(tmp_path / "t")]
        )
        == 0
    )
    told = capsys.readouterr()
    assert told.out == f"{tmp_path / 't'}\n"
    assert "lmms-eval --model" in told.err
    assert main(["harness"]) == 0
    assert "lmms-eval" in capsys.readouterr().out
    assert main(["harness", "inspect"]) == 0
    assert "inspect eval affectgpt/mer_unibench" in capsys.readouterr().out
    monkeypatch.delenv("AFFECTGPT_UNIBENCH", raising=False)
    assert main(["harness", "lmms-eval"]) == 1
    assert "AFFECTGPT_UNIBENCH" in capsys.readouterr().err

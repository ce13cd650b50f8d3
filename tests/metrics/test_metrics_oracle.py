"""The official mode gives what the authors' own scoring code gives."""

import csv
import json
import math

import numpy as np
import pytest
import torch

from affectgpt.errors import DataError
from affectgpt.metrics import EmotionHitRate, EmotionWheel, EmotionWheelScore, SentimentScore, parse_labels
from affectgpt.metrics.functional import emotion_hit_rate, emotion_sample_scores, emotion_wheel_score


@pytest.fixture(scope="module")
def official(shared):
    return EmotionWheel.official(shared / "data" / "emotion_wheel")


@pytest.fixture(scope="module")
def oracle(shared):
    return json.loads((shared / "oracle" / "metrics" / "cases.json").read_text())


@pytest.fixture(scope="module")
def released(shared):
    folder = shared / "oracle" / "metrics"
    rows = {}
    for name in ("meld_released", "sims_released", "mer2024_pair"):
        with (folder / f"{name}.csv").open() as file:
            rows[name] = list(csv.DictReader(file))
    return rows, json.loads((folder / "expected_released.json").read_text())


def decode(item):
    kind, value = item["t"], item.get("v")
    return {"ndarray": np.array, "tuple": tuple, "nan": lambda _: math.nan, "none": lambda _: None}.get(
        kind, lambda v: v
    )(value)


def same(got, expected):
    expected = math.nan if expected == "NaN" else expected
    return (math.isnan(got) and math.isnan(expected)) or math.isclose(got, expected, rel_tol=0, abs_tol=1e-12)


def groups_of(wheel, key, labels):
    grouping = wheel.groupings[key.removeprefix("case3_")]
    found = [wheel.find(label) for label in labels]
    return sorted({grouping.groups[grouping.codes[i]] for i in found if i is not None and grouping.codes[i] >= 0})


def test_parsing_and_groups_of_every_case(official, oracle):
    for case in oracle["cases"]:
        for side in ("gold", "pred"):
            expected = case[f"{side}_parsed"]
            if isinstance(expected, dict):
                with pytest.raises(DataError):
                    parse_labels(decode(case[side]), mode="official")
                continue
            labels = parse_labels(decode(case[side]), mode="official")
            assert labels == expected
            for key, of_key in case.get("per_metric", {}).items():
                assert groups_of(official, key, labels) == of_key[side], (case["id"], key)


def test_scores_of_every_case(official, oracle):
    for case in oracle["cases"]:
        preds, target = [decode(case["pred"])], [decode(case["gold"])]
        metric = EmotionWheelScore(official)
        if "wheel_error" in case:
            with pytest.raises(DataError):
                metric.update(preds, target)
            continue
        for key, of_key in case["per_metric"].items():
            score = emotion_sample_scores(preds, target, official, groupings=[key.removeprefix("case3_")])
            assert bool(score.keep) is not of_key["skipped"]
            if not of_key["skipped"]:
                assert same(score.precision.item(), of_key["precision"]), (case["id"], key)
                assert same(score.recall.item(), of_key["recall"]), (case["id"], key)
        for level in (1, 2):
            metric = EmotionWheelScore(official, level=level)
            metric.update(preds, target)
            check_wheel_score(metric.compute(), case[f"wheel_metric_level{level}_F_P_R"])
        check_hit_rate(official, preds, target, case["hitrate_single_sample"])


def check_wheel_score(got, expected):
    for name, value in zip(("f1", "precision", "recall"), expected, strict=True):
        assert same(got[name].item(), value), (name, got[name], value)


def check_hit_rate(official, preds, target, expected):
    metric = EmotionHitRate(official)
    if "error" in expected:
        with pytest.raises(DataError):
            metric.update(preds, target)
        return
    metric.update(preds, target)
    got = metric.compute()
    assert same(got["hit_rate"].item(), expected["mean_hit_mscore"][0])
    for wheel, (hit, _) in enumerate(expected["per_wheel_hit_mscore"], start=1):
        assert same(got[f"hit_rate_wheel{wheel}"].item(), hit)


def test_wheel_corpora(official, oracle):
    for corpus in oracle["corpora_wheel"]:
        preds, target = [list(map(decode, corpus[side])) for side in ("pred", "gold")]
        for level in (1, 2):
            metric = EmotionWheelScore(official, level=level)
            # Two updates: what is summed is exact across batches too.
            metric.update(preds[:1], target[:1])
            metric.update(preds[1:], target[1:])
            got = metric.compute()
            check_wheel_score(got, corpus[f"wheel_metric_level{level}_F_P_R"])
            for wheel in range(1, 6):
                expected = corpus["per_metric"][f"case3_wheel{wheel}_level{level}"]
                assert got[f"samples_wheel{wheel}"] == expected["n_counted"]
                assert same(got[f"f1_wheel{wheel}"].item(), expected["f"])


def test_hit_rate_corpora(official, oracle):
    for corpus in oracle["corpora_hitrate"]:
        preds, target = [list(map(decode, corpus[side])) for side in ("pred", "gold")]
        check_hit_rate(official, preds, target, {"error": 1} if "error" in corpus else corpus)


def test_sentiment_cases(oracle):
    for case in oracle["sentiment"]:
        score = SentimentScore()
        score.update(case["pred"], torch.tensor([math.nan if g == "NaN" else g for g in case["gold"]]))
        if "error" in case:
            with pytest.raises(DataError):
                score.compute()
            continue
        got = score.compute()
        assert same(got["weighted_f1"].item(), case["weighted_f1"])
        assert same(got["accuracy"].item(), case["accuracy"])


def test_released_meld(official, released):
    rows, expected = released
    target = [row["gold"] for row in rows["meld_released"]]
    for checkpoint, figures in expected["meld"].items():
        metric = EmotionHitRate(official)
        metric.update([row[f"openset_ckpt{checkpoint}"] for row in rows["meld_released"]], target)
        got = metric.compute()
        assert same(got["hit_rate"].item(), figures["hit_rate"])
        assert [got[f"samples_wheel{w}"].item() for w in range(1, 6)] == [1354, 1354, 1286, 1354, 1005]
        for wheel, value in enumerate(figures["per_wheel"], start=1):
            assert same(got[f"hit_rate_wheel{wheel}"].item(), value)


def test_seven_words_game_the_hit_rate_but_not_its_companion(official, released):
    target = [row["gold"] for row in released[0]["meld_released"]]
    words = ["anger", "joy", "sadness", "neutral", "disgust", "fear", "surprise"]
    metric = EmotionHitRate(official)
    metric.update([words] * len(target), target)
    got = metric.compute()
    honest = EmotionHitRate(official)
    honest.update([row["openset_ckpt30"] for row in released[0]["meld_released"]], target)
    assert got["hit_rate"] > 0.98
    assert got["hit_f1"] < 0.35 < honest.compute()["hit_f1"]


def test_released_sims(released):
    rows, expected = released
    target = torch.tensor([float(row["gold"]) for row in rows["sims_released"]])
    for checkpoint, figures in expected["sims"].items():
        score = SentimentScore()
        score.update([row[f"sentiment_ckpt{checkpoint}"] for row in rows["sims_released"]], target)
        for name, value in figures.items():
            assert same(score.compute()[name].item(), value)


def test_released_pair(official, released):
    rows, expected = released
    preds = [row["as_prediction"] for row in rows["mer2024_pair"]]
    target = [row["as_gold"] for row in rows["mer2024_pair"]]
    for level in (1, 2):
        metric = EmotionWheelScore(official, level=level)
        metric.update(preds, target)
        check_wheel_score(metric.compute(), expected["mer2024_pair"][f"mean_level{level}_F_P_R"])
    for key in ("case1", "case2"):
        scores = emotion_sample_scores(preds, target, official, groupings=[key])
        figures = expected["mer2024_pair"][key]
        assert int(scores.keep.sum()) == figures["n_counted"]
        assert same((scores.precision.sum() / scores.keep.sum()).item(), figures["precision"])
        assert same((scores.recall.sum() / scores.keep.sum()).item(), figures["recall"])


def mean_scores(wheel, preds, target, kind):
    return emotion_sample_scores(preds, target, wheel).mean_over_wheels()[kind].numpy()


def agreement(wheels, preds, target, kind):
    first, second = (mean_scores(wheel, preds, target, kind) for wheel in wheels)
    keep = ~(np.isnan(first) | np.isnan(second))
    return np.corrcoef(first[keep], second[keep])[0, 1]


def test_the_builtin_wheel_agrees_with_the_official_one(official, released):
    wheels = (official, EmotionWheel.builtin())
    rows = released[0]["mer2024_pair"]
    preds, target = [[parse_labels(row[c]) for row in rows] for c in ("as_prediction", "as_gold")]
    f1 = [emotion_wheel_score(preds, target, wheel)["f1"] for wheel in wheels]
    assert abs(f1[0] - f1[1]) < 0.05
    assert agreement(wheels, preds, target, "f1") >= 0.8
    rows = released[0]["meld_released"]
    target = [row["gold"] for row in rows]
    for checkpoint in (30, 45, 60):
        preds = [parse_labels(row[f"openset_ckpt{checkpoint}"]) for row in rows]
        rates = [emotion_hit_rate(preds, target, wheel)["hit_rate"] for wheel in wheels]
        assert abs(rates[0] - rates[1]) < 0.05
        assert agreement(wheels, preds, target, "hits") >= 0.8


def test_the_corrected_2026_table_is_told_apart(shared, tmp_path):
    for path in (shared / "data" / "emotion_wheel").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    # Windows line ends must not look like an alteration.
    table = (shared / "data" / "emotion_wheel_2026" / "format.csv").read_bytes().replace(b"\r\n", b"\n")
    (tmp_path / "format.csv").write_bytes(table.replace(b"\n", b"\r\n"))
    wheel = EmotionWheel.official(tmp_path)
    assert wheel.name == "official-2026"
    assert wheel.group("fear", wheel=2) == "fearful"
    (tmp_path / "format.csv").write_bytes(table.replace(b"happily", b"hapily"))
    with pytest.raises(DataError, match="differ from the published ones"):
        EmotionWheel.official(tmp_path)
    assert EmotionWheel.official(tmp_path, verify=False).name == "official-modified"
    (tmp_path / "wheel3.xlsx").write_bytes(b"PK broken")
    with pytest.raises(DataError, match=r"wheel3\.xlsx cannot be read"):
        EmotionWheel.official(tmp_path)
    (tmp_path / "wheel3.xlsx").unlink()
    with pytest.raises(DataError, match=r"lacks wheel3\.xlsx; .*zeroQiaoba/AffectGPT"):
        EmotionWheel.official(tmp_path)

"""Figures that a run can monitor: exact in every type of number, 0 where nothing is right, NaN only without samples."""

import copy
import math

import pytest
import torch
from torchmetrics import MetricCollection
from torchmetrics.wrappers import MetricTracker

from affectgpt.errors import DataError
from affectgpt.metrics import EmotionHitRate, EmotionWheel, EmotionWheelScore, SentimentScore
from affectgpt.metrics.functional import emotion_hit_rate, emotion_wheel_score
from affectgpt.model.scores import StageScores
from affectgpt.types import Prediction

WHEEL = EmotionWheel.builtin()
HALVES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def metrics():
    """Each metric with a batch of 100."""
    answers, truth = [["happy"]] * 90 + [["sad", "zzz"]] * 10, ["joy"] * 100
    return {
        "wheel": (EmotionWheelScore(WHEEL), answers, [[t] for t in truth]),
        "strict": (EmotionWheelScore(WHEEL, level=2, mode="strict"), answers, [[t] for t in truth]),
        "hits": (EmotionHitRate(WHEEL), answers, truth),
        "strict hits": (EmotionHitRate(WHEEL, mode="strict"), answers, truth),
        "sentiment": (SentimentScore(), ["positive"] * 90 + ["negative"] * 10, [1.0] * 100),
    }


def convert(metric, dtype, way):
    if way == "set_dtype":
        return metric.set_dtype(dtype)
    if way == "to":
        return metric.to(dtype)
    if way == "type":
        return metric.type(dtype)
    return torch.nn.ModuleList([metric]).to(dtype)[0]


@pytest.mark.parametrize("name", list(metrics()))
@pytest.mark.parametrize("way", ["set_dtype", "to", "type", "module"])
@pytest.mark.parametrize("dtype", HALVES)
def test_counts_are_exact_whatever_type_is_asked_for(name, way, dtype):
    plain, preds, target = metrics()[name]
    metric = convert(copy.deepcopy(plain), dtype, way)
    for _ in range(30):
        metric.update(preds, target)
        plain.update(preds, target)
    metric = convert(metric, dtype, way)
    expected, got = plain.compute(), metric.compute()
    assert {key: value.item() for key, value in got.items()} == {key: value.item() for key, value in expected.items()}
    # What compute keeps stays exact too, and so does what was reset.
    again = convert(metric, dtype, way).compute()
    for key, value in again.items():
        assert value.dtype in (torch.float64, torch.int64)
        assert value.item() == expected[key].item()
    metric.reset()
    for state in metric._reductions:
        assert getattr(metric, state).dtype == torch.int64


def test_ten_thousand_samples_in_bfloat16():
    metric = EmotionHitRate(WHEEL).set_dtype(torch.bfloat16)
    for _ in range(100):
        metric.update([["happy"]] * 90 + [["sad"]] * 10, ["joy"] * 100)
    found = metric.compute()
    assert (found["samples"].item(), found["hit_rate"].item()) == (10_000, pytest.approx(0.9, abs=1e-15))


def test_collections_and_halved_modules_stay_exact():
    metric, preds, target = metrics()["hits"]
    collection = MetricCollection({"hits": metric, "wheel": EmotionWheelScore(WHEEL)}).set_dtype(torch.float16)
    for _ in range(30):
        collection.update(preds, target)
    assert collection.compute()["hits_samples"].item() == 3000
    assert torch.nn.ModuleList([metric]).half()[0].compute()["samples"].item() == 3000


def test_a_device_is_still_followed():
    metric = EmotionWheelScore(WHEEL).to("meta")
    assert metric.counts.by_size.device.type == "meta"
    assert metric.counts.by_size.dtype == torch.int64


def test_f1_is_zero_where_precision_and_recall_are():
    wrong = ([["sad"]], [["joy"]])
    published = EmotionWheelScore(WHEEL)
    monitored = EmotionWheelScore(WHEEL, zero_division=0.0)
    published.update(*wrong)
    monitored.update(*wrong)
    assert math.isnan(published.compute()["f1"])
    got = monitored.compute()
    assert (got["f1"], got["precision"], got["recall"], got["f1_wheel1"]) == (0, 0, 0, 0)
    assert emotion_wheel_score(*wrong, WHEEL, zero_division=0.0)["f1"] == 0
    # Where the published figure is defined, both are the same.
    right = ([["glad", "tearful"], ["calm"]], [["joyful"], ["angry"]])
    both = [emotion_wheel_score(*right, WHEEL, zero_division=z) for z in (None, 0.0)]
    assert both[0] == both[1]


def test_a_wheel_without_samples_takes_no_part_and_none_at_all_is_nan():
    # One wheel places no "amazed"; the others do.
    groups = [WHEEL.group("amazed", wheel) for wheel in range(1, 6)]
    assert None in groups
    assert any(groups)
    one = ([["amazed"]], [["amazed"]])
    assert math.isnan(emotion_wheel_score(*one, WHEEL)["f1"])
    assert emotion_wheel_score(*one, WHEEL, zero_division=0.0)["f1"] == 1
    assert emotion_hit_rate([["amazed"]], ["amazed"], WHEEL, zero_division=0.0)["hit_rate"] == 1
    assert math.isnan(emotion_hit_rate([["amazed"]], ["amazed"], WHEEL)["hit_rate"])
    assert math.isnan(emotion_wheel_score([["happy"]], [["zzz"]], WHEEL, zero_division=0.0)["f1"])
    assert emotion_wheel_score([], [], WHEEL, zero_division=0.0)["f1"].isnan()


def test_a_tracker_finds_the_best_epoch_although_one_had_nothing_right():
    tracker = MetricTracker(MetricCollection([EmotionWheelScore(WHEEL, zero_division=0.0)]))
    for answer in ("sad", "glad", "sad"):
        tracker.increment()
        tracker.update([[answer], ["sad"]], [["joy"], ["joy"]])
    assert tracker.compute_all()["f1"].tolist() == pytest.approx([0, 0.5, 0])


def test_what_a_run_logs_is_zero_while_nothing_is_right():
    scores = StageScores()
    device = torch.device("cpu")
    answer = Prediction(key="a", text="sad", labels=("sad",))
    scores.add("val", [answer], [["joy"]], device)
    logged = scores.take("val", device)
    assert {name: logged[name].item() for name in ("f1", "precision", "recall")} == {
        "f1": 0.0,
        "precision": 0.0,
        "recall": 0.0,
    }


@pytest.mark.parametrize(
    ("preds", "target", "message"),
    [
        (["positive"], ["positive"], "a target is 'positive'; the sentiment score takes true scores as numbers"),
        (["positive", "negative"], [1.0, "negative"], "a target is 'negative'"),
        (["positive"], [None], "a target is None"),
        (["positive"], "positive", "a target is 'positive'"),
        (torch.tensor([1.0]), torch.tensor([1.0]), "predictions are a tensor of torch.float32; expected positive"),
    ],
)
@pytest.mark.parametrize("mode", ["official", "strict"])
def test_sentiment_says_what_it_takes(preds, target, message, mode):
    metric = SentimentScore(mode)
    with pytest.raises(DataError, match=message):
        metric.update(preds, target)

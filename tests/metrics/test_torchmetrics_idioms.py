"""Single figures in the hands of torchmetrics and Lightning: logs, trackers, wrappers, collections, two ranks."""

import copy
import json
import math
import os
import pickle
import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torchmetrics import MetricCollection
from torchmetrics.wrappers import BootStrapper, ClasswiseWrapper, MetricTracker, MinMaxMetric

from affectgpt.errors import ConfigError, DataError
from affectgpt.metrics import (
    EmotionHitRate,
    EmotionWheel,
    EmotionWheelScore,
    HitRate,
    SentimentAccuracy,
    SentimentF1,
    SentimentScore,
    WheelF1,
    WheelPrecision,
    WheelRecall,
)

WHEEL = EmotionWheel.builtin()
WORDS = ["happy", "joy", "sad", "furious", "calm", "neutral", "zzz", "amazed", "proud"]
WORKER = Path(__file__).with_name("logging_worker.py")


def samples(count=200, seed=3):
    draw = random.Random(seed)
    preds = [draw.choices(WORDS, k=draw.randrange(4)) for _ in range(count)]
    said = draw.choices(["positive", "negative", "neutral"], k=count)
    return preds, draw.choices(WORDS, k=count), said, [draw.uniform(-1, 1) for _ in range(count)]


def pairs(mode):
    """Each figure, the full score, its name there and the input."""
    preds, truth, said, gold = samples()
    wheel = EmotionWheelScore(WHEEL, mode=mode)
    lists = (preds, [[t] for t in truth])
    return [
        (WheelF1(WHEEL, mode=mode), wheel, "f1", lists),
        (WheelPrecision(WHEEL, mode=mode), wheel, "precision", lists),
        (WheelRecall(WHEEL, mode=mode), wheel, "recall", lists),
        (HitRate(WHEEL, mode=mode), EmotionHitRate(WHEEL, mode=mode), "hit_rate", (preds, truth)),
        (SentimentF1(mode), SentimentScore(mode), "weighted_f1", (said, gold)),
        (SentimentAccuracy(mode), SentimentScore(mode), "accuracy", (said, gold)),
    ]


@pytest.mark.parametrize("mode", ["official", "strict"])
@pytest.mark.parametrize("number", range(6))
def test_a_figure_is_that_of_the_full_score_from_words_and_from_numbers(mode, number):
    figure, score, name, batch = pairs(mode)[number]
    score.reset()
    score.update(*batch)
    encoded = copy.deepcopy(figure)
    encoded.update(encoded.encode(*batch))
    value = figure(*batch)
    assert value.ndim == 0
    assert value == figure.compute() == encoded.compute() == score.compute()[name] == score[name].compute()
    assert pickle.loads(pickle.dumps(figure)).compute() == value
    figure.set_dtype(torch.bfloat16)
    assert figure.compute().dtype == torch.float64
    figure.reset()
    figure.update(*batch)
    assert figure.compute() == value


@pytest.mark.parametrize("number", range(6))
def test_boot_strapper_draws_samples(number):
    torch.manual_seed(0)
    figure, _, _, batch = pairs("strict")[number]
    value = figure(*batch)
    boot = BootStrapper(
        figure,
        num_bootstraps=60,
        quantile=torch.tensor([0.025, 0.975], dtype=torch.float64),
        sampling_strategy="multinomial",
    )
    boot.update(figure.encode(*batch))
    found = boot.compute()
    assert found["mean"] == pytest.approx(float(value), abs=0.03)
    assert 0.005 < found["std"] < 0.1
    assert found["quantile"][0] < value < found["quantile"][1]


def test_class_wise_wrapper_names_the_wheels():
    preds, truth, *_ = samples()
    lists = (preds, [[t] for t in truth])
    labels = [f"wheel{w}" for w in range(1, 6)]
    each = ClasswiseWrapper(WheelF1(WHEEL, average=None), labels, prefix="f1_")
    score = EmotionWheelScore(WHEEL)
    score.update(*lists)
    expected = {f"f1_{label}": score.compute()[f"f1_{label}"] for label in labels}
    assert each(*lists) == expected
    tracker = MetricTracker(MetricCollection({"each": each, "f1": WheelF1(WHEEL)}))
    tracker.increment()
    tracker.update(*lists)
    assert tracker.best_metric()["f1_wheel3"] == pytest.approx(float(expected["f1_wheel3"]))


def test_collections_hold_figures_and_share_their_counts():
    preds, truth, *_ = samples()
    lists = (preds, [[t] for t in truth])
    kinds = {"f1": WheelF1, "precision": WheelPrecision, "recall": WheelRecall}
    collection = MetricCollection({name: kind(WHEEL) for name, kind in kinds.items()})
    for start in range(0, 200, 40):
        collection.update(*(side[start : start + 40] for side in lists))
    assert len(collection.compute_groups) == 1
    score = EmotionWheelScore(WHEEL)
    score.update(*lists)
    assert collection.compute() == {name: score.compute()[name] for name in kinds}


def test_trackers_find_the_best_epoch_although_one_had_nothing_right():
    for metric in (WheelF1(WHEEL), EmotionWheelScore(WHEEL)["f1"]):
        tracker = MetricTracker(metric)
        for answer in ("sad", "glad", "sad"):
            tracker.increment()
            tracker.update([[answer], ["sad"]], [["joy"], ["joy"]])
        assert tracker.compute_all().tolist() == pytest.approx([0, 0.5, 0])
        assert tracker.best_metric(return_step=True) == (pytest.approx(0.5), 1)


def test_figures_without_any_scored_sample_are_nan_and_raise_nothing():
    unseen = WheelF1(WHEEL)
    unseen.update([["happy"]], [["zzz"]])
    assert math.isnan(unseen.compute())
    assert unseen.compute().isnan()
    neutral = SentimentF1()
    neutral.update(["positive"], [0.0])
    assert math.isnan(neutral.compute())


def test_min_max_and_plots_take_a_figure():
    preds, truth, *_ = samples()
    metric = MinMaxMetric(HitRate(WHEEL))
    metric.update(preds, truth)
    found = metric.compute()
    assert found["raw"] == found["min"] == found["max"]
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    figure = HitRate(WHEEL)
    figure.update(preds, truth)
    drawn, _ = figure.plot()
    assert drawn is not None


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: WheelF1(WHEEL, average="micro"), ConfigError, "average is 'micro'; choose 'macro'"),
        (lambda: WheelF1(WHEEL).update([["happy"]]), DataError, "one argument is list; pass predictions and targets"),
        (lambda: WheelF1(WHEEL).update(torch.zeros(3, 4)), DataError, r"torch.float32 \[3, 4\]"),
        (lambda: SentimentF1().update(["positive"]), DataError, "there are no targets"),
        (lambda: SentimentF1().update(torch.tensor([99])), DataError, "the result of encode"),
        (lambda: SentimentF1().update(["positive"], ["positive"]), DataError, "true scores as numbers"),
        (lambda: HitRate(WHEEL).update([["happy"]], [["joy"]]), DataError, "one label per sample"),
    ],
)
def test_wrong_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def logged(ranks, folder):
    """What each rank of a run logged."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    runs = []
    for rank in range(ranks):
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "WORLD_SIZE": str(ranks)}
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **({**address, **place} if ranks > 1 else {})}
        command = [sys.executable, str(WORKER), str(ranks), str(folder)]
        runs.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        )
    found = []
    for run in runs:
        out, err = run.communicate(timeout=240)
        assert run.returncode == 0, err
        found.append(json.loads(next(line for line in out.splitlines() if line.startswith("LOGGED ")).split(" ", 1)[1]))
    return found


def test_self_log_takes_a_figure_alone_and_on_two_ranks(tmp_path):
    (alone,) = logged(1, tmp_path)
    assert alone["val/f1"] > 0
    assert {"val/f1", "val/sentiment", "train/hits_epoch", "train/hits_step"} <= set(alone)
    for rank in logged(2, tmp_path):
        for name in ("val/f1", "val/sentiment", "train/hits_epoch"):
            assert rank[name] == pytest.approx(alone[name], abs=1e-6), name

"""Intervals and paired comparisons by resampling."""

import csv
import math
import random

import numpy as np
import pytest

from affectgpt.errors import ConfigError, DataError
from affectgpt.metrics import EmotionWheel
from affectgpt.metrics.functional import (
    Summands,
    bootstrap_difference,
    bootstrap_interval,
    emotion_hit_rate,
    emotion_wheel_score,
    hit_rate_summands,
    sentiment_score,
    weighted_f1_summands,
    wheel_f1_summands,
)

WHEEL = EmotionWheel.builtin()
WORDS = ["happy", "joy", "sad", "furious", "calm", "neutral", "zzz", "anxious", "proud"]
MODES = ("official", "strict")


def answers(count, seed):
    draw = random.Random(seed)
    return [draw.choices(WORDS, k=draw.randrange(4)) for _ in range(count)]


def single(count, seed):
    return random.Random(seed).choices(WORDS[:-1], k=count)


def sentiments(count, seed):
    return random.Random(seed).choices(["positive", "negative", "neutral", "?"], k=count)


def figures(mode, count):
    """Each figure as summands, and the function that scores chosen samples from scratch."""
    preds, target, one = answers(count, 1), answers(count, 2), single(count, 3)
    said, gold = sentiments(count, 4), [math.sin(i) * (i % 7 > 0) for i in range(count)]

    def take(values, keep):
        return values if keep is None else [values[i] for i in keep]

    return {
        "f1": (
            wheel_f1_summands(preds, target, WHEEL, mode=mode),
            lambda keep: emotion_wheel_score(take(preds, keep), take(target, keep), WHEEL, mode=mode)["f1"],
        ),
        "hit_rate": (
            hit_rate_summands(preds, one, WHEEL, mode=mode),
            lambda keep: emotion_hit_rate(take(preds, keep), take(one, keep), WHEEL, mode=mode)["hit_rate"],
        ),
        "weighted_f1": (
            weighted_f1_summands(said, gold, mode=mode),
            lambda keep: sentiment_score(take(said, keep), take(gold, keep), mode=mode)["weighted_f1"],
        ),
    }


@pytest.mark.parametrize("mode", MODES)
def test_a_resample_is_scored_as_a_set_of_its_own(mode):
    draw = np.random.default_rng(0)
    for name, (summands, rescore) in figures(mode, 60).items():
        assert float(summands.figure(summands.rows.sum(0))) == pytest.approx(float(rescore(None)), abs=1e-12), name
        for _ in range(3):
            keep = draw.integers(0, 60, 60)
            got = float(summands.figure(summands.rows[keep].sum(0)))
            assert got == pytest.approx(float(rescore(keep)), abs=1e-12), name


@pytest.mark.parametrize("mode", MODES)
def test_the_interval_is_that_of_plain_resampling(mode):
    draw = np.random.default_rng(5)
    for name, (summands, _) in figures(mode, 150).items():
        found = bootstrap_interval(summands, resamples=4000)
        plain = [float(summands.figure(summands.rows[draw.integers(0, 150, 150)].sum(0))) for _ in range(2000)]
        low, high = np.quantile(plain, [0.025, 0.975])
        assert (found.low, found.high) == (pytest.approx(low, abs=0.015), pytest.approx(high, abs=0.015)), name
        assert found.low < found.value < found.high
        assert bootstrap_interval(summands, resamples=4000) == found
        assert bootstrap_interval(summands, resamples=4000, seed=1) != found


def test_both_ways_of_drawing_have_the_spread_of_a_mean():
    values = np.random.default_rng(0).normal(size=400)
    for rows in (values, np.sign(values)):  # all distinct; two kinds
        mean = Summands(rows[:, None], lambda sums: sums[..., 0] / 400)
        found = bootstrap_interval(mean, confidence=0.9)
        assert (found.high - found.low) / 2 == pytest.approx(1.645 * rows.std() / 20, rel=0.05)
        assert found.value == pytest.approx(rows.mean())


def test_pairing_removes_what_both_systems_share():
    target = [[word] for word in single(300, 3)]
    better = [[*answer, *truth] for answer, truth in zip(answers(300, 1), target, strict=True)]
    worse = [answer if i % 10 else [] for i, answer in enumerate(better)]
    first, second = (wheel_f1_summands(preds, target, WHEEL, mode="strict") for preds in (better, worse))
    found = bootstrap_difference(first, second)
    assert found.difference.value == found.first.value - found.second.value
    assert 0 < found.difference.low < found.difference.high
    assert found.first_better > 0.99
    # As two independent systems the two intervals would overlap.
    assert found.difference.high - found.difference.low < found.first.high - found.first.low
    turned = bootstrap_difference(second, first)
    assert turned.difference.value == -found.difference.value
    assert turned.first_better == pytest.approx(1 - found.first_better)
    same = bootstrap_difference(first, first)
    assert (same.difference.low, same.difference.high, same.first_better) == (0, 0, 0.5)
    assert found.first.value == bootstrap_interval(first).value


def test_undefined_resamples_are_counted():
    found = bootstrap_interval(wheel_f1_summands([["happy"], ["sad"]], [["joy"], ["anger"]], WHEEL), resamples=1000)
    # A quarter of the resamples holds only the wrong answer, where the official F1 is 0/0.
    assert 200 < found.undefined < 300
    assert found.high == 1
    nothing = bootstrap_interval(wheel_f1_summands([["sad"]], [["joy"]], WHEEL), resamples=10)
    assert (nothing.undefined, math.isnan(nothing.low), math.isnan(nothing.value)) == (10, True, True)
    strict = bootstrap_interval(wheel_f1_summands([["sad"]], [["joy"]], WHEEL, mode="strict"), resamples=10)
    assert (strict.undefined, strict.low, strict.high) == (0, 0, 0)


def test_an_interval_of_the_monitored_f1_leaves_no_resample_out():
    preds, target = [["happy"], ["sad"]], [["joy"], ["anger"]]
    found = bootstrap_interval(wheel_f1_summands(preds, target, WHEEL, zero_division=0.0), resamples=1000)
    assert (found.undefined, found.low, found.high) == (0, 0, 1)
    for words in (("amazed", "amazed"), ("sad", "joy"), ("happy", "zzz")):  # some wheels place none of the targets
        one = ([[words[0]]], [[words[1]]])
        summands = wheel_f1_summands(*one, WHEEL, zero_division=0.0)
        expected = float(emotion_wheel_score(*one, WHEEL, zero_division=0.0)["f1"])
        assert float(summands.figure(summands.rows.sum(0))) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_ten_thousand_resamples_of_meld(shared):
    with (shared / "oracle" / "metrics" / "meld_released.csv").open() as file:
        rows = list(csv.DictReader(file))
    wheel, gold = EmotionWheel.official(shared / "data" / "emotion_wheel"), [row["gold"] for row in rows]
    first, second = (hit_rate_summands([row[f"openset_ckpt{c}"] for row in rows], gold, wheel) for c in (30, 60))
    found = bootstrap_interval(first)
    assert round(100 * found.value, 2) == 55.65
    assert 0.52 < found.low < 0.54 < 0.57 < found.high < 0.59
    pair = bootstrap_difference(first, second)
    assert pair.difference.low > 0
    assert pair.first_better > 0.99


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: bootstrap_interval(s, resamples=0), ConfigError, "resamples is 0"),
        (lambda s: bootstrap_interval(s, confidence=95), ConfigError, "confidence 95"),
        (lambda s: bootstrap_interval(Summands(s.rows[:0], s.figure)), DataError, "no samples"),
        (lambda s: bootstrap_difference(s, Summands(s.rows[:2], s.figure)), DataError, "3 samples .* but 2"),
    ],
)
def test_wrong_settings_are_refused(call, error, message):
    summands = wheel_f1_summands([["happy"]] * 3, [["joy"]] * 3, WHEEL)
    with pytest.raises(error, match=message):
        call(summands)

"""Whatever is scored: shares of ranks add up, strict figures are never NaN, and sentiments agree with scikit-learn."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from affectgpt.errors import DataError
from affectgpt.metrics import EmotionHitRate, EmotionWheel, EmotionWheelScore, SentimentScore
from affectgpt.metrics.functional import emotion_hit_rate, emotion_wheel_score, sentiment_score

WHEEL = EmotionWheel.builtin()
WORDS = ["happy", "joy", "sad", "Furious", "calm", "neutral", "zzz", "qqq", "anxious", "disgusted", "light-hearted"]
ANSWERS = st.lists(st.sampled_from(WORDS), max_size=4)
SENTIMENTS = st.sampled_from(["positive", "negative", "neutral", "mixed", "Positive.", ""])
SCORES = st.sampled_from([-3.0, -0.2, 0.0, 0.4, 1.0])
SAMPLES = st.lists(st.tuples(ANSWERS, st.sampled_from(WORDS), SENTIMENTS, SCORES), min_size=1, max_size=12)
MODES = st.sampled_from(["official", "strict"])


def columns(samples):
    return [list(side) for side in zip(*samples, strict=True)]


def same(first, second):
    """Equal to the last bit, NaN being equal to NaN."""
    return first.keys() == second.keys() and all(
        torch.equal(first[name].nan_to_num(-9.0), second[name].nan_to_num(-9.0)) for name in first
    )


@given(SAMPLES, MODES, st.lists(st.integers(0, 3), min_size=12, max_size=12))
@settings(max_examples=50, deadline=None)
def test_any_split_over_ranks_gives_the_same_bits(samples, mode, rank_of):
    """What ranks exchange is the sum of their states; here the sum is formed by hand, for any split and order."""
    preds, target, said, gold = columns(samples)
    whole = [
        emotion_wheel_score(preds, [[t] for t in target], WHEEL, mode=mode),
        emotion_hit_rate(preds, target, WHEEL, mode=mode),
    ]
    inputs = [(preds, [[t] for t in target]), (preds, target), (said, gold)]
    kinds = [EmotionWheelScore, EmotionHitRate, None]
    for number, (kind, (left, right)) in enumerate(zip(kinds, inputs, strict=True)):
        ranks = [SentimentScore(mode) if kind is None else kind(WHEEL, mode=mode) for _ in range(4)]
        for position in reversed(range(len(samples))):
            ranks[rank_of[position]].update(left[position : position + 1], right[position : position + 1])
        total = SentimentScore(mode) if kind is None else kind(WHEEL, mode=mode)
        for name in total._reductions:
            setattr(total, name, torch.stack([getattr(rank, name) for rank in ranks]).sum(0))
        total._update_count = 1
        if kind is not None:
            assert same(total.compute(), whole[number])
        elif mode == "strict" or any(gold):
            assert same(total.compute(), sentiment_score(said, gold, mode=mode))


@given(SAMPLES)
@settings(max_examples=60, deadline=None)
def test_strict_figures_are_never_nan_and_stay_in_range(samples):
    preds, target, said, gold = columns(samples)
    for scores in (
        emotion_wheel_score(preds, [[t] for t in target], WHEEL, mode="strict"),
        emotion_hit_rate(preds, target, WHEEL, mode="strict"),
        sentiment_score(said, gold, mode="strict"),
    ):
        for name, value in scores.items():
            if value.is_floating_point():
                low = -1.0 if name.startswith("hit_skill") else 0.0
                assert low - 1e-12 <= value.item() <= 1 + 1e-12, name


@given(st.lists(st.tuples(SENTIMENTS, SCORES), min_size=1, max_size=30), st.floats(0.01, 100))
@settings(max_examples=80, deadline=None)
def test_official_sentiments_are_what_scikit_learn_says(samples, scale):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the reference")
    said, gold = columns(samples)
    kept = [(text, score) for text, score in samples if score != 0]
    if not kept:
        with pytest.raises(DataError, match="every true score is 0"):
            sentiment_score(said, gold)
        return
    true, positive = [score > 0 for _, score in kept], [text == "positive" for text, _ in kept]
    got = sentiment_score(said, gold)
    assert got["weighted_f1"].item() == pytest.approx(metrics.f1_score(true, positive, average="weighted"), abs=1e-12)
    assert got["accuracy"].item() == pytest.approx(metrics.accuracy_score(true, positive), abs=1e-12)
    # Only the sign counts, and neither does the order.
    assert same(got, sentiment_score(said[::-1], [score * scale for score in gold[::-1]]))


@given(SAMPLES)
@settings(max_examples=40, deadline=None)
def test_what_strict_adds_is_never_in_favour_of_unknown_words(samples):
    preds, target, _, _ = columns(samples)
    before = emotion_wheel_score(preds, [[t] for t in target], WHEEL, mode="strict")
    longer = [[*answer, "a word of no vocabulary"] for answer in preds]
    after = emotion_wheel_score(longer, [[t] for t in target], WHEEL, mode="strict")
    assert after["precision"] <= before["precision"]
    assert after["recall"] == before["recall"]
    official = [emotion_wheel_score(p, [[t] for t in target], WHEEL) for p in (preds, longer)]
    assert math.isclose(official[0]["precision"], official[1]["precision"]) or math.isnan(official[0]["precision"])

"""The built-in wheel, and what the metrics promise whatever the wheel."""

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics import MetricCollection

from affectgpt.errors import ConfigError, DataError
from affectgpt.metrics import EmotionHitRate, EmotionWheel, EmotionWheelScore, SentimentScore
from affectgpt.metrics.functional import emotion_hit_rate, emotion_sample_scores, emotion_wheel_score, unseen_words

WHEEL = EmotionWheel.builtin()
WORDS = ["happy", "joy", "sad", "Furious", "calm", "neutral", "zzz", "qqq", "anxious", "disgusted", "light-hearted"]
ANSWERS = st.lists(st.sampled_from(WORDS), max_size=5)


def plain(scores):
    return {name: value.item() for name, value in scores.items()}


def test_the_builtin_wheel_sorts_common_words():
    groups = {
        "overjoyed": "happy",
        "resigned": "sad",
        "Nervously": "scared",
        " furious ": "angry",
        "nausea": "disgusted",
    }
    assert {word: WHEEL.group(word) for word in groups} == groups
    assert WHEEL.num_wheels == 5
    assert WHEEL.group("lonely", wheel=3, level=2) == "lonely"
    assert WHEEL.group("table") is None
    assert not WHEEL.knows("neutral")
    words = {"grateful": "positive", "ashamed": "negative", "surprised": "neutral", "Neutral": "neutral", "table": None}
    assert {word: WHEEL.valence(word) for word in words} == words


def test_the_wheel_is_immutable_and_survives_pickling():
    copy = pickle.loads(pickle.dumps(WHEEL))
    assert copy.group("bitterly", wheel=2) == WHEEL.group("bitterly", wheel=2) == "anger"
    with pytest.raises(AttributeError):
        WHEEL.name = "mine"
    with pytest.raises(ValueError, match="read-only"):
        WHEEL.grouping().codes[0] = 1
    with pytest.raises(ConfigError, match="wheel 6 level 1 does not exist"):
        WHEEL.group("happy", wheel=6)


def test_official_and_strict_differ_where_they_should():
    preds, target = [["happy", "zzz"], ["neutral"]], [["joy"], ["neutral"]]
    official, strict = (plain(emotion_wheel_score(preds, target, WHEEL, mode=mode)) for mode in ("official", "strict"))
    assert (official["precision"], official["samples_wheel1"]) == (1.0, 1)
    assert (strict["precision"], strict["recall"], strict["samples_wheel1"]) == (0.75, 1.0, 2)
    assert (official["coverage"], strict["coverage"]) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    wrong = emotion_wheel_score([["sad"]], [["joy"]], WHEEL)
    assert wrong["f1"].isnan()
    assert emotion_wheel_score([["sad"]], [["joy"]], WHEEL, mode="strict")["f1"] == 0
    assert unseen_words(preds, WHEEL) == {"zzz": 1, "neutral": 1}


@given(st.lists(st.tuples(ANSWERS, ANSWERS), min_size=1, max_size=8), st.sampled_from(["official", "strict"]))
@settings(max_examples=60, deadline=None)
def test_order_repeats_and_case_do_not_matter(pairs, mode):
    preds, target = map(list, zip(*pairs, strict=True))
    first = plain(emotion_wheel_score(preds, target, WHEEL, mode=mode))
    shuffled = [[word.upper() for word in reversed(p)] for p in reversed(preds)]
    repeated = [p + p for p in shuffled]
    for other in (shuffled, repeated):
        again = plain(emotion_wheel_score(other, list(reversed(target)), WHEEL, mode=mode))
        for name in ("f1", "precision", "recall", "sample_f1", "samples_wheel3"):
            assert again[name] == pytest.approx(first[name], abs=0, rel=0, nan_ok=True)
    samples = emotion_sample_scores(preds, target, WHEEL, mode=mode)
    for name in ("precision", "recall"):
        means = getattr(samples, name).sum(0) / samples.keep.sum(0)
        assert means.mean().item() == pytest.approx(first[name], abs=1e-12, nan_ok=True)


@given(st.lists(ANSWERS.filter(bool), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_a_perfect_answer_is_perfect_in_strict_mode(target):
    scores = emotion_wheel_score(target, target, WHEEL, mode="strict")
    assert scores["f1"] == scores["sample_f1"] == 1
    assert scores["samples_wheel1"] == len(target)


def test_naming_everything_hits_everything_and_the_companion_shows_it():
    target = ["joy", "sadness", "anger", "fear"]
    everything = emotion_hit_rate([target] * 4, target, WHEEL)
    honest = emotion_hit_rate([[t] for t in target], target, WHEEL)
    assert everything["hit_rate"] == honest["hit_rate"] == honest["hit_f1"] == 1
    assert everything["hit_f1"] == pytest.approx(0.4)


def test_batches_collections_and_checkpoints():
    preds, target = [["happy"], ["sad", "zzz"], []], ["joy", "anger", "fear"]
    metrics = MetricCollection(
        {
            "wheel": EmotionWheelScore(WHEEL),
            "strict": EmotionWheelScore(WHEEL, mode="strict"),
            "hit": EmotionHitRate(WHEEL),
            "outer": EmotionHitRate(WHEEL, level=2),
        }
    )
    for p, t in zip(preds, target, strict=True):
        metrics.update([p], [t])
    single = EmotionWheelScore(WHEEL, mode="strict")
    single.persistent(True)
    single(preds, target)
    assert metrics.compute()["strict_precision"] == single.compute()["precision"] == pytest.approx(1 / 3)
    restored = pickle.loads(pickle.dumps(single))
    assert plain(restored.compute()) == plain(single.compute())
    other = EmotionWheelScore(WHEEL, mode="strict")
    other.persistent(True)
    other.load_state_dict(single.state_dict())
    assert torch.equal(other.counts.by_size, single.counts.by_size)
    official = EmotionWheelScore(WHEEL)
    official.persistent(True)
    with pytest.raises(RuntimeError, match="builtin_level1_strict"):
        official.load_state_dict(single.state_dict())


def test_strict_sentiment_counts_abstaining_as_wrong():
    preds, target = ["Positive.", "neutral", "", "neutral"], torch.tensor([1.0, -1.0, -0.5, 0.0])
    official, strict = SentimentScore(), SentimentScore(mode="strict")
    official.update(preds, target)
    strict.update(preds, target)
    assert official.compute()["accuracy"] == pytest.approx(2 / 3)
    got = plain(strict.compute())
    assert (got["accuracy"], got["accuracy_3way"]) == (pytest.approx(1 / 3), 0.5)
    assert (got["samples"], got["dropped"], got["neutral_answers"], got["unknown_answers"]) == (3, 1, 2, 1)
    with pytest.raises(DataError, match="target 1 is NaN"):
        strict.update(["positive", "positive"], [1.0, float("nan")])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: emotion_wheel_score([["a"]], [], WHEEL), "1 predictions, but 0 targets"),
        (lambda: emotion_wheel_score("happy", ["joy"], WHEEL), "sequence with one list"),
        (lambda: emotion_wheel_score([["happy", None]], [["joy"]], WHEEL), "prediction 0.*None"),
        (lambda: emotion_hit_rate([["happy"]], [["joy"]], WHEEL), "one label per sample"),
        (lambda: EmotionWheelScore("builtin"), "EmotionWheel.builtin"),
        (lambda: EmotionWheelScore(WHEEL, level=4), "level 4 does not exist"),
        (lambda: emotion_wheel_score([[f"w{i}" for i in range(600)]], [["joy"]], WHEEL, mode="strict"), "at most 512"),
    ],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises((ConfigError, DataError), match=message):
        call()


@pytest.mark.parametrize("label", ["\ufeffhappy", "hap\u200bpy", "happy\u00ad", "\u202ahappy\u202c", "happy\u200d"])
@pytest.mark.parametrize("mode", ["official", "strict"])
def test_invisible_characters_do_not_hide_a_label(label, mode):
    assert WHEEL.group(label) == "happy"
    scores = plain(emotion_wheel_score([[label]], [["joy"]], WHEEL, mode=mode))
    assert (scores["f1"], scores["coverage"]) == (1, 1)
    assert emotion_hit_rate([["happy"]], [label], WHEEL, mode=mode)["hit_rate"] == 1
    assert unseen_words([[label]], WHEEL, mode=mode) == {}
    said = label.replace("happy", "positive").replace("hap\u200bpy", "pos\u200bitive")
    score = SentimentScore(mode)
    score.update([said], [1.0])
    assert score.compute()["accuracy"] == 1


def test_look_alike_letters_and_neutral_are_read_in_mode_strict():
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in "happy")
    assert emotion_wheel_score([[wide]], [["joy"]], WHEEL, mode="strict")["f1"] == 1
    assert emotion_wheel_score([["neu\u200btral"]], [["neutral"]], WHEEL, mode="strict")["f1"] == 1
    assert WHEEL.valence("neu\u00adtral") == "neutral"
    twins = emotion_wheel_score([["re\u0301volte\u0301"]], [["r\u00e9volt\u00e9"]], WHEEL, mode="strict")
    assert twins["f1"] == 1  # no vocabulary has it, and yet it is the same word

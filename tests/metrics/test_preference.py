"""Preferences and one-of-several emotions, against the published code written anew and against scikit-learn."""

from __future__ import annotations

import math
import random

import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

from affectgpt.errors import ConfigError, DataError
from affectgpt.metrics import EmotionClassScore, PreferenceScore
from affectgpt.metrics.functional import (
    bradley_terry,
    count_wins,
    emotion_class_score,
    parse_preference,
    preference_score,
    swap_consistency,
)
from affectgpt.metrics.functional.emotion_classes import MER_CLASSES


def as_published(gold: list[str], answers: list[str]) -> tuple[float, float]:
    """The two-class rule: a true "same" is dropped, an answer of "same" is a1."""
    kept = [(g, "a1" if a == "same" else a) for g, a in zip(gold, answers, strict=True) if g != "same"]
    true, said = zip(*kept, strict=True)
    return f1_score(true, said, average="weighted"), accuracy_score(true, said)


@pytest.mark.parametrize("seed", range(5))
def test_official_figures_are_those_of_the_published_rule(seed: int) -> None:
    draw = random.Random(seed)
    names = ["a1", "a2", "same"]
    gold, answers = draw.choices(names, k=97), draw.choices(names, k=97)
    found = preference_score(answers, gold)
    assert (float(found["weighted_f1"]), float(found["accuracy"])) == pytest.approx(as_published(gold, answers))
    assert float(found["weighted_f1_3way"]) == pytest.approx(f1_score(gold, answers, average="weighted"))
    assert float(found["accuracy_3way"]) == pytest.approx(accuracy_score(gold, answers))
    assert (int(found["samples"]), int(found["dropped"])) == (97 - gold.count("same"), gold.count("same"))


def test_strict_counts_an_answer_of_same_as_wrong_whichever_description_is_first() -> None:
    gold, mirrored = ["a1", "a1", "a2", "a2"], ["a2", "a2", "a1", "a1"]
    for truth in (gold, mirrored):
        assert float(preference_score(["same"] * 4, truth, mode="strict")["accuracy"]) == 0
    official = [float(preference_score(["same"] * 4, truth)["weighted_f1"]) for truth in (gold, mirrored)]
    assert official == pytest.approx([1 / 3, 1 / 3])  # as if a1 had been answered
    assert float(preference_score(["same"] * 3, ["a1"] * 3)["accuracy"]) == 1.0


def test_a_true_tie_is_refused_as_published_and_read_in_mode_strict() -> None:
    with pytest.raises(DataError, match="mode 'strict' reads it as 'same'"):
        preference_score(["a1"], ["tie"])
    assert int(preference_score(["a1", "a2"], ["tie", "a2"], mode="strict")["dropped"]) == 1


@pytest.mark.parametrize(
    ("text", "official", "strict"),
    [
        ("a1", "a1", "a1"),
        ("A2.", "a2", "a2"),
        ("Same", "same", "same"),
        ("I choose a2 over a1", "a2", None),
        ("a2, since a1 misses the smile", "a2", "a2"),
        ("the data12 set", "a1", None),  # the published rule looks inside words
        ("It is a tie", "same", "same"),
        ("<think>a1 or a2</think>a2", "a1", "a2"),
        ("no idea", "same", None),
        ("", "same", None),
        (None, "same", None),
        ("[a1]", "a1", "a1"),
    ],
)
def test_answers_are_read(text: str | None, official: str, strict: str | None) -> None:
    assert (parse_preference(text, "official"), parse_preference(text, "strict")) == (official, strict)


def test_what_is_no_answer_is_refused() -> None:
    with pytest.raises(DataError, match="expected a text"):
        parse_preference(3)
    with pytest.raises(DataError, match="1 predictions, but 2 targets"):
        preference_score(["a1"], ["a1", "a2"])


def test_batches_sum_to_the_whole() -> None:
    draw = random.Random(1)
    gold, answers = draw.choices(["a1", "a2", "same"], k=50), draw.choices(["a1", "a2", "same", "?"], k=50)
    for mode in ("official", "strict"):
        score = PreferenceScore(mode)
        for start in range(0, 50, 7):
            score.update(answers[start : start + 7], gold[start : start + 7])
        assert {k: v.item() for k, v in score.compute().items()} == {
            k: v.item() for k, v in preference_score(answers, gold, mode).items()
        }
        assert float(score.half()["accuracy"].compute()) == float(score.compute()["accuracy"])


def test_swapped_answers_tell_consistency_and_a_bias_to_a_place() -> None:
    found = swap_consistency(["a1"] * 4, ["a1"] * 4)
    assert (float(found["consistency"]), float(found["first_share"])) == (0, 1)
    assert float(swap_consistency(["same", "a2"], ["same", "a1"])["consistency"]) == 1
    assert math.isnan(float(swap_consistency(["same"], ["same"])["first_share"]))
    assert float(swap_consistency(["?"], ["?"], mode="strict")["consistency"]) == 0
    with pytest.raises(DataError, match="one of each per pair"):
        swap_consistency(["a1"], [])


def test_strengths_are_found_again_from_their_own_preferences() -> None:
    truth = torch.tensor([0.0, 0.7, -0.4, 1.1], dtype=torch.float64)
    odds = truth.exp()
    wins = 1000 * odds[:, None] / (odds[:, None] + odds[None])
    found = bradley_terry(wins)
    assert torch.allclose(found, truth - truth.mean(), atol=1e-9)
    # the likelihood is flat there: the expected wins are the wins
    strengths = found.exp()
    expected = (wins + wins.T) * strengths[:, None] / (strengths[:, None] + strengths[None])
    off = ~torch.eye(4, dtype=torch.bool)
    assert torch.allclose(expected[off], wins[off])


def test_systems_that_nothing_binds_have_no_strengths_without_a_prior() -> None:
    names, wins = count_wins(["x", "x", "y"], ["y", "y", "z"], ["a1", "a1", "same"])
    assert names == ["x", "y", "z"]
    with pytest.raises(DataError, match="pass prior"):
        bradley_terry(wins)
    found = bradley_terry(wins, prior=0.5)
    assert found[0] > found[1]
    assert bool(found.isfinite().all())
    with pytest.raises(ConfigError, match="0 or more"):
        bradley_terry(wins, prior=-1)
    with pytest.raises(DataError, match="at least two"):
        bradley_terry(torch.zeros(1, 1))


@pytest.mark.parametrize("seed", range(3))
def test_six_emotions_are_scored_as_scikit_learn_does(seed: int) -> None:
    draw = random.Random(seed)
    gold, answers = draw.choices(MER_CLASSES[: 6 - seed], k=80), draw.choices(MER_CLASSES, k=80)
    found = emotion_class_score(answers, gold)
    assert float(found["weighted_f1"]) == pytest.approx(f1_score(gold, answers, average="weighted", zero_division=0))
    assert float(found["accuracy"]) == pytest.approx(accuracy_score(gold, answers))
    score = EmotionClassScore()
    score.update(answers[:30], gold[:30])
    score.update(answers[30:], gold[30:])
    assert {k: v.item() for k, v in score.compute().items()} == {k: v.item() for k, v in found.items()}


def test_words_that_are_no_emotion_stop_the_published_code_and_count_as_wrong_in_mode_strict() -> None:
    with pytest.raises(DataError, match=r"must be one of neutral, angry.*'Happy'"):
        emotion_class_score(["Happy"], ["happy"])
    found = emotion_class_score([" Happy ", "joy", None], ["happy", "happy", "happy"], mode="strict")
    assert (float(found["accuracy"]), int(found["unknown_answers"])) == (pytest.approx(1 / 3), 2)
    with pytest.raises(DataError, match="a target must be one of"):
        emotion_class_score(["happy"], ["joy"], mode="strict")
    with pytest.raises(ConfigError, match="different words"):
        EmotionClassScore(classes=["a", "a"])

"""Hits above chance: what a constant answer cannot have, whatever its length; and groups counted the slow way."""

import csv
import itertools
import math
import zlib

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from affectgpt.metrics import EmotionHitRate, EmotionWheel
from affectgpt.metrics.functional import bootstrap_interval, emotion_hit_rate, hit_skill_summands
from affectgpt.metrics.functional.overlap import count_overlap
from affectgpt.metrics.labels import parse_labels

WHEEL = EmotionWheel.builtin()
MODES = ("official", "strict")
# Known words, two forms of one, words that only some wheels place, "neutral", words that no vocabulary has.
WORDS = ["happy", "joy", "Joyful", "sad", "furious", "calm", "neutral", "zzz", "qqq", "anxious", "disgust", "disgusted"]
ANSWERS = st.lists(st.sampled_from(WORDS), max_size=5)
TARGETS = st.sampled_from(WORDS)
PAIRS = st.lists(st.tuples(ANSWERS, TARGETS), min_size=1, max_size=9)


def unzip(pairs):
    return [list(side) for side in zip(*pairs, strict=True)]


def skill(preds, target, mode, wheel=WHEEL):
    return emotion_hit_rate(preds, target, wheel, mode=mode)["hit_skill"].item()


def groups(labels, number, wheel, mode):
    """The groups of one sample in one wheel, by look-up."""
    found = set()
    for label in labels:
        index = wheel.find(label, fold=mode == "strict")
        code = -1 if index is None else wheel.grouping(number).codes[index]
        if code >= 0:
            found.add(("placed", int(code)))
        elif mode == "strict":
            plain = label.strip().lower()
            own = plain if index is None else int(wheel.kin[index])
            found.add(("neutral",) if plain == "neutral" else ("own", own))
    return found


def slow_skill(preds, target, mode, wheel=WHEEL):
    """Hits less their mean over every pairing of answers and targets, by sets and loops."""
    skills = []
    for number in range(1, 6):
        truth = [groups([label], number, wheel, mode) for label in target]
        kept = [i for i, found in enumerate(truth) if found]
        answers = [groups(preds[i], number, wheel, mode) for i in kept]
        truth = [truth[i] for i in kept]
        if not kept:
            skills.append(0.0 if mode == "strict" else math.nan)
            continue
        observed = sum(len(a & t) for a, t in zip(answers, truth, strict=True)) / len(kept)
        expected = sum(len(a & t) for a in answers for t in truth) / len(kept) ** 2
        best = sum(len(t & u) for t in truth for u in truth) / len(kept) ** 2
        possible = sum(map(len, truth)) / len(kept) - best
        skills.append((observed - expected) / possible if possible > 1e-12 else 0.0)
    return sum(skills) / 5


@pytest.mark.parametrize("mode", MODES)
@given(PAIRS)
@settings(max_examples=60, deadline=None)
def test_the_closed_form_is_the_mean_over_all_pairings(mode, pairs):
    preds, target = unzip(pairs)
    got = skill(preds, target, mode)
    assert got == pytest.approx(slow_skill(preds, target, mode), abs=1e-12, nan_ok=True)
    assert math.isnan(got) or -1 - 1e-12 <= got <= 1 + 1e-12
    resampled = bootstrap_interval(hit_skill_summands(preds, target, WHEEL, mode=mode), 2)
    assert resampled.value == pytest.approx(got, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("mode", MODES)
@given(ANSWERS, st.lists(TARGETS, min_size=1, max_size=20))
@example(["happy", "sad", "furious", "calm", "neutral", "zzz", "disgust"], ["joy", "anger", "neutral", "zzz"])
@settings(max_examples=80, deadline=None)
def test_a_constant_answer_has_none_however_long_it_is(mode, answer, target):
    got = skill([answer] * len(target), target, mode)
    assert got == 0 or (mode == "official" and math.isnan(got))


@pytest.mark.parametrize("mode", MODES)
@given(st.lists(st.tuples(ANSWERS, TARGETS), min_size=2, max_size=4))
@settings(max_examples=25, deadline=None)
def test_answers_dealt_at_random_have_none_on_average(mode, pairs):
    preds, target = unzip(pairs)
    dealt = [skill(preds, list(order), mode) for order in itertools.permutations(target)]
    assert math.isnan(dealt[0]) or sum(dealt) / len(dealt) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_the_right_answer_alone_has_all_of_it(mode):
    target = ["joy", "anger", "sadness", "joy", "fear"]
    assert skill([[t] for t in target], target, mode) == 1
    padded = [[t, "happy", "sad", "angry", "scared", "calm"] for t in target]
    assert skill(padded, target, mode) < 0.1
    assert skill([[{"joy": "sadness"}.get(t, "joy")] for t in target], target, mode) < -0.2
    assert skill([[]] * 5, target, mode) == 0


@given(PAIRS, st.integers(0, 8), TARGETS)
@settings(max_examples=60, deadline=None)
def test_a_wrong_word_more_never_helps(pairs, place, word):
    preds, target = unzip(pairs)
    place %= len(preds)
    wrong = all(
        not groups([word], w, WHEEL, "strict") & groups([target[place]], w, WHEEL, "strict") for w in range(1, 6)
    )
    longer = [[*answer, word] if i == place and wrong else answer for i, answer in enumerate(preds)]
    assert skill(longer, target, "strict") <= skill(preds, target, "strict") + 1e-12


@pytest.mark.parametrize("mode", MODES)
@given(PAIRS)
@settings(max_examples=40, deadline=None)
def test_order_repeats_and_case_do_not_matter_to_hits(mode, pairs):
    preds, target = unzip(pairs)
    first = emotion_hit_rate(preds, target, WHEEL, mode=mode)
    other = [[word.upper() for word in reversed(p)] * 2 for p in reversed(preds)]
    again = emotion_hit_rate(other, [t.title() for t in reversed(target)], WHEEL, mode=mode)
    for name in ("hit_rate", "hit_skill", "hit_f1", "precision"):
        assert again[name].item() == pytest.approx(first[name].item(), abs=0, nan_ok=True)


@pytest.mark.parametrize("mode", MODES)
@given(st.lists(st.tuples(ANSWERS, ANSWERS), min_size=1, max_size=8))
@settings(max_examples=80, deadline=None)
def test_overlaps_are_those_of_plain_sets(mode, pairs):
    preds, target = unzip(pairs)
    found = count_overlap(preds, target, WHEEL, mode=mode)
    for row, (answer, truth) in enumerate(pairs):
        truth = truth or (["neutral"] if mode == "strict" else [])
        for number in range(1, 6):
            a, t = (groups(labels, number, WHEEL, mode) for labels in (answer, truth))
            got = [array[row, number - 1] for array in (found.shared, found.num_pred, found.num_target)]
            assert got == [len(a & t), len(a), len(t)]


@pytest.mark.parametrize("mode", MODES)
def test_official_overlaps_are_those_of_plain_sets(shared, mode):
    wheel = EmotionWheel.official(shared / "data" / "emotion_wheel")
    with (shared / "oracle" / "metrics" / "mer2024_pair.csv").open() as file:
        rows = list(csv.DictReader(file))[:300]
    preds, target = ([parse_labels(row[c]) for row in rows] for c in ("as_prediction", "as_gold"))
    found = count_overlap(preds, target, wheel, mode=mode)
    for row, (answer, truth) in enumerate(zip(preds, target, strict=True)):
        truth = truth or (["neutral"] if mode == "strict" else [])
        for number in range(1, 6):
            a, t = (groups(labels, number, wheel, mode) for labels in (answer, truth))
            got = [array[row, number - 1] for array in (found.shared, found.num_pred, found.num_target)]
            assert got == [len(a & t), len(a), len(t)]


def test_meld_cannot_be_gamed_in_either_mode(shared):
    wheel = EmotionWheel.official(shared / "data" / "emotion_wheel")
    with (shared / "oracle" / "metrics" / "meld_released.csv").open() as file:
        rows = list(csv.DictReader(file))
    target = [row["gold"] for row in rows]
    seven = ["happy", "sad", "angry", "surprised", "fearful", "disgusted", "neutral"]
    expected = {"official": (30.50, 29.21, 25.90), "strict": (18.25, 18.06, 17.01)}
    for mode, figures in expected.items():
        released = [[row[f"openset_ckpt{c}"] for row in rows] for c in (30, 45, 60)]
        assert [round(100 * skill(p, target, mode, wheel), 2) for p in released] == list(figures)
        assert emotion_hit_rate([seven] * len(target), target, wheel, mode=mode)["hit_rate"] > 0.98
        assert skill([seven] * len(target), target, mode, wheel) == 0
        assert skill([[label] for label in target], target, mode, wheel) == 1
        # The model's own answers are worth nothing once the seven words are added to each.
        padded = [[*parse_labels(answer), *seven] for answer in released[0]]
        assert abs(skill(padded, target, mode, wheel)) < 0.002


def test_batches_add_up_and_other_settings_are_refused():
    preds, target = [["happy", "zzz"], ["sad"], [], ["neutral", "furious"]], ["joy", "anger", "zzz", "neutral"]
    for mode in MODES:
        metric = EmotionHitRate(WHEEL, mode=mode)
        for start in (0, 1, 3):
            end = {0: 1, 1: 3, 3: 4}[start]
            metric.update(preds[start:end], target[start:end])
        whole = emotion_hit_rate(preds, target, WHEEL, mode=mode)
        assert torch.equal(metric.compute()["hit_skill"], whole["hit_skill"])
    metric.persistent(True)
    other = EmotionHitRate(WHEEL)
    other.persistent(True)
    with pytest.raises(RuntimeError, match="builtin_level1_strict"):
        other.load_state_dict(metric.state_dict())


def test_words_that_share_a_place_give_a_constant_answer_nothing():
    by_place = {}
    for word in (f"word{i}" for i in range(1025)):
        by_place.setdefault(zlib.crc32(word.encode()) % 1024, []).append(word)
    pair = next(words for words in by_place.values() if len(words) > 1)[:2]
    target = [pair[0], pair[1], pair[0], "joy"]
    assert skill([[pair[0]]] * 4, target, "strict") < 0
    assert skill([[*pair]] * 4, target, "strict") <= 0
    assert skill([[t] for t in target], target, "strict") > 0.5

"""The rewards: what each gives for known answers, and how they are mixed."""

from __future__ import annotations

import math

import pytest
import torch

from affectgpt.errors import ConfigError, DataError
from affectgpt.metrics import EmotionWheel, parse_labels
from affectgpt.metrics.functional import emotion_wheel_score
from affectgpt.registry import REWARDS
from affectgpt.registry.builtin_parts import REWARD_TABLE
from affectgpt.training.rewards import RatedAnswers, Reward, RewardMix

ARGUMENTS = {"length": {"free": 4, "most": 8}}


def rated(*texts: str, target: str = "joyful", num_tokens: int = 6, ended: bool = True) -> RatedAnswers:
    """Answers to clips whose one true label is ``target``."""
    n = len(texts)
    labels = tuple(tuple(parse_labels(text)) for text in texts)
    keys = tuple(f"clip{i}" for i in range(n))
    return RatedAnswers(keys, texts, labels, ((target,),) * n, (num_tokens,) * n, (ended,) * n, ((),) * n)


def value(name: str, answers: RatedAnswers, **args) -> list[float]:
    return REWARDS.build({"name": name, "args": args})(answers).tolist()


@pytest.mark.parametrize("name", REWARD_TABLE)
def test_every_reward_gives_one_finite_figure_an_answer(name):
    answers = rated("glad, sad", "", "<think>hm", "\ud800", "happy " * 500, target="no such word")
    found = REWARDS.build({"name": name, "args": ARGUMENTS.get(name, {})})(answers)
    assert found.shape == (5,)
    assert found.dtype == torch.float64
    assert found.isfinite().all()


def test_wheel_rewards_are_the_figures_of_one_sample():
    answers = rated("glad, furious", "furious", "blorp, glad")
    wheel = EmotionWheel.builtin()
    for figure in ("f1", "precision", "recall"):
        assert value("wheel", answers, figure=figure)[1] == 0
    assert value("wheel", answers, figure="recall")[0] == 1
    assert value("wheel", answers, figure="precision")[0] == 0.5
    assert value("wheel", answers, figure="precision")[2] == 0.5  # a word that no wheel knows is no free word
    assert value("wheel", answers, figure="precision", mode="official")[2] == 1
    alone = emotion_wheel_score([["glad", "furious"]], [["joyful"]], wheel, mode="strict")
    assert value("wheel", answers, figure="precision")[0] == pytest.approx(float(alone["precision"]))
    assert value("hit", answers) == [1, 0, 1]


def test_form_rewards():
    think = "<think>She smiles.</think><answer>happy</answer>"
    assert value("format", rated("happy", "")) == [1, 0]
    assert value("format", rated("happy", ended=False)) == [0]
    assert value("format", rated(think, "happy", think + " and more", think + think), form="think") == [1, 0, 0, 0]
    assert value("length", rated("a", num_tokens=4), free=4, most=8) == [0]
    assert value("length", rated("a", num_tokens=6), free=4, most=8) == [-0.5]
    assert value("length", rated("a", num_tokens=60), free=4, most=8) == [-1]
    assert value("label-count", rated("a, b, c", "", "a"), most=1) == [-0.5, -0.25, 0]
    assert value("unseen-words", rated("glad, blorp", "glad", "")) == [-0.5, 0, 0]
    assert value("repetition", rated("a b a b a b", "a b c d"), num_words=2) == [pytest.approx(-0.6), 0]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "wheel", "args": {"figure": "f2"}}, "choose one of f1, precision, recall"),
        ({"name": "format", "args": {"form": "xml"}}, "choose labels or think"),
        ({"name": "length", "args": {"free": 8, "most": 8}}, "free < most"),
        ({"name": "label-count", "args": {"least": 3, "most": 2}}, "least <= most"),
        ({"name": "repetition", "args": {"num_words": 0}}, "whole number from 1"),
        ({"name": "wheel", "weight": math.nan}, "finite number"),
        ({"name": "wheel", "weight": True}, "finite number"),
        ({"name": "whel"}, "Did you mean 'wheel'"),
    ],
)
def test_wrong_settings_are_refused(spec, message):
    with pytest.raises(ConfigError, match=message):
        RewardMix({"r": spec})


def test_a_mix_rates_apart_and_adds_with_weights():
    mix = RewardMix({"f1": "wheel", "form": {"name": "format", "weight": 0.5}})
    found = mix(rated("glad", ""))
    assert {name: values.tolist() for name, values in found.items()} == {"f1": [1, 0], "form": [1, 0]}
    assert mix.add(found).tolist() == [1.5, 0]
    with pytest.raises(ConfigError, match="no reward"):
        RewardMix({})


def test_a_reward_of_others_that_is_not_finite_names_the_clip():
    @REWARDS.register("broken-reward", overwrite=True)
    class Broken(Reward):
        def __call__(self, answers: RatedAnswers) -> torch.Tensor:
            return torch.tensor([0.0, math.nan])

    with pytest.raises(DataError, match="'mine' is not finite for 'clip1'"):
        RewardMix({"mine": "broken-reward"})(rated("a", "b"))
    with pytest.raises(DataError, match=r"shape \[2\] for 1 answers"):
        RewardMix({"mine": "broken-reward"})(rated("a"))

"""The comparison of answers before and after a training."""

from __future__ import annotations

import json

import pytest

from affectgpt.errors import DataError
from affectgpt.post_training import gain_of

TARGET = [["happy"], ["sad"], ["angry"], ["afraid"]] * 15


def test_a_gain_is_earned_if_it_is_more_than_chance_and_more_than_length() -> None:
    poor = [["happy"]] * 60
    better = [["joyful"], ["unhappy"], ["furious"], ["calm"]] * 15
    gain = gain_of(poor, better, TARGET)
    assert gain.f1.value == pytest.approx(gain.after["f1"] - gain.before["f1"])
    assert gain.f1.low > 0
    assert gain.longer == 0
    assert gain.is_earned
    assert json.loads(json.dumps(gain.to_json()))["is_earned"] is True
    longer = [[*row, "happy", "sad", "angry"] for row in better]
    padded = gain_of(poor, longer, TARGET)
    assert padded.f1.low > 0
    assert padded.longer == 3
    assert not padded.is_earned
    assert not gain_of(better, better, TARGET).is_earned
    assert gain_of(better, poor, TARGET).f1.high < 0


def test_unequal_numbers_of_answers_are_refused() -> None:
    with pytest.raises(DataError, match="1 answers before, 2 after and 2 clips"):
        gain_of([["a"]], [["a"], ["b"]], [["a"], ["b"]])
    with pytest.raises(DataError, match="0 clips"):
        gain_of([], [], [])

"""Reading labels out of answers of every shape."""
# ruff: noqa: RUF001

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectgpt.errors import ConfigError, DataError
from affectgpt.metrics import parse_labels


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("The character's emotional state is happy, sad.", ["happy", "sad"]),
        ("The character's emotional state is anxious, and surprised", ["anxious", "surprised"]),
        ("Emotions: angry; hurt / sad", ["angry", "hurt", "sad"]),
        ("The character's emotional state is calm. He smiles, then leaves.", ["calm"]),
        ("[happy, sad]", ["happy", "sad"]),
        (" [Happy,  SAD ]. ", ["happy", "sad"]),
        ("['happy', \"sad\"]", ["happy", "sad"]),
        ('["light-hearted", "don\'t care"]', ["light-hearted", "don't care"]),
        ("【开心，难过、生气】", ["开心", "难过", "生气"]),
        ("“happy”，‘sad’", ["happy", "sad"]),
        ("1. happy\n2. sad\n- angry", ["happy", "sad", "angry"]),
        ([["happy"], ["sad", ["angry, hurt"]], None], ["happy", "sad", "angry", "hurt"]),
        (np.array(["happy", "sad"]), ["happy", "sad"]),
        (("happy", "Happy"), ["happy"]),
        ("", []),
        ("[]", []),
        ("None", []),
        (None, []),
        (math.nan, []),
        ("[", []),
    ],
)
def test_the_tolerant_reading(value, expected):
    assert parse_labels(value) == expected


@pytest.mark.parametrize("value", [3, True, {"labels": ["happy"]}, b"happy", ["happy", 4]])
def test_what_is_no_answer_is_refused(value):
    with pytest.raises(DataError, match="expected a text"):
        parse_labels(value)


def test_the_official_reading_cleans_nothing():
    assert parse_labels(" [Happy, 'sad']", mode="official") == ["[Happy", "sad"]
    assert parse_labels([" Happy "], mode="official") == [" Happy "]
    assert parse_labels(math.nan, mode="official") == []
    with pytest.raises(DataError, match="stops"):
        parse_labels("[", mode="official")
    with pytest.raises(ConfigError, match="lenient"):
        parse_labels("happy", mode="lenient")


@given(st.recursive(st.none() | st.text(max_size=20), lambda inner: st.lists(inner, max_size=4), max_leaves=8))
def test_any_nesting_of_texts_gives_clean_labels_once(value):
    labels = parse_labels(value)
    assert len(set(labels)) == len(labels)
    assert all(label and label == label.strip() and "," not in label for label in labels)
    assert parse_labels(labels) == labels or any(" and " in f" {x} " or " or " in f" {x} " for x in labels)


def test_thousands_of_brackets_are_no_list():
    assert parse_labels("[" * 50_000) == parse_labels("[" * 2_000)

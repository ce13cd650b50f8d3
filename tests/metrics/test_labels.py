"""Reading labels out of answers of every shape."""
# ruff: noqa: RUF001

import contextlib
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
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
        ("#", []),
        ("The character's emotional state is #, 3, -- and happy.", ["happy"]),
        (["--", "9/10", "喜", "é"], ["喜", "é"]),
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
    with pytest.raises(DataError, match="fails"):
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


NESTED = st.recursive(st.none() | st.text(max_size=20), lambda inner: st.lists(inner, max_size=4), max_leaves=8)
TRICKY = st.lists(
    st.sampled_from(
        [*"-*:.,;[]()'\"1 _\n\u3001\uff0c\u200b\ufeff\u00ad\u0130", "and", "or", "mood is", "happy", "e\u0301"]
    ),
    max_size=9,
).map("".join)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.binary(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=9,
)


@given(NESTED | TRICKY)
@example(":-")
@example("- 1. happy")
@example("a and and b")
@example("mood: feelings are sad")
@example("'-'")
@settings(deadline=None)
def test_reading_what_was_read_changes_nothing(value):
    labels = parse_labels(value)
    assert parse_labels(labels) == labels
    assert [parse_labels(label) for label in labels] == [[label] for label in labels]


@given(ANYTHING, st.sampled_from(["strict", "official"]))
@settings(deadline=None)
def test_whatever_comes_only_our_own_error_leaves(value, mode):
    with contextlib.suppress(DataError):
        assert isinstance(parse_labels(value, mode=mode), list)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffhappy",
        "hap\u200bpy",
        "happy\u200d",
        "ha\u00adppy",
        "\u202ehappy\u202c",
        "\uff48\uff41\uff50\uff50\uff59",
        "happy\u00a0",
        "\u3000happy",
        "happy \ud83d",
        "ha\x00ppy",
        '["hap\u200bpy"]',
        ["\ufeffhappy"],
    ],
)
def test_what_looks_the_same_is_the_same(text):
    assert parse_labels(text) == ["happy"]


def test_two_spellings_of_a_letter_are_one():
    assert parse_labels("de\u0301c\u0327u, d\u00e9\u00e7u") == ["d\u00e9\u00e7u"]


def test_lists_that_never_end_and_odd_arrays_are_refused_or_read():
    endless = []
    endless.append(endless)
    with pytest.raises(DataError, match="more than 500 lists"):
        parse_labels(endless)
    deep = "happy"
    for _ in range(400):
        deep = [deep]
    assert parse_labels(deep) == ["happy"]
    assert parse_labels("[" * 400 + '"happy"' + "]" * 400) == ["happy"]
    assert parse_labels(np.array("happy")) == ["happy"]
    assert parse_labels(np.float32("nan")) == []
    with pytest.raises(DataError, match="expected a text"):
        parse_labels(np.array(3))

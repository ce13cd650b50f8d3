"""Texts that look the same are the same, and every text can be written as UTF-8."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectgpt.text import clean_label, clean_name, clean_text

ANY_TEXT = st.text(st.one_of(st.characters(), st.characters(categories=("Cs", "Cf", "Mn", "Cc"))))


@pytest.mark.parametrize(
    "written",
    [
        *("happy", "\u200bhappy", "hap\u200dpy", "\ufeffhappy", "ha\u00adppy", "happy\u2060", "\u202ahappy\u202c"),
        *(" happy\u00a0", "\uff48\uff41\uff50\uff50\uff59", "hap\u034fpy", "happy\ufe0f", "h\x00appy"),
    ],
)
def test_labels_that_look_the_same_are_the_same(written: str) -> None:
    assert clean_label(written) == "happy"


def test_letters_are_spelt_in_one_way_and_joiners_stay_where_a_script_needs_them() -> None:
    for word in ("r\u00e9volt\u00e9", "\u00fcberrascht", "\ud589\ubcf5"):
        twin = unicodedata.normalize("NFD", word)
        assert twin != word
        assert clean_label(twin) == clean_name(twin) == word
    for word in ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\U0001f468\u200d\U0001f469"):
        assert clean_label(word) == clean_name(word) == word


def test_halves_of_an_emoji_are_joined_or_marked() -> None:
    assert clean_text("oh \ud83d\ude00 \ud83d no \ude00") == "oh \U0001f600 \ufffd no \ufffd"
    assert clean_text("plain \u00e9\u200b") == "plain \u00e9\u200b", "words of a text stay as they are"


@given(ANY_TEXT)
def test_cleaning_twice_changes_nothing_and_everything_can_be_written(text: str) -> None:
    for clean in (clean_text, clean_label, clean_name):
        once = clean(text)
        once.encode()
        assert clean(once) == once

"""Whatever a question, a subtitle or an answer holds is rendered, or refused by name."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from affectgpt.errors import ConfigError
from affectgpt.llm.tiny import byte_tokenizer
from affectgpt.prompts import Renderer, get_style

ANY_TEXT = st.text(st.one_of(st.characters(), st.characters(categories=("Cs", "Cf", "Cc"))), max_size=40)
TOKENIZER = byte_tokenizer()


@settings(max_examples=200, deadline=None)
@given(
    ANY_TEXT, st.none() | ANY_TEXT, st.none() | ANY_TEXT, st.sampled_from(["official", "brief"]), st.integers(1, 900)
)
def test_any_text_is_rendered_or_too_long(
    question: str, subtitle: str | None, answer: str | None, style: str, longest: int
) -> None:
    renderer = Renderer(get_style(style), TOKENIZER, max_tokens=longest)
    try:
        prompt = renderer([["audio"]], {"audio": 2}, [question], [subtitle], None if answer is None else [answer])
    except ConfigError as error:
        message = str(error)
    else:
        message = ""
        assert prompt.ids.shape[1] <= longest
        assert (prompt.slot_index == 1).sum() == 2
    assert not message or "max_tokens" in message


def test_half_an_emoji_is_marked_and_a_whole_one_stays() -> None:
    renderer = Renderer(get_style("official"), TOKENIZER)
    found = renderer([["audio"]] * 2, {"audio": 1}, ["How?"] * 2, ["oh \ud83d\ude00", "oh \ud83d"], ["\ude00"] * 2)
    wanted = renderer([["audio"]] * 2, {"audio": 1}, ["How?"] * 2, ["oh \U0001f600", "oh \ufffd"], ["\ufffd"] * 2)
    assert torch.equal(found.ids, wanted.ids)


@pytest.mark.parametrize(("question", "subtitle"), [("How?", float("nan")), (None, "Hi."), ("How?", ["Hi."])])
def test_what_is_no_text_is_refused_with_the_sample(question: object, subtitle: object) -> None:
    with pytest.raises(ConfigError, match=r"sample 'a': the (question|subtitle) must be a text"):
        Renderer(get_style("official"), TOKENIZER)([[]], {}, [question], [subtitle], keys=["a"])

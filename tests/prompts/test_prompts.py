"""Wordings, token ids, placeholders, labels and cutting."""

from __future__ import annotations

import pytest
import torch

from affectgpt.errors import ConfigError
from affectgpt.llm.tiny import byte_tokenizer
from affectgpt.prompts import Renderer, get_style

QUESTION = "Please recognize all possible emotional states of the character."
CLOSING = f"Now, please answer my question based on all the provided information. {QUESTION} ###Assistant: "
GOLDEN = {
    ("multi", "audio", "face"): "###Human: The audio and video merged info is: <Multi>[multi]</Multi>. "
    "The audio content is as follows: <Audio>[audio]</Audio>. Meanwhile, we uniformly sample raw frames from the video "
    "and extract faces from these frames: <Video>[face]</Video>. The subtitle of this video is: "
    f"<Subtitle>I know.</Subtitle>. {CLOSING}",
    ("audio", "frame", "face"): "###Human: The audio content is as follows: <Audio>[audio]</Audio>. Meanwhile, we "
    "uniformly sample raw frames from the video: <Video>[frame]</Video>. Additionally, we uniformly sample raw frames "
    "from the video and extract faces from these frames: <Video>[face]</Video>. The subtitle of this video is: "
    f"<Subtitle>I know.</Subtitle>. {CLOSING}",
    (): f"###Human: The subtitle of this video is: <Subtitle>I know.</Subtitle>. {CLOSING}",
}


def shown(style: str, slots: tuple[str, ...], subtitle: str | None) -> str:
    pieces = get_style(style).layout(slots, subtitle=subtitle is not None)
    fields = {"question": QUESTION, "subtitle": subtitle}
    return "".join(getattr(p, "text", None) or fields.get(p.name) or f"[{p.name}]" for p in pieces)


@pytest.mark.parametrize("slots", GOLDEN)
def test_official_wording(slots: tuple[str, ...]) -> None:
    assert shown("official", slots, "I know.") == GOLDEN[slots]


def test_image_wording_without_subtitle() -> None:
    assert (
        shown("official", ("image",), None)
        == f"###Human: The image content is as follows: <Image>[image]</Image>. {CLOSING}"
    )


@pytest.mark.parametrize("style", ["official", "brief"])
def test_a_slot_without_wording_of_its_own_has_a_place(style: str) -> None:
    assert "[second-camera]" in shown(style, ("second-camera",), None)


def test_unknown_style_gets_a_near_match() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'official'"):
        get_style("offical")


@pytest.fixture
def renderer() -> Renderer:
    return Renderer(get_style("official"), byte_tokenizer(), max_tokens=400)


def test_training_ids_end_with_stop_and_eos_and_only_the_answer_is_learnt(renderer: Renderer) -> None:
    prompt = renderer([["audio"], []], {"audio": 3}, ["Q?", "Q?"], ["hi", None], ["yes", "a longer one"])
    assert prompt.labels is not None
    tokenizer = renderer.tokenizer
    for row, answer in enumerate(["yes", "a longer one"]):
        kept = prompt.ids[row][prompt.keep[row]]
        assert kept[0] == tokenizer.bos_token_id
        learnt = prompt.labels[row][prompt.labels[row] != -100]
        assert tokenizer.decode(learnt) == f"{answer}###<eos>"
        assert torch.equal(learnt, kept[-len(learnt) :])
    assert (prompt.slot_index == 1).sum(1).tolist() == [3, 0]
    assert prompt.keep[:, 0].all()


def test_prompts_to_be_answered_are_padded_on_the_left_without_bos(renderer: Renderer) -> None:
    prompt = renderer([["audio"], []], {"audio": 3}, ["Q?", "Q?"], ["hi", None])
    assert prompt.labels is None
    assert prompt.keep[:, -1].all()
    assert not prompt.keep[1, 0]
    assert renderer.tokenizer.decode(prompt.ids[1][prompt.keep[1]]).startswith("###Human: Now")


def test_only_the_subtitle_is_cut_and_cuts_are_counted(renderer: Renderer) -> None:
    words = "very long words " * 20
    prompt = renderer([["audio"]] * 2, {"audio": 2}, ["Q?"] * 2, [words, "short"], ["answer"] * 2)
    assert sum(prompt.is_cut) == 1
    assert prompt.ids.shape[1] <= 400
    text = renderer.tokenizer.decode(prompt.ids[0][prompt.keep[0]])
    assert "</Subtitle>. Now, please answer" in text
    assert "Q? ###Assistant: answer###<eos>" in text
    assert "very long words" in text
    assert (prompt.slot_index[0] == 1).sum() == 2


def test_a_prompt_that_cannot_be_cut_enough_is_refused(renderer: Renderer) -> None:
    with pytest.raises(ConfigError, match=r"sample 'clip7'.*max_tokens=400"):
        renderer([[]], {}, ["Q" * 500], ["words"], ["a"], keys=["clip7"])

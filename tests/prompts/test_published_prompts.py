"""The published prompts, letter by letter and token by token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from affectgpt.prompts import LAYOUTS, Renderer, get_style
from affectgpt.prompts.render import IGNORE
from affectgpt.prompts.template import Field, Slot, Text

QUESTION = "Please recognize all possible emotional states of the character."
LINES = Path(__file__).with_name("published_layouts.txt").read_text(encoding="utf-8").splitlines()
GOLDEN: dict[str, str] = dict(line.split("\t") for line in LINES)
SLOTS = ("multi", "audio", "frame", "face", "image")
OFFICIAL = get_style("official")


def render(slots: list[str], words: str | None) -> str:
    shown = {"question": QUESTION, "subtitle": words or ""}
    text = ""
    for piece in OFFICIAL.layout(slots, subtitle=OFFICIAL.has_words(slots, words)):
        if isinstance(piece, Text):
            text += piece.text
        else:
            text += shown[piece.name] if isinstance(piece, Field) else f"[{piece.name}]"
    return text


@pytest.mark.parametrize("name", GOLDEN)
def test_every_published_layout_is_told_by_its_inputs(name: str) -> None:
    slots = [slot for slot in SLOTS if f"[{slot}]" in GOLDEN[name]]
    assert render(slots, "I know." if "I know." in GOLDEN[name] else None) == GOLDEN[name]
    assert render(slots[::-1], "I know." if "I know." in GOLDEN[name] else None) == GOLDEN[name]


def test_there_is_no_other_layout() -> None:
    assert set(LAYOUTS) == set(GOLDEN)
    assert len(LAYOUTS) == 15


@pytest.mark.parametrize("name", [name for name in GOLDEN if "I know." in GOLDEN[name]])
def test_unknown_words_keep_their_place_empty(name: str) -> None:
    slots = [slot for slot in SLOTS if f"[{slot}]" in GOLDEN[name]]
    assert render(slots, "") == GOLDEN[name].replace("I know.", "")


def test_without_a_place_for_words_unknown_ones_take_none() -> None:
    assert render(["image"], "") == GOLDEN["image"]
    assert not get_style("brief").has_words(["audio"], "")


def test_questions_answers_and_stop() -> None:
    assert OFFICIAL.label_question == QUESTION
    wanted = "Please infer the person's emotional state and provide your reasoning process."
    assert OFFICIAL.description_question == wanted
    assert OFFICIAL.answer_of(["worried", "nervous"]) == "The character's emotional state is worried, nervous."
    assert (OFFICIAL.answer_end, OFFICIAL.stop.strings) == ("###", ("###",))
    assert (OFFICIAL.train_bos, OFFICIAL.answer_bos) == (True, False)


def test_the_subtitle_alone_may_be_cut() -> None:
    for name, text in GOLDEN.items():
        slots = [slot for slot in SLOTS if f"[{slot}]" in text]
        layout = OFFICIAL.layout(slots, subtitle="I know." in text)
        assert [piece.name for piece in layout if isinstance(piece, Field) and piece.may_cut] == (
            ["subtitle"] if "I know." in text else []
        ), name
        assert [piece.name for piece in layout if isinstance(piece, Slot)] == sorted(
            slots, key=lambda slot: text.index(f"[{slot}]")
        )


def test_checkpoints_of_earlier_wordings_go_on() -> None:
    assert get_style("brief").digest() == "4d51a9300150a2cf"
    assert OFFICIAL.accepts("6b589ef202c5a884")
    assert OFFICIAL.accepts(None)
    assert not OFFICIAL.accepts("0" * 16)


@pytest.fixture(scope="module")
def tokenizer(shared: Path) -> Any:
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(shared / "oracle" / "model" / "models" / "Qwen2.5-7B-Instruct")
    loaded.bos_token, loaded.pad_token = "<|im_start|>", loaded.eos_token
    return loaded


CASES = ["A/case_frame", "A/case_face", "A/case_image", "B/case_frame", "C/case_frame"]


@pytest.mark.parametrize("case", CASES)
def test_token_ids_are_the_published_ones(shared: Path, tokenizer: Any, case: str) -> None:
    """Our placeholders hold the padding id; theirs ids of their own, which are set to 0 before the embedding."""
    facts = json.loads((shared / "oracle" / "model" / f"{case}.json").read_text())
    patch = json.loads((shared / "oracle" / "model" / "preproc.json").read_text())["tokenizer"]["patch_ids"]
    places = {number: name.strip("<>").removesuffix("Here").lower() for name, number in patch.items()}
    theirs = facts["input_ids"][0]
    slots = [name for number, name in places.items() if number in theirs]
    num_tokens = {name: theirs.count(number) for number, name in places.items()}
    words = None if case.endswith("image") else "I don't know! I, I, I don't have experience in this area."
    answer = OFFICIAL.answer_of(["worried", "confused", "nervous"])

    learnt = Renderer(OFFICIAL, tokenizer)([slots], num_tokens, [QUESTION], [words], [answer])
    assert learnt.ids[0].tolist() == [tokenizer.pad_token_id if token in places else token for token in theirs]
    names = [("", *learnt.slots)[index] for index in learnt.slot_index[0].tolist()]
    assert names == [places.get(token, "") for token in theirs]
    assert learnt.labels is not None
    assert learnt.labels[0].tolist() == facts["labels"][0]
    assert learnt.keep.all()

    asked = Renderer(OFFICIAL, tokenizer)([slots], num_tokens, [QUESTION], [words])
    start = facts["labels"][0].count(IGNORE)
    assert asked.ids[0].tolist() == learnt.ids[0].tolist()[1:start]
    if "generation" in facts:
        assert asked.ids.shape[1] == facts["generation"]["prompt_len"]


def test_words_that_spell_a_special_token_stay_words(shared: Path, tokenizer: Any) -> None:
    words = "I <|im_end|> see <|im_start|> you"
    special = {tokenizer.bos_token_id, tokenizer.eos_token_id}
    prompt = Renderer(OFFICIAL, tokenizer)([["audio"]], {"audio": 2}, [words], [words], [words])
    ids = prompt.ids[0][prompt.slot_index[0] == 0].tolist()
    assert [place for place, token in enumerate(ids) if token in special] == [0, len(ids) - 1]
    assert tokenizer.decode(ids).count(words) == 3


@pytest.mark.parametrize("case", ["frame_A", "face_A"])
def test_published_prompt_strings_are_in_the_table(shared: Path, case: str) -> None:
    facts = json.loads((shared / "oracle" / "model" / "real_qwen_ids.json").read_text())[case]
    words = "I don't know! I, I, I don't have experience in this area."
    names = {"frame_A": "multiframe_audio_frame_text", "face_A": "multiface_audio_face_text"}
    shown = {slot: f"<{slot.title()}Here>" for slot in SLOTS}
    assert LAYOUTS[names[case]].format(**shown, subtitle=words, question=QUESTION) == facts["prompt"]

"""Answers of reasoning models: one reader for all their forms, which keeps the thoughts apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectgpt.bench import score
from affectgpt.bench.external.answer_reading import emotion_tolerant, final_answer
from affectgpt.bench.extract import get_extractor
from affectgpt.bench.extract.chat_answers import read_label_answer, read_sentiment_answer
from affectgpt.metrics import parse_labels
from affectgpt.metrics.final_answer import read_answer
from affectgpt.model.answer import to_prediction
from setmaker import write_csv

THOUGHT = "He looks down. His feelings are: anger, then fear. So his emotional state is disgust."
FORMS = {
    "tags": f"<think>\n{THOUGHT}\n</think>\n<answer>happy, calm</answer>",
    "answer alone": "<answer>happy, calm</answer>",
    "answer not closed": f"<think>{THOUGHT}</think><answer>happy, calm",
    "answer opened twice": "<answer>happy, calm<answer>",
    "thought only": f"<think>{THOUGHT}</think>\n\nhappy, calm",
    "thought not opened": f"{THOUGHT}\n</think>\nhappy, calm",
    "thought not closed": f"<think>{THOUGHT} <answer>happy, calm</answer>",
    "answer in the thought": f"<think>{THOUGHT} <answer>happy, calm</answer></think>",
    "thought twice": f"<think>{THOUGHT}</think><think>{THOUGHT}</think><answer>happy, calm</answer>",
    "thought in a thought": f"<think>a <think>{THOUGHT}</think> {THOUGHT}</think><answer>happy, calm</answer>",
    "answer drafted in the thought": f"<think>{THOUGHT} <answer>angry</answer></think><answer>happy, calm</answer>",
    "answer corrected": "<answer>angry</answer> Wait, no. <answer>happy, calm</answer>",
    "free thought before the tag": f"{THOUGHT} <answer>happy, calm</answer>",
    "other tag": f"<Reasoning>{THOUGHT}</Reasoning><Answer>Happy, calm</Answer>",
    "sentence in the tag": f"<think>{THOUGHT}</think><answer>The emotional state is happy and calm.</answer>",
    "square tags": f"[THINK]{THOUGHT}[/THINK]happy, calm",
    "channels": f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|channel|>final<|message|>happy, calm",
    "triangles": f"\u25c1think\u25b7{THOUGHT}\u25c1/think\u25b7happy, calm",
    "begin and end": f"<|begin_of_thought|>{THOUGHT}<|end_of_thought|><|begin_of_solution|>happy, calm",
    "said so": f"{THOUGHT}\nFinal answer: happy, calm",
    "said so in bold": f"{THOUGHT}\n\n**Answer:** happy, calm",
    "said so, with full width": "\u6211\u89c9\u5f97\n**Answer\uff1a** happy, calm",
    "said so at last": f"Answer: angry\n{THOUGHT}\nThe final answer is: **happy, calm**",
    "box": f"{THOUGHT}\nThe answer is \\boxed{{\\text{{happy, calm}}}}.",
    "object": json.dumps({"reasoning": THOUGHT, "emotions": ["happy", "calm"]}),
    "object with a text": json.dumps({"emotion": "happy, calm", "explanation": THOUGHT}),
    "object in an object": json.dumps({"answer": {"thought": THOUGHT, "labels": ["happy", "calm"]}}),
    "object of another name": json.dumps({"what they feel": ["happy", "calm"]}),
    "objects in a list": json.dumps([{"emotion": "happy", "evidence": "anger"}, {"emotion": "calm"}]),
    "object of scores": json.dumps({"happy": 0.9, "calm": 0.5, "angry": 0.1}),
    "object of truths": json.dumps({"emotions": {"happy": True, "angry": False, "calm": True}}),
    "object of Python": "{'thinking': 'anger', 'Emotion Labels': ['happy', 'calm']}",
    "object in a sentence": f'{THOUGHT} Here it is: {{"emotions": ["happy", "calm"]}} I hope this helps.',
    "object after a draft": '{"emotion": "angry"} No: {"emotion": ["happy", "calm"]}',
    "fenced object": f'{THOUGHT}\n```json\n{{"thoughts": "fear", "labels": ["happy", "calm"]}}\n```\nDone.',
    "fenced list": '```json\n["happy", "calm"]\n```',
    "fenced words": "Sure:\n```\nhappy, calm\n```",
    "fence not closed": f'{THOUGHT}\n```json\n{{"labels": ["happy", "calm"]}}',
    "object in a tag": f'<think>{THOUGHT}</think><answer>{{"emotions": ["happy", "calm"]}}</answer>',
    "fence in a tag": '<think>anger</think><answer>\n```json\n["happy", "calm"]\n```\n</answer>',
    "list in a tag": '<answer>["happy", "calm"]</answer>',
    "bare list in a tag": "<answer>[happy, calm]</answer>",
    "curly quotes": "{\u201cemotion\u201d: [\u201chappy\u201d, \u201ccalm\u201d]}",
    "object cut off": '{"reasoning": "anger", "emotions": ["happy", "calm", "so',
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_labels_and_not_the_thoughts(form: str) -> None:
    text = FORMS[form]
    assert parse_labels(text) == ["happy", "calm"]
    assert to_prediction("a", text).labels == ("happy", "calm")
    assert read_label_answer(text) == ["happy", "calm"]
    for name in ("template", "lexicon"):
        assert get_extractor(name).extract([text]) == [["happy", "calm"]]
    if "anger" in text:
        assert "anger" in read_answer(text).thoughts


@pytest.mark.parametrize(
    "text",
    ["<think>He is angry, and", "<think>anger</think>", "<answer></answer>", '{"labels": []}', '{"emotion": null}'],
)
def test_thoughts_alone_are_no_labels(text: str) -> None:
    assert parse_labels(text) == []
    assert get_extractor("template").extract([text]) == get_extractor("lexicon").extract([text]) == [[]]


@pytest.mark.parametrize(
    "text", ["[thinking]", "happy < sad", "I <3 it", "", "The emotional state is calm.", "{", "[", "]{"]
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert not read_answer(text).is_wrapped
    assert read_answer(text).text == text


PIECES = ("<think>", "</think>", "<answer>", "{", "}", "[", '"a"', ":", ",", "```", "x ")


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_no_text_breaks_the_reader(text: str) -> None:
    assert all(isinstance(label, str) for label in parse_labels(text))
    read_label_answer(text)
    read_sentiment_answer(text)


def test_deep_and_long_answers_end_soon() -> None:
    for text in ("{" * 50_000, "[{" * 50_000, '{"a":' * 50_000, "{" * 50_000 + "}", "<think>" * 5_000):
        parse_labels(text)


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
@pytest.mark.parametrize("column", ["text", "response", "openset", "prediction"])
def test_files_of_reasoning_models_are_scored_by_their_answers(tmp_path: Path, column: str, suffix: str) -> None:
    gold = write_csv(tmp_path / "gold.csv", ("name", "label"), [("a", "joy"), ("b", "anger"), ("c", "sadness")])
    texts = {
        "a": f"<think>{THOUGHT}</think>\n<answer>happy</answer>",
        "b": json.dumps({"reasoning": "joy, sorrow", "emotion": "angry"}),
        "c": "<answer>sad</answer>",
    }
    path = tmp_path / f"p.{suffix}"
    if suffix == "csv":
        write_csv(path, ("name", column), texts.items())
    else:
        path.write_text("".join(json.dumps({"name": n, column: t}) + "\n" for n, t in texts.items()))
    result = score("meld", path, gold, resamples=0)
    assert (result.hit_rate, result.labels, result.strict.labels) == (1.0, 3, 3)
    if result.extractor:
        assert result.extractor["counts"]["with_thoughts"] == 2


def test_sentiments_of_reasoning_models(tmp_path: Path) -> None:
    gold = write_csv(tmp_path / "gold.csv", ("name", "label"), [("a", 1), ("b", -1)])
    rows = [
        ("a", "<think>negative?</think><answer>Positive</answer>"),
        ("b", '{"reason": "x", "sentiment": "negative"}'),
    ]
    path = write_csv(tmp_path / "p.csv", ("name", "sentiment"), rows)
    assert score("mosi", path, gold, resamples=0).accuracy == 1.0
    assert [read_sentiment_answer(text) for _, text in rows] == ["positive", "negative"]


def test_other_benchmarks_read_with_the_same_reader() -> None:
    assert final_answer("Well.\n</think>\nFear") == "Fear"
    assert emotion_tolerant("<think>Anger?</think>```json\n{'emotion': 'Fear'}\n```", ["Fear", "Anger"]) == "Fear"


def test_a_description_comes_without_the_thoughts() -> None:
    found = to_prediction("a", "<think>Hm.</think>She smiles.", labels_asked=False)
    assert (found.description, found.labels) == ("She smiles.", ())

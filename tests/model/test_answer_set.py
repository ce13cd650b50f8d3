"""A set is answered as one by one, its clips encoded once, its prompts sorted by length."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.errors import ConfigError
from affectgpt.model.answer_set import AnsweringPlan, answer_set, token_batches
from affectgpt.types import Batch

QUESTIONS = ["Emotions?", "Please describe how the person feels, and why."]


@pytest.fixture(scope="module")
def model() -> AffectGPT:
    torch.manual_seed(0)
    return AffectGPT.from_config(
        {
            "streams": {"frame": "tiny-vision", "audio": "tiny-audio"},
            "llm": {"name": "tiny", "args": {"dim": 32}},
            "style": "brief",
            "media": {
                "num_frames": 2,
                "num_segments": 2,
                "segment_seconds": 0.25,
                "frame_height": 32,
                "frame_width": 32,
            },
            "max_new_tokens": 10,
        }
    ).eval()


def batches(count: int = 9, size: int = 4) -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    whole = Batch(
        keys=tuple(f"clip{i}" for i in range(count)),
        media={
            "frame": torch.randint(0, 255, (count, 2, 3, 32, 32), dtype=torch.uint8, generator=generator),
            "audio": torch.randn(count, 2, 4000, generator=generator),
        },
        keep={
            "frame": torch.ones(count, 2, dtype=torch.bool),
            "audio": torch.arange(count)[:, None].expand(count, 2) % 3 > 0,
        },
        subtitles=tuple("word " * (i * 5 % 7) for i in range(count)),
        questions=tuple(QUESTIONS[i % 2] for i in range(count)),
    )
    return [whole.rows(range(start, min(start + size, count))) for start in range(0, count, size)]


def one_by_one(model: AffectGPT, given: list[Batch]) -> list[str]:
    return [model.generate(batch.rows([i]))[0] for batch in given for i in range(len(batch))]


@pytest.mark.parametrize("plan", [AnsweringPlan(), AnsweringPlan(batch_tokens=200, window=3), AnsweringPlan(1, 1)])
def test_answers_are_those_of_one_by_one(model: AffectGPT, plan: AnsweringPlan) -> None:
    given = batches()
    found = [answer for window in answer_set(model, given, plan) for answer in window]
    assert [answer.key for answer in found] == [f"clip{i}" for i in range(9)]
    texts = one_by_one(model, given)
    assert [answer.text for answer in found] == [text.strip() for text in texts]
    assert len({*texts}) > 3
    assert found[0].used == ("frame",)
    assert found[1].used == ("frame", "audio", "multi", "subtitle")


def test_subtitles_that_are_too_long_are_counted_and_stand_in_the_answers(model: AffectGPT, caplog) -> None:
    given = [replace(one, subtitles=("hi", "so " * 2000, "", "very " * 2000)) for one in batches(8)]
    found = [answer for window in answer_set(model, given, AnsweringPlan(1, 1)) for answer in window]
    assert [answer.key for answer in found if answer.missing] == ["clip1", "clip3", "clip5", "clip7"]
    assert "shortened" in found[1].missing["subtitle"]
    assert [record.getMessage() for record in caplog.records] == [
        "the subtitles of 4 samples are too long for the prompt, and were shortened, as of 'clip1'"
    ]


def test_each_clip_is_encoded_once_for_all_questions(model: AffectGPT, monkeypatch: pytest.MonkeyPatch) -> None:
    given, seen = batches(), []
    real = model.network.encode
    monkeypatch.setattr(
        model.network, "encode", lambda name, batch: seen.append((name, batch.keys)) or real(name, batch)
    )
    monkeypatch.setattr("affectgpt.model.answer_set.CLIPS_AT_ONCE", {"cpu": 3})
    found = [answer for window in answer_set(model, given, questions=QUESTIONS) for answer in window]
    assert [keys for name, keys in seen if name == "frame"][:3] == [
        ("clip0", "clip1", "clip2"),
        ("clip3",),
        ("clip4", "clip5", "clip6"),
    ]
    assert len(seen) == 2 * 5
    assert [answer.key for answer in found[:4]] == ["clip0", "clip0", "clip1", "clip1"]
    assert found[0].labels == () or found[0].description is None
    monkeypatch.undo()
    for i, question in enumerate(QUESTIONS):
        asked = [replace(batch, questions=(question,) * len(batch)) for batch in given]
        assert [answer.text for answer in found[i::2]] == [text.strip() for text in one_by_one(model, asked)]


def test_what_is_hidden_is_not_shown(model: AffectGPT) -> None:
    given = batches(4)
    (found,) = answer_set(model, given, AnsweringPlan(hide=("audio", "subtitle")))
    assert [answer.used for answer in found] == [("frame",)] * 4
    assert [answer.text for answer in found] == model.generate(given[0], hide=("audio", "subtitle"))


def test_prompts_of_similar_length_share_a_batch() -> None:
    lengths = [5, 30, 6, 31, 7, 29]
    assert token_batches(lengths, 10, 130) == [[3, 1, 5], [4, 2, 0]]
    assert token_batches(lengths, 10, 1) == [[3], [1], [5], [4], [2], [0]]
    assert token_batches([], 10, 100) == []
    # the questions of a clip stay together, by the longest of them, and no batch is larger for it
    assert token_batches(lengths, 10, 130, clips=[0, 0, 1, 1, 2, 2]) == [[3, 2, 1], [0, 5, 4]]


def test_answers_can_be_drawn(model: AffectGPT) -> None:
    batch = batches(2)[0]
    drawn = {"temperature": 2.0, "num_answers": 3, "seed": 1}
    first = model.generate(batch, sampling=drawn)
    assert len(first) == 6
    assert first == model.generate(batch, sampling=drawn)
    assert len({*first}) > 2
    assert model.generate(batch, sampling={"temperature": 1.0, "top_k": 1}) == model.generate(batch)
    with pytest.raises(ConfigError, match="unknown key 'heat'"):
        model.generate(batch, sampling={"heat": 1.0})


@pytest.mark.parametrize("plan", [AnsweringPlan(), AnsweringPlan(batch_tokens=200, window=3), AnsweringPlan(1, 1)])
def test_what_is_drawn_depends_on_the_sample_alone(model: AffectGPT, plan: AnsweringPlan) -> None:
    from affectgpt.llm.answer_sampling import AnswerSampling

    drawn = replace(plan, sampling=AnswerSampling(1.5, top_p=0.95, seed=3))
    turned = answer_set(model, batches()[::-1], replace(drawn, window=2))
    expected = {one.key: one.text for window in turned for one in window}
    found = {one.key: one.text for window in answer_set(model, batches(), drawn) for one in window}
    assert found == expected
    assert len({*found.values()}) > 6
    others = replace(drawn, sampling=AnswerSampling(1.5, top_p=0.95, seed=4))
    assert {one.key: one.text for window in answer_set(model, batches(), others) for one in window} != found
    (some,) = answer_set(model, [batches()[1].rows([2])], drawn)  # what a resumed run has left
    assert some[0].text == found[some[0].key]


def test_a_plan_that_cannot_be_followed_is_refused() -> None:
    from affectgpt.llm.answer_sampling import AnswerSampling

    with pytest.raises(ConfigError, match="window is 0"):
        AnsweringPlan(window=0)
    with pytest.raises(ConfigError, match="2 answers to each question"):
        AnsweringPlan(sampling=AnswerSampling(1.0, num_answers=2))

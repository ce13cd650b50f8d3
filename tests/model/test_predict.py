"""One file in, one answer out, and what was missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.errors import DataError
from affectgpt.model.answer import sentiment_of, to_prediction
from clipmaker import make_clip, make_png, make_wav


@pytest.fixture(scope="module")
def model() -> AffectGPT:
    torch.manual_seed(0)
    media = {"num_frames": 2, "num_segments": 2, "frame_height": 32, "frame_width": 32}
    streams = {"frame": "tiny-vision", "audio": "tiny-audio"}
    return AffectGPT.from_config({"streams": streams, "llm": "tiny", "media": media, "max_new_tokens": 6}).eval()


@pytest.mark.parametrize(
    ("content", "subtitle", "used", "missing"),
    [
        (lambda: make_clip(0.5), "Hi.", ("frame", "audio", "multi", "subtitle"), {}),
        (lambda: make_clip(0.5, audio=False), "Hi.", ("frame", "subtitle"), {"audio": "no audio track"}),
        (lambda: make_clip(0.5), None, ("frame", "audio", "multi"), {"subtitle": "none was given"}),
        (lambda: make_wav(0.5), "Hi.", ("audio", "subtitle"), {"frame": ""}),
        (lambda: make_clip(0.3, size=(1920, 1080)), "Hi.", ("frame", "audio", "multi", "subtitle"), {}),
        (lambda: make_png(64, 48), "Hi.", ("frame", "subtitle"), {"audio": ""}),
    ],
    ids=["whole", "no-audio", "no-subtitle", "sound-only", "1080p", "picture"],
)
def test_any_clip_gets_an_answer_that_says_what_was_missing(model, content, subtitle, used, missing) -> None:
    answer = model.predict(content(), subtitle, key="clip")
    assert answer.used == used
    assert set(answer.missing) == set(missing)
    assert all(reason in answer.missing[name] for name, reason in missing.items())
    assert set(answer.seconds) == {"read", "answer"}
    assert answer.to_json()["key"] == "clip"


def test_a_cut_clip_is_answered_with_a_note(model: AffectGPT, tmp_path: Path) -> None:
    whole = make_clip(4.0, faststart=True)
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    answer = model.predict(tmp_path / "cut.mp4", "Hi.")
    assert answer.key == "cut"
    assert "cut" in answer.missing["media"] or "up to" in answer.missing["media"]


def test_a_subtitle_that_is_too_long_for_the_prompt_is_said_to_be_shortened(model: AffectGPT) -> None:
    answer = model.predict(make_clip(0.3), "so " * 2000, key="clip")
    assert answer.missing == {"subtitle": "it is too long for the prompt, and was shortened"}
    assert "subtitle" in answer.used


def test_what_is_no_clip_is_refused(model: AffectGPT, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("this is text")
    with pytest.raises(DataError, match=r"notes.*"):
        model.predict(tmp_path / "notes.mp4")
    with pytest.raises(DataError, match="nowhere"):
        model.predict(tmp_path / "nowhere.mp4")


def test_answers_are_parsed_once_each_and_weighed() -> None:
    text = "The character's emotional state is happy, relieved, happy."
    answer = to_prediction("clip", text)
    assert answer.labels == ("happy", "relieved")
    assert answer.sentiment == "positive"
    assert answer.description is None
    described = to_prediction("clip", "She smiles.", labels_asked=False)
    assert described.description == "She smiles."
    assert described.labels == ()


def test_sentiment_of_a_tie_is_neutral_and_of_unknown_words_none() -> None:
    assert sentiment_of(["happy", "sad"]) == "neutral"
    assert sentiment_of(["xyzzy"]) is None


def test_real_clips_are_answered(model: AffectGPT, shared: Path) -> None:
    clips = sorted((shared / "data" / "clips").glob("*.mp4"))
    assert clips
    for clip in clips[:3]:
        answer = model.predict(clip, "Oh no.")
        assert answer.used == ("frame", "audio", "multi", "subtitle")

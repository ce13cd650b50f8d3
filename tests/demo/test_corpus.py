"""The synthetic corpus: what it holds, that it repeats, and that no two modalities give the emotion away."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest

from affectgpt.demo.corpus import STATES, make_corpus
from affectgpt.demo.corpus.canvas import backdrop
from affectgpt.demo.corpus.expressions import EXPRESSIONS
from affectgpt.demo.corpus.face import draw_frames
from affectgpt.demo.corpus.looks import HAIR_STYLES, Look
from affectgpt.demo.corpus.sentences import FILLERS, TEMPLATES, write_sentence
from affectgpt.demo.corpus.synthetic_clip import FRAME_SIZE
from affectgpt.demo.corpus.voice import SAMPLE_RATE_HZ, STYLES, Throat, speak
from affectgpt.demo.corpus.write_corpus import plan_clips
from affectgpt.errors import ConfigError, DataError
from affectgpt.metrics import EmotionWheel

pytest.importorskip("PIL", reason="drawing needs the demo extra")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("synthetic") / "corpus", num_train=4, num_test=2, seed=3, workers=1)


def read_manifest(corpus: Path, split: str) -> list[dict]:
    return [json.loads(line) for line in (corpus / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def ceiling(wheel: EmotionWheel, *seen: str) -> float:
    """Level-1 wheel F1 (corpus F1, mean of the wheels) of the best single state to guess from some modalities."""
    groups = [
        [{g for label in s.labels if (g := wheel.group(label, w)) is not None} for w in range(1, wheel.num_wheels + 1)]
        for s in STATES
    ]

    def f1(weights: dict[tuple[int, int], float]) -> float:
        scores = []
        for w in range(wheel.num_wheels):
            precision = recall = total = 0.0
            for (gold, guess), weight in weights.items():
                want, got = groups[gold][w], groups[guess][w]
                if want:
                    total += weight
                    precision += weight * len(want & got) / max(len(got), 1)
                    recall += weight * len(want & got) / len(want)
            if total:
                precision, recall = precision / total, recall / total
                scores.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
        return float(np.mean(scores)) if scores else 0.0

    posterior: dict[tuple[str, ...], dict[int, float]] = {}
    for i, state in enumerate(STATES):
        for words in state.words:
            shown = {"face": state.face, "voice": state.voice, "text": words}
            posterior.setdefault(tuple(shown[name] for name in seen), {})[i] = 1.0 / len(state.words)
    answers: dict[tuple[int, int], float] = {}
    for weights in posterior.values():
        best = max(range(len(STATES)), key=lambda k: f1({(gold, k): v for gold, v in weights.items()}))
        for gold, weight in weights.items():
            answers[gold, best] = answers.get((gold, best), 0.0) + weight
    return f1(answers)


def test_expected_ceilings():
    wheel = EmotionWheel.builtin()
    full = ceiling(wheel, "face", "voice", "text")
    assert full == pytest.approx(1.0)
    assert full - ceiling(wheel, "text") > 0.5
    assert full - ceiling(wheel, "face", "text") > 0.25
    assert full - ceiling(wheel, "voice", "text") > 0.25
    assert full - ceiling(wheel, "face", "voice") > 0.1


def test_ceilings_hold_on_the_authors_wheel(shared):
    pytest.importorskip("openpyxl", reason="reading the authors' tables needs the wheel extra")
    wheel = EmotionWheel.official(shared / "data" / "emotion_wheel")
    assert ceiling(wheel, "face", "voice", "text") - ceiling(wheel, "face", "text") > 0.25
    assert ceiling(wheel, "face", "voice", "text") - ceiling(wheel, "voice", "text") > 0.25


def test_every_state_is_decided_by_its_three_cues_together():
    cues = [(state.face, state.voice, words) for state in STATES for words in state.words]
    assert len(set(cues)) == len(cues)
    assert len({state.name for state in STATES}) == len(STATES) == 12
    assert len({state.labels for state in STATES}) == 12
    assert {state.face for state in STATES} == set(EXPRESSIONS)
    assert {state.voice for state in STATES} == set(STYLES)
    only_words = [n for n in Counter((state.face, state.voice) for state in STATES).values() if n > 1]
    assert len(only_words) >= 2
    wheel = EmotionWheel.builtin()
    for state in STATES:
        assert 1 <= len(state.labels) <= 3
        assert all(wheel.knows(label) for label in state.labels), state.labels
        assert state.describe("Well.").count("Well.") == 1


def test_sentences_are_whole_and_many():
    rng = np.random.default_rng(0)
    for words in TEMPLATES:
        drawn = {write_sentence(words, rng) for _ in range(400)}
        assert len(drawn) > 50
        assert all(s[0].isupper() and s.endswith(".") and "{" not in s for s in drawn)
    assert all(len(set(values)) == len(values) for values in FILLERS.values())


def test_plans_are_balanced_and_speakers_kept_apart():
    train, test = plan_clips("train", 320, 0), plan_clips("test", 80, 0)
    for plans in (train, test):
        counts = Counter(plan.state for plan in plans)
        assert len(counts) == len(STATES)
        assert max(counts.values()) - min(counts.values()) <= 1
        assert len({plan.name for plan in plans}) == len(plans)
        assert all(plan.words in STATES[plan.state].words for plan in plans)
    assert not {plan.speaker for plan in train} & {plan.speaker for plan in test}
    assert plan_clips("train", 320, 1) != [plan.__class__(**{**vars(plan), "seed": 1}) for plan in train]


def test_clips_are_real_files_with_picture_and_sound(corpus):
    rows = read_manifest(corpus, "train") + read_manifest(corpus, "test")
    assert [row["split"] for row in rows] == ["train"] * 4 + ["test"] * 2
    assert "synthetic" in (corpus / "README.txt").read_text()
    by_name = {state.name: state for state in STATES}
    for row in rows:
        assert set(row) == {"name", "video", "subtitle", "labels", "description", "split", "state"}
        assert tuple(row["labels"]) == by_name[row["state"]].labels
        assert row["subtitle"] in row["description"]
        with av.open(str(corpus / row["video"])) as clip:
            assert (clip.streams.video[0].codec_context.name, clip.streams.audio[0].codec_context.name) == (
                "h264",
                "aac",
            )
            frames = [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]
        with av.open(str(corpus / row["video"])) as clip:
            wave = np.concatenate([frame.to_ndarray()[0] for frame in clip.decode(audio=0)])
            assert clip.streams.audio[0].rate == SAMPLE_RATE_HZ
        assert 22 <= len(frames) <= 27
        assert frames[0].shape == (FRAME_SIZE, FRAME_SIZE, 3)
        assert np.abs(frames[12].astype(int) - frames[6]).max() > 30, "nothing moves"
        assert 1.8 < len(wave) / SAMPLE_RATE_HZ < 2.4
        assert 0.01 < np.sqrt(np.mean(wave**2)) < 0.5


def test_same_seed_same_bytes_whatever_the_workers(corpus, tmp_path):
    seen = []
    again = make_corpus(tmp_path / "again", 4, 2, seed=3, workers=2, progress=lambda *counts: seen.append(counts))
    assert files_of(again) == files_of(corpus)
    assert seen == [(n, 6) for n in range(1, 7)]
    other = make_corpus(tmp_path / "other", 1, 0, seed=4, workers=1)
    assert files_of(other).keys() < files_of(corpus).keys()
    first = "clips/synthetic-train-0000.mp4"
    assert files_of(other)[first] != files_of(corpus)[first]


def test_a_corpus_is_replaced_and_foreign_files_are_left_alone(tmp_path):
    out = make_corpus(tmp_path / "corpus", 2, 0, workers=1)
    make_corpus(out, 1, 0, workers=1)
    assert len(read_manifest(out, "train")) == 1
    (out / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"notes\.txt|not a synthetic corpus"):
        make_corpus(out, 1, 0, workers=1)
    assert (out / "notes.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def test_a_failure_leaves_nothing_behind(tmp_path):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_corpus(tmp_path / "corpus", 2, 0, workers=1, progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"num_train": -1}, {"num_test": -1}, {"workers": 0}, {"seed": -1}])
def test_wrong_numbers_are_refused(tmp_path, wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        make_corpus(tmp_path / "corpus", **wrong)


def test_missing_pillow_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(ConfigError, match=r"affectgpt\[demo\]"):
        backdrop((0, 0, 0), (9, 9, 9), 16)


def test_the_mouth_does_not_tell_the_voice():
    mouths = [
        speak(style, Throat(150.0, 1.0), "So this is the letter.", 2.0, np.random.default_rng(1)).openness
        for style in STYLES
    ]
    assert all(np.array_equal(mouths[0], mouth) for mouth in mouths[1:])


def test_styles_differ_in_sound_for_any_speaker():
    """Brightness of the spectrum alone orders harsh over flat, whoever speaks."""

    def share_above_1500_hz(style: str, seed: int) -> float:
        rng = np.random.default_rng(seed)
        wave = speak(style, Throat.draw(rng), "They told my boss just now.", 2.0, rng).wave
        power = np.abs(np.fft.rfft(wave)) ** 2
        return float(power[np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE_HZ) > 1500].sum() / power.sum())

    harsh = [share_above_1500_hz("harsh", seed) for seed in range(8)]
    flat = [share_above_1500_hz("flat", seed) for seed in range(8)]
    assert min(harsh) > max(flat)


def test_every_hair_style_can_be_drawn():
    looks = [Look.draw(np.random.default_rng(seed)) for seed in range(60)]
    for style in HAIR_STYLES:
        look = next(look for look in looks if look.hair_style == style)
        frames = draw_frames("smile", look, np.array([0.0, 1.0]), 12, 32, np.random.default_rng(0))
        assert frames.shape == (2, 32, 32, 3)
        assert frames.std() > 10

"""Models of transformers that see or hear answer the benchmark: tiny real ones, with weights made here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from affectgpt.bench.answerers import Asked, get_profile
from affectgpt.bench.answerers.transformers_model import TransformersAnswerer
from affectgpt.cli.main import main
from affectgpt.errors import CheckpointError, ConfigError
from affectgpt.media import read_clip
from answererspy import answers, spy
from clipmaker import make_clip
from setmaker import make_processed
from tinymodels import make_hearing_model, make_seeing_model

SEES, HEARS = ("video", "text"), ("audio", "text")


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_seeing_model(tmp_path_factory.mktemp("seeing") / "tiny-eye")


@pytest.fixture(scope="module")
def hearing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_hearing_model(tmp_path_factory.mktemp("hearing") / "tiny-ear")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> list[Asked]:
    """Clips of several lengths and greys; the last but one cannot be read, the last has neither track."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(4):
        clip = make_clip(0.4 + 0.1 * number, shade=40 + 50 * number, tone_hz=200 + 200 * number)
        (folder / f"{number}.mp4").write_bytes(clip)
    (folder / "4.mp4").write_bytes(b"no video")
    listed = [Asked(f"clip{i}", "How?", subtitle="hello " * i, video=folder / f"{i}.mp4") for i in range(5)]
    return [*listed, Asked("clip5", "How?")]


def build(folder: Path, modalities: tuple[str, ...], profile: str = "fast", **options: Any) -> TransformersAnswerer:
    settings = get_profile(profile).changed(modalities, max_tokens=6, num_frames=2)
    return TransformersAnswerer(str(folder), settings, num_workers=0, **options)


def test_a_model_is_shown_the_frames_of_each_clip(seeing: Path, asked: list[Asked]) -> None:
    alone = build(seeing, SEES, batch_size=1)
    seen = spy(alone)
    found = answers(alone, asked)
    assert {key: one.kind for key, one in found.items()} == {
        **{f"clip{i}": "answered" for i in range(4)}, "clip4": "failed", "clip5": "failed",
    }  # fmt: skip
    assert "4.mp4" in str(found["clip4"].reason)
    processor = alone._load()[1]
    order = sorted(range(4), key=lambda i: -asked[i].video.stat().st_size)  # type: ignore[union-attr]
    for number, inputs in zip(order, seen, strict=True):
        clip = read_clip(asked[number].video, num_frames=2)  # type: ignore[arg-type]
        wanted = processor.image_processor(list(clip.frames), return_tensors="pt")["pixel_values"]
        torch.testing.assert_close(inputs["pixel_values"], wanted)
        text = processor.tokenizer.decode(inputs["input_ids"][0])
        assert text.startswith("user: <|vision_start|>")
        assert text.endswith("based on all the provided information. How?<end>assistant: ")
        assert ("<Subtitle>hello" in text) == (number > 0)
    # Padding and batch mates change nothing.
    together = answers(build(seeing, SEES, batch_size=3), asked)
    assert {key: one.text for key, one in together.items()} == {key: one.text for key, one in found.items()}
    assert {key: one.prompt_tokens for key, one in together.items()} == {k: v.prompt_tokens for k, v in found.items()}


def test_a_model_is_played_the_sound_of_each_clip(hearing: Path, asked: list[Asked]) -> None:
    answerer = build(hearing, HEARS, batch_size=4)
    seen = spy(answerer)
    found = answers(answerer, asked)
    assert [found[f"clip{i}"].kind for i in range(6)] == ["answered"] * 4 + ["failed"] * 2
    extractor = answerer._load()[1].feature_extractor
    (inputs,) = seen
    order = sorted(range(4), key=lambda i: -asked[i].video.stat().st_size)  # type: ignore[union-attr]
    waves = [read_clip(asked[i].video).waveform.numpy() for i in order]  # type: ignore[arg-type, union-attr]
    wanted = extractor(waves, sampling_rate=16_000, return_tensors="pt", padding="max_length")["input_features"]
    torch.testing.assert_close(inputs["input_features"], wanted)


def test_draws_repeat_and_differ_between_runs(seeing: Path, asked: list[Asked]) -> None:
    answerer = build(seeing, SEES, "published")
    first, again, other = (answers(answerer, asked[:3], run) for run in (0, 0, 1))
    texts = [{key: one.text for key, one in found.items()} for found in (first, again, other)]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_what_a_model_does_not_take_is_said_before_any_clip_is_read(
    seeing: Path, hearing: Path, asked: list[Asked], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"\(Qwen2VLProcessor\) takes no audio; show it the rest: --modalities video"):
        answers(build(seeing, ("video", "audio")), asked)
    with pytest.raises(ConfigError, match=r"\(Qwen2AudioProcessor\) takes no video"):
        answers(build(hearing, SEES), asked)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        answers(build(tmp_path, SEES), asked)
    mute = tmp_path / "mute"
    mute.mkdir()
    for file in seeing.iterdir():
        if file.name != "chat_template.jinja":
            (mute / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ConfigError, match="has no chat template"):
        answers(build(mute, SEES), asked)


def test_a_clip_that_the_model_chokes_on_costs_itself(seeing: Path, asked: list[Asked]) -> None:
    answerer = build(seeing, SEES, batch_size=4)
    model, _ = answerer._load()
    generate = model.generate

    def choking(**inputs: Any) -> Any:
        if len(inputs["input_ids"]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if (inputs["pixel_values"].mean(1) > 1).any():
            raise IndexError("too bright\nand more")
        return generate(**inputs)

    model.generate = choking
    found = answers(answerer, asked[:4])
    assert [found[f"clip{i}"].kind for i in range(4)] == ["answered"] * 3 + ["failed"]
    assert found["clip3"].reason == "the model cannot answer it: too bright"


def test_the_benchmark_is_answered_by_a_folder(hearing: Path, tmp_path: Path) -> None:
    make_processed(tmp_path / "sets", "sims", 3, clip=make_clip(0.3))
    argv = ["bench", "--answerer", f"transformers:{hearing}", "--data", str(tmp_path / "sets"), "--allow-partial"]
    argv += ["--modalities", "audio,text", "--max-new-tokens", "4", "--num-workers", "0", "--resamples", "0"]
    assert main([*argv, "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    (result,) = json.loads((tmp_path / "out/report.json").read_text())["results"]
    assert (result["system"], result["failed_answers"]) == ("tiny-ear", {})
    assert result["answered_by"]["model"] == "tiny-ear"
    assert result["answered_by"]["revision"].startswith("sha256:")
    assert result["answered_by"]["shown"] == {"modalities": ["audio", "text"]}

"""The families that others measure with: their real classes and processors are shown what the record says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from affectgpt.bench.answerers import Asked, get_profile
from affectgpt.bench.answerers.transformers_model import TransformersAnswerer
from affectgpt.cli.main import main
from affectgpt.errors import CheckpointError, ConfigError
from affectgpt.media import read_clip
from answererspy import answers, spy
from clipmaker import make_clip
from omnimodels import make_audio_model, make_moe_omni_model, make_omni_model, make_smolvlm
from setmaker import make_processed

ALL, SEES, HEARS = ("video", "audio", "text"), ("video", "text"), ("audio", "text")
FAMILIES: dict[str, tuple[Callable[[Path], Path], tuple[str, ...], str]] = {
    "qwen2.5-omni": (make_omni_model, ALL, "Qwen2_5OmniThinkerForConditionalGeneration"),
    "qwen3-omni": (make_moe_omni_model, ALL, "Qwen3OmniMoeThinkerForConditionalGeneration"),
    "qwen2-audio": (make_audio_model, HEARS, "Qwen2AudioForConditionalGeneration"),
    "smolvlm": (make_smolvlm, SEES, "SmolVLMForConditionalGeneration"),
}
QUESTION = (
    "The subtitle of this video is: <Subtitle>words of {key}</Subtitle>. Now, please answer my question based on all "
    "the provided information. How does she feel?"
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name == "smolvlm":
            pytest.importorskip("num2words")
        if name not in made:
            made[name] = FAMILIES[name][0](tmp_path_factory.mktemp("models") / name)
        return made[name]

    return folder


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> list[Asked]:
    """Clips of several lengths, greys and tones."""
    folder = tmp_path_factory.mktemp("clips")
    found = []
    for number in range(3):
        clip = make_clip(0.4 + 0.2 * number, shade=40 + 70 * number, tone_hz=200 + 200 * number)
        (folder / f"{number}.mp4").write_bytes(clip)
        key = f"clip{number}"
        found.append(Asked(key, "How does she feel?", subtitle=f"words of {key}", video=folder / f"{number}.mp4"))
    return found


def build(folder: Path, modalities: tuple[str, ...], profile: str = "fast", **options: Any) -> TransformersAnswerer:
    settings = get_profile(profile).changed(modalities, max_tokens=5, num_frames=2)
    return TransformersAnswerer(str(folder), settings, num_workers=0, **options)


def words_of(processor: Any, ids: torch.Tensor) -> str:
    """The prompt without the tokens that stand for pictures and sound."""
    marks = {getattr(processor, f"{kind}_token_id", None) for kind in ("image", "audio")}
    text: str = processor.tokenizer.decode([one for one in ids.tolist() if one not in marks])
    return text


@pytest.mark.parametrize("name", FAMILIES)
def test_what_reaches_the_model(name: str, folders: Callable[[str], Path], asked: list[Asked]) -> None:
    _, modalities, class_name = FAMILIES[name]
    alone = build(folders(name), modalities, batch_size=1)
    seen = spy(alone)
    found = answers(alone, asked)
    model, processor = alone._load()
    assert type(model).__name__ == class_name  # of a model that speaks, nothing else is loaded
    assert {key: (one.kind, one.reason) for key, one in found.items()} == {
        f"clip{i}": ("answered", None) for i in range(3)
    }
    order = sorted(asked, key=lambda one: -one.video.stat().st_size)  # type: ignore[union-attr]
    for one, inputs in zip(order, seen, strict=True):
        clip = read_clip(one.video, num_frames=2)  # type: ignore[arg-type]
        assert clip.frames is not None
        assert clip.waveform is not None
        ids = inputs["input_ids"][0]
        if "video" in modalities:
            wanted = processor.image_processor(list(clip.frames), return_tensors="pt")["pixel_values"]
            torch.testing.assert_close(inputs["pixel_values"], wanted)
            assert (ids == processor.image_token_id).sum() >= 2
        else:
            assert "pixel_values" not in inputs
        if "audio" in modalities:
            wave = clip.waveform.numpy()
            wanted = processor.feature_extractor(wave, sampling_rate=16_000, return_tensors="pt", padding="max_length")
            heard = inputs["input_features"]  # some processors pad to the longest, some to a fixed number of seconds
            num_real = len(wave) // processor.feature_extractor.hop_length
            torch.testing.assert_close(heard[..., :num_real], wanted["input_features"][..., :num_real])
            assert inputs["feature_attention_mask"].sum() >= num_real
            assert (ids == processor.audio_token_id).sum() > 0
        else:
            assert "input_features" not in inputs
        said = words_of(processor, ids)
        assert QUESTION.format(key=one.key) in said
        ending = said.partition("How does she feel?")[2]
        assert ending.lower().split()[-1].strip(":").endswith("assistant")
    # Padding and batch mates change nothing: neither the greedy answers nor the drawn ones.
    together = answers(build(folders(name), modalities, batch_size=3), asked)
    assert {key: one.text for key, one in together.items()} == {key: one.text for key, one in found.items()}
    assert {key: one.prompt_tokens for key, one in together.items()} == {k: v.prompt_tokens for k, v in found.items()}
    drawn = [answers(build(folders(name), modalities, "published", batch_size=size), asked) for size in (1, 3)]
    assert {k: v.text for k, v in drawn[0].items()} == {k: v.text for k, v in drawn[1].items()}
    assert {k: v.text for k, v in drawn[0].items()} != {k: v.text for k, v in found.items()}


@pytest.mark.parametrize("name", ["qwen2.5-omni", "qwen3-omni"])
def test_one_modality_alone_is_all_that_is_shown(name: str, folders: Callable[[str], Path], asked: list[Asked]) -> None:
    for modalities, given in ((HEARS, "input_features"), (SEES, "pixel_values"), (("text",), None)):
        answerer = build(folders(name), modalities)
        (seen,) = [seen := spy(answerer), answers(answerer, asked)][:1]
        (inputs,) = seen
        assert [key for key in ("input_features", "pixel_values") if key in inputs] == ([given] if given else [])


def test_clips_that_lack_a_track_are_shown_the_other(folders: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "mute.mp4").write_bytes(make_clip(0.4, audio=False))
    (tmp_path / "blind.mp4").write_bytes(make_clip(0.4, video=False))
    (tmp_path / "whole.mp4").write_bytes(make_clip(0.4))
    listed = [Asked(name, "How?", subtitle="hm", video=tmp_path / f"{name}.mp4") for name in ("mute", "blind", "whole")]
    found = answers(build(folders("qwen2.5-omni"), ALL), listed)
    assert [one.kind for one in found.values()] == ["answered"] * 3
    assert {key: list(one.extra.get("missing", {})) for key, one in found.items()} == {
        "mute": ["audio"], "blind": ["video"], "whole": [],
    }  # fmt: skip


@pytest.mark.parametrize("profile", ["fast", "published"])
def test_what_a_model_says_about_generation_has_no_say(
    profile: str, folders: Callable[[str], Path], asked: list[Asked], tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for file in folders("qwen2.5-omni").iterdir():
        (own / file.name).write_bytes(file.read_bytes())
    plain = answers(build(folders("qwen2.5-omni"), SEES, profile), asked)
    settings = json.loads((own / "generation_config.json").read_text())
    # such as chat models bring along: sampling, its bounds, penalties, and beams
    settings |= {"do_sample": True, "temperature": 3.0, "top_k": 2, "top_p": 0.1, "repetition_penalty": 5.0}
    settings |= {"num_beams": 2, "no_repeat_ngram_size": 1, "max_new_tokens": 1}
    (own / "generation_config.json").write_text(json.dumps(settings))
    found = answers(build(own, SEES, profile), asked)
    assert {key: one.text for key, one in found.items()} == {key: one.text for key, one in plain.items()}


def test_a_sound_that_a_processor_cuts_is_noted(folders: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "long.mp4").write_bytes(make_clip(5.0))
    (tmp_path / "short.mp4").write_bytes(make_clip(1.0))
    listed = [Asked(name, "How?", video=tmp_path / f"{name}.mp4") for name in ("long", "short")]
    found = answers(build(folders("qwen2-audio"), HEARS), listed)
    seconds = len(read_clip(tmp_path / "long.mp4").waveform) / 16_000  # type: ignore[arg-type]
    assert found["long"].extra["cut"] == {"audio": f"the processor takes the first 4 s of {seconds:.1f} s"}
    assert "cut" not in found["short"].extra
    whole = answers(build(folders("qwen3-omni"), HEARS), listed)  # this one takes sounds of any length
    assert "cut" not in whole["long"].extra


def test_a_template_that_leaves_media_out_is_refused(folders: Callable[[str], Path], tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"
    deaf.mkdir()
    for file in folders("qwen2.5-omni").iterdir():
        (deaf / file.name).write_bytes(file.read_bytes())
    template = deaf / "chat_template.jinja"
    whole = template.read_text()
    template.write_text(whole.replace("<|audio_bos|><|AUDIO|><|audio_eos|>", ""))
    with pytest.raises(ConfigError, match=r"leaves out audio, .*'deaf|leaves out audio"):
        answers(build(deaf, ALL), [Asked("a", "How?")])
    template.write_text(whole.replace("{{ content['text'] }}", ""))
    with pytest.raises(ConfigError, match="leaves out the words"):
        answers(build(deaf, ALL), [Asked("a", "How?")])
    template.write_text("{% for m in messages %}{{ m.content + '' }}{% endfor %}")
    with pytest.raises(ConfigError, match="cannot be used with video, audio, text: "):
        answers(build(deaf, ALL), [Asked("a", "How?")])


def test_a_package_that_a_processor_needs_is_named(
    folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folders("smolvlm")
    monkeypatch.setattr("transformers.models.smolvlm.processing_smolvlm.num2words", None)
    with pytest.raises(ConfigError, match=r"needs a package .*num2words.* pip install 'affectgpt\[baselines\]'"):
        answers(build(folder, SEES), [Asked("a", "How?")])


def test_weights_that_do_not_fit_are_refused(folders: Callable[[str], Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in folders("qwen2-audio").iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    (broken / "model.safetensors").write_bytes(np.random.default_rng(0).bytes(1000))
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        answers(build(broken, HEARS), [Asked("a", "How?")])


def test_a_model_that_also_speaks_answers_the_benchmark(folders: Callable[[str], Path], tmp_path: Path) -> None:
    make_processed(tmp_path / "sets", "sims", 3, clip=make_clip(0.3))
    argv = ["bench", "--answerer", "transformers", "--model", str(folders("qwen2.5-omni")), "--data"]
    argv += [str(tmp_path / "sets"), "--allow-partial", "--frames", "2", "--max-new-tokens", "4", "--num-workers", "0"]
    assert main([*argv, "--resamples", "0", "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    (result,) = json.loads((tmp_path / "out/report.json").read_text())["results"]
    assert (result["system"], result["failed_answers"]) == ("qwen2.5-omni", {})
    assert result["answered_by"]["shown"] == {
        "modalities": ["video", "audio", "text"], "num_frames": 2, "longest_side": 448,
    }  # fmt: skip

"""What the prompt shows can be fewer inputs than the model reads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.errors import CheckpointError, ConfigError
from affectgpt.types import Batch

CONFIG: dict[str, Any] = {
    "streams": {"face": "tiny-vision", "audio": "tiny-audio"},
    "llm": {"name": "tiny", "args": {"dim": 32}},
    "media": {"num_frames": 2, "num_segments": 2, "segment_seconds": 0.25, "frame_height": 32, "frame_width": 32},
}


def build(slots: list[str] | None) -> AffectGPT:
    torch.manual_seed(0)
    return AffectGPT.from_config({**CONFIG, "slots": slots}).eval()


def make_batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(
        keys=("a", "b"),
        media={
            "face": torch.randint(0, 255, (2, 2, 3, 32, 32), dtype=torch.uint8, generator=generator),
            "audio": torch.randn(2, 2, 4000, generator=generator),
        },
        keep={name: torch.ones(2, 2, dtype=torch.bool) for name in ("face", "audio")},
        subtitles=("yes", "no"),
        questions=("How?",) * 2,
        answers=("happy", "sad"),
    )


@pytest.mark.parametrize(
    ("slots", "read"),
    [
        (None, {"face", "audio", "subtitle"}),
        (["subtitle"], {"subtitle"}),
        (["face"], {"face"}),
        (["audio", "subtitle"], {"audio", "subtitle"}),
        (["multi", "subtitle"], {"face", "audio", "subtitle"}),
    ],
)
def test_only_what_is_shown_or_fused_changes_the_output(slots: list[str] | None, read: set[str]) -> None:
    model, batch = build(slots), make_batch()
    out = model(batch)
    assert out.used[0] == tuple(n for n in ("face", "audio", "multi") if slots is None or n in slots)
    others = {
        "face": replace(batch, media={**batch.media, "face": 255 - batch.media["face"]}),
        "audio": replace(batch, media={**batch.media, "audio": 0.01 * batch.media["audio"]}),
        "subtitle": replace(batch, subtitles=("other", "words")),
    }
    changed = {name for name, other in others.items() if not torch.equal(model(other).loss, out.loss)}
    assert changed == read


def test_every_trained_parameter_has_a_gradient_whatever_is_shown() -> None:
    model = build(["subtitle"]).train()
    model(make_batch()).loss.backward()
    lost = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not lost


def test_unknown_words_keep_their_place_in_the_official_wording() -> None:
    model, batch = build(None), make_batch()
    unknown, blank = (model(replace(batch, subtitles=words)).loss for words in ((None, None), ("", "")))
    assert torch.equal(unknown, blank)
    assert not torch.equal(model(batch, hide=["subtitle"]).loss, blank)


@pytest.mark.parametrize(("slots", "words"), [(["faces"], "unknown slot 'faces'"), ([], "no slot at all")])
def test_wrong_slots_are_refused(slots: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build(slots)


def test_slots_belong_to_the_weights() -> None:
    model = build(["subtitle"])
    checkpoint = {"hyper_parameters": dict(build(None).hparams)}
    with pytest.raises(CheckpointError, match=r"slots: None in the checkpoint, \['subtitle'\] here"):
        model.on_load_checkpoint(checkpoint)
    del checkpoint["hyper_parameters"]["slots"]  # written before there were slots
    build(None).on_load_checkpoint(checkpoint)

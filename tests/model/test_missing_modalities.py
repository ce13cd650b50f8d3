"""A modality that a training step leaves out is seen as one that was never there, whatever joins the streams."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.training.modality_dropout import ModalityDropout
from affectgpt.types import Batch

CONFIG: dict[str, Any] = {
    "streams": {"frame": "tiny-vision", "audio": "tiny-audio"},
    "llm": {"name": "tiny", "args": {"dim": 32}},
    "media": {"num_frames": 3, "num_segments": 2, "segment_seconds": 0.25, "frame_height": 32, "frame_width": 32},
}
SMALL = {"hidden_dim": 24, "num_heads": 2}
ANY = [
    {"name": "gated"},
    {"name": "experts"},
    {"name": "cross-attention", "args": SMALL},
    {"name": "attention", "args": {"any_subset": True}},
    {"name": "attention-softmax", "args": {"any_subset": True}},
    {"name": "qformer", "args": {**SMALL, "num_tokens": 2, "any_subset": True}},
]


def build(prefusion: Any, style: str = "official", **changes: Any) -> AffectGPT:
    torch.manual_seed(0)
    return AffectGPT.from_config({**CONFIG, "prefusion": prefusion, "style": style, **changes}).eval()


def make_batch(size: int = 3) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(
        keys=tuple(f"clip{i}" for i in range(size)),
        media={
            "frame": torch.randint(0, 255, (size, 3, 3, 32, 32), dtype=torch.uint8, generator=generator),
            "audio": torch.randn(size, 2, 4000, generator=generator),
        },
        keep={"frame": torch.ones(size, 3, dtype=torch.bool), "audio": torch.ones(size, 2, dtype=torch.bool)},
        subtitles=tuple(f"words {i}" for i in range(size)),
        questions=("How?",) * size,
        answers=tuple(f"answer {i}" for i in range(size)),
    )


def without(batch: Batch, source: str) -> Batch:
    """The batch as it is loaded if no clip has an input."""
    media = {name: value for name, value in batch.media.items() if name != source}
    return replace(batch, media=media, keep={name: batch.keep[name] for name in media})


@pytest.mark.parametrize("prefusion", ANY, ids=lambda one: one["name"])
@pytest.mark.parametrize("source", ["frame", "audio"])
def test_a_missing_a_hidden_and_a_dropped_stream_are_the_same(prefusion: Any, source: str) -> None:
    model, batch = build(prefusion), make_batch()
    missing = model(without(batch, source))
    assert missing.used == ((next(name for name in ("frame", "audio") if name != source), "multi"),) * 3
    hidden = model(batch, hide=[source])
    assert hidden.used == missing.used
    torch.testing.assert_close(hidden.sample_losses, missing.sample_losses)
    drop = ModalityDropout({"visual" if source == "frame" else "audio": 1.0})
    dropped = model(drop(batch, model.specs, shows_words=True).batch)
    assert dropped.used == missing.used
    torch.testing.assert_close(dropped.sample_losses, missing.sample_losses)
    assert (model(batch).sample_losses - missing.sample_losses).abs().min() > 1e-4


@pytest.mark.parametrize("prefusion", ANY, ids=lambda one: one["name"])
def test_a_sample_is_the_same_whatever_its_batch_mates_lack(prefusion: Any) -> None:
    model, batch = build(prefusion), make_batch()
    keep = {**batch.keep, "audio": torch.tensor([[False] * 2, [True] * 2, [True] * 2])}
    keep["frame"] = torch.tensor([[True, False, True], [True] * 3, [False] * 3])
    mixed = model(replace(batch, keep=keep)).sample_losses
    alone = [model(replace(batch, keep=keep).rows([i])).sample_losses[0] for i in range(3)]
    torch.testing.assert_close(mixed, torch.stack(alone), rtol=1e-5, atol=1e-5)


def test_published_tokens_are_shown_with_all_streams_alone() -> None:
    model, batch = build("attention"), make_batch()
    assert model(batch).used == (("frame", "audio", "multi"),) * 3
    assert model(batch, hide=["audio"]).used == (("frame",),) * 3


def test_dropped_words_select_the_layout_without_words() -> None:
    model, batch = build("gated", slots=["audio", "subtitle"]), make_batch()
    left = ModalityDropout({"words": 1.0})(batch, model.specs, shows_words=True).batch
    assert left.wordless == (True,) * 3
    torch.testing.assert_close(model(left).sample_losses, model(batch, hide=["subtitle"]).sample_losses)
    some = replace(batch, wordless=(True, False, True))
    mixed, whole = model(some).sample_losses, model(batch).sample_losses
    torch.testing.assert_close(mixed[1], whole[1])
    torch.testing.assert_close(mixed[0], model(left).sample_losses[0])
    assert torch.equal(model(some.rows([1, 0])).sample_losses.argsort(), mixed[[1, 0]].argsort())


def test_nothing_is_left_out_of_answers_and_validation() -> None:
    model, batch = build("gated", modality_dropout={"modality": 0.9, "step": 0.9}), make_batch()
    plain = build("gated")
    torch.testing.assert_close(model(batch).sample_losses, plain(batch).sample_losses)
    assert model.generate(batch) == plain.generate(batch)

"""The contract that every built-in part keeps; a part without a case in the tables below fails the test."""

from __future__ import annotations

import copy
import json
from typing import Any

import lightning
import pytest
import torch

from affectgpt.encoders import Encoder, TinyVisionEncoder
from affectgpt.encoders.base import AudioSpec, VisualSpec
from affectgpt.errors import DataError
from affectgpt.fusion import Projector
from affectgpt.llm import AnswerSampling, LLMHead, pack_samples
from affectgpt.part import Part
from affectgpt.registry import ENCODERS, LLMS, POOLINGS, PREFUSIONS, PROJECTORS, Spec
from affectgpt.registry.builtin_parts import (
    ENCODER_PREFIXES,
    ENCODER_TABLE,
    LLM_TABLE,
    POOLING_TABLE,
    PREFUSION_TABLE,
    PROJECTOR_TABLE,
)
from affectgpt.types import Features, Modality
from partcases import (
    ENCODER_CASES,
    LLM_CASES,
    POOLING_CASES,
    PREFUSION_CASES,
    PROJECTOR_CASES,
    TABLES,
    media_for,
    streams_for,
)
from quiettrainer import save_as_trained

pytest_plugins = ("partcases",)  # the fixtures that build them

ALL = [pytest.param(registry, name, id=f"{registry.kind}-{name}") for registry, cases in TABLES for name in cases]
WEIGHTLESS = {"precomputed", "mean", "none"}
ENCODING = [name for name in ENCODER_CASES if name != "precomputed"]


def test_every_built_in_part_has_a_case():
    prefixes = {prefix for prefix in ENCODER_PREFIXES if any(name.startswith(prefix) for name in ENCODER_CASES)}
    cased = {name for name in ENCODER_CASES if not name.startswith(tuple(ENCODER_PREFIXES))}
    assert prefixes == set(ENCODER_PREFIXES)
    assert cased == set(ENCODER_TABLE)
    assert set(POOLING_CASES) == set(POOLING_TABLE)
    assert set(PREFUSION_CASES) == set(PREFUSION_TABLE)
    assert set(PROJECTOR_CASES) == set(PROJECTOR_TABLE)
    assert set(LLM_CASES) == set(LLM_TABLE)


def run(part: Any, seed: int = 0) -> torch.Tensor:
    """What a part makes of random input."""
    if isinstance(part, Encoder):
        return part(*media_for(part, seed=seed)).hidden
    if isinstance(part, LLMHead):
        generator = torch.Generator().manual_seed(seed)
        embeds = part.embed(torch.zeros(3, 5, dtype=torch.long)) + torch.randn(
            3, 5, part.hidden_dim, generator=generator
        )
        return part(embeds, torch.ones(3, 5, dtype=torch.bool)).logits
    if isinstance(part, Projector):
        return part(torch.randn(3, 2, part.in_dim, generator=torch.Generator().manual_seed(seed)))
    return fuse(part, streams_for(part, seed=seed))


def fuse(part: Any, streams: list[Features]) -> torch.Tensor:
    return part(streams) if hasattr(part, "in_dims") else part(streams[0])


# Every part


@pytest.mark.parametrize(("registry", "name"), ALL)
def test_spec_and_hyper_parameters_rebuild_the_part(registry, name, build, spec_of):
    part = build(registry, name)
    assert isinstance(part, Part)
    keys = list(part.state_dict())
    hparams = dict(part.hparams)
    assert json.loads(json.dumps(hparams)) == hparams
    assert spec_of(registry, name).args.items() <= hparams.items()
    assert list(registry.build(Spec.of(json.loads(json.dumps(spec_of(registry, name).to_json())))).state_dict()) == keys
    assert list(type(part)(**hparams).state_dict()) == keys


@pytest.mark.parametrize(("registry", "name"), ALL)
def test_checkpoint_restores_the_part_alone(registry, name, build, tmp_path):
    part = build(registry, name)
    save_as_trained(part, tmp_path / "part.ckpt")
    torch.load(tmp_path / "part.ckpt", weights_only=True)
    again = type(part).load_from_checkpoint(tmp_path / "part.ckpt", weights_only=True).eval()
    assert all(torch.equal(part.state_dict()[key], value) for key, value in again.state_dict().items())
    if name != "precomputed":
        torch.testing.assert_close(run(again), run(part), rtol=0, atol=0)


@pytest.mark.parametrize(("registry", "name"), ALL)
def test_frozen_part_stays_still(registry, name, build):
    part = build(registry, name)
    part.freeze()
    part.train()
    assert part.frozen
    assert not any(module.training for module in part.modules())
    assert not any(weight.requires_grad for weight in part.parameters())
    if name != "precomputed":
        assert not run(part).requires_grad
        torch.testing.assert_close(run(part), run(part), rtol=0, atol=0)
    part.unfreeze()
    assert all(weight.requires_grad for weight in part.parameters())


@pytest.mark.parametrize(("registry", "name"), ALL)
def test_prefixes_and_shard_units_are_parts_of_the_part(registry, name, build):
    part = build(registry, name)
    for prefix in part.restored_prefixes():
        assert any(key.startswith(prefix) for key in part.state_dict())
    inside = set(map(id, part.modules())) - {id(part)}
    assert {id(unit) for unit in part.shard_units()} <= inside
    assert bool(part.restored_prefixes()) == ("path" in part.hparams)


@pytest.mark.parametrize(("registry", "name"), [case for case in ALL if case.values[1] not in WEIGHTLESS])
def test_every_weight_is_trained(registry, name, build):
    part = build(registry, name).train()
    run(part).square().sum().backward()
    # SpecAugment's vector and a whole network's closing parts have no say in the feature.
    idle = {"masked_spec_embed", "aux"}
    silent = [key for key, weight in part.named_parameters() if weight.grad is None and not set(key.split(".")) & idle]
    assert silent == []


class Inner(Part):
    def __init__(self, width: int, depth: int = 1) -> None:
        super().__init__()
        self.width = width


class Outer(Part):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = Inner(width // 2)


def test_a_part_that_another_builds_keeps_its_own_arguments():
    """Also inside a stranger's module, whose arguments compare to no plain truth value."""

    class Stranger(lightning.LightningModule):
        def __init__(self, weights: Any) -> None:
            super().__init__()
            self.inner = Inner(4)

    outer = Outer(8)
    assert dict(outer.hparams) == {"width": 8}
    assert dict(outer.inner.hparams) == {"width": 4, "depth": 1}
    assert dict(Stranger(torch.ones(2).numpy()).inner.hparams) == {"width": 4, "depth": 1}


def test_lightning_would_give_a_part_the_arguments_of_the_one_that_builds_it():
    """Why ``Part`` does not call ``save_hyperparameters``; once this fails, it can."""

    class Saved(lightning.LightningModule):
        def __init__(self, width: int, depth: int = 1) -> None:
            super().__init__()
            self.save_hyperparameters()

    class Builder(lightning.LightningModule):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.inner = Saved(width // 2)

    assert Builder(8).inner.hparams["width"] == 8


# Encoders


@pytest.mark.parametrize("name", ENCODING)
def test_encoder_gives_one_vector_a_step_and_passes_keep_on(name, build):
    encoder = build(ENCODERS, name)
    media, keep = media_for(encoder)
    features = encoder(media, keep)
    assert features.hidden.shape == (3, 2, encoder.out_dim)
    assert features.hidden.dtype == torch.float32
    assert features.hidden.isfinite().all()
    assert torch.equal(features.keep, keep)
    assert isinstance(encoder.input_spec, VisualSpec if encoder.modality == Modality.VISUAL else AudioSpec)
    json.dumps(encoder.input_spec.to_json())


@pytest.mark.parametrize("name", ENCODING)
def test_encoder_hears_its_input(name, build):
    encoder = build(ENCODERS, name)
    difference = (run(encoder, seed=0) - run(encoder, seed=1)).abs().amax(-1)
    assert (difference > 1e-4).all()


@pytest.mark.parametrize("name", ENCODING)
def test_encoder_ignores_batch_mates_and_neighbours(name, build):
    encoder = build(ENCODERS, name)
    media, keep = media_for(encoder)
    together = encoder(media, keep).hidden
    alone = encoder(media[1:2, 1:], keep[1:2, 1:]).hidden
    torch.testing.assert_close(alone[0, 0], together[1, 1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ENCODING)
def test_encoder_refuses_tensors_of_another_kind(name, build):
    encoder = build(ENCODERS, name)
    media, keep = media_for(encoder)
    with pytest.raises(DataError, match=type(encoder).__name__):
        encoder(media[0], keep)


def test_trained_encoder_is_restored_from_its_own_checkpoint(tmp_path):
    trainer = lightning.Trainer(
        max_steps=3, logger=False, accelerator="cpu", enable_model_summary=False, enable_progress_bar=False,
        default_root_dir=tmp_path,
    )  # fmt: skip
    encoder = Brightness(size=32, dim=4)
    before = copy.deepcopy(encoder.state_dict())
    samples = [(torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8), torch.rand(4)) for _ in range(8)]
    trainer.fit(encoder, torch.utils.data.DataLoader(samples, batch_size=4))
    trainer.save_checkpoint(tmp_path / "trained.ckpt")
    restored = TinyVisionEncoder.load_from_checkpoint(tmp_path / "trained.ckpt", weights_only=True)
    assert restored.out_dim == 4
    assert any(not torch.equal(before[key], value) for key, value in restored.state_dict().items())
    assert all(torch.equal(encoder.state_dict()[key], value) for key, value in restored.state_dict().items())


class Brightness(TinyVisionEncoder):
    """An encoder with an objective of its own."""

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        frames, wanted = batch
        return (self(frames, torch.ones(frames.shape[:2], dtype=torch.bool)).hidden.mean(1) - wanted).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


# Projectors


@pytest.mark.parametrize("name", PROJECTOR_CASES)
def test_projector_brings_tokens_of_any_precision_to_the_width(name, build):
    part = build(PROJECTORS, name)
    assert run(part).shape == (3, 2, part.out_dim)
    assert part(torch.randn(3, 2, part.in_dim).half()).dtype == torch.float32


# Poolings and pre-fusions

FUSING = [case for case in ALL if case.values[0] in (POOLINGS, PREFUSIONS)]
MIXING = [case for case in FUSING if case.values[1] != "none"]


@pytest.mark.parametrize(("registry", "name"), FUSING)
def test_fusion_gives_its_number_of_tokens(registry, name, build):
    part = build(registry, name)
    tokens = run(part)
    assert tokens.shape == (3, part.num_tokens, part.out_dim)
    assert tokens.dtype == torch.float32
    assert tokens.isfinite().all()


@pytest.mark.parametrize(("registry", "name"), MIXING)
def test_each_stream_has_a_say_and_masked_steps_have_none(registry, name, build):
    part = build(registry, name)
    streams = streams_for(part)
    tokens = fuse(part, streams)
    for index, stream in enumerate(streams):
        louder = Features(stream.hidden + 0.5, stream.keep)
        assert (fuse(part, [*streams[:index], louder, *streams[index + 1 :]]) - tokens).abs().amax() > 1e-4
        garbage = Features(stream.hidden.masked_fill(~stream.keep[..., None], float("nan")), stream.keep)
        unchanged = fuse(part, [*streams[:index], garbage, *streams[index + 1 :]])
        torch.testing.assert_close(unchanged, tokens, rtol=0, atol=0)


@pytest.mark.parametrize(("registry", "name"), MIXING)
def test_padding_at_the_end_changes_nothing(registry, name, build):
    part = build(registry, name)
    streams = streams_for(part)
    tokens = fuse(part, streams)
    for index, stream in enumerate(streams):
        padded = Features(
            torch.nn.functional.pad(stream.hidden, (0, 0, 0, 3), value=9.0),
            torch.nn.functional.pad(stream.keep, (0, 3)),
        )
        longer = [*streams[:index], padded, *streams[index + 1 :]]
        torch.testing.assert_close(fuse(part, longer), tokens, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("registry", "name"), MIXING)
def test_a_sample_without_any_step_gives_zeros_and_finite_gradients(registry, name, build):
    part = build(registry, name)
    streams = streams_for(part)
    for stream in streams:
        stream.keep[0] = False
    tokens = fuse(part, streams)
    assert tokens[0].abs().max() == 0
    assert tokens[1].abs().max() > 0
    if name in WEIGHTLESS:
        return
    tokens.square().sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in part.parameters())


@pytest.mark.parametrize("name", [name for name in PREFUSION_CASES if name != "none"])
def test_prefusion_takes_any_subset(name, build):
    part = build(PREFUSIONS, name)
    assert isinstance(part.any_subset, bool)
    streams = streams_for(part)
    for lost in range(len(streams)):
        keeps = [stream.keep.clone() for stream in streams]
        keeps[lost][1] = False
        tokens = part([Features(stream.hidden, keep) for stream, keep in zip(streams, keeps, strict=True)])
        assert tokens[1].abs().max() > 1e-4
        assert (tokens[1] - part(streams)[1]).abs().max() > 1e-4
        # the same sample alone, whose batch has no sample with that stream: one blank step stands for it
        alone = [Features(stream.hidden[1:2], stream.keep[1:2]) for stream in streams]
        alone[lost] = Features(torch.zeros(1, 1, part.in_dims[lost]), torch.zeros(1, 1, dtype=torch.bool))
        torch.testing.assert_close(part(alone)[0], tokens[1], rtol=1e-5, atol=1e-5)
        part(alone).square().sum().backward()
        assert all(weight.grad is None or weight.grad.isfinite().all() for weight in part.parameters())


@pytest.mark.parametrize(("registry", "name"), MIXING)
def test_fusion_ignores_batch_mates(registry, name, build):
    part = build(registry, name)
    streams = streams_for(part)
    alone = fuse(part, [Features(stream.hidden[1:2], stream.keep[1:2]) for stream in streams])
    torch.testing.assert_close(alone[0], fuse(part, streams)[1], rtol=1e-5, atol=1e-5)


# Language models


@pytest.mark.parametrize("name", LLM_CASES)
def test_llm_keeps_packed_samples_apart_and_tells_probabilities(name, build):
    head = build(LLMS, name)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 200, (2, 6), generator=generator)
    keep = torch.tensor([[True] * 4 + [False] * 2, [True] * 6])
    labels = torch.where(keep, ids, -100)
    embeds = head.embed(ids).detach()
    logits = head(embeds, keep).logits
    found = head.logprobs(embeds, keep, labels)
    expected = logits.log_softmax(-1)[:, :-1].gather(2, ids[:, 1:, None])[..., 0] * keep[:, 1:]
    torch.testing.assert_close(found.tokens[:, 1:], expected, rtol=1e-5, atol=1e-5)
    packed = pack_samples(embeds, keep, labels)
    together = head(packed.embeds, packed.keep, None, packed.sample_ids).logits
    torch.testing.assert_close(together[0], logits[keep], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LLM_CASES)
def test_llm_draws_the_same_answers_for_the_same_seed(name, build):
    head = build(LLMS, name)
    embeds, keep = head.embed(torch.full((2, 3), 50)).detach(), torch.ones(2, 3, dtype=torch.bool)
    drawn = AnswerSampling(temperature=1.0, num_answers=2, seed=7)
    first = head.generate(embeds, keep, 5, sampling=drawn)
    assert len(first) == 4
    assert first == head.generate(embeds, keep, 5, sampling=drawn)

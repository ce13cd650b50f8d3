"""Plausible mistakes, made on purpose: each moves the numbers beyond the tolerances, by what the authors' code says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MethodType

import numpy as np
import pytest
import torch
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file

from affectgpt import AffectGPT
from affectgpt.fusion.base import masked_softmax
from affectgpt.types import Batch, Features
from releasedmodel import batch, load, loaded, off

LAYOUT = "multiface_audio_face_text"


@pytest.fixture(scope="module")
def oracle(shared: Path) -> Path:
    return shared / "oracle/model"


@pytest.fixture(scope="module")
def facts(oracle: Path) -> dict:
    return json.loads((oracle / "A/case_face.json").read_text("utf-8"))


@torch.no_grad()
def deviations(model: AffectGPT, given: Batch, oracle: Path) -> dict[str, float]:
    """How far the model is off: hidden states, the multi token, logits of the answer."""
    wanted = load_file(oracle / "A/case_face.safetensors")
    hidden = {name: model.network.encode(name, given).hidden for name in model.specs}
    tokens = model.network.slot_tokens(given)
    used = [tuple(model.network.num_tokens)]
    prompt = model.network.renderer(used, model.network.num_tokens, given.questions, given.subtitles, given.answers)
    logits: list[torch.Tensor] = []
    output = model.llm.network.get_output_embeddings()
    hook = output.register_forward_hook(lambda _m, _a, out: logits.append(out))
    model(given)
    hook.remove()
    assert int((prompt.labels != -100).sum()) == len(logits[-1])
    return {
        "audio": off(hidden["audio"], wanted["audio_hidden"]),
        "face": off(hidden["face"], wanted["face_hidden"]),
        "multi": off(tokens["multi"], wanted["multi_llm"]),
        "logits": off(logits[-1], wanted["logits_supervised"]),
    }


def raw_audio(model: AffectGPT, given: Batch, oracle: Path) -> Batch:
    stored = np.load(oracle / "preproc.npz")["sample_00000000.audio_as_loaded"][:, 0]
    return replace(given, media={**given.media, "audio": torch.from_numpy(stored)[None]})


def flip_channels(model: AffectGPT, given: Batch, oracle: Path) -> Batch:
    return replace(given, media={**given.media, "face": given.media["face"].flip(2)})


def normalize(kind: str) -> Callable[..., None]:
    def change(model: AffectGPT, *_: object) -> None:
        encoder = model.encoder("audio")
        encoder.input_spec = replace(encoder.input_spec, normalize=kind)

    return change


def last_state_only(model: AffectGPT, *_: object) -> None:
    for layer in model.encoder("audio").network.encoder.layers:
        layer._forward_pre_hooks.clear()  # they note what the earlier layers gave


def unit_length(model: AffectGPT, *_: object) -> None:
    encoder = model.encoder("face")
    forward = encoder.forward

    def normalised(self: object, media: torch.Tensor, keep: torch.Tensor) -> Features:
        features = forward(media, keep)
        return Features(torch.nn.functional.normalize(features.hidden, dim=-1), keep)

    encoder.forward = MethodType(normalised, encoder)


def softmax_over_time(model: AffectGPT, *_: object) -> None:
    for name in model.specs:
        pooling = model.network.pooling(name)
        pooling.weights = masked_softmax


def softmax_over_streams(model: AffectGPT, *_: object) -> None:
    model.prefusion.weights = masked_softmax


def audio_first(model: AffectGPT, *_: object) -> None:
    weight = model.prefusion.mix.weight.data
    half = weight.shape[1] // 2
    model.prefusion.mix.weight.data = torch.cat([weight[:, half:], weight[:, :half]], 1)


def scale_one(model: AffectGPT, *_: object) -> None:
    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.scaling["default"] = 1.0


# what changes, the figure that moves most plainly, and by how much it moves in the authors' code
MISTAKES = {
    "the mean of each segment is left in": (raw_audio, "audio", 1.5e-3),
    "each segment is normalised alone": (normalize("segment"), "audio", 8.6e-3),
    "sound is not normalised": (normalize("none"), "audio", 2.4e-1),
    "only the last hidden state is read": (last_state_only, "audio", 7.8e-1),
    "faces are RGB": (flip_channels, "face", 2.0e-1),
    "CLIP's vectors have unit length": (unit_length, "face", 8.8e-1),
    "softmax over time": (softmax_over_time, "logits", 7.2e-2),
    "softmax over the streams": (softmax_over_streams, "multi", 1.1),
    "audio before video in the pre-fusion": (audio_first, "multi", 1.4),
    "adapters of scale 1": (scale_one, "logits", 1.6),
}


def test_without_a_mistake_all_is_within_the_tolerances(oracle, facts):
    model = loaded(oracle, "A", LAYOUT)
    found = deviations(model, batch(oracle, model, facts), oracle)
    assert max(found["audio"], found["face"], found["multi"]) < 1e-5
    assert found["logits"] < 5e-5


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_shows_by_what_it_should(oracle, facts, name):
    change, figure, size = MISTAKES[name]
    model = load(oracle, "A", LAYOUT)
    given = batch(oracle, model, facts)
    given = change(model, given, oracle) or given
    found = deviations(model, given, oracle)
    assert found[figure] == pytest.approx(size, rel=0.15)
    assert found["logits"] > 5e-5, "the tolerance of the logits alone would hide it"


@torch.no_grad()
def test_batch_mates_do_not_change_a_sample(oracle, facts):
    """The authors normalise the sound of a whole batch together, which moves this sample's features by 2.8e-2."""
    model = loaded(oracle, "A", LAYOUT)
    alone = batch(oracle, model, facts)
    other = batch(oracle, model, {**facts, "samples": ["sample_short"]})
    both = replace(
        alone,
        keys=("a", "b"),
        media={name: torch.cat([alone.media[name], other.media[name]]) for name in alone.media},
        keep={name: torch.cat([alone.keep[name], other.keep[name]]) for name in alone.keep},
    )
    hidden = model.network.encode("audio", both).hidden
    assert off(hidden[:1], model.network.encode("audio", alone).hidden) < 1e-5
    assert off(hidden[1:], model.network.encode("audio", other).hidden) < 1e-5


@torch.no_grad()
def test_half_precision_files_are_read_in_single_precision_without_a_loss(oracle):
    from safetensors import safe_open

    weights = load_file(oracle / "models/Qwen2.5-7B-Instruct/model.safetensors")
    assert weights["model.embed_tokens.weight"].dtype == torch.bfloat16
    network = loaded(oracle, "A", LAYOUT).llm.network
    embedding = network.get_input_embeddings().weight
    assert embedding.dtype == torch.float32
    assert torch.equal(embedding, weights["model.embed_tokens.weight"].float())
    half = load(oracle, "A", LAYOUT, llm_dtype="float16").llm.network
    assert torch.equal(half.get_input_embeddings().weight, weights["model.embed_tokens.weight"].half())
    assert all(p.dtype == torch.float32 for name, p in half.named_parameters() if "lora_" in name)
    with safe_open(oracle / "frozen_state.safetensors", "pt") as frozen:
        assert torch.equal(embedding, frozen.get_tensor("llama_model.base_model.model.model.embed_tokens.weight"))

"""What ``save_pretrained`` writes ``from_pretrained`` reads, whatever registered parts the model is made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.checkpoints import self_test
from affectgpt.registry import ENCODERS, LLMS, POOLINGS, PREFUSIONS, PROJECTORS, Registry, Spec
from affectgpt.types import Modality
from partcases import ENCODER_CASES, LLM_CASES, POOLING_CASES, PREFUSION_CASES, PROJECTOR_CASES

pytest_plugins = ("partcases",)

SpecOf = Callable[[Registry[Any], str], Spec]
FRAME = {"encoder": {"name": "tiny-vision", "args": {"size": 16, "dim": 6}}, "pooling": "mean"}
AUDIO = {"encoder": {"name": "tiny-audio", "args": {"dim": 4, "num_mels": 16}}, "pooling": "mean"}
CONFIG: dict[str, Any] = {
    "streams": {"frame": FRAME, "audio": AUDIO},
    "llm": {"name": "tiny", "args": {"dim": 16, "layers": 1, "heads": 2, "lora": {"rank": 2}}},
    "prefusion": {"name": "attention", "args": {}},
    "media": {"frame_height": 32, "frame_width": 32, "segment_seconds": 0.25},
    "style": "brief",
}
GIVEN = ("in_dim", "in_dims", "out_dim")
"""What the model itself gives a part."""


def comes_back(folder: Path, **changes: Any) -> AffectGPT:
    torch.manual_seed(2)
    model = AffectGPT(**{**CONFIG, **changes}).eval()
    stored = {*model.state_dict()} - {*model.network.restored_keys()}
    with torch.no_grad():
        for name, tensor in model.state_dict().items():  # trained, so that nothing is what a constructor gives
            if name in stored and tensor.is_floating_point() and name in dict(model.named_parameters()):
                tensor.add_(0.01 * torch.randn_like(tensor))
    model.save_pretrained(folder / "model")
    again = AffectGPT.from_pretrained(folder / "model")
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    batch = self_test.fixed_batch(model)
    with torch.no_grad():
        torch.testing.assert_close(again(batch).logits, model(batch).logits, rtol=0, atol=0)
    return again


def own(spec: Spec) -> dict[str, Any]:
    return {"name": spec.name, "args": {name: value for name, value in spec.args.items() if name not in GIVEN}}


@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("name", ENCODER_CASES)
def test_every_encoder(name: str, trainable: bool, spec_of: SpecOf, tmp_path: Path) -> None:
    spec = spec_of(ENCODERS, name)
    source = {Modality.VISUAL: "frame", Modality.AUDIO: "audio"}[ENCODERS.build(spec).modality]
    stream = {"encoder": spec.to_json(), "pooling": "mean", "trainable": trainable}
    comes_back(tmp_path, streams={"frame": FRAME, "audio": AUDIO, source: stream})


@pytest.mark.parametrize("name", POOLING_CASES)
def test_every_pooling(name: str, spec_of: SpecOf, tmp_path: Path) -> None:
    pooling = own(spec_of(POOLINGS, name))
    comes_back(tmp_path, streams={"frame": {**FRAME, "pooling": pooling}, "audio": {**AUDIO, "pooling": pooling}})


@pytest.mark.parametrize("name", PREFUSION_CASES)
def test_every_pre_fusion(name: str, spec_of: SpecOf, tmp_path: Path) -> None:
    comes_back(tmp_path, prefusion=own(spec_of(PREFUSIONS, name)))


@pytest.mark.parametrize("name", PROJECTOR_CASES)
def test_every_projector(name: str, spec_of: SpecOf, tmp_path: Path) -> None:
    comes_back(tmp_path, projector=own(spec_of(PROJECTORS, name)))


@pytest.mark.parametrize("lora", [None, {"rank": 2, "targets": ["q_proj"]}], ids=["whole", "adapters"])
@pytest.mark.parametrize("name", LLM_CASES)
def test_every_language_model(name: str, lora: Any, spec_of: SpecOf, tmp_path: Path) -> None:
    spec = own(spec_of(LLMS, name))
    args = {**spec["args"], "lora": lora, "trainable": lora is None}
    comes_back(tmp_path, llm={"name": name, "args": args})


def test_the_cases_are_all_that_is_registered() -> None:
    mine = {**ENCODER_CASES, **POOLING_CASES, **PREFUSION_CASES, **PROJECTOR_CASES, **LLM_CASES}
    for registry in (ENCODERS, POOLINGS, PREFUSIONS, PROJECTORS, LLMS):
        ours = [entry.name for entry in registry.entries() if entry.owner == "affectgpt" and "<" not in entry.name]
        assert ours
        assert [name for name in ours if name not in mine] == []

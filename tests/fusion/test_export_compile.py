"""Every encoder, pooling, pre-fusion and projector is exported and compiled as one graph, with the same result."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch

from affectgpt.fusion.projector import LinearProjector
from affectgpt.registry import ENCODERS, POOLINGS, PREFUSIONS, Registry
from affectgpt.types import Features
from partcases import ENCODER_CASES, POOLING_CASES, PREFUSION_CASES, media_for, streams_for

pytest_plugins = ("partcases",)

CASES = [
    pytest.param(registry, name, id=f"{registry.kind}-{name}")
    for registry, cases in ((ENCODERS, ENCODER_CASES), (POOLINGS, POOLING_CASES), (PREFUSIONS, PREFUSION_CASES))
    for name in cases
    if name not in ("precomputed", "none")  # neither computes anything
]
Build = Callable[[Registry[Any], str], Any]


def inputs_of(part: Any, seed: int = 0) -> tuple[Any, ...]:
    if hasattr(part, "modality"):
        return media_for(part, seed=seed)
    streams = streams_for(part, seed=seed)
    return (streams,) if hasattr(part, "in_dims") else (streams[0],)


def tensors_of(result: Any) -> list[torch.Tensor]:
    return [result.hidden, result.keep] if isinstance(result, Features) else [result]


def same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    for one, other in zip(tensors_of(found), tensors_of(expected), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("registry", "name"), CASES)
def test_part_is_exported_and_answers_new_input(registry: Registry[Any], name: str, build: Build) -> None:
    part = build(registry, name)
    program = torch.export.export(part, inputs_of(part), strict=False)
    again = inputs_of(part, seed=1)
    same(program.module()(*again), part(*again))
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    same(torch.export.load(file).module()(*again), part(*again))


@pytest.mark.parametrize(("registry", "name"), CASES)
def test_part_compiles_as_one_graph(registry: Registry[Any], name: str, build: Build) -> None:
    part = build(registry, name)
    torch._dynamo.reset()
    compiled = torch.compile(part, fullgraph=True, backend="eager")
    given = inputs_of(part)
    same(compiled(*given), part(*given))


@pytest.mark.parametrize("hidden_dim", [None, 5])
def test_projector_is_exported_and_compiled(hidden_dim: int | None) -> None:
    projector = LinearProjector(4, 6, hidden_dim)
    tokens = torch.randn(2, 3, 4)
    torch._dynamo.reset()
    same(torch.export.export(projector, (tokens,), strict=False).module()(tokens), projector(tokens))
    same(torch.compile(projector, fullgraph=True, backend="eager")(tokens), projector(tokens))


def test_features_is_a_tree_of_its_two_tensors() -> None:
    features = Features(torch.ones(1, 2, 3), torch.ones(1, 2, dtype=torch.bool))
    leaves, spec = torch.utils._pytree.tree_flatten(features)
    assert [leaf.shape for leaf in leaves] == [(1, 2, 3), (1, 2)]
    again = torch.utils._pytree.tree_unflatten([leaf * 2 for leaf in leaves], spec)
    assert isinstance(again, Features)
    assert float(again.hidden.sum()) == 12

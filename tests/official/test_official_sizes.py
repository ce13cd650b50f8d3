"""The released model at its real sizes, on the meta device: names and shapes of its tensors, counts of the paper."""

from __future__ import annotations

import json
from types import ModuleType

import pytest

from conftest import load_script


@pytest.fixture(scope="module")
def realsizes() -> ModuleType:
    return load_script("benchmarks/real_sizes.py")


@pytest.mark.parametrize("config", "ABC")
def test_names_and_shapes_at_the_released_sizes(shared, realsizes, config):
    wanted = json.loads((shared / "oracle/model/real_size_keys.json").read_text("utf-8"))[config]
    found = realsizes.released_tensors(config)
    assert {name: list(shape) for name, shape in found.items()} == {name: shape for name, (shape, _) in wanted.items()}


def test_counts_are_those_of_the_paper(realsizes):
    a, b = realsizes.parameters("A"), realsizes.parameters("B")
    assert a["LoRA, rank 16"] == 40_370_176
    assert round(a["fusion, used"] / 1e6, 2) == 14.04
    assert round(a["image projector, unused"] / 1e6, 2) == 2.76
    assert round(a["trained, in the file"] / 1e6, 2) == 57.17
    assert round(b["trained, in the file"] / 1e6, 1) == 111.9
    for rank in (8, 32):
        name = f"LoRA, rank {rank}"
        assert realsizes.parameters("A", rank)[name] == realsizes.PUBLISHED[name]


def test_memory_follows_from_the_counts(realsizes):
    sizes = realsizes.parameters("A")
    frozen = sum(sizes[name] for name in ("CLIP ViT-L/14, image tower", "HuBERT-large", "Qwen2.5-7B"))
    everything_single = realsizes.memory_rows("A")[0]
    assert float(everything_single[1]) == pytest.approx(4 * frozen / 1e9, abs=0.01)
    assert float(everything_single[3]) == pytest.approx(
        (4 * frozen + 16 * sizes["trained, in the file"]) / 1e9, abs=0.01
    )
    assert realsizes.cache_bytes_a_token() == 2 * 28 * 4 * 128 * 2

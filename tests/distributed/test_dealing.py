"""The same samples give the same losses and gradients, however they are dealt out to ranks and micro-batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import dealing
from affectgpt.llm import TinyLM
from dealing import CONFIG, furthest
from processes import in_processes

STEPS = 20
CLIPPED = {"steps": STEPS, "gradient_clip_val": 0.5}
SAMPLES = {"config": {**CONFIG, "loss": "samples"}, "steps": 3}
OFFICIAL = {"config": {**CONFIG, "loss": "official"}, "steps": 3}
CASES: dict[int, dict[str, dict[str, Any]]] = {
    1: {
        "whole": {"config": CONFIG, "steps": STEPS},
        "2 x 4": {"config": CONFIG, "steps": 3, "accumulate": 2},
        "4 x 2": {"config": CONFIG, "steps": 3, "accumulate": 4},
        "clipped": {"config": CONFIG, **CLIPPED},
        "samples": SAMPLES,
        "samples 4 x 2": {**SAMPLES, "accumulate": 4},
        "official": OFFICIAL,
        "official 4 x 2": {**OFFICIAL, "accumulate": 4},
    },
    2: {
        "ddp": {"config": CONFIG, "steps": STEPS},
        "fsdp2": {"config": CONFIG, "steps": STEPS, "sharded": True},
        "ddp accumulated": {"config": CONFIG, "steps": 3, "accumulate": 2},
        "samples": SAMPLES,
    },
    4: {
        "ddp": {"config": CONFIG, "steps": 3},
        "fsdp2 accumulated and clipped": {"config": CONFIG, **CLIPPED, "accumulate": 2, "sharded": True},
        "samples, fsdp2": {**SAMPLES, "sharded": True},
    },
}
SAME_AS = {
    "whole": ["1 2 x 4", "1 4 x 2", "2 ddp", "2 fsdp2", "2 ddp accumulated", "4 ddp"],
    "clipped": ["4 fsdp2 accumulated and clipped"],
    "samples": ["1 samples 4 x 2", "2 samples", "4 samples, fsdp2"],
    "stored": ["2 recomputed, fsdp2", "4 stored, offloaded, fsdp2"],
}

Record = dict[str, Any]


def over(folder: Path, **args: Any) -> dict[str, Any]:
    """The configuration with adapters over a stored language model."""
    llm = {"name": "causal-lm", "args": {"path": str(folder), "lora": {"rank": 4, "dropout": 0.0}, **args}}
    return {**CONFIG, "llm": llm}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    """Every case by the number of its ranks and its name."""
    out = tmp_path_factory.mktemp("dealing")
    found = {}
    torch.manual_seed(0)
    head = TinyLM(dim=32)
    for part in (head.network, head.tokenizer):
        part.save_pretrained(out / "lm")
    half = {"config": over(out / "lm", dtype="bfloat16"), "steps": STEPS, "precision": "bf16-mixed"}
    stored = {"config": over(out / "lm"), "steps": 3}
    recomputed = {"config": over(out / "lm", gradient_checkpointing=True), "steps": 3, "sharded": True}
    more = {
        1: {"half": half, "stored": stored},
        2: {"half, fsdp2": {**half, "sharded": True}, "recomputed, fsdp2": recomputed},
        4: {"half": half, "stored, offloaded, fsdp2": {**stored, "sharded": True, "offload": True}},
    }
    for world in CASES:
        cases = {**CASES[world], **more[world]}
        path = out / f"{world}.pt"
        assert in_processes(dealing.work, cases, path, world=world) == [0] * world
        found |= {f"{world} {name}": record for name, record in torch.load(path).items()}
    return found


@pytest.mark.parametrize(
    ("reference", "other"), [(name, other) for name, others in SAME_AS.items() for other in others]
)
def test_a_step_has_one_loss_and_one_gradient(runs: dict[str, Record], reference: str, other: str) -> None:
    one, two = runs[f"1 {reference}"], runs[other]
    assert bool(two["sharded"]) == ("fsdp2" in other)
    assert two["losses"][:3] == pytest.approx(one["losses"][:3], rel=1e-6)
    assert two["losses"] == pytest.approx(one["losses"][: len(two["losses"])], rel=1e-5)
    first = {name: grad for name, grad in two["gradients"].items() if name.startswith("0:")}
    expected = {name: one["gradients"][name] for name in first}
    together = torch.stack([torch.stack([(first[n] - g).norm(), g.norm()]) for n, g in expected.items()]).norm(dim=0)
    assert together[0] < 1e-6 * together[1]
    assert furthest(first, expected)[0] < 1e-5  # of single tensors, some of which nearly cancel out
    if len(two["losses"]) == STEPS:
        assert furthest(one["gradients"], two["gradients"])[0] < 1e-4


def test_a_base_in_half_precision_gives_the_same_up_to_its_rounding(runs: dict[str, Record]) -> None:
    for name in ("2 half, fsdp2", "4 half"):
        assert runs[name]["losses"] == pytest.approx(runs["1 half"]["losses"], rel=2e-3)
    assert runs["1 half"]["losses"][-1] < runs["1 half"]["losses"][0]


def test_official_is_a_mean_of_means_that_depends_on_the_dealing(runs: dict[str, Record]) -> None:
    whole, dealt = runs["1 official"], runs["1 official 4 x 2"]
    assert whole["losses"][0] == pytest.approx(runs["1 whole"]["losses"][0], rel=1e-6)
    assert furthest(whole["gradients"], runs["1 2 x 4"]["gradients"] | {})[0] < 1e-4
    assert abs(dealt["losses"][0] - whole["losses"][0]) > 1e-3

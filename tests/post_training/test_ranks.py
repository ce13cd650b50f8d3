"""Rewards and preferences are learnt the same on one process and on two ranks, and a run goes on exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import rewardrun
from processes import in_processes

pytestmark = pytest.mark.filterwarnings("ignore")

KINDS: dict[str, dict[str, Any]] = {
    "grpo": {"kind": "grpo"},
    "dapo, two updates, adapters off": {
        "kind": "grpo",
        "arguments": {"variant": "dapo", "num_updates": 2, "reference": "adapters-off", "answers_per_pass": 2},
    },
    "dpo": {"kind": "dpo"},
}


RESUMED: dict[str, dict[str, Any]] = {
    "ddp": {"kind": "grpo", "resume": True, "batches": 2},
    "fsdp2": {"kind": "grpo", "resume": True, "batches": 2, "sharded": True},
    "dpo": {"kind": "dpo", "resume": True, "batches": 2},
}


def ran(out: Path, cases: dict[str, dict[str, Any]], world: int) -> dict[str, Any]:
    """What came of cases on a number of ranks."""
    assert in_processes(rewardrun.work, cases, out, world=world) == [0] * world
    found: dict[str, Any] = torch.load(out)
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("ranks")
    found = ran(out / "alone.pt", KINDS, 1)
    for strategy, more in (("ddp", {}), ("fsdp2", {"sharded": True})):
        cases = {f"{name}: {strategy}": {**case, **more} for name, case in KINDS.items()}
        found |= ran(out / f"{strategy}.pt", cases, 2)
    return found


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
@pytest.mark.parametrize("name", KINDS)
def test_two_ranks_take_the_step_of_one_process(runs: dict[str, Any], name: str, strategy: str) -> None:
    alone, together = runs[name], runs[f"{name}: {strategy}"]
    assert bool(together["shared"]) == (strategy == "fsdp2")
    assert together["gradients"].keys() == alone["gradients"].keys()
    assert max(float(g.abs().max()) for g in alone["gradients"].values()) > 1e-3
    for key, error in (("gradients", 1e-6), ("weights", 3e-5)):  # AdamW divides small gradients by small moments
        for name_, expected in alone[key].items():
            torch.testing.assert_close(together[key][name_], expected, rtol=1e-4, atol=error, msg=name_)
    shown = {"train/reward", "reward/vowels", "train/groups_without_spread", "answers/labels"} & alone["figures"].keys()
    assert shown or name == "dpo"
    for figure in shown:
        assert together["figures"][figure] == pytest.approx(alone["figures"][figure], abs=1e-6), figure
    assert alone["seen"][0] == rewardrun.CLIPS
    assert together["seen"][0] == rewardrun.CLIPS // 2
    assert alone["seen"][1] > 0


@pytest.mark.parametrize("name", RESUMED)
def test_a_resumed_run_of_two_ranks_ends_with_the_same_weights(name: str, tmp_path: Path) -> None:
    whole, again = ran(tmp_path / "resumed.pt", {name: RESUMED[name]}, 2)[name]
    assert all(torch.equal(weight, again["weights"][key]) for key, weight in whole["weights"].items())

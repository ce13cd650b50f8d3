"""Ranks that hold one language model together learn, answer and store what one process does."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import dealing
import tensorparallel
import tinytrain
from affectgpt import AffectGPT
from affectgpt.cli.main import main
from affectgpt.deferred_weights import deferring
from affectgpt.errors import DataError
from affectgpt.training.tensor_parallel import TensorParallelStrategy
from dealing import furthest
from memorypeak import Peak
from processes import in_processes
from tensorparallel import over, save_lm
from tinytrain import SMALL, place

STEPS = 5
Record = dict[str, Any]


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("split") / "lm"
    save_lm(folder)
    return folder


@pytest.fixture(scope="module")
def runs(lm: Path) -> dict[str, list[Record]]:
    """Every case, by the number of its ranks and its name, to what each rank tells."""
    clipped = {"steps": STEPS, "gradient_clip_val": 0.5}
    plain = {"config": over(lm), **clipped}
    dropped = {"config": over(lm, {"dropout": 0.3}, gradient_checkpointing=True), "steps": 3, "accumulate": 2}
    half = {"config": over(lm, dtype="bfloat16"), "steps": 3, "precision": "bf16-mixed"}
    some = {"targets": ("q_proj", "o_proj", "up_proj"), "rslora": True}
    few = {"config": over(lm, some, attention="eager", packing=True), "steps": 2}
    cases: dict[int, dict[str, Record]] = {
        1: {"plain": plain, "dropped": dropped, "half": half, "few": few},
        2: {
            **{
                name: {**case, "tensor": 2} for name, case in {"plain": plain, "dropped": dropped, "half": half}.items()
            },
            "packed": {**plain, "config": over(lm, packing=True), "tensor": 2},
            "few": {**few, "tensor": 2},
            "copies": dropped,
        },
        4: {
            "plain": {**plain, "accumulate": 2, "tensor": 2},
            "copies": {**dropped, "tensor": 2},
            "of four": {**plain, "steps": 2, "tensor": 4},
        },
    }
    found = {}
    for world, named in cases.items():
        out = lm.parent / str(world)
        assert in_processes(tensorparallel.work, named, out, world=world) == [0] * world
        ranks = [torch.load(lm.parent / f"{world}-{rank}.pt") for rank in range(world)]
        found |= {f"{world} {name}": [rank[name] for rank in ranks] for name in named}
    return found


def apart(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> float:
    """The norm of the difference of all gradients together, as a share of theirs; single ones nearly cancel out."""
    pairs = [torch.stack([(one[name] - grad).norm(), grad.norm()]) for name, grad in other.items()]
    difference, whole = torch.stack(pairs).norm(dim=0)
    return float(difference / whole)


@pytest.mark.parametrize(
    ("reference", "other"),
    [
        ("1 plain", "2 plain"),
        ("1 plain", "2 packed"),
        ("1 plain", "4 plain"),
        ("1 dropped", "2 dropped"),
        ("2 copies", "4 copies"),
        ("1 few", "2 few"),
        ("1 plain", "4 of four"),
    ],
)
def test_losses_and_gradients_are_those_of_whole_layers(
    runs: dict[str, list[Record]], reference: str, other: str
) -> None:
    one = runs[reference][0]
    for rank in runs[other]:
        assert rank["losses"] == pytest.approx(one["losses"][: len(rank["losses"])], rel=1e-5)
        first, expected = (
            {name: grad for name, grad in run["gradients"].items() if name.startswith("0:")} for run in (rank, one)
        )
        assert furthest(first, expected)[0] < 1e-5
        if len(rank["losses"]) == len(one["losses"]):
            assert apart(rank["gradients"], one["gradients"]) < 1e-4
            assert rank["loss"] == pytest.approx(one["loss"], rel=1e-5)
    assert one["losses"][-1] < one["losses"][0]


def test_half_precision_gives_the_same_up_to_its_rounding(runs: dict[str, list[Record]]) -> None:
    assert runs["2 half"][0]["losses"] == pytest.approx(runs["1 half"][0]["losses"], rel=2e-3)


def test_all_ranks_train_the_same_weights_and_hold_a_share_of_the_frozen_ones(runs: dict[str, list[Record]]) -> None:
    for name, ranks in runs.items():
        for rank in ranks[1:]:
            assert torch.equal(rank["trained"], ranks[0]["trained"]), name
    whole = runs["1 plain"][0]["weights"]
    assert [rank["weights"] for rank in runs["4 plain"]] == [whole // 2] * 4


def test_answers_are_those_of_whole_layers_on_every_rank(runs: dict[str, list[Record]]) -> None:
    texts = runs["1 plain"][0]["texts"]
    greedy, drawn, other_loop = texts
    assert greedy == other_loop
    assert len({*drawn}) > 3
    for name in ("2 plain", "4 plain"):
        assert [rank["texts"] for rank in runs[name]] == [texts] * len(runs[name]), name


def measure(folder: Path) -> None:
    """Write down how far the memory of this rank rose until its first step."""
    peak = Peak()
    strategy = TensorParallelStrategy(process_group_backend="gloo")
    with deferring():
        model = AffectGPT.from_config(over(folder))
    tinytrain.train({}, [0], lambda _: dealing.make_batch([0]), [peak], strategy=strategy, model=model)
    folder.with_name(f"peak-{place()[0]}").write_text(str(peak.bytes))


def test_no_rank_ever_holds_the_whole_model(tmp_path: Path) -> None:
    save_lm(tmp_path / "lm", hidden_size=512, intermediate_size=1536, num_hidden_layers=6)
    whole = (tmp_path / "lm" / "model.safetensors").stat().st_size
    assert whole > 70e6
    assert in_processes(measure, tmp_path / "lm", world=2) == [0, 0]
    for rank in range(2):
        # its share, one tensor while it is read, and what every rank makes of small parts
        assert int((tmp_path / f"peak-{rank}").read_text()) < 0.75 * whole


def differ(lm: Path) -> int:
    """Give the second rank of a group another batch; 0 if the run ends with the error that says so."""
    rank, _ = place()
    strategy = TensorParallelStrategy(process_group_backend="gloo")
    model = AffectGPT.from_config(over(lm))
    try:
        tinytrain.train({}, [0], lambda _: dealing.make_batch([rank]), strategy=strategy, model=model)
    except DataError as error:
        return 0 if "have different batches" in str(error) and f"Rank {rank} has '{rank}'" in str(error) else 2
    return 1


def test_ranks_of_a_group_with_different_batches_end_the_run(lm: Path) -> None:
    assert in_processes(differ, lm, world=2) == [0, 0]


def fit(config: Path, *more: str) -> int:
    return main(["fit", "--config", str(config), *more])


def losses_in(run: Path) -> list[float]:
    """Losses of all steps, in the order in which the command wrote them down."""
    rows = [row for file in sorted(run.rglob("metrics.csv")) for row in csv.DictReader(file.open())]
    return [float(row["train/loss"]) for row in rows if row.get("train/loss")]


def test_a_run_goes_from_one_process_to_two_that_split_it_and_back(lm: Path, shards: Path, tmp_path: Path) -> None:
    """By the command line, with dropout, in the middle of an epoch: the losses are those of a run without stops."""
    data = {"train": str(shards), "val": str(shards), "batch_size": 1, "val_batch_size": 2, "num_workers": 0}
    model = {**SMALL, "llm": over(lm, {"dropout": 0.2})["llm"], "answered_val_batches": 1}

    def stage(run: Path, steps: int, world: int = 1, last: Path | None = None) -> Path:
        saver = {"dirpath": str(run), "save_last": True, "every_n_train_steps": 1}
        trainer = {
            "max_steps": steps, "accelerator": "cpu", "devices": world, "default_root_dir": str(run),
            "log_every_n_steps": 1, "enable_progress_bar": False, "num_sanity_val_steps": 0, "val_check_interval": 2,
            "callbacks": [
                {"class_path": "ModelCheckpoint", "init_args": saver},
                {"class_path": "affectgpt.training.weight_average.WeightAverage", "init_args": {"decay": 0.5}},
            ],
        }  # fmt: skip
        if world > 1:
            trainer["strategy"] = "tensor_parallel"
        config = tmp_path / f"{run.name}-{steps}.yaml"
        config.write_text(yaml.safe_dump({"model": model, "data": {"name": "mercaption", "args": data},
                                          "trainer": trainer}))  # fmt: skip
        more = [] if last is None else ["--ckpt_path", str(last)]
        assert in_processes(fit, config, *more, world=world) == [0] * world
        return run

    whole = stage(tmp_path / "whole", 6)
    first = stage(tmp_path / "first", 2)
    second = stage(tmp_path / "second", 4, 2, first / "last.ckpt")
    third = stage(tmp_path / "third", 6, 1, second / "last.ckpt")
    expected = losses_in(whole)
    assert len(expected) == 6
    found = [loss for run in (first, second, third) for loss in losses_in(run)]
    assert found == pytest.approx(expected, rel=1e-5)
    one, two = (AffectGPT.from_checkpoint(run / "last.ckpt") for run in (whole, third))
    for (name, weight), other in zip(one.named_parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(other, weight, rtol=1e-4, atol=1e-5, msg=name)

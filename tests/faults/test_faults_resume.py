"""A run that was stopped reads on exactly where its checkpoint was written; all through a real Trainer."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch.callbacks import ModelCheckpoint

from affectgpt.errors import CheckpointError
from affectgpt.streaming.epoch_plan import EpochPlan
from streamrun import SaveEverywhere, fit

pytestmark = pytest.mark.filterwarnings("ignore")

CASES = {
    "epochs": {"max_epochs": 3},
    "steps": {"max_steps": 13},
    "accumulating": {"max_epochs": 2, "accumulate_grad_batches": 2},
    "validating": {"max_epochs": 2, "val_check_interval": 2},
    "validating_by_steps": {"max_steps": 12, "val_check_interval": 2},
    "limited": {"max_epochs": 3, "limit_train_batches": 3},
    "looking_ahead": {"max_epochs": 2, "looks_ahead": True},
    "whole_batches": {"max_epochs": 3, "data": {"drop_last": True}, "batch_size": 3},
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_read_after_a_checkpoint_is_what_was_left(shards, tmp_path, case):
    """Failures 19 and 20."""
    options = {"train": str(shards), **CASES[case]}
    options["val"] = str(shards) if case.startswith("validating") else None
    saver = SaveEverywhere(tmp_path)
    whole = fit(callbacks=[saver], **options)
    assert len({keys for _, keys, _ in whole}) > 5
    for path, seen in saver.saved:
        assert fit(ckpt=path, **options) == whole[seen:], path.name


@pytest.mark.parametrize("case", ["epochs", "steps", "accumulating", "validating", "validating_by_steps", "limited"])
def test_a_run_that_was_resumed_is_resumed_as_well(shards, tmp_path, case):
    options = {"train": str(shards), **CASES[case]}
    options["val"] = str(shards) if case.startswith("validating") else None
    saver = SaveEverywhere(tmp_path)
    whole = fit(callbacks=[saver], **options)
    batches = sum(epoch == 0 for epoch, *_ in whole)
    for first, seen in [saved for saved in saver.saved if saved[1] in (2, batches)]:
        second = SaveEverywhere(tmp_path / first.stem)
        assert fit(ckpt=first, callbacks=[second], **options) == whole[seen:], first.name
        for path, more in [
            saved for saved in second.saved if seen + saved[1] in (batches + 1, batches + 2, 2 * batches)
        ]:
            assert fit(ckpt=path, **options) == whole[seen + more :], f"{first.name} {path.name}"


@pytest.mark.parametrize("num_workers", [1, 2])
def test_batches_that_workers_had_ready_do_not_count(shards, tmp_path, num_workers):
    saver = SaveEverywhere(tmp_path)
    options = {"train": str(shards), "max_epochs": 2, "looks_ahead": True}
    whole = fit(callbacks=[saver], num_workers=num_workers, **options)
    for path, seen in saver.saved[1::4]:
        assert fit(ckpt=path, num_workers=3 - num_workers, **options) == whole[seen:], path.name


def test_what_was_read_is_not_touched_again(shards, tmp_path, monkeypatch):
    saver = SaveEverywhere(tmp_path)
    options = {"train": str(shards), "max_epochs": 1}
    whole = fit(callbacks=[saver], **options)
    loaded = []
    from affectgpt.shards.read import ShardReader

    read = ShardReader.read
    monkeypatch.setattr(ShardReader, "read", lambda self, place: loaded.append(self.key(place)) or read(self, place))
    fit(ckpt=saver.saved[2][0], **options)
    assert loaded == [key for _, keys, _ in whole[3:] for key in keys]


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 5)])
def test_another_batch_size_reads_every_remaining_sample_once(shards, tmp_path, before, after):
    saver = SaveEverywhere(tmp_path)
    options = {"train": str(shards), "max_epochs": 2}
    whole = fit(callbacks=[saver], batch_size=before, **options)
    for path, seen in saver.saved:
        rest = fit(ckpt=path, batch_size=after, **options)
        read = {e: [k for epoch, keys, _ in whole[:seen] + rest for k in keys if epoch == e] for e in (0, 1)}
        assert all(sorted(keys) == [f"clip{i}" for i in range(10)] for keys in read.values()), path.name
        assert all(len(keys) == after or keys is rest[-1][1] or epoch == 0 for epoch, keys, _ in rest)


def test_a_chain_of_sizes_within_one_epoch(shards, tmp_path):
    seen, ckpt = [], None
    for number, batch_size in enumerate([2, 1, 3, 1]):
        stop = ModelCheckpoint(tmp_path, filename=str(number), every_n_train_steps=1, save_top_k=-1)
        options = {"train": str(shards), "max_steps": number + 1, "max_epochs": -1}
        seen += fit(ckpt=ckpt, callbacks=[stop], batch_size=batch_size, **options)
        ckpt = tmp_path / f"{number}.ckpt"
    assert [len(keys) for _, keys, _ in seen] == [2, 1, 3, 1]
    keys = [key for _, keys, _ in seen for key in keys]
    assert len(set(keys)) == len(keys) == 7
    rest = fit(train=str(shards), ckpt=ckpt, batch_size=1, max_epochs=1)
    assert sorted(keys + [key for _, keys, _ in rest for key in keys]) == [f"clip{i}" for i in range(10)]


def test_other_data_in_mid_epoch_is_refused_with_the_difference(shards, tmp_path):
    saver = SaveEverywhere(tmp_path)
    fit(str(shards), callbacks=[saver], max_epochs=1)
    middle, end = saver.saved[1][0], saver.saved[-1][0]
    with pytest.raises(CheckpointError, match=r"middle of epoch 0, after 2 batches.*seed: 42 then, 7 now"):
        fit(str(shards), ckpt=middle, max_epochs=1, data={"seed": 7})
    assert fit(str(shards), ckpt=end, max_epochs=2, data={"seed": 7})
    state = torch.load(middle, weights_only=True)
    del state["MERCaptionDataModule"]
    torch.save(state, tmp_path / "foreign.ckpt")
    with pytest.raises(CheckpointError, match="does not record the data"):
        fit(str(shards), ckpt=tmp_path / "foreign.ckpt", max_epochs=1)


def test_checkpoints_stay_plain_values(shards, tmp_path):
    saver = SaveEverywhere(tmp_path)
    fit(str(shards), callbacks=[saver], max_epochs=1)
    state = torch.load(saver.saved[2][0], weights_only=True)["MERCaptionDataModule"]
    assert state["plan"]["pieces"] == [[0, 10]]
    assert state["epoch"] == 0


pieces = st.lists(st.integers(0, 40), min_size=2, max_size=8, unique=True).map(
    lambda ends: tuple(zip(sorted(ends)[::2], sorted(ends)[1::2], strict=False))
)


@given(pieces, st.integers(1, 6), st.integers(1, 4), st.booleans(), st.integers(0, 5), st.data())
@settings(max_examples=200, deadline=None)
def test_a_plan_loses_nothing_and_gives_nothing_twice(pieces, world_size, batch_size, whole, held_back, data):
    plan = EpochPlan(pieces, world_size, batch_size, whole, held_back)
    steps = data.draw(st.integers(0, plan.steps))
    used = [data.draw(st.integers(0, 3)) for _ in range(world_size)]
    assert EpochPlan.from_json(plan.to_json()) == plan

    def positions(parts):
        return [p for start, stop in parts for p in range(start, stop)]

    shares = [positions(plan.of_rank(rank)) for rank in range(world_size)]
    assert {len(share) for share in shares} == {plan.share}
    assert [positions(plan.of_rank(r, steps)) for r in range(world_size)] == [s[steps * batch_size :] for s in shares]
    reserves = [positions(plan.reserve_of(rank)) for rank in range(world_size)]
    assert sorted(itertools.chain(*shares, *reserves)) == positions(pieces)
    read = [share[: steps * batch_size] for share in shares] + [
        part[:n] for part, n in zip(reserves, used, strict=True)
    ]
    assert sorted([*itertools.chain(*read), *positions(plan.rest(steps, used))]) == positions(pieces)
    assert min(map(len, reserves)) >= held_back // world_size or plan.share == 0

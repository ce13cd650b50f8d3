"""Batches of similar length: how a window is dealt out, and that runs with them resume exactly."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import lightning
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import resume_worker
from affectgpt import AffectGPT
from affectgpt.datamodules import MERCaptionDataModule
from affectgpt.errors import ConfigError
from affectgpt.shards import pack
from affectgpt.shards.read import ShardReader
from affectgpt.streaming.epoch_plan import EpochPlan
from affectgpt.streaming.length_windows import deal, fitting_size, positions
from clipmaker import make_clip
from conftest import write_manifest
from processes import in_processes, settings_for
from quiettrainer import quiet_trainer
from streamrun import MEDIA, SaveEverywhere, fit
from tinytrain import SMALL

pytestmark = pytest.mark.filterwarnings("ignore")
LENGTHS = [3, 60, 8, 30, 5, 90, 40, 4, 12, 75, 6, 22, 50, 7, 33, 9]
DEALT = {"batch_window": 3, "task": "description"}


@pytest.fixture(scope="module")
def spread(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen clips in four shards; clip i is described in ``LENGTHS[i]`` words."""
    folder = tmp_path_factory.mktemp("spread")
    (folder / "clip.mp4").write_bytes(make_clip(0.2))
    lines = [
        {"name": f"clip{i}", "video": "clip.mp4", "labels": ["happy"], "description": " ".join(["word"] * length)}
        for i, length in enumerate(LENGTHS)
    ]
    pack(write_manifest(folder, lines), folder / "shards", samples_per_shard=4)
    return folder / "shards"


def batches(folder: Path, epoch: int = 0, skip: int = 0, **options: object) -> list[tuple[str, ...]]:
    data = MERCaptionDataModule(
        str(folder), media=MEDIA, **{"batch_size": 2, "num_workers": 0, "drop_last": False, **options}
    )
    loader = data.train_dataloader()
    loader.set_epoch(epoch, skip)
    found = [batch.keys for batch in loader]
    assert skip or len(loader) == len(found)
    return found


def padding(dealt: list[tuple[str, ...]]) -> float:
    """Share of the positions that are padding, in words."""
    words = [[LENGTHS[int(key.removeprefix("clip"))] for key in keys] for keys in dealt]
    return 1 - sum(map(sum, words)) / sum(len(row) * max(row) for row in words)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60), st.integers(1, 12))
@settings(max_examples=200, deadline=None)
def test_a_window_is_dealt_out_whole_into_as_many_batches_as_asked(lengths: list[int], count: int) -> None:
    count = min(count, len(lengths))
    dealt = deal(lengths, count, "seed")
    assert sorted(i for rows in dealt for i in rows) == list(range(len(lengths)))
    assert len(dealt) == count
    assert all(dealt)
    assert dealt == deal(lengths, count, "seed")
    size = -(-len(lengths) // count)
    inordered = sorted(lengths, reverse=True)
    plain = [inordered[start : start + size] for start in range(0, len(lengths), size)]
    assert max(positions(dealt, lengths)) <= max(len(rows) * rows[0] for rows in plain)


def test_the_size_of_batches_follows_from_a_number_of_tokens() -> None:
    lengths = LENGTHS * 8
    size = fitting_size(lengths, 400, window=4)
    for start in range(0, len(lengths) - 4 * size + 1, 4 * size):
        window = lengths[start : start + 4 * size]
        assert max(positions(deal(window, 4, ""), window)) <= 400
    assert size > fitting_size(lengths, 400, window=1) >= 1
    assert fitting_size(lengths, 89, window=4) == 0


def test_batches_hold_similar_lengths_and_do_not_depend_on_workers(spread: Path) -> None:
    plain, dealt = batches(spread, task="description"), batches(spread, **DEALT)
    assert len(dealt) == len(plain) == 8
    assert sorted(key for keys in dealt for key in keys) == sorted(f"clip{i}" for i in range(16))
    assert {len(keys) for keys in dealt} > {2}
    assert padding(dealt) < 0.6 * padding(plain)
    for first in (0, 3):  # the same samples in a window
        assert {k for keys in dealt[first : first + 3] for k in keys} == {
            k for keys in plain[first : first + 3] for k in keys
        }
    assert batches(spread, num_workers=1, **DEALT) == batches(spread, num_workers=2, **DEALT) == dealt
    assert batches(spread, epoch=1, **DEALT) != dealt
    for skip in range(9):
        assert batches(spread, skip=skip, **DEALT) == dealt[skip:]


def test_only_the_words_of_other_batches_are_read(spread: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wholes = []
    read = ShardReader.read

    def noted(self, place, only=None):
        if only is None:
            wholes.append(self.key(place))
        return read(self, place, only)

    monkeypatch.setattr(ShardReader, "read", noted)
    left = batches(spread, skip=4, **DEALT)
    assert wholes == [key for keys in left for key in keys]


def test_what_is_read_after_a_checkpoint_is_what_was_left(spread: Path, tmp_path: Path) -> None:
    options = {"train": str(spread), "max_epochs": 2, "data": DEALT, "looks_ahead": True}
    saver = SaveEverywhere(tmp_path)
    whole = fit(callbacks=[saver], num_workers=2, **options)
    assert len(whole) == 16
    for path, seen in saver.saved[::3]:
        assert fit(ckpt=path, num_workers=seen % 2, **options) == whole[seen:], path.name


@pytest.mark.parametrize("other", [{"batch_size": 3}, {"data": {**DEALT, "batch_window": 1}}])
def test_another_size_in_the_middle_of_a_window_reads_every_remaining_sample_once(
    spread: Path, tmp_path: Path, other: dict[str, object]
) -> None:
    options = {"train": str(spread), "max_epochs": 1, "data": DEALT}
    saver = SaveEverywhere(tmp_path)
    whole = fit(callbacks=[saver], **options)
    for path, seen in saver.saved:
        rest = fit(ckpt=path, **{**options, **other})
        keys = [key for _, keys, _ in whole[:seen] + rest for key in keys]
        assert sorted(keys) == sorted(f"clip{i}" for i in range(16)), path.name
    twice = SaveEverywhere(tmp_path / "twice")  # and the rest of a rest
    begun = fit(ckpt=saver.saved[1][0], callbacks=[twice], **{**options, **other})
    again = fit(ckpt=twice.saved[0][0], **options)
    keys = [key for _, keys, _ in whole[:2] + begun[:1] + again for key in keys]
    assert sorted(keys) == sorted(f"clip{i}" for i in range(16))


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_on_another_number_of_ranks_every_remaining_sample_comes_once(
    spread: Path, tmp_path: Path, before: int, after: int
) -> None:
    out = tmp_path / "run"
    keys: list[str] = []
    for world, kill_at in ((before, 3), (after, None)):  # the checkpoint is from the middle of a window of 3 batches
        for file in out.glob("seen-*"):
            file.unlink()
        options = settings_for(out, shards=str(spread), max_epochs=1, kill_at=kill_at, world=world, data=DEALT)
        codes = in_processes(resume_worker.main, options, world=world)
        assert kill_at is not None or codes == [0] * world
        for rank in range(world):
            lines = [json.loads(line) for line in (out / f"seen-{rank}.jsonl").read_text().splitlines()]
            keys += [key for line in lines[: 2 if kill_at else None] for key in line[3]]
    assert len(set(keys)) == len(keys)
    assert 16 - 2 * after < len(keys) <= 16  # what does not make a batch on each rank is left out of the epoch


def test_a_bad_sample_is_replaced_and_resuming_is_exact(spread: Path, tmp_path: Path) -> None:
    folder = tmp_path / "spoilt"
    shutil.copytree(spread, folder)
    for tar in sorted(folder.glob("*.tar"))[:2]:  # the words of one, the pictures of another
        content = tar.read_bytes()
        wrong = content.replace(b'"description"', b"'description'", 1) if "0000" in tar.name else content
        tar.write_bytes(wrong if wrong != content else content.replace(b"moov", b"xxxx", 1))
    options = {"train": str(folder), "max_epochs": 1, "data": {**DEALT, "bad_sample_budget": 0.2, "drop_last": True}}
    saver = SaveEverywhere(tmp_path)
    whole = fit(callbacks=[saver], default_root_dir=tmp_path / "a", **options)
    keys = [key for _, keys, _ in whole for key in keys]
    assert len(keys) == len(set(keys)) == 12
    assert (tmp_path / "a" / "bad_samples.jsonl").is_file()
    for path, seen in saver.saved:
        assert fit(ckpt=path, default_root_dir=tmp_path / path.stem, **options) == whole[seen:], path.name


def test_a_worker_that_is_killed_loses_nothing(spread: Path) -> None:
    expected = batches(spread, **DEALT)
    data = MERCaptionDataModule(str(spread), media=MEDIA, batch_size=2, num_workers=1, drop_last=False, **DEALT)
    loader = data.train_dataloader()
    loader.set_epoch(0)
    found = []
    for number, batch in enumerate(loader):
        found.append(batch.keys)
        if number == 1:
            for worker in _workers(loader):
                os.kill(worker, signal.SIGKILL)
    assert found == expected


def _workers(loader: object) -> list[int]:
    from affectgpt.datamodules.worker_watch import _WATCHES

    return [worker.pid for watch in _WATCHES for worker in watch._workers if worker.is_alive()]


def test_plans_of_earlier_versions_are_read_and_wrong_numbers_refused() -> None:
    plan = EpochPlan(((0, 12),), 2, 2, window=3)
    assert EpochPlan.from_json(plan.to_json()) == plan
    assert "window" not in EpochPlan(((0, 12),), 2, 2).to_json()
    with pytest.raises(ConfigError, match="no plan"):
        EpochPlan.from_json({**plan.to_json(), "window": "x"})
    with pytest.raises(ConfigError, match="batch_tokens=0"):
        MERCaptionDataModule("x", batch_tokens=0)


class Positions(lightning.Callback):
    """Notes the size of every batch and the loss of every step."""

    def __init__(self) -> None:
        self.positions: list[int] = []
        self.losses: list[float] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        with torch.no_grad():
            self.positions.append(pl_module(batch).num_positions)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if trainer.global_step > len(self.losses):
            self.losses.append(float(trainer.callback_metrics["train/loss"]))


def learn(spread: Path, folder: Path, *, accumulate: int = 1, **options: object) -> tuple[Positions, dict, int]:
    """Train a model for an epoch; its notes, its weights, and the size of batches."""
    lightning.seed_everything(1)
    model = AffectGPT.from_config({**SMALL, "max_tokens": 700})
    data = MERCaptionDataModule(
        str(spread), media=model.media.to_json(), style="brief", task="description", num_workers=0, drop_last=False,
        **options,
    )  # fmt: skip
    notes = Positions()
    trainer = quiet_trainer(
        max_epochs=1, accumulate_grad_batches=accumulate, callbacks=[notes], default_root_dir=folder
    )
    trainer.fit(model, data)
    return notes, {name: value.clone() for name, value in model.state_dict().items()}, data.batch_size


def test_a_step_learns_the_same_however_its_samples_are_dealt_out(spread: Path, tmp_path: Path) -> None:
    plain, expected, _ = learn(spread, tmp_path, accumulate=4, batch_size=2)
    dealt, found, _ = learn(spread, tmp_path, accumulate=4, batch_size=2, batch_window=4)
    assert len(plain.losses) == 2
    assert dealt.losses == pytest.approx(plain.losses, rel=1e-5)
    assert sum(dealt.positions) < 0.85 * sum(plain.positions)
    assert max(dealt.positions) < max(plain.positions)
    assert all(torch.allclose(found[name], expected[name], atol=2e-5) for name in expected)


def test_a_number_of_tokens_takes_the_place_of_a_number_of_samples(spread: Path, tmp_path: Path) -> None:
    notes, _, size = learn(spread, tmp_path, batch_tokens=1400, batch_window=4)
    assert size == 5
    assert max(notes.positions) <= 1400
    assert len(notes.positions) == 4
    with pytest.raises(ConfigError, match=r"batch_tokens=50, but a sample has \d+ tokens"):
        learn(spread, tmp_path, batch_tokens=50)

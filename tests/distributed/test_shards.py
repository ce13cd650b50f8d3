"""Checkpoints in shards: written by two ranks, gone on from by four and by two again, read by one process."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import threading
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch.distributed.tensor import DTensor

import dealing
import tinytrain
from affectgpt import AffectGPT
from affectgpt.checkpoints import shard_writer
from affectgpt.checkpoints.shard_folder import is_shard_folder, read_facts, read_weights
from affectgpt.checkpoints.shard_writer import ShardWriter
from affectgpt.cli.main import main
from affectgpt.deferred_weights import deferring
from affectgpt.errors import CheckpointError
from affectgpt.llm import TinyLM
from affectgpt.training.sharding import ShardedStrategy
from fulldisk import largest_file
from memorypeak import Peak
from processes import in_processes
from tinyencoders import pretrained_config, save_clip, save_hubert
from tinytrain import place

STEPS_AN_EPOCH = 2
LM = {"dim": 640, "layers": 6, "heads": 4}


def config_of(folder: Path) -> dict[str, Any]:
    """Everything frozen lies in files; adapters in front of it."""
    llm = {"name": "causal-lm", "args": {"path": str(folder / "lm"), "lora": {"rank": 4, "dropout": 0.0}}}
    media = {**dealing.CONFIG["media"], "segment_seconds": 0.1}
    return pretrained_config(folder / "clip", folder / "hubert", llm=llm, media=media, max_new_tokens=2)


def learn(folder: Path, name: str, epochs: int, ckpt: str | None, *, alone: bool = False) -> None:
    """Train up to some epochs, and write a checkpoint; the first rank writes down what came."""
    rank, world = place()

    def make(step: int) -> Any:
        size = dealing.SAMPLES_A_STEP // world
        first = step * dealing.SAMPLES_A_STEP + rank * size
        return dealing.make_batch(range(first, first + size))

    notes, peak = dealing.Notes(-1), Peak()
    lightning.seed_everything(3, verbose=False)
    if alone:
        model, strategy = AffectGPT.from_config(config_of(folder)), "auto"
    else:
        with deferring():
            model = AffectGPT.from_config(config_of(folder))
        strategy = ShardedStrategy(process_group_backend="gloo")
    model.start_from(folder / "start.ckpt")
    trainer = tinytrain.train(
        {}, range(STEPS_AN_EPOCH), make, [notes, peak], strategy=strategy, model=model, max_epochs=epochs,
        ckpt_path=None if ckpt is None else folder / ckpt,
    )  # fmt: skip
    trainer.save_checkpoint(folder / f"{name}.ckpt")
    sharded = sum(isinstance(p, DTensor) for p in model.parameters())
    record = {"losses": notes.losses, "peak": peak.bytes, "sharded": sharded, "step": trainer.global_step}
    (folder / f"{name}-{rank}.json").write_text(json.dumps(record))


def alone(folder: Path) -> None:
    """The same in one process, without any stop."""
    learn(folder, "alone", 3, None, alone=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The networks, and what each run left."""
    path = tmp_path_factory.mktemp("shards")
    save_clip(path / "clip")
    save_hubert(path / "hubert")
    torch.manual_seed(0)
    head = TinyLM(**LM)
    head.network.save_pretrained(path / "lm", max_shard_size="40MB")
    head.tokenizer.save_pretrained(path / "lm")
    AffectGPT.from_config(config_of(path)).save_checkpoint(path / "start.ckpt")
    assert in_processes(alone, path) == [0]
    assert in_processes(learn, path, "two", 1, None, world=2) == [0, 0]
    assert in_processes(learn, path, "four", 2, "two.ckpt", world=4) == [0] * 4
    assert in_processes(learn, path, "two-again", 3, "four.ckpt", world=2) == [0, 0]
    return path


def record(folder: Path, name: str, rank: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{name}-{rank}.json").read_text())
    return found


def test_shared_runs_on_two_and_four_ranks_go_on_as_one_process_does(folder: Path) -> None:
    whole = record(folder, "alone")["losses"]
    assert len(whole) == 3 * STEPS_AN_EPOCH
    assert whole[-1] < 0.5 * whole[0]
    stages = [record(folder, name) for name in ("two", "four", "two-again")]
    assert [stage["step"] for stage in stages] == [2, 4, 6]
    assert all(stage["sharded"] for stage in stages)
    assert [loss for stage in stages for loss in stage["losses"]] == pytest.approx(whole, rel=1e-5)


def test_no_rank_ever_holds_the_whole_model(folder: Path) -> None:
    whole = sum(file.stat().st_size for file in (folder / "lm").glob("*.safetensors"))
    assert whole > 80e6
    for name, world in (("two", 2), ("four", 4)):
        for rank in range(world):
            # its share, one tensor while it is read, and what every rank makes of small parts
            assert record(folder, name, rank)["peak"] < whole / world + 0.25 * whole, (name, rank)


def test_one_process_reads_shards_and_one_small_file_made_of_them(folder: Path, capsys) -> None:
    assert is_shard_folder(folder / "two-again.ckpt")
    expected = AffectGPT.from_checkpoint(folder / "alone.ckpt")
    found = AffectGPT.load(folder / "two-again.ckpt")
    batch = dealing.make_batch([0, 1, 2])
    with torch.no_grad():
        assert float(found(batch).loss) == pytest.approx(float(expected(batch).loss), rel=1e-4)
    out = folder / "trained.safetensors"
    assert main(["convert", str(folder / "two-again.ckpt"), str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["stored"] == sum(p.numel() for p in expected.parameters() if p.requires_grad)
    assert out.stat().st_size < 4.2 * told["stored"]
    again = AffectGPT.load(out)
    with torch.no_grad():
        assert torch.equal(again(batch).loss, found(batch).loss)
    assert main(["convert", str(folder / "two.ckpt"), str(folder / "two.safetensors")]) == 0
    assert "stored" in capsys.readouterr().out


class Harmful:
    def __reduce__(self) -> Any:
        return os.mkdir, ("harmed",)


@pytest.mark.parametrize("file", [".metadata", "meta.pt"])
def test_reading_a_folder_of_others_runs_no_code(folder: Path, tmp_path: Path, monkeypatch, file: str) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder / "two.ckpt", tmp_path / "bad.ckpt")
    (tmp_path / "bad.ckpt" / file).write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(CheckpointError):
        AffectGPT.from_checkpoint(tmp_path / "bad.ckpt")
    assert not Path("harmed").exists()


@pytest.mark.parametrize("how", ["gone", "cut"])
def test_a_damaged_folder_is_refused(folder: Path, tmp_path: Path, how: str) -> None:
    shutil.copytree(folder / "two.ckpt", tmp_path / "bad.ckpt")
    file = next((tmp_path / "bad.ckpt").glob("*.distcp"))
    file.unlink() if how == "gone" else file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cannot be read"):
        AffectGPT.from_checkpoint(tmp_path / "bad.ckpt")


def test_a_full_disk_leaves_the_checkpoint_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    ShardWriter().write({"state_dict": {"weight": torch.ones(4)}}, {"step": 1}, path)
    with (
        largest_file(200_000),
        pytest.raises(CheckpointError, match=r"File too large.*earlier checkpoints are as"),
    ):
        ShardWriter().write({"state_dict": {"weight": torch.ones(10**6)}}, {"step": 2}, path)
    assert read_facts(path) == {"step": 1}
    assert read_weights(path)["weight"].tolist() == [1.0] * 4
    assert [one.name for one in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_folder_whose_renaming_was_cut_short_returns(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    ShardWriter().write({"state_dict": {"weight": torch.ones(4)}}, {"step": 1}, path)
    path.rename(tmp_path / ".last.ckpt-replaced")
    assert is_shard_folder(path)
    assert read_facts(path) == {"step": 1}


def test_readers_of_a_folder_that_is_being_replaced_break_nothing(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    writer = ShardWriter()
    writer.write({"state_dict": {"weight": torch.zeros(1)}}, {"step": 0}, path)
    over, problems = threading.Event(), []

    def read() -> None:
        while not over.is_set():
            try:
                is_shard_folder(path)
            except OSError as error:
                problems.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for step in range(1, 40):
            writer.write({"state_dict": {"weight": torch.full((1,), step)}}, {"step": step}, path)
    finally:
        over.set()
        for reader in readers:
            reader.join()
    assert not problems
    assert read_facts(path) == {"step": 39}
    assert [one.name for one in tmp_path.iterdir()] == ["last.ckpt"]


def test_no_checkpoint_is_written_under_a_name_that_another_machine_may_remember(tmp_path: Path, monkeypatch) -> None:
    used = []
    writer_of = shard_writer.FileSystemWriter

    def noted(folder: Path, **options: Any) -> Any:
        used.append(folder.name)
        return writer_of(folder, **options)

    monkeypatch.setattr(shard_writer, "FileSystemWriter", noted)
    (tmp_path / ".last.ckpt-saving-left").mkdir()
    for step in range(3):
        ShardWriter().write({"state_dict": {"weight": torch.ones(1)}}, {"step": step}, tmp_path / "last.ckpt")
    assert len(set(used)) == 3
    assert [one.name for one in tmp_path.iterdir()] == ["last.ckpt"]

"""What is written has the mode that the umask asks for, neither wider nor narrower."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from affectgpt.bench.answer_log import AnswerLog
from affectgpt.cli.main import main
from affectgpt.files import draft_folder, write_whole
from affectgpt.shards import pack
from affectgpt.training.whole_file import WholeFileIO


@pytest.fixture(params=[0o022, 0o077, 0o002])
def mask(request: pytest.FixtureRequest) -> Iterator[int]:
    earlier = os.umask(request.param)
    yield request.param
    os.umask(earlier)


@pytest.mark.filterwarnings("ignore")
def test_every_file_follows_the_umask(corpus: Path, tmp_path: Path, mask: int) -> None:
    top = tmp_path / "written"
    top.mkdir()
    pack(corpus / "manifest.jsonl", top / "shards", samples_per_shard=3)
    assert main(["check", str(top / "shards")]) == 0
    WholeFileIO().save_checkpoint({"state_dict": {"w": torch.ones(1)}}, top / "run" / "a.ckpt")
    write_whole(top / "answers.jsonl", "{}")
    with draft_folder(top / "unpacked") as folder:
        (folder / "model.safetensors").write_bytes(b"1")
    with AnswerLog(top / "answers.log", {"run": 1}) as log:
        log.add([{"key": "a", "text": "calm"}])
        modes = {path: path.stat().st_mode & 0o777 for path in top.rglob("*")}
    assert len(modes) > 12
    for path, mode in modes.items():
        assert mode == (0o777 if path.is_dir() else 0o666) & ~mask, path

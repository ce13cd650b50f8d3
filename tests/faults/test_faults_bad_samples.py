"""Samples that cannot be decoded, on one rank or on several, within the budget and beyond it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import resume_worker
from affectgpt.datamodules import MERCaptionDataModule
from affectgpt.datamodules.stream_loader import AskedStream, StreamLoader
from affectgpt.errors import ConfigError, DataError
from affectgpt.media import MediaProfile
from affectgpt.streaming import ShardStream
from affectgpt.streaming.bad_samples import BadSampleBudget
from processes import in_processes, settings_for
from streamrun import MEDIA, SaveEverywhere, fit

pytestmark = pytest.mark.filterwarnings("ignore")
ALL = {f"clip{number}" for number in range(10)}


def spoil(shards: Path, folder: Path, *keys: str) -> Path:
    """A copy of the shards in which some clips cannot be decoded."""
    shutil.copytree(shards, folder)
    for path in folder.glob("*.tar"):
        content = path.read_bytes()
        for key in keys:
            start = content.find(key.encode() + b".mp4")
            if start >= 0:
                content = content[:start] + content[start:].replace(b"moov", b"xxxx", 1)
        path.write_bytes(content)
    return folder


def report(folder: Path) -> dict[str, dict]:
    lines = [json.loads(line) for line in (folder / "bad_samples.jsonl").read_text().splitlines()]
    found = {line["key"]: line for line in lines}
    assert len(found) == len(lines)
    return found


@pytest.mark.parametrize("num_workers", [0, 2])
def test_bad_samples_are_replaced_reported_once_and_nothing_comes_twice(shards, tmp_path, num_workers, caplog):
    folder = spoil(shards, tmp_path / "spoilt", "clip2", "clip5")
    options = {"train": str(folder), "max_epochs": 3, "data": {"bad_sample_budget": 0.2, "drop_last": True}}
    seen = fit(**options, num_workers=num_workers, default_root_dir=tmp_path)
    for epoch in range(3):
        keys = [key for number, batch, _ in seen if number == epoch for key in batch]
        assert len(keys) == len(set(keys)) == 8  # 10, less the 2 that wait in reserve
        assert set(keys) == ALL - {"clip2", "clip5"}
    found = report(tmp_path)
    assert set(found) == {"clip2", "clip5"}
    assert all(line["replaced_by"] in ALL | {None} and line["code"] == "undecodable" for line in found.values())
    assert found["clip5"]["shard"] == "shard-000001.tar"
    assert "clip5" in found["clip5"]["reason"]
    logged = [record.getMessage() for record in caplog.records if "bad sample" in record.getMessage()]
    assert len(logged) == 2


def test_more_than_the_budget_stops_and_says_why(shards, tmp_path):
    folder = spoil(shards, tmp_path / "spoilt", "clip2", "clip5", "clip7")
    options = {"train": str(folder), "default_root_dir": tmp_path, "max_epochs": 5}
    with pytest.raises(DataError, match=r"3 of 10 samples are bad, but bad_sample_budget=0\.2 allows 2.*bad_samples"):
        fit(**options, data={"bad_sample_budget": 0.2})
    assert set(report(tmp_path)) == {"clip2", "clip5", "clip7"}
    for budget in (0.0, 0.001):  # of ten samples, one in a thousand is none
        with pytest.raises(DataError, match=r"clip 'clip\d'.*sample \d of shard"):
            fit(**options, data={"bad_sample_budget": budget}, num_workers=1)
    with pytest.raises(ConfigError, match="bad_sample_budget=1"):
        BadSampleBudget(1)


def test_a_batch_is_short_when_the_rank_has_no_reserve_left_and_never_empty(shards, tmp_path):
    def batches(*bad):
        folder = spoil(shards, tmp_path / "-".join(bad), *bad)
        args = {"rank": 0, "world_size": 2, "block": 2, "whole_blocks": True, "held_back": 2, "tolerant": True}
        stream = AskedStream(ShardStream(folder, MediaProfile.of(MEDIA), **args), "labels", answered=True)
        return [batch.keys for batch in StreamLoader(stream, None, BadSampleBudget(0.2), batch_size=2)]

    assert batches("clip0", "clip2") == [("clip8", "clip1"), ("clip3",)]
    with pytest.raises(DataError, match="all 2 samples of a batch are bad and this rank's reserve is empty"):
        batches("clip0", "clip2", "clip3")


def test_two_ranks_stay_in_step_and_count_together(shards, tmp_path):
    """Failure 18."""
    folder = spoil(shards, tmp_path / "spoilt", "clip2", "clip5")
    for budget, codes in ((0.4, [0, 0]), (0.1, [1, 1])):
        out = tmp_path / f"budget{budget}"
        settings = settings_for(out, shards=str(folder), max_epochs=3, batch_size=1, budget=budget, world=2)
        assert in_processes(resume_worker.main, settings, world=2) == codes
        assert set(report(out)) == {"clip2", "clip5"}
        lines = [
            [json.loads(line) for line in (out / f"seen-{rank}.jsonl").read_text().splitlines()] for rank in (0, 1)
        ]
        assert len(lines[0]) == len(lines[1])
        for epoch in range(3):
            keys = [key for line in lines[0] + lines[1] if line[0] == epoch for key in line[3]]
            assert len(keys) == len(set(keys))
            assert not {"clip2", "clip5"} & set(keys)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_resuming_is_exact_with_bad_samples(shards, tmp_path, num_workers):
    folder = spoil(shards, tmp_path / "spoilt", "clip2", "clip5")
    options = {"train": str(folder), "max_epochs": 2, "data": {"bad_sample_budget": 0.3, "drop_last": True}}
    saver = SaveEverywhere(tmp_path)
    whole = fit(**options, callbacks=[saver], default_root_dir=tmp_path / "a")
    for path, seen in saver.saved[:: 1 if num_workers == 0 else 3]:
        rest = fit(**options, ckpt=path, num_workers=num_workers, default_root_dir=tmp_path / path.stem)
        assert rest == whole[seen:], path.name
    for path, seen in saver.saved:  # with another batch size nothing comes twice, and the bad ones stay known
        rest = fit(**options, ckpt=path, batch_size=1, default_root_dir=tmp_path / "b")
        for epoch in (0, 1):
            keys = [key for number, batch, _ in whole[:seen] + rest if number == epoch for key in batch]
            assert len(keys) == len(set(keys)), path.name
            assert not {"clip2", "clip5"} & set(keys)


def test_outside_of_training_the_first_bad_sample_stops(shards, tmp_path):
    folder = spoil(shards, tmp_path / "spoilt", "clip2")
    data = MERCaptionDataModule(test=str(folder), num_workers=0, media=MEDIA, bad_sample_budget=0.5)
    with pytest.raises(DataError, match="clip2"):
        list(data.test_dataloader())


def test_a_clip_without_a_target_counts_as_bad(corpus, tmp_path):
    from affectgpt.shards import pack

    lines = [json.loads(line) for line in (corpus / "manifest.jsonl").read_text().splitlines()]
    del lines[3]["labels"], lines[3]["description"]
    manifest = corpus / "one_without.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    pack(manifest, tmp_path / "shards", samples_per_shard=4)
    fit(str(tmp_path / "shards"), max_epochs=2, data={"bad_sample_budget": 0.1}, default_root_dir=tmp_path)
    assert report(tmp_path)["clip3"]["code"] == "no_target"

"""The shard writer: resumed after an interruption, refused where the result would differ, never seen half-written."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pytest
import webdataset
from filelock import FileLock

from affectgpt.errors import ConfigError, DataError
from affectgpt.manifests.record import SampleError
from affectgpt.media.isolation import map_in_order
from affectgpt.shards import Sample, ShardWriter, read_index
from affectgpt.shards.read import ShardReader
from packjobs import own_pid, square, square_or_die

KEYS = [f"clip-{number}" for number in range(10)]


def write(out: Path, keys: list[str] = KEYS, stop_at: str | None = None, **arguments: object) -> ShardWriter:
    """Write small samples, every fourth of them rejected."""
    with ShardWriter(out, samples_per_shard=2, **arguments) as writer:
        for number, key in enumerate(keys):
            if number < writer.resume(keys):
                continue
            if key == stop_at:
                raise KeyboardInterrupt
            if number % 4 == 3:
                writer.reject(SampleError(key, "probe", "odd", f"{key} is odd"))
            else:
                facts = {"labels": ["calm"], "duration_seconds": 0.1 * number, "has_video": True}
                writer.write(Sample(key, {"bin": key.encode() * (number + 1)}, facts))
        writer.finish({"source": "made"})
    return writer


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def interrupted(out: Path, stop_at: str, **arguments: object) -> Path:
    with pytest.raises(KeyboardInterrupt):
        write(out, stop_at=stop_at, **arguments)
    return out.parent / f".{out.name}.packing"


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    write(tmp_path / "out", form="features", recipe={"streams": {"audio": "abc"}})
    index = read_index(tmp_path / "out")
    assert (index.form, index.recipe, index.samples) == ("features", {"streams": {"audio": "abc"}}, 8)
    assert [shard.samples for shard in index.shards] == [2, 2, 2, 2]
    assert (index.labels, index.modalities["video"], index.duration_seconds) == ({"calm": 8}, 8, 3.5)
    with ShardReader(tmp_path / "out" / "shard-000001.tar", 2) as reader:
        assert reader.read(1)[1]["bin"] == b"clip-4" * 5
    rejects = [json.loads(line) for line in (tmp_path / "out" / "rejects.jsonl").read_text().splitlines()]
    assert [reject["key"] for reject in rejects] == ["clip-3", "clip-7"]


@pytest.mark.parametrize("stop_at", KEYS)
def test_resumed_anywhere_the_result_is_the_same_byte_for_byte(tmp_path: Path, stop_at: str) -> None:
    write(tmp_path / "whole")
    interrupted(tmp_path / "out", stop_at)
    assert not (tmp_path / "out").exists()
    write(tmp_path / "out")
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]


def test_a_torn_journal_line_and_a_half_written_tar_are_done_again(tmp_path: Path) -> None:
    write(tmp_path / "whole")
    draft = interrupted(tmp_path / "out", "clip-8")
    lines = (draft / "journal.jsonl").read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + 3
    (draft / "journal.jsonl").write_bytes(b"".join(lines[:3]) + lines[3][:40])
    (draft / "shards" / "shard-000003.tar").write_bytes(b"half")
    write(tmp_path / "out")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_changed_inputs_or_settings_are_refused_and_restart_begins_anew(tmp_path: Path) -> None:
    interrupted(tmp_path / "out", "clip-8")
    with pytest.raises(DataError, match=r"inputs changed.*shard-000001\.tar \(from 'clip-2' to 'clip-4'\)"):
        write(tmp_path / "out", [*KEYS[:2], "new", *KEYS[3:]])
    with pytest.raises(DataError, match="inputs changed"):
        write(tmp_path / "out", KEYS[:3])
    with pytest.raises(ConfigError, match="form 'media' there, 'features' here"):
        write(tmp_path / "out", form="features")
    write(tmp_path / "out", KEYS[:3], restart=True)
    assert read_index(tmp_path / "out").samples == 3


def test_inputs_behind_the_finished_shards_may_be_mended(tmp_path: Path) -> None:
    interrupted(tmp_path / "out", "clip-8")
    mended = [*KEYS[:8], "mended", "clip-9"]
    write(tmp_path / "out", mended)
    write(tmp_path / "whole", mended)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_lost_or_cut_finished_shard_is_noticed(tmp_path: Path) -> None:
    draft = interrupted(tmp_path / "out", "clip-8")
    os.truncate(draft / "shards" / "shard-000000.tar", 100)
    with pytest.raises(DataError, match=r"shard-000000\.tar.*has 100 bytes, but its journal says"):
        write(tmp_path / "out")


def test_only_one_process_writes_a_folder(tmp_path: Path) -> None:
    draft = interrupted(tmp_path / "out", "clip-8")
    with FileLock(draft / "lock"), pytest.raises(ConfigError, match="another process is writing"):
        write(tmp_path / "out")
    write(tmp_path / "out")


def test_killed_while_the_old_folder_gives_way(tmp_path: Path) -> None:
    write(tmp_path / "out", KEYS[:3])
    draft = interrupted(tmp_path / "out", "clip-8", overwrite=True)
    (tmp_path / "out").rename(draft / "replaced")  # what a kill between the two renames leaves
    with pytest.raises(ConfigError, match="already exists"):
        write(tmp_path / "out")
    assert read_index(tmp_path / "out").samples == 3
    write(tmp_path / "out", overwrite=True)
    assert read_index(tmp_path / "out").samples == 8


@pytest.mark.parametrize("workers", [0, 2])
def test_results_come_in_order(workers: int) -> None:
    assert list(map_in_order(square, range(20), workers, square)) == [number**2 for number in range(20)]


def test_a_job_that_kills_its_process_is_named_and_the_others_are_done() -> None:
    found = list(map_in_order(square_or_die, range(7), 2, lambda number, how: -number))
    assert found == [0, 1, 4, -3, -4, 25, 36]


def test_the_work_is_done_in_other_processes() -> None:
    assert os.getpid() not in set(map_in_order(own_pid, range(3), 2, own_pid))


def test_tars_are_those_of_webdataset_without_owner_and_time(tmp_path: Path) -> None:
    write(tmp_path / "out", ["clip-é", "b"])
    found = (tmp_path / "out" / "shard-000000.tar").read_bytes()
    with webdataset.TarWriter(str(tmp_path / "plain.tar"), encoder=False, mtime=0, user="", group="") as tar:
        for sample in webdataset.WebDataset(str(tmp_path / "out" / "shard-000000.tar"), shardshuffle=False):
            tar.write(sample)
    assert found == (tmp_path / "plain.tar").read_bytes()
    with tarfile.open(tmp_path / "out" / "shard-000000.tar") as tar:
        members = tar.getmembers()
    assert {(m.uname, m.gname, m.uid, m.gid, m.mtime, m.mode) for m in members} == {("", "", 0, 0, 0, 0o444)}


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        (Sample("a.b", {"mp4": b"1"}), "'a.b' cannot be a key"),
        (Sample("../a", {"mp4": b"1"}), "cannot be a key"),
        (Sample("", {"mp4": b"1"}), "cannot be a key"),
        (Sample("a" * 300, {"mp4": b"1"}), "of at most 200 bytes"),
        (Sample("a", {"_mp4": b"1"}), "'_mp4' cannot be the suffix"),
        (Sample("a", {"MP4": b"1"}), "'MP4' cannot be the suffix"),
        (Sample("a", {"json": b"1"}), "'json' cannot be the suffix"),
        (Sample("a", {"mp4": b"1"}, {"subtitle": "half \ud83d"}), "unpaired surrogate"),
        (Sample("a", {"mp4": b"1"}, {"score": float("nan")}), "not plain JSON"),
    ],
)
def test_what_nobody_could_read_back_is_refused_by_name(tmp_path: Path, sample: Sample, words: str) -> None:
    with ShardWriter(tmp_path / "out") as writer:
        with pytest.raises(SampleError, match=words) as caught:
            writer.write(sample)
        writer.reject(caught.value)
        writer.write(Sample("good", {"mp4": b"1"}))
        _, listed, _ = writer.finish()
    assert [reject.code for reject in listed] == ["unfit"]
    assert sorted(content(tmp_path / "out")) == ["README.md", "index.json", "rejects.jsonl", "shard-000000.tar"]
    with ShardWriter(tmp_path / "none") as writer:
        writer.reject(caught.value)
        with pytest.raises(DataError, match="no input gave a sample"):
            writer.finish()

"""The check of a shard folder: nothing to say about a whole one, and every fault of a broken one by name."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from affectgpt.cli.main import main
from affectgpt.errors import DataError
from affectgpt.media import MediaProfile
from affectgpt.shards import Sample, ShardWriter, read_index
from affectgpt.shards.cache import ShardCache
from affectgpt.shards.check import check_shards
from affectgpt.shards.index import ShardIndex
from affectgpt.streaming import ShardStream
from affectgpt.web import Patience
from clipmaker import make_clip
from shardserver import serving


@pytest.fixture
def folder(shards: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shards, tmp_path / "shards"))


def rewrite(folder: Path, number: int, change: Callable[[str, bytes], tuple[str, bytes] | None]) -> None:
    """Change the members of a tar, and let the index say so: what is wrong then is in the samples."""
    index = read_index(folder)
    path = folder / index.shards[number].name
    out = io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=out, mode="w") as new:
        for member in old:
            changed = change(member.name, old.extractfile(member).read())
            if changed is not None:
                info = tarfile.TarInfo(changed[0])
                info.size = len(changed[1])
                new.addfile(info, io.BytesIO(changed[1]))
    path.write_bytes(out.getvalue())
    redigest(folder, index, number)


def redigest(folder: Path, index: ShardIndex, number: int) -> None:
    import hashlib

    content = (folder / index.shards[number].name).read_bytes()
    shard = replace(index.shards[number], bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    shards = (*index.shards[:number], shard, *index.shards[number + 1 :])
    (folder / "index.json").write_text(json.dumps(replace(index, shards=shards).to_json()))


def codes(folder: Path, **arguments: bool) -> list[tuple[str, str]]:
    return [(fault.code, fault.key) for fault in check_shards(folder, **arguments).faults]


def test_a_whole_folder_is_summed_up(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = check_shards(folder, decode=True, progress=lambda *step: seen.append(step))
    index = read_index(folder)
    assert (found.faults, found.samples, seen[-1]) == ((), 10, (index.bytes, index.bytes))
    assert (found.counts.sorted_labels(), dict(found.counts.modalities)) == (index.labels, index.modalities)
    assert found.missing == {"audio: the file has no audio track": 1}


def test_faults_of_files(folder: Path) -> None:
    paths = [folder / shard.name for shard in read_index(folder).shards]
    paths[0].unlink()
    content = bytearray(paths[1].read_bytes())
    content[700] ^= 1
    paths[1].write_bytes(content)
    paths[2].write_bytes(paths[2].read_bytes()[:3000])
    (folder / "shard-000009.tar").write_bytes(b"")
    assert codes(folder) == [
        ("missing_shard", ""), ("wrong_digest", ""), ("wrong_size", ""), ("broken_tar", ""), ("wrong_samples", ""),
        ("unlisted_shard", ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda name, content: None if name == "clip4.json" else (name, content), "bad_json"),
        (lambda name, content: (name, b"{" if name == "clip4.json" else content), "bad_json"),
        (lambda name, content: (name, content.replace(b'"clip4"', b'"clip5"')), "wrong_key"),
        (lambda name, content: (name, b"" if name == "clip4.mp4" else content), "empty_member"),
        (lambda name, content: None if name == "clip4.mp4" else (name, content), "missing_member"),
        (lambda name, content: (name, content[:2000] if name == "clip4.mp4" else content), "undecodable"),
    ],
)
def test_faults_of_samples(folder: Path, change: Callable[[str, bytes], tuple[str, bytes] | None], wanted: str) -> None:
    rewrite(folder, 1, change)
    found = codes(folder, decode=True)
    assert (wanted, "clip4") in found
    assert {key for _, key in found} == {"clip4"}


def test_lost_and_repeated_samples(folder: Path) -> None:
    rewrite(folder, 1, lambda name, content: None if name.startswith("clip5") else (name, content))
    rewrite(folder, 2, lambda name, content: (name.replace("clip6", "clip0"), content.replace(b"clip6", b"clip0")))
    assert codes(folder) == [("wrong_samples", ""), ("duplicate_key", "clip0"), ("wrong_samples", "")]
    messages = [fault.message for fault in check_shards(folder).faults]
    assert "2 samples from 'clip3' to 'clip4', but the index says 3 samples from 'clip3' to 'clip5'" in messages[0]
    assert "shard-000000.tar already has a sample with this key" in messages[1]


def test_wrong_sums(folder: Path) -> None:
    index = read_index(folder)
    wrong = replace(index, labels={"happy": 10}, duration_seconds=99.0)
    (folder / "index.json").write_text(json.dumps(wrong.to_json()))
    assert codes(folder) == [("wrong_sums", "")] * 2


def test_features_have_no_media_and_need_none(tmp_path: Path) -> None:
    facts = {"key": "a", "has_video": True, "has_audio": True, "duration_seconds": 1.0, "labels": ["calm"]}
    with ShardWriter(tmp_path / "out", form="features", recipe={"streams": {}}) as writer:
        writer.write(Sample("a", {"feats.safetensors": b"x"}, facts))
        writer.finish()
    assert codes(tmp_path / "out") == []


def test_the_verb_prints_a_report_and_tells_by_its_exit_code(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "media, 10 samples in 4 shard(s)" in shown
    assert "audio: the file has no audio track" in shown
    assert "█" in shown
    assert json.loads((folder / "check.json").read_text())["ok"] is True
    (folder / "shard-000003.tar").unlink()
    assert main(["check", str(folder), "--out", str(tmp_path / "r.json"), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((tmp_path / "r.json").read_text())
    assert [fault["code"] for fault in report["faults"]] == ["missing_shard"]
    assert main(["check", str(folder)]) == 1
    assert "FAULT missing_shard [shard-000003.tar]" in capsys.readouterr().out
    with pytest.raises(DataError, match="is not a shard folder"):
        check_shards(tmp_path)


def test_a_set_on_a_server_is_checked_from_its_url(folder: Path, tmp_path: Path) -> None:
    cache = ShardCache(tmp_path / "cache", patience=Patience(attempts=2, delay_seconds=0.01))
    with serving(folder) as server:
        found = check_shards(server.url, cache=cache)
        assert (found.faults, found.samples, found.to_json()["folder"]) == ((), 10, server.url)
        (folder / "shard-000001.tar").unlink()
        shutil.rmtree(tmp_path / "cache")
        faults = check_shards(server.url, cache=cache).faults
    assert [(fault.shard, fault.code) for fault in faults] == [("shard-000001.tar", "not_fetched")]
    assert "the server answers 404" in faults[0].message


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(30, "Read-only file system")])
@pytest.mark.parametrize("damaged", [False, True])
def test_the_verdict_is_shown_where_the_report_cannot_be_written(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: OSError,
    damaged: bool,
) -> None:
    if damaged:
        (folder / "shard-000003.tar").unlink()

    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr("affectgpt.cli.result_output.write_whole", refuse)
    assert main(["check", str(folder)]) == int(damaged)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("1 fault(s); " if damaged else "all is well; ")
    reason = f"could not be written to {folder / 'check.json'} ({error.strerror}); name another file with --out FILE"
    assert last.endswith(reason)
    assert main(["check", str(folder), "--json"]) == int(damaged)
    assert json.loads(capsys.readouterr().out)["ok"] is not damaged
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(make_clip(0.2))
    assert main(["check", "--media", str(clip), "--out", str(tmp_path / "r.jsonl")]) == 0
    assert "1 ok, 0 with notes, 0 refused" in (shown := capsys.readouterr().out)
    assert "name another file with --out FILE" in shown


def test_local_shards_need_no_home_folder(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless(*_: object, **__: object) -> str:
        raise RuntimeError("could not determine the home directory for '~/.cache'")

    monkeypatch.delenv("AFFECTGPT_CACHE", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_dir", homeless)
    assert main(["check", str(folder)]) == 0
    assert len(list(ShardStream(folder, MediaProfile(num_frames=1)))) == 10
    with serving(folder) as server:
        assert main(["check", server.url, "--out", str(folder / "r.json")]) == 1
    assert "AFFECTGPT_CACHE" in capsys.readouterr().err

import hashlib
import json
import shutil

import numpy as np
import pytest

from affectgpt.errors import ConfigError, DataError
from affectgpt.manifests import read_manifest
from affectgpt.media import MediaProfile
from affectgpt.shards import pack, read_index
from affectgpt.shards.read import ShardReader
from clipmaker import make_clip

SMALL = MediaProfile(num_frames=2, frame_height=16, frame_width=16, num_segments=2, segment_seconds=0.2)


def manifest_of(folder, *lines):
    path = folder / "manifest.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines), "utf-8")
    return path


def test_index_counts_the_set_and_digests_the_shards(shards):
    index = read_index(shards)
    assert [shard.samples for shard in index.shards] == [3, 3, 3, 1]
    assert (index.shards[1].first_key, index.shards[1].last_key) == ("clip3", "clip5")
    for shard in index.shards:
        content = (shards / shard.name).read_bytes()
        assert (shard.bytes, shard.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert index.labels == {"happy": 4, "angry": 3, "sad": 3, "tired": 3}
    assert index.modalities == {"video": 10, "audio": 9, "faces": 0, "subtitle": 10, "labels": 10, "description": 10}
    assert index.duration_seconds == pytest.approx(4.0, abs=0.8)
    assert index.provenance == {"manifest": "manifest.jsonl", "source": None, "licence": None}
    assert json.loads((shards / "index.json").read_text())["samples"] == 10
    others = {path.name for path in shards.iterdir()} - {shard.name for shard in index.shards}
    assert others == {"index.json", "rejects.jsonl", "README.md"}
    card = (shards / "README.md").read_text("utf-8")
    assert "| samples | 10 in 4 shard(s)" in card
    assert "| licence | not told |" in card
    assert "| audio | 9 |" in card
    assert "| happy | 4 |" in card


def test_packing_twice_gives_the_same_bytes(corpus, shards, tmp_path):
    seen = []
    pack(corpus / "manifest.jsonl", tmp_path / "again", samples_per_shard=3, progress=lambda *step: seen.append(step))
    assert seen[-1] == (10, 10)
    for path in shards.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_shards_end_at_their_size(corpus, tmp_path):
    report = pack(corpus / "manifest.jsonl", tmp_path / "out", shard_bytes=15_000)
    sizes = [shard.bytes for shard in report.index.shards]
    assert len(sizes) > 2
    assert max(sizes) < 15_000 + 40_000


def test_webdataset_reads_the_shards_and_so_do_we(shards, corpus):
    import webdataset

    path = shards / "shard-000001.tar"
    theirs = list(webdataset.WebDataset(str(path), shardshuffle=False))
    with ShardReader(path, 3) as reader:
        ours = [reader.read(place) for place in range(3)]
    assert [sample["__key__"] for sample in theirs] == [key for key, _ in ours] == ["clip3", "clip4", "clip5"]
    for sample, (_, members) in zip(theirs, ours, strict=True):
        assert {name: sample[name] for name in sample if not name.startswith("__")} == members
    assert ours[1][1]["wav"] == (corpus / "clip4.wav").read_bytes()
    assert ours[0][1]["mp4"] == (corpus / "clip3.mp4").read_bytes()
    facts = json.loads(ours[0][1]["json"])
    assert (facts["has_audio"], facts["has_video"], facts["extra"]) == (False, True, {"lang": "en"})


def test_a_sample_comes_back_as_a_clip(shards):
    with ShardReader(shards / "shard-000001.tar", 3) as reader:
        clip = reader.load(1, SMALL)
    assert (clip.key, clip.subtitle, clip.labels) == ("clip4", "words 4", ("sad", "tired"))
    assert clip.media["frame"].shape == (2, 3, 16, 16)
    assert clip.media["frame"].float().mean().item() == pytest.approx(100, abs=3)
    assert clip.media["audio"].shape == (2, 3200)


def test_faces_and_sound_alone_can_be_packed(tmp_path):
    np.save(tmp_path / "f.npy", np.full((5, 8, 8, 3), 9, np.uint8))
    (tmp_path / "v.mp4").write_bytes(make_clip(0.3))
    (tmp_path / "s.m4a").write_bytes(make_clip(0.3, video=False))
    lines = [{"name": "seen", "video": "v.mp4", "faces": "f.npy"}, {"name": "heard", "audio": "s.m4a"}]
    report = pack(manifest_of(tmp_path, *lines), tmp_path / "out")
    assert report.index.modalities["faces"] == 1
    with ShardReader(tmp_path / "out" / "shard-000000.tar", 2) as reader:
        profile = MediaProfile.of({**SMALL.to_json(), "sources": ["face", "audio"]})
        assert set(reader.load(0, profile).media) == {"face", "audio"}
        assert set(reader.load(1, profile).media) == {"audio"}


BAD_LINES = [
    ("{nonsense", "not_json", "not JSON"),
    ("[1]", "not_an_object", "not a JSON object"),
    ({"video": "good.mp4"}, "no_name", "'name' must be a string"),
    ({"name": "a.b", "video": "good.mp4"}, "bad_name", "'a.b' cannot be a key"),
    ({"name": "../up", "video": "good.mp4"}, "bad_name", "cannot be a key"),
    ({"name": "x"}, "no_media", "neither 'video' nor 'audio'"),
    ({"name": "x", "video": "gone.mp4"}, "missing_file", "which is not a file"),
    ({"name": "x", "video": "notes.txt"}, "unknown_suffix", "must end in one of"),
    ({"name": "x", "video": "good.mp4", "labels": "happy"}, "wrong_type", "must be a list of words"),
    ({"name": "x", "video": "good.mp4", "subtitle": 3}, "wrong_type", "'subtitle' must be a string"),
    ({"name": "good", "video": "good.mp4"}, "duplicate_key", "already occurs in .*manifest.jsonl:1"),
    ({"name": "x", "video": "empty.mp4"}, "empty_file", "is empty"),
    ({"name": "x", "video": "text.mp4"}, "undecodable", "not a video"),
    ({"name": "x", "video": "good.mp4", "audio": "mute.m4a"}, "no_sound", "has no sound"),
    ({"name": "x", "video": "good.mp4", "faces": "f.npy"}, "bad_faces", "uint8"),
]


@pytest.mark.parametrize(("line", "code", "words"), BAD_LINES, ids=[code for _, code, _ in BAD_LINES])
def test_a_bad_line_stops_or_is_listed_and_leaves_nothing_half_written(tmp_path, line, code, words):
    (tmp_path / "good.mp4").write_bytes(make_clip(0.3))
    (tmp_path / "mute.m4a").write_bytes(make_clip(0.3, audio=False))
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_bytes(b"words " * 200)
    np.save(tmp_path / "f.npy", np.zeros((5, 8), np.float32))
    manifest = manifest_of(tmp_path, {"name": "good", "video": "good.mp4"}, line)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError, match=words):
        pack(manifest, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before
    report = pack(manifest, tmp_path / "out", skip_bad=True)
    assert report.index.samples == 1
    rejects = [json.loads(text) for text in (tmp_path / "out" / "rejects.jsonl").read_text().splitlines()]
    assert [reject["code"] for reject in rejects] == [code]
    assert rejects[0]["message"] == str(report.rejects[0])
    assert "manifest.jsonl:2" in rejects[0]["key"] + rejects[0]["message"] or rejects[0]["stage"] == "probe"


def test_a_damaged_clip_is_taken_and_noted(tmp_path):
    raw = make_clip(8.0, rate_hz=25, size=(128, 96), faststart=True)
    (tmp_path / "cut.mp4").write_bytes(raw[: len(raw) * 6 // 10])
    report = pack(manifest_of(tmp_path, {"name": "cut", "video": "cut.mp4"}), tmp_path / "out")
    assert (report.num_noted, report.rejects) == (1, ())


def test_clips_without_target_are_left_out_on_request_and_listed(tmp_path):
    (tmp_path / "v.mp4").write_bytes(make_clip(0.3))
    lines = [{"name": "a", "video": "v.mp4", "labels": ["sad"]}, {"name": "b", "video": "v.mp4", "labels": []}]
    report = pack(manifest_of(tmp_path, *lines), tmp_path / "out", labelled_only=True)
    assert (report.index.samples, [reject.key for reject in report.rejects]) == (1, ["b"])
    assert "unlabelled" in (tmp_path / "out" / "rejects.jsonl").read_text()


def test_a_split_can_be_chosen(tmp_path):
    (tmp_path / "v.mp4").write_bytes(make_clip(0.3))
    lines = [{"name": name, "video": "v.mp4", "split": split} for name, split in (("a", "train"), ("b", "test"))]
    manifest = manifest_of(tmp_path, *lines)
    assert pack(manifest, tmp_path / "out", split="test").index.shards[0].first_key == "b"
    with pytest.raises(DataError, match="only: test, train"):
        pack(manifest, tmp_path / "other", split="val")


def test_only_shard_folders_are_overwritten(corpus, shards, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(shards, out)
    manifest = corpus / "manifest.jsonl"
    with pytest.raises(ConfigError, match="already exists"):
        pack(manifest, out)
    pack(manifest, out, overwrite=True)
    assert len(list(out.glob("*.tar"))) == 1
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="not a shard folder"):
        pack(manifest, tmp_path / "thesis", overwrite=True)
    assert (tmp_path / "thesis" / "chapter.txt").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "thesis"]


def test_an_interrupted_packing_leaves_the_old_shards(corpus, shards, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(shards, out)

    def interrupt(done, total):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(corpus / "manifest.jsonl", out, overwrite=True, progress=interrupt)
    assert read_index(out).samples == 10
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_missing_and_changed_shards_are_noticed_at_the_start(shards, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(shards, out)
    victim = out / "shard-000002.tar"
    content = victim.read_bytes()
    victim.write_bytes(content[:-1000])
    with pytest.raises(DataError, match=r"shard-000002\.tar.*bytes, but the index says"):
        read_index(out)
    victim.unlink()
    with pytest.raises(DataError, match=r"shard-000002\.tar.*missing"):
        read_index(out)
    with pytest.raises(DataError, match="is not a shard folder"):
        read_index(tmp_path)
    victim.write_bytes(content)
    saved = json.loads((out / "index.json").read_text())
    for change, words in (
        ({"format": "x"}, "not the index"),
        ({"schema": 9}, "schema 9"),
        ({"samples": 7}, "counts 7"),
    ):
        (out / "index.json").write_text(json.dumps({**saved, **change}))
        with pytest.raises(DataError, match=words):
            read_index(out)


def test_manifest_of_the_real_clips(shared):
    records = read_manifest(shared / "data" / "clips" / "manifest.jsonl")
    assert len(records) == 9
    assert sum(bool(record.labels) for record in records) == 5
    assert records[0].audio is not None
    assert records[1].subtitle is None
    assert records[0].extra == {"language": "zh"}


def test_the_real_clips_pack(shared, tmp_path):
    report = pack(shared / "data" / "clips" / "manifest.jsonl", tmp_path / "out", provenance={"licence": "academic"})
    assert report.index.samples == 9
    assert report.index.provenance["licence"] == "academic"
    assert (report.rejects, report.num_noted) == ((), 0)

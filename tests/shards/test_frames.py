"""Shards of frames and sound give the clip that the original files give, to a profile that they serve."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from affectgpt.errors import ConfigError, DataError
from affectgpt.media import MediaProfile
from affectgpt.shards import pack, read_index
from affectgpt.shards.forms.frames import FramesRecipe
from affectgpt.shards.read import ShardReader, decode_sample
from affectgpt.streaming import ShardStream
from affectgpt.types import Clip
from clipmaker import make_clip, make_png
from conftest import write_manifest

SMALL = MediaProfile(num_frames=3, frame_height=32, frame_width=48, num_segments=2, segment_seconds=0.15)
ALL = replace(SMALL, sources=("frame", "face", "audio"))


def clips_of(folder: Path, profile: MediaProfile) -> list[Clip]:
    return list(ShardStream(folder, profile))


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One clip of each kind: whole, mute, heard only, a picture, with faces, cut."""
    folder = tmp_path_factory.mktemp("odd")
    files = {
        "whole.mp4": make_clip(0.5),
        "mute.mp4": make_clip(0.5, audio=False),
        "heard.m4a": make_clip(0.5, video=False),
        "picture.png": make_png(40, 60),
        "blind.mp4": make_clip(0.5, video=False),
        "cut.mp4": make_clip(8.0, rate_hz=25, size=(128, 96), faststart=True)[:-2000],
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    np.save(folder / "f.npy", np.full((5, 20, 20, 3), (250, 120, 10), np.uint8))
    lines = [{"name": Path(name).stem, "audio" if name == "heard.m4a" else "video": name} for name in files]
    lines[0] |= {"faces": "f.npy", "faces_channels": "bgr", "subtitle": "Yes.", "labels": ["calm"], "description": "D."}
    return write_manifest(folder, lines)


@pytest.fixture(scope="module")
def packed(odd: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same clips as original files, and as frames."""
    folder = tmp_path_factory.mktemp("forms")
    pack(odd, folder / "media")
    pack(odd, folder / "frames", recipe=FramesRecipe(SMALL))
    return folder / "media", folder / "frames"


@pytest.mark.parametrize("windows", [(2, 0.15), (5, 0.1), (1, 9.0)])
@pytest.mark.parametrize("face_channels", ["rgb", "bgr"])
def test_frames_give_the_clips_that_the_files_give(
    packed: tuple[Path, Path], windows: tuple[int, float], face_channels: str
) -> None:
    profile = replace(ALL, num_segments=windows[0], segment_seconds=windows[1], face_channels=face_channels)
    originals, stored = (clips_of(folder, profile) for folder in packed)
    assert [clip.key for clip in originals] == ["whole", "mute", "heard", "picture", "blind", "cut"]
    for original, clip in zip(originals, stored, strict=True):
        assert set(clip.media) == set(original.media), clip.key
        for name in clip.media:
            wanted, found = original.media[name], clip.media[name]
            assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype), (clip.key, name)
            difference = (found.float() - wanted.float()).abs()
            assert difference.max() <= (2**-16 if name == "audio" else 40), (clip.key, name)
            assert difference.mean() < 2, (clip.key, name)
        assert clip.duration_seconds == pytest.approx(original.duration_seconds, abs=1e-3)
        assert (clip.subtitle, clip.labels, clip.description) == (
            original.subtitle, original.labels, original.description,
        )  # fmt: skip
        assert clip.extra.get("media_notes") == original.extra.get("media_notes")
    assert originals[5].extra["media_notes"]
    red = stored[0].media["face"][0, :, 10, 10].tolist()  # given as BGR: 10 is red
    assert (red if face_channels == "rgb" else red[::-1]) == pytest.approx([10, 120, 250], abs=3)


def test_the_index_tells_the_recipe_and_webdataset_sees_pictures(packed: tuple[Path, Path]) -> None:
    index = read_index(packed[1])
    assert index.form == "frames"
    assert MediaProfile.of(index.recipe["media"]).num_frames == 3
    assert (index.recipe["jpeg_qscale"], index.modalities) == (2, read_index(packed[0]).modalities)
    with ShardReader(packed[1] / "shard-000000.tar", 6) as reader:
        _, members = reader.read(0)
    assert list(members) == [
        "face00.jpg", "face01.jpg", "face02.jpg", "flac", "frame00.jpg", "frame01.jpg", "frame02.jpg", "json",
    ]  # fmt: skip
    assert members["frame00.jpg"][:2] == b"\xff\xd8"
    assert json.loads(members["json"])["missing"] == {}


@pytest.mark.parametrize(
    "change", [{"num_frames": 4}, {"frame_height": 16}, {"sample_rate_hz": 8000}, {"visual_policy": "official"}]
)
def test_a_profile_that_the_frames_do_not_serve_is_refused_with_both(
    packed: tuple[Path, Path], change: dict[str, object]
) -> None:
    profile = replace(SMALL, **change)
    name = next(iter(change))
    words = rf"{name} is .* there and .* here\. Stored: .*Asked for: .*pack the set again"
    with pytest.raises(ConfigError, match=words):
        ShardStream(packed[1], profile)
    with ShardReader(packed[1] / "shard-000000.tar", 6) as reader, pytest.raises(ConfigError, match=words):
        reader.load(0, profile)
    assert len(clips_of(packed[0], profile)) == 6


def test_what_is_not_asked_for_may_differ(packed: tuple[Path, Path]) -> None:
    heard = MediaProfile.of(
        {**SMALL.to_json(), "num_frames": 9, "frame_height": 0, "frame_width": 0, "sources": ["audio"]}
    )
    with ShardReader(packed[1] / "shard-000000.tar", 6) as reader:
        assert set(reader.load(0, heard).media) == {"audio"}
        seen = replace(SMALL, sample_rate_hz=8000, sources=("frame",))
        assert set(reader.load(0, seen).media) == {"frame"}
        picture = reader.load(3, replace(SMALL, sources=("image",)))
        assert picture.media["image"].shape == (1, 3, 32, 48)
        with pytest.raises(DataError, match=r"frame: the file has no video track"):
            reader.load(4, seen)


def test_frames_are_the_same_for_any_number_of_workers(odd: Path, packed: tuple[Path, Path], tmp_path: Path) -> None:
    pack(odd, tmp_path / "again", recipe=FramesRecipe(SMALL), workers=2)
    for path in packed[1].iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_more_than_a_hundred_frames_stay_in_order_and_none_may_be_lost(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(make_clip(12.0, audio=False))  # frame i of the 120 has its own shade
    profile = MediaProfile(num_frames=120, frame_height=16, frame_width=16, sources=("frame",))
    lines = [{"name": "a", "video": "a.mp4"}]
    for name, recipe in (("media", None), ("frames", FramesRecipe(profile))):
        pack(write_manifest(tmp_path, lines), tmp_path / name, recipe=recipe)
    (original,), (stored,) = (clips_of(tmp_path / name, profile) for name in ("media", "frames"))
    difference = original.media["frame"].float() - stored.media["frame"].float()
    assert difference.mean((1, 2, 3)).abs().max() < 2  # neighbours are 4 apart
    with ShardReader(tmp_path / "frames" / "shard-000000.tar", 1) as reader:
        key, members = reader.read(0)
    del members["frame50.jpg"]
    with pytest.raises(DataError, match=r"'frame': 119.*but its facts say.*'frame': 120"):
        decode_sample(key, members, profile)


def test_a_wrong_quality_is_refused() -> None:
    with pytest.raises(ConfigError, match="from 1 \\(best\\) to 31"):
        FramesRecipe(SMALL, jpeg_qscale=90)


@pytest.mark.parametrize("form", ["media", "frames"])
def test_faces_are_found_and_kept(shared: Path, tmp_path: Path, form: str) -> None:
    clips = shared / "data" / "clips"
    lines = [{"name": "speaker", "video": str(clips / "sample_00000000.mp4")}]
    lines.append({"name": "nobody", "video": str(shared / "data" / "odd_media" / "no_face.mp4")})
    profile = MediaProfile(num_frames=4, frame_height=64, frame_width=64, sources=("frame", "face"))
    recipe = FramesRecipe(profile) if form == "frames" else None
    report = pack(write_manifest(tmp_path, lines), tmp_path / "out", recipe=recipe, face_detector="centerface")
    assert report.index.modalities["faces"] == 1
    assert report.index.recipe["face_detector"] == "centerface"
    with ShardReader(tmp_path / "out" / "shard-000000.tar", 2) as reader:
        facts = [json.loads(reader.read(place)[1]["json"]) for place in range(2)]
        speaker, nobody = (reader.load(place, profile) for place in range(2))
    assert facts[0]["faces_coverage"] >= 0.9
    assert (facts[1]["faces_coverage"], facts[1]["missing"]["face"]) == (0.0, "no face was found")
    assert speaker.media["face"].shape == (4, 3, 64, 64)
    assert set(nobody.media) == {"frame"}


def test_sound_of_the_real_clip_is_close_to_lossless(shared: Path, tmp_path: Path) -> None:
    manifest = shared / "data" / "clips" / "manifest.jsonl"
    first = tmp_path / "first.jsonl"
    line = json.loads(manifest.read_text("utf-8").splitlines()[0])
    line |= {name: str(manifest.parent / line[name]) for name in ("video", "audio")}
    first.write_text(json.dumps(line))
    profile = MediaProfile()
    for name, recipe in (("media", None), ("frames", FramesRecipe(profile))):
        pack(first, tmp_path / name, recipe=recipe)
    (original,), (stored,) = (clips_of(tmp_path / name, profile) for name in ("media", "frames"))
    assert torch.equal(original.media["audio"], stored.media["audio"])  # a 16-bit wav at 16 kHz: exact
    noise = (original.media["frame"].float() - stored.media["frame"].float()).square().mean()
    assert 10 * torch.log10(255**2 / noise) > 38
    assert read_index(tmp_path / "frames").bytes < 0.5 * read_index(tmp_path / "media").bytes

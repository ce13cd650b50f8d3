"""Encoding shards once: every clip accounted for, the same bytes after a kill, on any number of processes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.encoders import PrecomputedEncoder
from affectgpt.errors import ConfigError, DataError
from affectgpt.features import EncoderSet, encode, feature_key
from affectgpt.shards import pack, read_index
from affectgpt.shards.forms.features import FeatureRecipe
from affectgpt.streaming.stream import ShardStream
from clipmaker import make_clip
from conftest import write_manifest
from processes import in_processes
from quiettrainer import save_as_trained
from shardserver import serving
from tinyencoders import tiny_config


def content(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def clips_of(folder: Path, config: dict) -> list:
    encoders = EncoderSet.from_config(config)
    return list(ShardStream(folder, encoders.media))


def test_every_clip_has_the_vectors_that_its_encoders_give(config, shards, tmp_path):
    encoders = EncoderSet.from_config(config)
    report = encode(encoders, shards, tmp_path / "out", dtype="float32", batch_size=2)
    source, index = read_index(shards), read_index(tmp_path / "out")
    assert index == report.index
    assert (index.form, index.samples) == ("features", 10)
    assert [s.samples for s in index.shards] == [s.samples for s in source.shards]
    assert (index.labels, index.modalities) == (source.labels, source.modalities)
    recipe = FeatureRecipe.of(index)
    assert recipe.streams == {name: feature_key(encoders, name) for name in ("frame", "audio")}
    assert FeatureRecipe.of(source) is None
    for clip, stored in zip(ShardStream(shards, encoders.media), clips_of(tmp_path / "out", config), strict=True):
        assert not stored.media
        assert (stored.key, stored.subtitle, stored.labels) == (clip.key, clip.subtitle, clip.labels)
        assert (stored.description, stored.extra["lang"]) == (clip.description, clip.extra["lang"])
        assert stored.features["frame"].shape == (2, 12)
        assert len(stored.features["audio"]) == (0 if clip.key == "clip3" else len(clip.media["audio"]))
        (alone,) = encoders.encode([clip])
        for name, vectors in alone.items():
            torch.testing.assert_close(stored.features[name], vectors, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_takes_half_the_room_and_rounds_once(dtype, config, shards, tmp_path):
    encoders = EncoderSet.from_config(config)
    encode(encoders, shards, tmp_path / "full", dtype="float32")
    encode(encoders, shards, tmp_path / "half", dtype=dtype)
    wanted = getattr(torch, dtype)
    for full, half in zip(clips_of(tmp_path / "full", config), clips_of(tmp_path / "half", config), strict=True):
        for name in ("frame", "audio"):
            assert half.features[name].dtype == torch.float32
            assert torch.equal(half.features[name], full.features[name].to(wanted).float())


def test_the_same_input_gives_the_same_bytes_with_and_without_workers(config, shards, tmp_path):
    encoders = EncoderSet.from_config(config)
    encode(encoders, shards, tmp_path / "a", batch_size=2)
    encode(encoders, shards, tmp_path / "b", batch_size=2, num_workers=2)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_frames_of_different_sizes_are_encoded(config, shards, tmp_path):
    sizes = {"frame_height": 0, "frame_width": 0}
    folder = tmp_path / "clips"
    folder.mkdir()
    lines = []
    for name, size in (("wide", (96, 48)), ("tall", (48, 96)), ("wide2", (96, 48))):
        (folder / f"{name}.mp4").write_bytes(make_clip(0.4, size=size))
        lines.append({"name": name, "video": f"{name}.mp4", "labels": ["happy"]})
    pack(write_manifest(folder, lines), tmp_path / "sizes")
    encoders = EncoderSet.from_config({**config, "media": {**config["media"], **sizes}})
    encode(encoders, tmp_path / "sizes", tmp_path / "out", dtype="float32")
    stored = list(ShardStream(tmp_path / "out", encoders.media))
    for clip, vectors in zip(ShardStream(tmp_path / "sizes", encoders.media), stored, strict=True):
        torch.testing.assert_close(vectors.features["frame"], encoders.encode([clip])[0]["frame"])


def test_some_streams_alone_keep_the_media_of_the_others(config, shards, tmp_path):
    trained = {**config["streams"], "audio": {**config["streams"]["audio"], "trainable": True}}
    mixed = {**config, "streams": trained}
    with pytest.raises(ConfigError, match=r"stream 'audio' has trainable: true.*--streams frame"):
        EncoderSet.from_config(mixed)
    encoders = EncoderSet.from_config(mixed, ["frame"])
    encode(encoders, shards, tmp_path / "out", dtype="float32")
    assert FeatureRecipe.of(read_index(tmp_path / "out")).media_sources == ("audio",)
    pairs = zip(ShardStream(shards, encoders.media), ShardStream(tmp_path / "out", encoders.media), strict=True)
    for clip, stored in pairs:
        assert set(stored.features) == {"frame"}
        assert set(stored.media) == {"audio"} & set(clip.media)
        for name, value in stored.media.items():
            assert torch.equal(value, clip.media[name])


def test_encoders_come_from_a_checkpoint_too(shards, tmp_path):
    torch.manual_seed(5)
    model = AffectGPT.from_config(tiny_config())
    encoders = EncoderSet.from_checkpoint(save_as_trained(model, tmp_path / "model.ckpt"))
    assert feature_key(encoders, "frame") == feature_key(model, "frame")
    model.save_pretrained(tmp_path / "folder")
    again = EncoderSet.from_checkpoint(tmp_path / "folder", ["frame"])
    assert feature_key(again, "frame") == feature_key(model, "frame")
    assert feature_key(encoders, "frame") != feature_key(EncoderSet.from_config(tiny_config()), "frame")


@pytest.mark.parametrize(
    ("streams", "message"),
    [
        (["face"], "unknown stream 'face'; known: frame, audio"),
        (None, "is 'precomputed': it has no encoder to run"),
    ],
)
def test_what_cannot_be_stored_is_refused(streams, message):
    given = {"frame": {"encoder": {"name": "precomputed", "args": {"dim": 4}}}, "audio": "tiny-audio"}
    with pytest.raises(ConfigError, match=message):
        EncoderSet.from_config(tiny_config(streams=given), streams)


def test_wrong_calls_are_refused(config, shards, tmp_path):
    encoders = EncoderSet.from_config(config)
    with pytest.raises(ConfigError, match="features cannot be stored as 'int8'"):
        encode(encoders, shards, tmp_path / "out", dtype="int8")
    with pytest.raises(ConfigError, match="batch_size=0"):
        encode(encoders, shards, tmp_path / "out", batch_size=0)
    encode(encoders, shards, tmp_path / "out")
    with pytest.raises(ConfigError, match="already exists"):
        encode(encoders, shards, tmp_path / "out")
    with pytest.raises(DataError, match="already has features"):
        encode(encoders, tmp_path / "out", tmp_path / "again")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("dear")
    with pytest.raises(ConfigError, match="is not a shard folder, so it is not overwritten"):
        encode(encoders, shards, tmp_path / "mine", overwrite=True)
    assert encode(encoders, shards, tmp_path / "out", overwrite=True).encoded == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "mine", "out"]


def work(world: int, config: dict[str, Any], source: Path, out: Path) -> None:
    """One of several processes, with what torchrun tells it."""
    os.environ.update({"RANK": os.environ["LOCAL_RANK"], "WORLD_SIZE": str(world)})
    report = encode(EncoderSet.from_config(config), source, out, batch_size=2)
    assert (report.index.samples, report.encoded) == (10, 10)


@pytest.mark.parametrize("world", [2, 5])
def test_several_processes_share_the_shards_and_store_the_same(world, config, shards, tmp_path):
    encode(EncoderSet.from_config(config), shards, tmp_path / "alone", batch_size=2)
    out = tmp_path / "together"
    assert in_processes(work, world, config, shards, out, world=world) == [0] * world
    assert content(out) == content(tmp_path / "alone")


def test_clips_behind_a_url_are_encoded_and_features_behind_one_are_read(config, shards, tmp_path):
    encoders = EncoderSet.from_config(config)
    encode(encoders, shards, tmp_path / "local")
    with serving(shards) as server:
        index = encode(encoders, server.url, tmp_path / "far").index
    assert index.provenance["encoded_from"] == "set"
    assert content(tmp_path / "far").keys() == content(tmp_path / "local").keys()
    assert [shard.sha256 for shard in index.shards] == [s.sha256 for s in read_index(tmp_path / "local").shards]
    with serving(tmp_path / "far") as server:
        model = AffectGPT.from_config({**config, "features": server.url})
        assert isinstance(model.encoder("frame"), PrecomputedEncoder)
        assert len(list(ShardStream(server.url, model.media))) == 10


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and there is none")
def test_a_gpu_gives_the_vectors_of_the_cpu(config, shards, tmp_path):
    encode(EncoderSet.from_config(config), shards, tmp_path / "cpu", dtype="float32")
    encode(EncoderSet.from_config(config).to("cuda"), shards, tmp_path / "gpu", dtype="float32")
    for one, other in zip(clips_of(tmp_path / "cpu", config), clips_of(tmp_path / "gpu", config), strict=True):
        torch.testing.assert_close(one.features, other.features, rtol=1e-3, atol=1e-3)

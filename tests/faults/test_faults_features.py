"""Failures of stored features: stale, foreign, mis-shaped, cut or half-written ones, each provoked for real."""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import re
import shutil
import signal
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, load_file, save, save_file

from affectgpt import AffectGPT
from affectgpt.datamodules import MERCaptionDataModule
from affectgpt.encoders import ClipVitEncoder
from affectgpt.errors import DataError
from affectgpt.features import EncoderSet, encode
from affectgpt.streaming.stream import ShardStream
from quiettrainer import quiet_trainer
from tinyencoders import pretrained_config, save_clip, save_hubert

Change = Callable[[str, str, bytes], bytes | None]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFFECTGPT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    return pretrained_config(save_clip(tmp_path / "clip"), save_hubert(tmp_path / "hubert"))


@pytest.fixture
def features(config: dict[str, Any], shards: Path, tmp_path: Path) -> Path:
    return encode(EncoderSet.from_config(config), shards, tmp_path / "features", batch_size=2).index.folder


def fit(
    config: dict[str, Any],
    features: Path,
    stand_in: bool = True,
    epochs: int = 1,
    folder: Path | None = None,
    **data: Any,
) -> None:
    model = AffectGPT.from_config({**config, "features": str(features) if stand_in else None})
    module = MERCaptionDataModule(
        str(features), media=model.media.to_json(), style="brief", task="labels", batch_size=2, num_workers=0, **data
    )
    trainer = quiet_trainer(max_epochs=epochs, default_root_dir=folder)
    trainer.fit(model, module)


def rewrite(folder: Path, change: Change) -> None:
    """Change members of a shard folder, or leave them out, and make its index fit again."""
    index = json.loads((folder / "index.json").read_text())
    for shard in index["shards"]:
        path = folder / shard["name"]
        with tarfile.open(path) as tar:
            members = [(m.name, tar.extractfile(m).read()) for m in tar.getmembers()]  # type: ignore[union-attr]
        with tarfile.open(path, "w") as tar:
            for name, content in members:
                key, _, suffix = name.partition(".")
                content = change(key, suffix, content)
                if content is None:
                    continue
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        shard["bytes"], shard["sha256"] = path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
    index["bytes"] = sum(shard["bytes"] for shard in index["shards"])
    (folder / "index.json").write_text(json.dumps(index))


def change_vectors(
    folder: Path, key: str, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
) -> None:
    """Change the vectors of one clip, and leave its header's keys as they are."""

    def member(name: str, suffix: str, content: bytes) -> bytes:
        if name != key or suffix != "feats.safetensors":
            return content
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return save(change(load(content)), header["__metadata__"])

    rewrite(folder, member)


def content_of(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


# Failure 13: a stale, foreign or mis-shaped feature cache


@pytest.mark.parametrize("stand_in", [True, False])
def test_weights_changed_at_the_same_path(stand_in, config, features, tmp_path):
    save_clip(tmp_path / "clip", seed=2)
    with pytest.raises(
        DataError, match=r"key is [0-9a-f]{12}, theirs [0-9a-f]{12}\. encoder\.weights: 'sha256:\w+' in"
    ):
        fit(config, features, stand_in)


@pytest.mark.parametrize("stand_in", [True, False])
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"media": {"num_frames": 3}}, "media.num_frames: 3 in the model, 2 in the features"),
        ({"media": {"segment_seconds": 0.3}}, "media.segment_seconds: 0.3 in the model, 0.25 in the features"),
        ({"streams": {"audio": {"layers": 1}}}, "encoder.args.layers: 1 in the model, 2 in the features"),
        ({"streams": {"frame": {"dtype": "bfloat16"}}}, "encoder.args.dtype: 'bfloat16' in the model"),
    ],
)
def test_other_preprocessing_or_settings(stand_in, change, named, config, features):
    streams = {name: {"encoder": dict(stream["encoder"])} for name, stream in config["streams"].items()}
    for name, args in change.get("streams", {}).items():
        streams[name]["encoder"]["args"] = {**streams[name]["encoder"]["args"], **args}
    changed = {**config, "streams": streams, "media": {**config["media"], **change.get("media", {})}}
    with pytest.raises(DataError, match="were not made by this model") as caught:
        fit(changed, features, stand_in)
    assert named in str(caught.value)


def test_features_of_a_foreign_encoder(config, features):
    streams = {**config["streams"], "frame": "tiny-vision"}
    with pytest.raises(
        DataError, match=r"encoder\.kind: 'TinyVisionEncoder' in the model, 'ClipVitEncoder' in the fea"
    ):
        fit({**config, "streams": streams}, features)


def test_a_stream_that_was_never_encoded(config, features):
    streams = {**config["streams"], "face": config["streams"]["frame"]}
    with pytest.raises(DataError, match=r"neither features of stream 'face' nor the media that it reads \('face'\)"):
        fit({**config, "streams": streams}, features)


def test_weights_that_are_not_here(config, features, tmp_path, caplog):
    shutil.move(tmp_path / "clip", tmp_path / "gone")
    fit(config, features)
    assert "its features (key" in caplog.text
    assert "used without comparison" in caplog.text
    moved = pretrained_config(tmp_path / "elsewhere", tmp_path / "hubert")
    with pytest.raises(DataError, match=r"cannot be read here, and the features were made by .*cannot be compared"):
        fit(moved, features)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda vectors: {**vectors, "frame": vectors["frame"][:, :-1].contiguous()}, r"float16 \[2, 11\]"),
        (lambda vectors: {**vectors, "frame": vectors["frame"].float()}, r"float32 \[2, 12\]"),
        (lambda vectors: {**vectors, "frame": vectors["frame"][:0].contiguous()}, r"float16 \[0, 12\]"),
        (lambda vectors: {**vectors, "frame": vectors["frame"][None].contiguous()}, r"float16 \[1, 2, 12\]"),
    ],
)
def test_vectors_of_another_type_or_shape(change, found, config, features, tmp_path):
    change_vectors(features, "clip5", change)
    message = rf"clip 'clip5': its features of stream 'frame' are {found}, but the index says float16 \[time, 12\]"
    with pytest.raises(DataError, match=message):
        fit(config, features, epochs=4)
    fit(config, features, epochs=4, bad_sample_budget=0.1, folder=tmp_path / "run")
    (line,) = (json.loads(line) for line in (tmp_path / "run" / "bad_samples.jsonl").read_text().splitlines())
    assert (line["key"], line["code"]) == ("clip5", "foreign_features")
    assert re.search(message, line["reason"])


def test_one_sample_of_another_set_or_without_its_vectors(config, features, shards, tmp_path):
    other = encode(EncoderSet.from_config({**config, "media": {**config["media"], "num_frames": 1}}), shards,
                   tmp_path / "other").index.folder  # fmt: skip
    foreign = {}
    with tarfile.open(other / "shard-000000.tar") as tar:
        for member in tar.getmembers():
            foreign[member.name] = tar.extractfile(member).read()
    vectors = foreign["clip2.feats.safetensors"]

    def change(key: str, suffix: str, content: bytes) -> bytes | None:
        if suffix != "feats.safetensors":
            return content
        return {"clip2": vectors, "clip5": None}.get(key, content)

    rewrite(features, change)
    fit(config, features, epochs=4, bad_sample_budget=0.2, folder=tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "bad_samples.jsonl").read_text().splitlines()]
    assert {line["key"]: line["code"] for line in lines} == dict.fromkeys(("clip2", "clip5"), "foreign_features")
    with pytest.raises(DataError, match="2 of 10 samples are bad"):
        fit(config, features, epochs=4, bad_sample_budget=0.1, folder=tmp_path / "again")
    with pytest.raises(DataError, match=r"clip2.*have the key|clip5.*has no features"):
        list(ShardStream(features))


def test_a_shard_of_another_set_under_our_index(config, features, shards, tmp_path):
    shutil.move(tmp_path / "clip", tmp_path / "first")
    save_clip(tmp_path / "clip", seed=2)
    other = encode(EncoderSet.from_config(config), shards, tmp_path / "other", batch_size=2).index.folder
    shutil.copy(other / "shard-000001.tar", features)
    shutil.rmtree(tmp_path / "clip")
    shutil.move(tmp_path / "first", tmp_path / "clip")
    # no budget for bad samples covers it
    with pytest.raises(DataError, match=r"have the key '[0-9a-f]{12}', but the index has '[0-9a-f]{12}' \(\{"):
        fit(config, features, epochs=4, bad_sample_budget=0.1)


def test_features_under_an_index_of_clips_and_the_other_way_round(config, features, shards, tmp_path):
    saved = json.loads((features / "index.json").read_text())
    (features / "index.json").write_text(json.dumps({**saved, "form": "media", "recipe": {}}))
    with pytest.raises(DataError, match="has features, but the index says nothing of them"):
        list(ShardStream(features))
    (features / "index.json").write_text(json.dumps({**saved, "recipe": {}}))
    with pytest.raises(DataError, match="does not say how its features were made"):
        fit(config, features)
    clips = tmp_path / "clips"
    shutil.copytree(shards, clips)
    index = json.loads((clips / "index.json").read_text())
    (clips / "index.json").write_text(json.dumps({**index, "form": "features", "recipe": saved["recipe"]}))
    with pytest.raises(DataError, match="has no features, but the index says it should"):
        list(ShardStream(clips))


CUT = ("clip4", "feats.safetensors")


@pytest.mark.parametrize("length", [0, 5, 40, -10])
def test_a_cut_safetensors_member(length, config, features):
    rewrite(
        features, lambda key, suffix, content: content[:length] if key == "clip4" and "feats" in suffix else content
    )
    with pytest.raises(DataError, match="clip 'clip4': its features cannot be read"):
        list(ShardStream(features))


# A killed, damaged or changed run of encode


def encode_in_child(config: dict[str, Any], source: Path, out: Path, die_at: int) -> int:
    """Encode in a process of its own, which kills itself after so many samples; its exit code."""

    def work() -> None:
        def progress(done: int, _total: int) -> None:
            if done >= die_at:
                os.kill(os.getpid(), signal.SIGKILL)

        encode(EncoderSet.from_config(config), source, out, batch_size=2, progress=progress)

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(60)
    assert child.exitcode is not None
    return child.exitcode


@pytest.mark.parametrize("die_at", [2, 3, 5, 10])
def test_a_killed_run_goes_on_to_the_same_bytes(die_at, config, features, shards, tmp_path):
    out = tmp_path / "again"
    assert encode_in_child(config, shards, out, die_at) == -signal.SIGKILL
    assert not out.exists()
    report = encode(EncoderSet.from_config(config), shards, out, batch_size=2)
    assert report.encoded == 10 - {2: 0, 3: 0, 5: 3, 10: 9}[die_at]
    assert content_of(out) == content_of(features)
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_finished_shard_that_was_damaged_since(config, shards, tmp_path):
    out = tmp_path / "again"
    encode_in_child(config, shards, out, 5)
    part = tmp_path / ".again.encoding/000000/shard-000000.tar"
    content = bytearray(part.read_bytes())
    content[1500] ^= 1
    part.write_bytes(content)
    encoders = EncoderSet.from_config(config)
    with pytest.raises(DataError, match=r"was changed since it was written \(sha256 .* start again"):
        encode(encoders, shards, out)
    assert encode(encoders, shards, out, restart=True).encoded == 10


def test_an_unfinished_run_of_other_weights_or_type(config, shards, tmp_path):
    out = tmp_path / "again"
    encode_in_child(config, shards, out, 5)
    with pytest.raises(DataError, match="stored other features: dtype: 'float32' here, 'float16' there"):
        encode(EncoderSet.from_config(config), shards, out, dtype="float32")
    save_clip(tmp_path / "clip", seed=2)
    with pytest.raises(DataError, match=r"stored other features: stream 'frame' \(.* there\): encoder\.weights"):
        encode(EncoderSet.from_config(config), shards, out)


# Samples that cannot be encoded: listed, never lost


def listed(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "rejects.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("bad", [["clip4"], ["clip0", "clip1", "clip2", "clip9"]])
def test_clips_that_broke_since_they_were_packed(bad, config, shards, tmp_path):
    source = tmp_path / "broken"
    shutil.copytree(shards, source)
    rewrite(source, lambda key, suffix, content: content[:40] if key in bad and suffix != "json" else content)
    encoders = EncoderSet.from_config(config)
    with pytest.raises(DataError, match=r"1 of 10 samples are bad, but bad_sample_budget=0\.001 allows 0"):
        encode(encoders, source, tmp_path / "out")
    report = encode(encoders, source, tmp_path / "out", bad_sample_budget=0.5)
    rejects = listed(tmp_path / "out")
    assert [line["key"] for line in rejects] == bad
    assert {(line["stage"], line["code"]) for line in rejects} == {("encode", "undecodable")}
    kept = [clip.key for clip in ShardStream(report.index)]
    assert sorted([*kept, *bad]) == [f"clip{number}" for number in range(10)]
    assert (report.index.samples, len(report.rejects)) == (len(kept), len(bad))


def test_an_encoder_that_gives_nan(config, shards, tmp_path):
    weights = tmp_path / "clip/model.safetensors"
    tensors = load_file(weights)
    tensors["visual_projection.weight"][0, 0] = float("nan")
    save_file(tensors, weights, {"format": "pt"})
    with pytest.raises(DataError, match="the encoder of stream 'frame' returned NaN or infinity"):
        encode(EncoderSet.from_config(config), shards, tmp_path / "out")
    with pytest.raises(DataError, match="10 of 10 samples are bad"):
        encode(EncoderSet.from_config(config), shards, tmp_path / "out", bad_sample_budget=0.99)


def test_vectors_too_large_for_the_stored_type(config, shards, tmp_path):
    weights = tmp_path / "clip/model.safetensors"
    tensors = load_file(weights)
    tensors["visual_projection.weight"] *= 1e7
    save_file(tensors, weights, {"format": "pt"})
    encoders = EncoderSet.from_config(config)
    with pytest.raises(DataError, match="which float16 cannot represent; store the features as bfloat16 or float32"):
        encode(encoders, shards, tmp_path / "out", restart=True)
    assert encode(encoders, shards, tmp_path / "out", dtype="bfloat16", restart=True).index.samples == 10


# Failure 32: too little memory


def test_a_batch_that_does_not_fit_is_halved(config, features, shards, tmp_path, monkeypatch, caplog):
    run = ClipVitEncoder.forward

    def forward(self, media, keep):
        if len(media) > most:
            raise torch.OutOfMemoryError("out of memory: tried to allocate 7 GiB")
        return run(self, media, keep)

    monkeypatch.setattr(ClipVitEncoder, "forward", forward)
    most = 2
    encode(EncoderSet.from_config(config), shards, tmp_path / "halves", batch_size=4)
    assert "3 clips do not fit into the memory of cpu; trying half as many" in caplog.text
    pairs = zip(ShardStream(tmp_path / "halves"), ShardStream(features), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours.features, theirs.features, rtol=1e-3, atol=1e-4)
    most = 0
    with pytest.raises(DataError, match=r"clip 'clip0' does not fit into the memory of cpu \(out of memory"):
        encode(EncoderSet.from_config(config), shards, tmp_path / "none")

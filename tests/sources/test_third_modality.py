"""Physiology from an installed plug-in goes through the whole house; it is the plug-in of docs/new_modality.md."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from affectgpt import AffectGPT
from affectgpt.cli.main import main
from affectgpt.datamodules.collate import collate
from affectgpt.errors import CheckpointError, ConfigError, DataError
from affectgpt.features import EncoderSet, encode
from affectgpt.features.feeding import feature_key
from affectgpt.media import MediaProfile, load_clip
from affectgpt.registry import SOURCES
from affectgpt.shards import pack, read_index
from affectgpt.shards.check import check_shards
from affectgpt.shards.tar_writer import Sample
from affectgpt.shards.write import ShardWriter
from affectgpt.streaming import ShardStream
from clipmaker import make_clip
from conftest import write_manifest
from physiomaker import install_physiology, run_config, signals, use


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_physiology(tmp_path_factory)


@pytest.fixture
def plugged(site: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AFFECTGPT_CACHE", str(tmp_path / "cache"))
    use(site, monkeypatch)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight clips with a manifest: clip 2 lacks physiology, clip 3 has nothing else, clip 4 lost a second of it."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "signals").mkdir()
    lines = []
    for number in range(8):
        line: dict[str, Any] = {"name": f"clip{number}", "labels": [["calm"], ["afraid"]][number % 2]}
        if number != 3:
            (folder / f"clip{number}.mp4").write_bytes(make_clip(0.4, shade=20 + 20 * number))
            line["video"] = f"clip{number}.mp4"
        if number != 2:
            lost = (450,) if number == 4 else ()
            (folder / "signals" / f"clip{number}.csv").write_bytes(signals(6 + number % 3, 1 + number % 2, lost))
            line["physiology"] = f"signals/clip{number}.csv"
        lines.append(line)
    return write_manifest(folder, lines)


@pytest.fixture
def shards(plugged: None, clips: Path, tmp_path: Path) -> Path:
    return pack(clips, tmp_path / "shards", samples_per_shard=3).index.folder


def write_run(path: Path, run: dict[str, Any]) -> str:
    path.write_text(yaml.safe_dump(run, sort_keys=False))
    return str(path)


def frozen(run: dict[str, Any]) -> dict[str, Any]:
    streams = {name: {**stream, "trainable": False} for name, stream in run["model"]["streams"].items()}
    return {**run, "model": {**run["model"], "streams": streams}}


def test_the_page_from_packing_to_the_answer(plugged, clips, tmp_path, capsys):
    shards = str(tmp_path / "shards")
    assert main(["pack", str(clips), shards, "--workers", "0"]) == 0
    index = read_index(shards)
    assert index.modalities["physiology"] == 7
    assert main(["check", shards, "--decode"]) == 0
    assert "physiology" in capsys.readouterr().out
    run = run_config(tmp_path)
    checkpoint = {
        "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
        "init_args": {"dirpath": str(tmp_path), "filename": "model", "enable_version_counter": False},
    }
    run["trainer"] |= {"enable_checkpointing": True, "callbacks": [checkpoint], "max_steps": 2}
    assert main(["fit", "--config", write_run(tmp_path / "run.yaml", run), "--debug"]) == 0
    saved = torch.load(tmp_path / "model.ckpt", weights_only=True)
    note = {"source physiology": "physiology 0.1.0", "encoder physiology": "physiology 0.1.0"}
    assert saved["affectgpt"]["plugins"] == note
    video, file = str(clips.parent / "clip1.mp4"), str(clips.parent / "signals" / "clip1.csv")
    command = ["predict", video, "--checkpoint", str(tmp_path / "model.ckpt"), "--json"]
    capsys.readouterr()
    assert main([*command, "--source", f"physiology={file}"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["used"] == ["frame", "audio", "physiology", "multi"]


def test_predict_takes_a_path_or_bytes(plugged, clips):
    model = AffectGPT(**run_config(clips.parent)["model"]).eval()
    video, file = clips.parent / "clip1.mp4", clips.parent / "signals" / "clip1.csv"
    first = model.predict(video, physiology=file)
    assert first.text == model.predict(video, physiology=file.read_bytes()).text
    assert "physiology" in first.used
    assert model.predict(video, physiology=None).missing["physiology"] == "no file was given"
    alone = model.predict(None, physiology=file)
    assert (alone.used, alone.missing["frame"]) == (("physiology",), "no video was decoded")
    with pytest.raises(DataError, match=r"'clip1': its physiology must start with the line 'ecg,eda'"):
        model.predict(video, physiology=b"a,b\n1,2\n")
    with pytest.raises(DataError, match="must end in one of: csv"):
        model.predict(video, physiology="signals.txt")
    with pytest.raises(DataError, match=r"gone\.csv' cannot be read: No such file"):
        model.predict(video, physiology="gone.csv")
    with pytest.raises(ConfigError, match=r"for the source 'physiolgy'\. Did you mean 'physiology'"):
        model.predict(video, physiolgy=file)


def test_it_stands_in_prompt_and_prefusion_like_any_other(plugged, clips):
    model = AffectGPT(**run_config(clips.parent)["model"])
    assert model.network.prefusion_inputs == ("frame", "audio", "physiology")
    shown = str(model.style.layout(["physiology", "frame"], subtitle=False))
    assert "The physiological signals are as follows: <Physiology>" in shown
    assert shown.index("raw frames") < shown.index("physiological")
    profile = model.media
    both, alone = (
        load_clip(clips.parent / "clip1.mp4", profile, files=files)[0]
        for files in ({"physiology": clips.parent / "signals" / "clip1.csv"}, {})
    )
    batch = collate([both, alone], ["?", "?"], ["calm", "calm"], profile)
    assert batch.keep["physiology"].tolist() == [[True] * 3, [False] * 3]
    assert batch.media["physiology"].shape == (2, 3, 400, 2)
    out = model(batch)
    assert out.used == (("frame", "audio", "physiology", "multi"), ("frame", "audio"))
    assert out.token_losses.isfinite().all()


@pytest.mark.parametrize("form", ["media", "frames"])
def test_shards_carry_the_file_and_the_stream_reads_it(form, plugged, clips, tmp_path):
    from affectgpt.shards.forms.frames import FramesRecipe

    profile = MediaProfile.of({**run_config(tmp_path)["model"]["media"], "sources": ["frame", "physiology"]})
    recipe = FramesRecipe(profile) if form == "frames" else None
    index = pack(clips, tmp_path / "shards", recipe=recipe).index
    found = {clip.key: clip for clip in ShardStream(index, profile)}
    steps = {key: len(clip.media["physiology"]) for key, clip in found.items() if "physiology" in clip.media}
    # windows of two seconds; one of clip 4 holds a lost sample
    assert steps == {"clip0": 3, "clip1": 3, "clip3": 3, "clip4": 2, "clip5": 4, "clip6": 3, "clip7": 3}
    assert set(found["clip3"].media) == {"physiology"}
    assert found["clip3"].duration_seconds is None
    assert found["clip0"].media["physiology"].dtype == torch.float32


def test_stored_features_are_equal_to_media(shards, tmp_path):
    config = frozen(run_config(tmp_path))["model"]
    torch.manual_seed(0)
    model = AffectGPT(**config).eval()
    encoders = EncoderSet(config["streams"], config["media"])
    for name in encoders.specs:
        encoders.encoder(name).load_state_dict(model.encoder(name).state_dict())
    folder = encode(encoders, shards, tmp_path / "features", dtype="float32").index.folder
    profile = model.media
    pairs = zip(ShardStream(shards, profile), ShardStream(folder, profile), strict=True)
    for media, stored in pairs:
        assert media.key == stored.key
        losses = [model(collate([clip], ["How?"], ["calm"], profile)).token_losses for clip in (media, stored)]
        torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-5)
        assert len(stored.features["physiology"]) == len(media.media.get("physiology", ()))
    other = AffectGPT(**{**config, "media": {**config["media"], "source_args": {"physiology": {"rate_hz": 100}}}})
    changed = feature_key(other.network, "physiology").differences(feature_key(encoders, "physiology"))
    assert any(line.startswith("media.rate_hz: 100 here, 200 there") for line in changed)
    assert not [line for line in changed if "num_frames" in line]


def test_encode_and_fit_from_features_by_command(shards, tmp_path, capsys, caplog):
    run = frozen(run_config(tmp_path))
    features = str(tmp_path / "features")
    path = write_run(tmp_path / "run.yaml", run)
    assert main(["encode", path, str(shards), features, "--untrained", "--num-workers", "0"]) == 0
    assert "physiology: PhysiologyEncoder, 32 wide, key " in capsys.readouterr().err
    assert "THE ENCODER 'physiology' IS FROZEN WITH RANDOM WEIGHTS" in caplog.text
    caplog.clear()
    run["data"]["args"]["train"] = features
    assert main(["fit", "--config", write_run(tmp_path / "stored.yaml", run), "--debug"]) == 0
    assert "RANDOM WEIGHTS" not in caplog.text  # no encoder ran


def test_a_broken_file_is_a_bad_sample_with_key_and_reason(plugged, clips, tmp_path, capsys):
    folder = tmp_path / "more"
    folder.mkdir()
    contents = {
        "good": signals(4),
        "text": b"\xff\xfe",
        "short": signals(0.5),
        "columns": b"ecg,eda\n" + b"1,2,3\n" * 400,
    }
    lines = []
    for name, content in contents.items():
        (folder / f"{name}.csv").write_bytes(content)
        lines.append({"name": name, "physiology": f"{name}.csv", "labels": ["calm"]})
    manifest = write_manifest(folder, lines)
    assert main(["pack", str(manifest), str(tmp_path / "out"), "--workers", "0"]) == 1
    assert "clip 'text': its physiology cannot be read (UnicodeDecodeError" in capsys.readouterr().err
    report = pack(manifest, tmp_path / "out", skip_bad=True)
    assert {problem.key: problem.code for problem in report.rejects} == dict.fromkeys(
        ("text", "short", "columns"), "bad_source"
    )
    assert "must be float32 [time, 200, 2] with at least one step, but is float32 [0, 200, 2]" in str(report.rejects[1])

    shards = tmp_path / "damaged"
    with ShardWriter(shards) as writer:
        for name, content in contents.items():
            facts = {"key": name, "labels": ["calm"], "source_files": ["physiology"], "missing": {}}
            writer.write(Sample(name, {"physiology.csv": content}, facts))
        writer.finish()
    profile = MediaProfile(sources=("physiology",))
    found = list(ShardStream(shards, profile, tolerant=True).samples())
    bad = [sample.reason for _, sample in found if hasattr(sample, "reason")]
    assert len(bad) == 3
    assert "clip 'text': its physiology cannot be read" in bad[0]
    assert main(["check", str(shards), "--decode", "--out", str(tmp_path / "check.json")]) == 1
    faults = json.loads((tmp_path / "check.json").read_text())["faults"]
    assert [fault["code"] for fault in faults if fault["key"]] == ["undecodable"] * 3


def test_check_notices_a_file_that_is_promised_and_missing(plugged, tmp_path):
    with ShardWriter(tmp_path / "set") as writer:
        facts = {"key": "a", "source_files": ["physiology"], "missing": {}}
        writer.write(Sample("a", {"physiology.csv": signals(2)}, facts))
        writer.write(Sample("b", {"mp4": make_clip(0.2)}, {**facts, "key": "b"}))
        writer.finish()
    (fault,) = check_shards(tmp_path / "set").faults
    assert (fault.key, fault.code) == ("b", "missing_member")
    assert "promises physiology" in fault.message


def test_a_bare_folder_takes_the_file_beside_the_clip(plugged, tmp_path):
    folder = tmp_path / "bare"
    folder.mkdir()
    (folder / "u1.mp4").write_bytes(make_clip(0.3))
    (folder / "u1.Physiology.csv").write_bytes(signals(3))
    (folder / "u2.physiology.csv").write_bytes(signals(3))
    report = pack(folder, tmp_path / "out")
    assert report.index.modalities["physiology"] == 1
    assert "1 files" in report.remarks[0] or "u2.physiology.csv" in report.remarks[0]


def test_without_the_plugin_shards_serve_other_models_and_a_checkpoint_names_it(site, clips, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        use(site, patch)
        pack(clips, tmp_path / "shards")
        AffectGPT(**run_config(tmp_path)["model"]).save_checkpoint(tmp_path / "model.ckpt")
        AffectGPT(**run_config(tmp_path)["model"]).save_pretrained(tmp_path / "model")
    assert "physiology" not in SOURCES
    profile = MediaProfile(num_frames=1, frame_height=16, frame_width=16, sources=("frame",))
    clips_read = list(ShardStream(tmp_path / "shards", profile, tolerant=True).samples())
    assert [hasattr(clip, "reason") for _, clip in clips_read].count(True) == 1  # the clip with nothing else
    for load in (AffectGPT.load, EncoderSet.from_checkpoint):
        for stored in ("model.ckpt", "model"):
            with pytest.raises(CheckpointError, match=r"physiology 0\.1\.0 \(pip install 'physiology==0\.1\.0'\)"):
                load(tmp_path / stored)
    with pytest.raises(ConfigError, match="stream 'physiology': 'source' must say which input of a clip it reads"):
        AffectGPT(**run_config(tmp_path)["model"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "audio"}, r"stream 'physiology' reads 'audio', which is audio, with the encoder 'physiology'"),
        ({"encoder": "tiny-audio"}, r"reads 'physiology', which is physiology, with the encoder 'tiny-audio'"),
        ({"source": "physio"}, r"got 'physio'. Did you mean 'physiology'"),
    ],
)
def test_encoder_and_source_must_belong_together(change, message, plugged, tmp_path):
    config = copy.deepcopy(run_config(tmp_path)["model"])
    config["streams"]["physiology"] |= change
    config["media"].pop("source_args")
    with pytest.raises(ConfigError, match=message):
        AffectGPT(**config)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"gaze": {}}, "unknown source 'gaze'"),
        ({"physiology": {"rate": 3}}, "source 'physiology': .*It takes: rate_hz"),
        ({"frame": {"size": 3}}, "its settings are the other fields of the profile"),
        ({"physiology": 3}, "it maps names of sources to their settings"),
    ],
)
def test_settings_are_checked_at_the_start(given, message, plugged):
    with pytest.raises(ConfigError, match=message):
        MediaProfile(source_args=given)


def test_settings_of_a_source_that_no_stream_reads_are_refused(plugged, tmp_path):
    config = run_config(tmp_path)["model"]
    streams = {name: stream for name, stream in config["streams"].items() if name != "physiology"}
    with pytest.raises(ConfigError, match="settings of 'physiology', but no stream reads it"):
        AffectGPT(**{**config, "streams": streams})

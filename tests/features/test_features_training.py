"""Training, validation and answers from stored features are those from media, without the encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import lightning
import numpy as np
import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.datamodules import MERCaptionDataModule
from affectgpt.encoders import ClipVitEncoder, PrecomputedEncoder, SpeechEncoder, TinyVisionEncoder
from affectgpt.errors import CheckpointError, ConfigError, DataError
from affectgpt.features import EncoderSet, encode, feature_key
from affectgpt.media.profile import MediaProfile
from affectgpt.shards import pack
from affectgpt.shards.forms.frames import FramesRecipe
from clipmaker import make_clip, make_wav
from conftest import write_manifest
from quiettrainer import quiet_trainer, save_as_trained
from tinyencoders import pretrained_config, save_clip, tiny_config

SEED = 7


class Losses(lightning.Callback):
    """Writes down the loss of every step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.values.append(float(trainer.callback_metrics["train/loss"]))


@pytest.fixture(scope="session")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve clips that differ in length and in what they lack, in three shards."""
    folder = tmp_path_factory.mktemp("uneven")
    lines: list[dict[str, object] | str] = []
    for number in range(12):
        kind = ("short", "mute", "sound", "long", "picture", "long")[number % 6]
        name = f"{kind}{number}"
        file = folder / f"{name}.{ {'sound': 'wav', 'picture': 'png'}.get(kind, 'mp4') }"
        if kind == "sound":
            file.write_bytes(make_wav(0.6))
        elif kind == "picture":
            av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * number, np.uint8)).save(str(file))
        else:
            seconds = 0.2 if kind == "short" else 0.7
            file.write_bytes(make_clip(seconds, audio=kind != "mute", shade=15 * number, tone_hz=200 + 50 * number))
        labels = [["happy"], ["sad", "tired"], ["angry"]][number % 3]
        line = {"audio" if kind == "sound" else "video": file.name, "name": name, "labels": labels}
        lines.append({**line, **({"subtitle": f"words {number}"} if number % 2 else {})})
    out = tmp_path_factory.mktemp("packed") / "uneven"
    pack(write_manifest(folder, lines), out, samples_per_shard=4)
    return out


def make_features(config: dict[str, Any], source: Path, out: Path, dtype: str = "float32", **options: Any) -> Path:
    lightning.seed_everything(SEED, verbose=False)
    encode(EncoderSet.from_config(config, options.pop("names", None)), source, out, dtype=dtype, **options)
    return out


def make_model(config: dict[str, Any], features: Path | None = None) -> AffectGPT:
    lightning.seed_everything(SEED, verbose=False)
    return AffectGPT.from_config({**config, "features": None if features is None else str(features)})


def data_for(model: AffectGPT, folder: Path) -> MERCaptionDataModule:
    return MERCaptionDataModule(
        train=str(folder), val=str(folder), predict=str(folder), media=model.media.to_json(), style="brief",
        batch_size=4, num_workers=0, task="labels",
    )  # fmt: skip


def train(model: AffectGPT, folder: Path, epochs: int = 2, **options: Any) -> tuple[list[float], lightning.Trainer]:
    losses = Losses()
    trainer = quiet_trainer(num_sanity_val_steps=0, max_epochs=epochs, callbacks=[losses], **options)
    trainer.fit(model, data_for(model, folder))
    return losses.values, trainer


@pytest.fixture(params=["tiny", "pretrained"])
def any_config(request: pytest.FixtureRequest, networks: tuple[Path, Path]) -> dict[str, Any]:
    changes = {"slot_dropout": 0.3}
    return tiny_config(**changes) if request.param == "tiny" else pretrained_config(*networks, **changes)


def test_training_from_features_is_training_from_media(any_config, uneven, tmp_path):
    media_model = make_model(any_config)
    media_losses, media_trainer = train(media_model, uneven)
    features = make_features(any_config, uneven, tmp_path / "features", batch_size=3)
    model = make_model(any_config, features)
    losses, trainer = train(model, features)
    assert len(losses) == 6
    assert media_losses[-1] < media_losses[0]
    assert losses == pytest.approx(media_losses, rel=1e-5)
    for name in ("val/loss", "val/f1", "val/coverage"):
        wanted = float(media_trainer.callback_metrics[name])
        assert float(trainer.callback_metrics[name]) == pytest.approx(wanted, rel=1e-5, nan_ok=True)
    answers = [a for batch in trainer.predict(model, data_for(model, features)) for a in batch]
    expected = [a for batch in media_trainer.predict(media_model, data_for(media_model, uneven)) for a in batch]
    assert len(answers) == 12
    assert [(a.key, a.text, a.used) for a in answers] == [(a.key, a.text, a.used) for a in expected]
    assert {"audio" in a.used for a in answers} == {True, False} == {"frame" in a.used for a in answers}


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 1e-3), ("bfloat16", 1e-2)])
def test_training_from_half_precision_stays_close(dtype, tolerance, config, uneven, tmp_path):
    expected, _ = train(make_model(config), uneven)
    features = make_features(config, uneven, tmp_path / "features", dtype)
    losses, _ = train(make_model(config, features), features)
    assert losses == pytest.approx(expected, rel=tolerance)
    assert losses != pytest.approx(expected, rel=1e-7)


def refuse_to_run(patch: pytest.MonkeyPatch) -> None:
    def run(*_args: Any) -> None:
        raise AssertionError("an encoder was run")

    for encoder in (ClipVitEncoder, SpeechEncoder, TinyVisionEncoder):
        patch.setattr(encoder, "forward", run)


def test_encoders_are_neither_run_nor_loaded(config, uneven, tmp_path, monkeypatch):
    features = make_features(config, uneven, tmp_path / "features")
    monkeypatch.setattr(ClipVitEncoder, "__init__", refuse_to_load)
    monkeypatch.setattr(SpeechEncoder, "__init__", refuse_to_load)
    refuse_to_run(monkeypatch)
    model = make_model(config, features)
    assert all(isinstance(model.encoder(name), PrecomputedEncoder) for name in ("frame", "audio"))
    assert sum(p.numel() for p in model.encoders.parameters()) == 0
    assert len(train(model, features)[0]) == 6


def refuse_to_load(*_args: Any, **_kwargs: Any) -> None:
    raise AssertionError("an encoder was loaded")


def test_a_model_of_its_own_random_weights_keeps_its_encoders_and_does_not_run_them(uneven, tmp_path, monkeypatch):
    config = tiny_config()
    features = make_features(config, uneven, tmp_path / "features")
    refuse_to_run(monkeypatch)
    model = make_model(config, features)
    assert isinstance(model.encoder("frame"), TinyVisionEncoder)
    assert train(model, features)[0]


def test_a_checkpoint_of_such_a_training_is_the_full_model(any_config, uneven, tmp_path):
    features = make_features(any_config, uneven, tmp_path / "features")
    _, from_media = train(make_model(any_config), uneven)
    _, from_features = train(make_model(any_config, features), features)
    from_media.save_checkpoint(tmp_path / "media.ckpt")
    from_features.save_checkpoint(tmp_path / "features.ckpt")
    saved = torch.load(tmp_path / "features.ckpt", weights_only=True)
    assert "features" not in saved["hyper_parameters"]
    assert set(saved["affectgpt"]["features"]) == {"frame", "audio"}
    one, other = (AffectGPT.from_checkpoint(tmp_path / f"{name}.ckpt") for name in ("media", "features"))
    assert one.hparams == other.hparams
    states = one.state_dict(), other.state_dict()
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-4, atol=1e-5)
    clip = tmp_path / "new.mp4"
    clip.write_bytes(make_clip(0.5))
    answers = [model.predict(clip, "hello") for model in (one, other)]
    assert answers[0].text == answers[1].text
    assert answers[1].used == ("frame", "audio", "multi", "subtitle")


def test_training_goes_on_from_a_checkpoint_of_either_kind(config, uneven, tmp_path):
    features = make_features(config, uneven, tmp_path / "features")
    _, from_media = train(make_model(config), uneven, epochs=1)
    _, from_features = train(make_model(config, features), features, epochs=1)
    from_media.save_checkpoint(tmp_path / "media.ckpt")
    from_features.save_checkpoint(tmp_path / "features.ckpt")
    runs = {}
    for name in ("media", "features"):
        model, losses = make_model(config, features), Losses()
        trainer = quiet_trainer(num_sanity_val_steps=0, max_epochs=2, callbacks=[losses])
        trainer.fit(model, data_for(model, features), ckpt_path=tmp_path / f"{name}.ckpt", weights_only=True)
        runs[name] = losses.values
    assert len(runs["media"]) == 3
    assert runs["media"] == pytest.approx(runs["features"], rel=1e-5)


def test_one_stream_from_features_beside_one_that_is_trained(config, uneven, tmp_path):
    audio = {**tiny_config()["streams"]["audio"], "trainable": True}
    mixed = {**config, "streams": {"frame": config["streams"]["frame"], "audio": audio}}
    expected, _ = train(make_model(mixed), uneven)
    features = make_features(mixed, uneven, tmp_path / "features", names=["frame"])
    model = make_model(mixed, features)
    assert isinstance(model.encoder("frame"), PrecomputedEncoder)
    before = model.encoder("audio").head[1].weight.clone()
    losses, _ = train(model, features)
    assert losses == pytest.approx(expected, rel=1e-5)
    assert not torch.equal(model.encoder("audio").head[1].weight, before)


def test_features_of_more_streams_than_the_model_has_are_fine(config, uneven, tmp_path):
    features = make_features(config, uneven, tmp_path / "features")
    alone = {**config, "streams": {"frame": config["streams"]["frame"]}, "prefusion": "none"}
    assert train(make_model(alone, features), features)[0]


def test_a_precomputed_stream_takes_any_features_of_its_width(config, uneven, tmp_path):
    features = make_features(config, uneven, tmp_path / "features")
    streams = {
        "frame": {"encoder": {"name": "precomputed", "args": {"dim": 12}}},
        "audio": {"encoder": {"name": "precomputed", "args": {"dim": 16, "modality": "audio"}}},
    }
    light, expected = make_model({**config, "streams": streams}), train(make_model(config, features), features)[0]
    assert train(light, features)[0] == pytest.approx(expected, rel=1e-6)
    streams["frame"]["encoder"]["args"]["dim"] = 13
    with pytest.raises(DataError, match=r"vectors of width 13, but .* vectors of width 12"):
        train(make_model({**config, "streams": streams}), features)


def test_encoders_that_a_stand_in_replaced_are_missed_where_media_come(config, uneven, tmp_path):
    features = make_features(config, uneven, tmp_path / "features")
    model = make_model(config, features)
    with pytest.raises(ConfigError, match=r"stream 'frame' has no encoder in this model, and .*uneven' does not hold"):
        train(model, uneven)
    clip = tmp_path / "new.mp4"
    clip.write_bytes(make_clip(0.5))
    with pytest.raises(DataError, match=r"ClipVitEncoder was not loaded.*AffectGPT\.from_checkpoint"):
        model.predict(clip)
    with pytest.raises(ConfigError, match="has clips, not features; make features"):
        make_model(config, uneven)


def test_a_trained_encoder_that_is_frozen_later_keeps_its_weights(networks, uneven, tmp_path):
    config = pretrained_config(*networks)
    streams = {**config["streams"], "frame": {**config["streams"]["frame"], "trainable": True}}
    _, trainer = train(make_model({**config, "streams": streams}), uneven, epochs=1)
    trainer.save_checkpoint(tmp_path / "trained.ckpt")
    frozen = make_model(config)
    loaded = torch.load(tmp_path / "trained.ckpt", weights_only=True)
    frozen.on_load_checkpoint(loaded)
    frozen.load_state_dict(loaded["state_dict"], strict=False)
    again = torch.load(save_as_trained(frozen, tmp_path / "frozen.ckpt"), weights_only=True)
    wanted = {k: v for k, v in loaded["state_dict"].items() if k.startswith("encoders.frame.")}
    assert wanted
    assert all(torch.equal(again["state_dict"][name], value) for name, value in wanted.items())
    # its features are those of the checkpoint's weights, and no stand-in is made from the file
    encoders = EncoderSet.from_checkpoint(tmp_path / "frozen.ckpt")
    assert feature_key(encoders, "frame") == feature_key(frozen, "frame") != feature_key(make_model(config), "frame")
    encode(encoders, uneven, tmp_path / "features")
    model = make_model(config, tmp_path / "features")
    assert isinstance(model.encoder("frame"), ClipVitEncoder)
    assert isinstance(model.encoder("audio"), PrecomputedEncoder)
    with pytest.raises(DataError, match=r"features of stream 'frame' .* were not made by this model.*encoder.weights"):
        train(model, tmp_path / "features")
    AffectGPT.from_checkpoint(tmp_path / "frozen.ckpt")


def test_another_encoder_at_the_same_path_is_noticed_when_the_checkpoint_is_loaded(networks, uneven, tmp_path):
    clip = save_clip(tmp_path / "clip")
    config = pretrained_config(clip, networks[1])
    features = make_features(config, uneven, tmp_path / "features")
    _, trainer = train(make_model(config, features), features, epochs=1)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    AffectGPT.from_checkpoint(tmp_path / "model.ckpt")
    save_clip(clip, seed=2)
    with pytest.raises(CheckpointError, match=r"features of another encoder than stream 'frame' has: encoder\.weights"):
        AffectGPT.from_checkpoint(tmp_path / "model.ckpt")
    with pytest.raises(CheckpointError, match="features of another encoder than stream 'frame'"):
        EncoderSet.from_checkpoint(tmp_path / "model.ckpt")


def test_frames_and_sound_cut_before_are_encoded_like_clips(config, corpus, tmp_path):
    profile = MediaProfile.of({**config["media"], "num_segments": 5})
    pack(corpus / "manifest.jsonl", tmp_path / "frames", samples_per_shard=4, recipe=FramesRecipe(profile))
    expected, _ = train(make_model(config), tmp_path / "frames")
    features = make_features(config, tmp_path / "frames", tmp_path / "features")
    losses, _ = train(make_model(config, features), features)
    assert losses == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ConfigError, match="frames of another media profile: num_frames is 2 there and 3 here"):
        make_features(
            {**config, "media": {**config["media"], "num_frames": 3}}, tmp_path / "frames", tmp_path / "other"
        )


def test_sets_that_are_mixed_must_hold_the_same_streams(config, uneven, shards, tmp_path):
    both = make_features(config, uneven, tmp_path / "both")
    alone = make_features(config, shards, tmp_path / "alone", names=["frame"])
    model = make_model(config)
    data = MERCaptionDataModule(
        {str(both): 1.0, str(alone): 1.0}, media=model.media.to_json(), style="brief", batch_size=4, num_workers=0
    )
    trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, max_epochs=1)
    with pytest.raises(
        ConfigError, match=r"both' has features of frame, audio, and .*alone' of frame; mixed sets must"
    ):
        trainer.fit(model, data)

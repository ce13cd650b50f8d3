"""The composed model: every input matters, slots fit, answers batch, checkpoints restore."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.datamodules import MERCaptionDataModule
from affectgpt.errors import AlignmentError, CheckpointError, ConfigError
from affectgpt.types import Batch, Features
from quiettrainer import quiet_trainer, save_as_trained

CONFIG: dict[str, Any] = {
    "streams": {"frame": "tiny-vision", "audio": "tiny-audio"},
    "llm": {"name": "tiny", "args": {"dim": 32}},
    "style": "brief",
    "media": {"num_frames": 2, "num_segments": 2, "segment_seconds": 0.25, "frame_height": 32, "frame_width": 32},
    "max_new_tokens": 8,
    "optim": {"lr": 0.003, "warmup_steps": 0},
}


def build(**changes: Any) -> AffectGPT:
    torch.manual_seed(0)
    return AffectGPT.from_config({**CONFIG, **changes}).eval()


def make_batch(size: int = 3, seed: int = 0, **changes: Any) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    batch = Batch(
        keys=tuple(f"clip{i}" for i in range(size)),
        media={
            "frame": torch.randint(0, 255, (size, 2, 3, 32, 32), dtype=torch.uint8, generator=generator),
            "audio": torch.randn(size, 2, 4000, generator=generator),
        },
        keep={name: torch.ones(size, 2, dtype=torch.bool) for name in ("frame", "audio")},
        subtitles=tuple(f"words {i}" for i in range(size)),
        questions=("How?",) * size,
        answers=tuple(f"answer {i}" for i in range(size)),
    )
    return replace(batch, **changes)


@pytest.mark.parametrize("prefusion", ["attention", "attention-softmax", "none", "qformer"])
@pytest.mark.parametrize("pooling", ["attention", "mean"])
def test_every_input_changes_the_output(prefusion: str, pooling: str) -> None:
    arguments = {"hidden_dim": 24, "num_heads": 2, "num_tokens": 2} if prefusion == "qformer" else {}
    streams = {name: {"encoder": encoder, "pooling": pooling} for name, encoder in CONFIG["streams"].items()}
    model = build(prefusion={"name": prefusion, "args": arguments}, streams=streams)
    batch = make_batch()
    loss = model(batch).loss
    other = {"frame": 255 - batch.media["frame"], "audio": 0.01 * batch.media["audio"]}
    for name in batch.media:
        changed = replace(batch, media={**batch.media, name: other[name]})
        assert not torch.isclose(model(changed).loss, loss, rtol=1e-6), name
    assert not torch.isclose(model(replace(batch, subtitles=("else",) * 3)).loss, loss, rtol=1e-6)
    assert not torch.isclose(model(replace(batch, questions=("Why?",) * 3)).loss, loss, rtol=1e-6)


def test_a_sample_is_answered_alone_as_in_a_batch() -> None:
    model = build()
    keep = {
        "frame": torch.tensor([[1, 1], [1, 0], [1, 1]]).bool(),
        "audio": torch.tensor([[1, 1], [1, 1], [0, 0]]).bool(),
    }
    batch = make_batch(keep=keep, subtitles=("a much longer subtitle than the others", None, "short"))
    together = model(batch)
    assert together.used == (("frame", "audio", "multi"), ("frame", "audio", "multi"), ("frame",))
    texts = model.generate(batch)
    for i in range(3):
        alone = Batch(
            keys=batch.keys[i : i + 1],
            media={n: v[i : i + 1] for n, v in batch.media.items()},
            keep={n: v[i : i + 1] for n, v in keep.items()},
            subtitles=batch.subtitles[i : i + 1],
            questions=batch.questions[i : i + 1],
            answers=(batch.answers or ())[i : i + 1],
        )
        assert model.generate(alone) == texts[i : i + 1]


def test_what_is_missing_or_masked_has_no_influence() -> None:
    model = build()
    keep = {"frame": torch.ones(3, 2, dtype=torch.bool), "audio": torch.zeros(3, 2, dtype=torch.bool)}
    masked, other = make_batch(keep=keep), make_batch(seed=1)
    changed = replace(masked, media={**masked.media, "audio": other.media["audio"]})
    absent = replace(masked, media={"frame": masked.media["frame"]}, keep={"frame": keep["frame"]})
    assert torch.equal(model(changed).loss, model(masked).loss)
    assert torch.equal(model(absent).loss, model(masked).loss)
    assert torch.equal(model(make_batch(), hide=["audio"]).loss, model(masked).loss)


def test_missing_media_still_gives_every_trainable_weight_a_gradient() -> None:
    streams = {name: {"encoder": encoder, "trainable": True} for name, encoder in CONFIG["streams"].items()}
    model = build(streams=streams).train()
    model(replace(make_batch(), media={}, keep={})).loss.backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_a_second_stream_of_the_same_kind_is_a_matter_of_configuration() -> None:
    wide = {"encoder": {"name": "tiny-vision", "args": {"size": 32, "dim": 16}}, "source": "frame", "pooling": "mean"}
    model = build(streams={**CONFIG["streams"], "wide": wide}, prefusion_inputs=["wide", "audio"])
    assert model(make_batch()).used[0] == ("frame", "audio", "wide", "multi")
    assert model.prefusion.in_dims == (16, 64)


def test_precomputed_features_train_without_any_encoder_in_the_model() -> None:
    full = build()
    batch = make_batch()
    features = {
        n: Features(full.encoder(n)(batch.media[n], batch.keep[n]).hidden.detach(), batch.keep[n]) for n in batch.media
    }
    stored = replace(batch, media={}, keep={}, features=features)
    modality = {"frame": "visual", "audio": "audio"}
    streams = {
        n: {"encoder": {"name": "precomputed", "args": {"dim": 64, "modality": modality[n]}}} for n in CONFIG["streams"]
    }
    light = build(streams=streams)
    assert sum(p.numel() for p in light.encoders.parameters()) == 0
    light.load_state_dict({k: v for k, v in full.state_dict().items() if not k.startswith("encoders.")})
    assert torch.equal(light(stored).loss, full(batch).loss)
    light.train()(stored).loss.backward()


def test_frozen_encoders_stay_frozen_in_training(shards: Path) -> None:
    model = build()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    fit(model, shards, max_steps=2)
    changed = {k.split(".")[0] for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert "encoders" not in changed
    assert {"poolings", "prefusion", "projectors", "llm"} <= changed
    assert not model.encoder("frame").training


def fit(model: AffectGPT, shards: Path, **options: Any) -> lightning.Trainer:
    data = MERCaptionDataModule(
        train=str(shards),
        val=str(shards),
        media=model.media.to_json(),
        style=model.style.name,
        batch_size=4,
        num_workers=0,
        task="labels",
    )
    trainer = quiet_trainer(num_sanity_val_steps=0, **options)
    trainer.fit(model, data)
    return trainer


def test_training_learns_validates_and_restores(shards: Path, tmp_path: Path) -> None:
    streams = {name: {"encoder": encoder, "trainable": True} for name, encoder in CONFIG["streams"].items()}
    model = build(streams=streams)
    trainer = fit(model, shards, max_epochs=12)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert metrics["train/loss"] < 3.0
    assert {"val/loss", "val/f1", "val/precision", "val/recall"} <= set(metrics)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    loaded = torch.load(tmp_path / "model.ckpt", weights_only=True)
    assert loaded["affectgpt"]["format"] == 1
    restored = AffectGPT.from_checkpoint(tmp_path / "model.ckpt")
    assert restored.generate(make_batch()) == model.eval().generate(make_batch())
    through_lightning = AffectGPT.load_from_checkpoint(tmp_path / "model.ckpt")
    assert torch.equal(through_lightning(make_batch()).loss, restored(make_batch()).loss)
    trainer = fit(build(streams=streams), shards, max_epochs=0)
    assert trainer.validate(build(streams=streams), trainer.datamodule, str(tmp_path / "model.ckpt"), verbose=False)


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    path = save_as_trained(build(), tmp_path / "a.ckpt")
    other = build(prefusion="none")
    with pytest.raises(
        CheckpointError, match=r"another configuration; prefusion.name: 'attention' in the checkpoint, 'none'"
    ):
        other.on_load_checkpoint(torch.load(path, weights_only=True))


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    path = save_as_trained(build(), tmp_path / "a.ckpt")
    checkpoint = torch.load(path, weights_only=True)
    missing = {**checkpoint, "state_dict": {k: v for k, v in checkpoint["state_dict"].items() if "prefusion" not in k}}
    torch.save(missing, tmp_path / "missing.ckpt")
    with pytest.raises(CheckpointError, match=r"8 tensors are missing \(prefusion"):
        AffectGPT.from_checkpoint(tmp_path / "missing.ckpt")
    (tmp_path / "cut.ckpt").write_bytes(path.read_bytes()[:5000])
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    for name in ("cut.ckpt", "text.ckpt"):
        with pytest.raises(CheckpointError, match=f"{name} cannot be read"):
            AffectGPT.from_checkpoint(tmp_path / name)
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        AffectGPT.from_checkpoint(tmp_path / "nowhere.ckpt")


def test_code_named_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    streams = {**CONFIG["streams"], "frame": "affectgpt.encoders.tiny:TinyVisionEncoder"}
    path = save_as_trained(build(streams=streams), tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="names code to import"):
        AffectGPT.from_checkpoint(path)
    assert AffectGPT.from_checkpoint(path, allow_import=True).specs


def test_frozen_weights_from_a_file_are_left_out_of_a_checkpoint_and_read_again(tmp_path: Path) -> None:
    tiny = build().llm
    tiny.network.save_pretrained(tmp_path / "lm")
    tiny.tokenizer.save_pretrained(tmp_path / "lm")
    model = build(llm={"name": "causal-lm", "args": {"path": str(tmp_path / "lm"), "lora": {"rank": 2}}})
    path = save_as_trained(model, tmp_path / "a.ckpt")
    kept = [name for name in torch.load(path, weights_only=True)["state_dict"] if name.startswith("llm.")]
    assert kept
    assert all("lora_" in name for name in kept)
    assert torch.equal(AffectGPT.from_checkpoint(path)(make_batch()).loss, model(make_batch()).loss)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"streams": {}}, "needs streams"),
        ({"streams": {"multi": "tiny-vision"}}, "cannot be called 'multi'"),
        ({"streams": {"camera": "tiny-vision"}}, "stream 'camera': 'source' must say"),
        ({"streams": {"audio": "tiny-vision"}}, "stream 'audio' reads 'audio', which is audio, with the encoder"),
        ({"streams": {"frame": {"encodr": "tiny-vision"}}}, "unknown key 'encodr'"),
        ({"streams": {"frame": "tiny-visoin"}}, "Did you mean 'tiny-vision'"),
        ({"llm": "tinny"}, "unknown LLM 'tinny'"),
        ({"prefusion_inputs": ["face"]}, "unknown stream 'face'"),
        ({"prompt": "official"}, "takes no argument 'prompt'"),
        ({"optim": {"lrr": 1}}, "unknown key 'lrr'"),
        ({"optim": {"schedule": "cosine"}}, "needs total_steps"),
        ({"style": "short"}, "unknown prompt style 'short'"),
    ],
)
def test_wrong_configurations_are_refused_with_the_remedy(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**changes)


def test_a_datamodule_with_another_profile_is_refused(shards: Path) -> None:
    data = MERCaptionDataModule(train=str(shards), media={"num_frames": 5}, num_workers=0)
    trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, max_steps=1)
    with pytest.raises(ConfigError, match="give both the same media profile"):
        trainer.fit(build(), data)


def test_miscounted_tokens_are_refused_before_anything_is_scattered(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build()
    render = model.network.renderer
    monkeypatch.setattr(
        model.network, "renderer", lambda slots, counts, *rest: render(slots, {**counts, "audio": 3}, *rest)
    )
    with pytest.raises(AlignmentError, match=r"'clip0': .* 3 placeholders for slot 'audio', but the sample has 1 "):
        model(make_batch())


def test_a_part_that_is_put_in_place_of_another_is_run_and_stored() -> None:
    model, batch = build(), make_batch()
    losses = [model(batch).loss]
    for owner, name in ((model.poolings, "frame"), (model, "prefusion")):
        other = copy.deepcopy(getattr(owner, name))
        with torch.no_grad():
            for weight in other.parameters():
                weight.add_(0.5)
        setattr(owner, name, other)
        losses.append(model(batch).loss)
        assert losses[-1] not in losses[:-1], name
    name, weight = next(model.prefusion.named_parameters())
    assert torch.equal(model.state_dict()[f"prefusion.{name}"], weight)


def test_a_learning_rate_of_a_frozen_part_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    model = build(optim={"lr_of": {"encoders": 1e-3}})
    model.configure_optimizers()
    assert "'encoders' is frozen, so its learning rate has no effect" in caplog.text
    with pytest.raises(ConfigError, match="no trainable parameter starts with 'encoder_'"):
        build(optim={"lr_of": {"encoder_": 1e-3}}).configure_optimizers()


def test_models_that_were_stored_before_projectors_were_parts_still_load(tmp_path: Path) -> None:
    model = build()
    model.save_checkpoint(tmp_path / "a.ckpt")
    model.save_pretrained(tmp_path / "a")
    checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"].pop("projector") == {"name": "linear", "args": {}}
    torch.save(checkpoint, tmp_path / "a.ckpt")
    config = json.loads((tmp_path / "a/config.json").read_text())
    del config["model"]["projector"]
    (tmp_path / "a/config.json").write_text(json.dumps(config))
    for again in (AffectGPT.from_checkpoint(tmp_path / "a.ckpt"), AffectGPT.from_pretrained(tmp_path / "a")):
        assert torch.equal(again(make_batch()).loss, model(make_batch()).loss)


def test_the_network_trains_in_a_module_of_ones_own() -> None:
    network, batch = build().network, make_batch()
    assert {name.split(".")[0] for name in network.state_dict()} >= {"encoders", "poolings", "prefusion", "llm"}
    network.train()(batch).loss.backward()
    assert all(p.grad is not None for p in network.projectors.parameters())


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_training_in_lower_precision(precision: str, shards: Path) -> None:
    trainer = fit(build(), shards, max_steps=2, precision=precision)
    assert trainer.callback_metrics["train/loss"].isfinite()


def test_answers_of_a_model_in_training_mode_are_those_of_eval_mode() -> None:
    model = build(slot_dropout=0.9)
    expected = model.generate(make_batch())
    assert model.train().generate(make_batch()) == expected
    assert model.training


def test_trained_weights_of_a_part_that_is_frozen_again_are_saved(tmp_path: Path) -> None:
    tiny = build().llm
    tiny.network.save_pretrained(tmp_path / "lm")
    tiny.tokenizer.save_pretrained(tmp_path / "lm")
    model = build(llm={"name": "causal-lm", "args": {"path": str(tmp_path / "lm"), "lora": None}})
    model.llm.unfreeze()
    with torch.no_grad():
        next(model.llm.parameters()).add_(0.5)
    model.llm.freeze()
    path = save_as_trained(model, tmp_path / "a.ckpt")
    assert torch.equal(AffectGPT.from_checkpoint(path)(make_batch()).loss, model(make_batch()).loss)


def test_descriptions_are_not_scored_as_labels(shards: Path) -> None:
    model = build()
    data = MERCaptionDataModule(
        train=str(shards), val=str(shards), media=model.media.to_json(), style="brief", num_workers=0,
        task="description", batch_size=4,
    )  # fmt: skip
    trainer = quiet_trainer(max_steps=1)
    trainer.validate(model, data, verbose=False)
    assert set(trainer.callback_metrics) == {"val/loss"}


def test_settings_that_do_not_change_the_result_may_differ(tmp_path: Path) -> None:
    path = save_as_trained(build(), tmp_path / "a.ckpt")
    streams = {name: {"encoder": encoder, "trainable": True} for name, encoder in CONFIG["streams"].items()}
    build(streams=streams).on_load_checkpoint(torch.load(path, weights_only=True))

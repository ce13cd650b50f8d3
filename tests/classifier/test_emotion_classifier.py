"""Every encoder, pooling and pre-fusion trains alone, in a plain trainer, and comes back from its checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch.utils.data import DataLoader

from affectgpt.classifier import EmotionClassifier
from affectgpt.datamodules.collate import collate
from affectgpt.encoders import TinyVisionEncoder
from affectgpt.errors import ConfigError, DataError
from affectgpt.registry import ENCODERS, POOLINGS, PREFUSIONS, Registry, Spec
from affectgpt.types import Batch, Clip, Features, Modality
from partcases import ENCODER_CASES, POOLING_CASES, PREFUSION_CASES, media_for
from quiettrainer import quiet_trainer

pytest_plugins = ("partcases",)

TINY = {"encoder": {"name": "tiny-vision", "args": {"size": 16, "dim": 4}}, "pooling": "mean", "trainable": True}
SpecOf = Callable[[Registry[Any], str], Spec]


def trainer(folder: Path, steps: int = 2, **options: Any) -> lightning.Trainer:
    return quiet_trainer(max_steps=steps, default_root_dir=folder, **options)


def batches(classifier: EmotionClassifier, times: int = 2) -> DataLoader[Any]:
    """Three clips of random media, or of features where the encoder is 'precomputed'."""
    media, keep, features = {}, {}, {}
    for name, spec in classifier.specs.items():
        encoder = classifier.encoder(name)
        if Spec.of(spec.encoder).name == "precomputed":
            features[name] = Features(torch.randn(3, 2, encoder.out_dim), torch.ones(3, 2, dtype=torch.bool))
        else:
            media[str(spec.source)], keep[str(spec.source)] = media_for(encoder)
    labels = (("sad",), ("happy", "surprised"), ("sad",))
    none = (None,) * 3
    batch = Batch(("a", "b", "c"), media, keep, none, ("",) * 3, labels=labels, features=features)
    return DataLoader([batch] * times, batch_size=None)


CLASSES = ["sad", ["surprised", "happy"]]


def trained_and_restored(classifier: EmotionClassifier, folder: Path) -> None:
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    fit = trainer(folder)
    fit.fit(classifier, batches(classifier))
    learnt = [name for name, value in classifier.state_dict().items() if not torch.equal(value, before[name])]
    assert any(name.startswith("head.") for name in learnt)
    for part in ("encoders", "poolings", "prefusion"):
        has_weights = any(p.requires_grad for p in getattr(classifier, part).parameters())
        assert has_weights == any(name.startswith(part) for name in learnt)
    fit.save_checkpoint(folder / "classifier.ckpt")
    stored = torch.load(folder / "classifier.ckpt", weights_only=True)["hyper_parameters"]
    assert json.loads(json.dumps(dict(stored))) == dict(stored)
    again = EmotionClassifier.load_from_checkpoint(folder / "classifier.ckpt", weights_only=True).eval()
    batch = next(iter(batches(classifier)))
    torch.testing.assert_close(again(batch), classifier.eval()(batch), rtol=0, atol=0)


@pytest.mark.parametrize("name", ENCODER_CASES)
def test_every_encoder_trains_alone(name: str, spec_of: SpecOf, tmp_path: Path) -> None:
    spec = spec_of(ENCODERS, name)
    source = {Modality.VISUAL: "frame", Modality.AUDIO: "audio"}[ENCODERS.build(spec).modality]
    stream = {"encoder": spec.to_json(), "pooling": "mean", "source": source, "trainable": True}
    trained_and_restored(EmotionClassifier({source: stream}, CLASSES), tmp_path)


@pytest.mark.parametrize("name", POOLING_CASES)
def test_every_pooling_trains_alone(name: str, spec_of: SpecOf, tmp_path: Path) -> None:
    args = {key: value for key, value in spec_of(POOLINGS, name).args.items() if key != "in_dim"}
    trained_and_restored(
        EmotionClassifier({"frame": {**TINY, "pooling": {"name": name, "args": args}}}, CLASSES), tmp_path
    )


@pytest.mark.parametrize("name", PREFUSION_CASES)
def test_every_prefusion_trains_alone(name: str, spec_of: SpecOf, tmp_path: Path) -> None:
    args = {key: value for key, value in spec_of(PREFUSIONS, name).args.items() if key != "in_dims"}
    sound = {"encoder": {"name": "tiny-audio", "args": {"dim": 6, "num_mels": 16}}, "pooling": "mean"}
    classifier = EmotionClassifier({"frame": TINY, "audio": sound}, CLASSES, {"name": name, "args": args})
    assert classifier.encoder("audio").frozen
    trained_and_restored(classifier, tmp_path)


def shades(number: int) -> list[tuple[torch.Tensor, int]]:
    """Dark frames are class 0, light ones class 1."""
    return [(torch.full((2, 3, 16, 16), 30 + 190 * (i % 2), dtype=torch.uint8), i % 2) for i in range(number)]


def test_a_strangers_tensors_and_class_numbers_are_enough(tmp_path: Path) -> None:
    torch.manual_seed(0)
    classifier = EmotionClassifier({"frame": TINY}, ["sad", "happy"], lr=1e-2)
    fit = trainer(tmp_path, steps=40)
    fit.fit(classifier, DataLoader(shades(8), batch_size=4), DataLoader(shades(4), batch_size=4))
    assert float(fit.callback_metrics["val/accuracy"]) == 1
    assert float(fit.callback_metrics["val/f1"]) == 1
    fit.test(classifier, DataLoader(shades(4), batch_size=2), verbose=False)
    assert float(fit.callback_metrics["test/accuracy"]) == 1
    said = fit.predict(classifier, DataLoader(shades(4), batch_size=4))
    assert [clip.labels for clip in said[0]] == [("sad",), ("happy",), ("sad",), ("happy",)]
    assert all(0.5 < clip.probability <= 1 for clip in said[0])


def test_given_encoders_are_trained_in_place(tmp_path: Path) -> None:
    encoder = TinyVisionEncoder(size=16, dim=4)
    before = encoder.head[0].weight.clone()
    classifier = EmotionClassifier({"frame": TINY}, ["sad", "happy"], encoders={"frame": encoder})
    trainer(tmp_path).fit(classifier, DataLoader(shades(4), batch_size=2))
    assert classifier.encoder("frame") is encoder
    assert not torch.equal(encoder.head[0].weight, before)
    with pytest.raises(ConfigError, match="stream 'frame' has no encoder; encoders were given for 'face'"):
        EmotionClassifier({"frame": TINY}, ["sad", "happy"], encoders={"face": encoder})


def test_a_clip_without_the_input_counts_as_zeros() -> None:
    sound = {"encoder": {"name": "tiny-audio", "args": {"dim": 6, "num_mels": 16}}, "pooling": "mean"}
    classifier = EmotionClassifier({"frame": TINY, "audio": sound}, ["sad", "happy"])
    silent = collate([Clip("a", {"frame": torch.zeros(1, 3, 16, 16, dtype=torch.uint8)}, labels=("sad",))], [""])
    assert classifier(silent).shape == (1, 2)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (collate([Clip("x", {"frame": torch.zeros(1, 3, 16, 16, dtype=torch.uint8)}, labels=("bored",))], [""]),
         "1 clips have labels that are not a class: 'x: bored'; the classes are 'sad', 'happy'"),
        ((torch.zeros(1, 1, 3, 16, 16, dtype=torch.uint8), torch.tensor([2])), "classes are 0 to 1, but a target is 2"),
        (({"audio": torch.zeros(1, 1, 400)}, torch.tensor([0])), "no stream reads 'audio'"),
        (torch.zeros(1), "a pair of media and class numbers, but got Tensor"),
    ],
)  # fmt: skip
def test_a_batch_that_cannot_be_learnt_is_refused(batch: Any, message: str) -> None:
    classifier = EmotionClassifier({"frame": TINY}, ["sad", "happy"])
    with pytest.raises(DataError, match=message):
        classifier.training_step(batch, 0)


@pytest.mark.parametrize("classes", [["sad"], ["sad", "sad"], [["a", "b"], ["b", "a"]]])
def test_classes_must_differ(classes: list[Any]) -> None:
    with pytest.raises(ConfigError, match="two classes or more, all different"):
        EmotionClassifier({"frame": TINY}, classes)


def test_an_encoder_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"stream 'audio' reads 'audio'.*an encoder that reads visual"):
        EmotionClassifier({"audio": TINY}, ["sad", "happy"])


def some(count: int) -> Batch:
    """Clips of different shades of grey."""
    shades = [torch.full((1, 3, 16, 16), 20 * i, dtype=torch.uint8) for i in range(count)]
    clips = [Clip(str(i), {"frame": s}, labels=(("sad",), ("happy",))[i % 2]) for i, s in enumerate(shades)]
    return collate(clips, [""] * count)


def test_the_loss_is_a_mean_over_clips_however_they_are_divided(tmp_path: Path) -> None:
    whole, logged, weights = some(6), [], []
    for sizes in ([6], [5, 1]):
        torch.manual_seed(0)
        classifier = EmotionClassifier({"frame": TINY}, ["sad", "happy"])
        starts = [0, *sizes]
        dealt = [whole.rows(range(start, start + size)) for start, size in zip(starts, sizes, strict=False)]
        loader = DataLoader(dealt, batch_size=None)
        fit = trainer(tmp_path, 1, accumulate_grad_batches=len(sizes), num_sanity_val_steps=0, log_every_n_steps=1)
        fit.fit(classifier, loader, loader)
        logged.append({name: float(fit.callback_metrics[name]) for name in ("train/loss", "val/loss")})
        weights.append(classifier.head.weight.detach())
    assert logged[1] == pytest.approx(logged[0], rel=1e-5)
    assert torch.allclose(weights[0], weights[1], atol=1e-6)
    assert logged[0]["train/loss"] != pytest.approx(logged[0]["val/loss"], rel=1e-5), "the step changed something"

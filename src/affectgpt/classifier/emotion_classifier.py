"""Trains any encoder, pooling and pre-fusion to classify emotions, with a plain Lightning trainer.

``B`` batch, ``C`` classes; other shape letters are those of ``affectgpt.types``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from affectgpt.checkpoints.io import load_checkpoint
from affectgpt.checkpoints.plugins import announce_versions, check_installed, plugins_of
from affectgpt.checkpoints.storable import only_our_errors
from affectgpt.checkpoints.training_file import plugin_notes
from affectgpt.classifier.read_batch import to_batch
from affectgpt.encoders.base import Encoder
from affectgpt.encoders.build import build_encoder
from affectgpt.encoders.streams import StreamSpec, read_streams
from affectgpt.errors import ConfigError, DataError, first_few
from affectgpt.fusion.base import Pooling
from affectgpt.media.profile import modality_of
from affectgpt.registry import POOLINGS, PREFUSIONS, Spec
from affectgpt.training.modality_dropout import ModalityDropout
from affectgpt.training.step_loss import DataRanks, LossMean, closure_of_mean, mean_of
from affectgpt.types import Batch, Features


@dataclass
class ClassifiedClip:
    """The classifier's prediction for one clip; not frozen, because Lightning copies predictions field by field.

    Attributes:
        key: The clip's key.
        labels: Labels of the most likely class.
        probability: Probability of that class, from 0 to 1.
    """

    key: str
    labels: tuple[str, ...]
    probability: float


class EmotionClassifier(lightning.LightningModule):
    """Encoders, a pooling for each, a pre-fusion, and a linear head over their tokens.

    A class is a set of labels, usually of one label; a clip belongs to the class with exactly the clip's labels. The
    loss is cross-entropy, a mean over the clips of a whole optimiser step on all ranks, or of a whole stage: see
    ``LossMean``. ``load_from_checkpoint`` rebuilds the whole classifier.

    Args:
        streams: Stream name to its spec, as in ``AffectGPT``. Encoders are frozen unless their stream has ``trainable:
            true``.
        classes: Every class: a label, or a list of labels.
        prefusion: The pre-fusion, whose tokens are concatenated with those of the streams; ``none`` for none.
        hidden_dim: Width of a hidden layer in front of the linear one, or ``None`` for none.
        lr: Learning rate of AdamW.
        weight_decay: Weight decay of AdamW.
        modality_dropout: What training clips lose at random, see ``ModalityDropout``; nothing by default.
        encoders: Already built encoders, by stream, to be trained in place. They belong to the run: a checkpoint is
            rebuilt from ``streams``.

    Raises:
        ConfigError: If a part is unknown, or the parts do not fit together.
    """

    def __init__(
        self,
        streams: Mapping[str, StreamSpec | Mapping[str, Any] | str],
        classes: Sequence[str | Sequence[str]],
        prefusion: Spec | Mapping[str, Any] | str = "none",
        hidden_dim: int | None = None,
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        modality_dropout: ModalityDropout | Mapping[str, Any] | None = None,
        *,
        encoders: Mapping[str, Encoder] | None = None,
    ) -> None:
        super().__init__()
        self.specs = read_streams(streams)
        self.classes = tuple((labels,) if isinstance(labels, str) else tuple(labels) for labels in classes)
        self.class_of = {frozenset(labels): i for i, labels in enumerate(self.classes)}
        if len(self.classes) < 2 or len(self.class_of) < len(self.classes):
            raise ConfigError(f"a classifier needs two classes or more, all different, but got {list(classes)!r}")
        # Lightning stores these local variables, so they must be plain JSON that weights_only=True can load
        streams = {name: spec.to_json() for name, spec in self.specs.items()}
        classes = [list(labels) for labels in self.classes]
        prefusion = Spec.of(prefusion).to_json()
        self.modality_dropout = ModalityDropout.of(modality_dropout)
        modality_dropout = None if self.modality_dropout is None else self.modality_dropout.to_json()
        self.save_hyperparameters(ignore=["encoders"], logger=False)
        self.encoders = nn.ModuleDict({name: _encoder(name, spec, encoders) for name, spec in self.specs.items()})
        widths = {name: self.encoder(name).out_dim for name in self.specs}
        self.poolings = nn.ModuleDict(
            {name: POOLINGS.build(spec.pooling, in_dim=widths[name]) for name, spec in self.specs.items()}
        )
        self.prefusion = PREFUSIONS.build(prefusion, in_dims=list(widths.values()))
        token_dims = [self.pooling(name).out_dim for name in self.specs]
        if self.prefusion.num_tokens:
            token_dims.append(self.prefusion.out_dim)
        self._losses = {stage: LossMean("samples") for stage in ("train", "val", "test")}
        self.head = _build_head(sum(token_dims), hidden_dim, len(self.classes))
        self.metrics = nn.ModuleDict(
            {
                f"{stage}_metrics": MetricCollection(
                    {
                        "accuracy": MulticlassAccuracy(len(self.classes), average="micro"),
                        "f1": MulticlassF1Score(len(self.classes), average="macro"),
                    },
                    prefix=f"{stage}/",
                )
                for stage in ("val", "test")
            }
        )

    def encoder(self, name: str) -> Encoder:
        """The encoder of a stream."""
        encoder = self.encoders[name]
        assert isinstance(encoder, Encoder)
        return encoder

    def pooling(self, name: str) -> Pooling:
        """The pooling of a stream."""
        pooling = self.poolings[name]
        assert isinstance(pooling, Pooling)
        return pooling

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls,
        checkpoint_path: str | Path,
        map_location: Any = None,
        *,
        weights_only: bool = True,
        allow_import: bool = False,
        **arguments: Any,
    ) -> Self:
        """Rebuild a trained classifier from the file that training wrote, without running code from it.

        Args:
            checkpoint_path: The file.
            map_location: Device of the weights; the processor by default.
            weights_only: Lightning's argument: only tensors and plain values are ever read.
            allow_import: Whether parts named ``package.module:Class`` in it may be imported.
            arguments: Arguments in place of the stored ones, such as ``encoders``.

        Raises:
            CheckpointError: If it cannot be read, does not fit, or a plug-in part of it is not installed.
            ConfigError: If ``weights_only`` is ``False``.
        """
        if not weights_only:
            raise ConfigError("weights_only=False would run code from the file, which is not allowed; leave it out")
        checkpoint = load_checkpoint(checkpoint_path, allow_import=allow_import)
        stored = checkpoint["hyper_parameters"]
        with only_our_errors(checkpoint_path):
            check_installed(plugin_notes(checkpoint), stored, checkpoint_path)
            model = cls(**{**stored, **arguments})
            model.on_load_checkpoint(checkpoint)
            model.load_state_dict(checkpoint["state_dict"])
        return model.to(map_location or "cpu")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note where plug-in parts come from."""
        checkpoint["affectgpt"] = {"format": 1, "plugins": plugins_of(self.hparams)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Announce plug-in parts of another version."""
        announce_versions(plugin_notes(checkpoint), self.hparams, "the checkpoint")

    def forward(self, batch: Batch) -> Tensor:
        """Logits of the classes, float ``[B, C]``.

        Args:
            batch: Clips; a stream that comes as features is not encoded, and one that no clip has is replaced by zeros.

        Raises:
            DataError: If the media have a shape that the encoders do not accept.
        """
        features = [self._encode(name, batch) for name in self.specs]
        tokens = [self.pooling(name)(stream) for name, stream in zip(self.specs, features, strict=True)]
        if self.prefusion.num_tokens:
            tokens.append(self.prefusion(features))
        logits: Tensor = self.head(torch.cat([those.mean(1) for those in tokens], dim=-1))
        return logits

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """What the backward pass of a batch begins from; the loss, a mean over the step, is logged as ``train/loss``.

        See ``to_batch`` for what a batch may be.

        Raises:
            DataError: If a clip has labels that are not a class.
        """
        batch, target = self._with_target(batch)
        if self.modality_dropout is not None:
            batch = self.modality_dropout(batch, self.specs).batch
        return self._add_loss("train", self(batch), target)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Step with the gradients of the mean over the whole step."""
        closure = closure_of_mean(self, self._losses["train"], optimizer_closure)
        super().optimizer_step(epoch, batch_idx, optimizer, closure)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Loss, accuracy and macro F1 of one batch."""
        self._evaluate("val", batch)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Loss, accuracy and macro F1 of one batch."""
        self._evaluate("test", batch)

    def on_validation_epoch_end(self) -> None:
        """Log the loss of the validation."""
        self._log_loss("val")

    def on_test_epoch_end(self) -> None:
        """Log the loss of the test."""
        self._log_loss("test")

    def predict_step(self, batch: Any, batch_idx: int) -> list[ClassifiedClip]:
        """The most likely class of every clip."""
        batch, _ = to_batch(batch, self.specs)
        probability, index = self(batch).softmax(-1).max(-1)
        return [
            ClassifiedClip(key, self.classes[i], p)
            for key, i, p in zip(batch.keys, index.tolist(), probability.tolist(), strict=True)
        ]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW over everything that is trainable."""
        return torch.optim.AdamW(
            (p for p in self.parameters() if p.requires_grad),
            lr=self.hparams["lr"],
            weight_decay=self.hparams["weight_decay"],
        )

    def _encode(self, name: str, batch: Batch) -> Features:
        if name in batch.features:
            return batch.features[name]
        source = str(self.specs[name].source)
        if source in batch.media:
            features: Features = self.encoders[name](batch.media[source], batch.keep[source])
            return features
        hidden = torch.zeros(len(batch), 1, self.encoder(name).out_dim, device=self.device)
        return Features(hidden, torch.zeros(len(batch), 1, dtype=torch.bool, device=self.device))

    def _evaluate(self, stage: str, batch: Any) -> None:
        batch, target = self._with_target(batch)
        logits = self(batch)
        metrics = self.metrics[f"{stage}_metrics"]
        assert isinstance(metrics, MetricCollection)
        metrics.update(logits, target)
        self._add_loss(stage, logits, target)
        self.log_dict(metrics, batch_size=len(batch))

    def _add_loss(self, stage: str, logits: Tensor, target: Tensor) -> Tensor:
        losses = F.cross_entropy(logits.float(), target, reduction="none")
        return self._losses[stage].add(losses, torch.ones_like(target))

    def _log_loss(self, stage: str) -> None:
        self.log(f"{stage}/loss", mean_of(self._losses[stage].take(self.device, DataRanks.of(self))))

    def _with_target(self, given: Any) -> tuple[Batch, Tensor]:
        """The batch, and the number of each clip's class, int64 ``[B]``."""
        batch, target = to_batch(given, self.specs)
        if target is not None:
            wrong = (target < 0) | (target >= len(self.classes))
            if wrong.any():
                raise DataError(
                    f"the classes are 0 to {len(self.classes) - 1}, but a target is {int(target[wrong][0])}"
                )
            return batch, target
        if len(batch.labels) < len(batch):
            raise DataError("the batch has no labels to learn; give Batch.labels, or pairs of media and class numbers")
        numbers = [self.class_of.get(frozenset(labels)) for labels in batch.labels]
        unknown = [i for i, number in enumerate(numbers) if number is None]
        if unknown:
            clips = first_few(f"{batch.keys[i]}: {', '.join(batch.labels[i]) or 'no label'}" for i in unknown)
            known = first_few(", ".join(labels) for labels in self.classes)
            raise DataError(f"{len(unknown)} clips have labels that are not a class: {clips}; the classes are {known}")
        return batch, torch.tensor(numbers, device=self.device)


def _encoder(name: str, spec: StreamSpec, given: Mapping[str, Encoder] | None) -> Encoder:
    if given is not None:
        if name not in given:
            raise ConfigError(f"encoders: stream {name!r} has no encoder; encoders were given for {first_few(given)}")
        return given[name]
    encoder = build_encoder(spec.encoder)
    modality = modality_of(str(spec.source))
    if encoder.modality != modality:
        raise ConfigError(
            f"stream {name!r} reads {spec.source!r}, which is {modality}, with an encoder that reads "
            f"{encoder.modality}; change the source or the encoder"
        )
    return encoder if spec.trainable else encoder.freeze()


def _build_head(in_dim: int, hidden_dim: int | None, num_classes: int) -> nn.Module:
    if hidden_dim is None:
        return nn.Linear(in_dim, num_classes)
    return nn.Sequential(nn.Linear(in_dim, hidden_dim), nn.GELU(), nn.Linear(hidden_dim, num_classes))

"""Trains the demo's encoders to tell the label sets apart, before they are frozen in front of the LLM.

It stands in for what CLIP and HuBERT bring to the published model: encoders that can already see and hear.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import lightning

from affectgpt.classifier import EmotionClassifier
from affectgpt.model import AffectGPT
from affectgpt.model.training_note import note_pretraining

HIDDEN_DIM = 128
"""Width of the classifier's hidden layer."""


def pretrain_encoders(
    model: AffectGPT,
    label_sets: Iterable[Sequence[str]],
    trainer: lightning.Trainer,
    data: lightning.LightningDataModule,
) -> None:
    """Train the encoders of a model as a classifier, and freeze them; the model's history tells it.

    Args:
        model: The model; nothing else of it is trained.
        label_sets: See ``encoder_pretraining``.
        trainer: Trains for as long as it is set to.
        data: The training clips.
    """
    for name in model.specs:
        model.encoder(name).unfreeze()
    classifier = encoder_pretraining(model, label_sets)
    trainer.fit(classifier, data)
    settings = {name: classifier.hparams[name] for name in ("lr", "weight_decay")}
    note_pretraining(trainer, model, "the label sets of the clips, by a classifier on the encoders alone", settings)
    for name in model.specs:
        model.encoder(name).freeze()


def encoder_pretraining(model: AffectGPT, label_sets: Iterable[Sequence[str]]) -> EmotionClassifier:
    """A classifier of label sets around the encoders of a model; the steps of a stream are averaged.

    Args:
        model: The model whose encoders are trained, in place; nothing else of it is.
        label_sets: Every label set of the training clips.
    """
    return EmotionClassifier(
        streams={name: replace(spec, pooling="mean") for name, spec in model.specs.items()},
        classes=sorted({tuple(labels) for labels in label_sets}),
        hidden_dim=HIDDEN_DIM,
        encoders={name: model.encoder(name) for name in model.specs},
    )

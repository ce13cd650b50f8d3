"""Feeds a model from stored features: replaces encoders that need not be loaded, and compares keys."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from affectgpt.checkpoints.storable import only_our_errors
from affectgpt.encoders.base import Encoder
from affectgpt.encoders.build import facts_of_file
from affectgpt.encoders.feature_key import EncoderFacts, FeatureKey
from affectgpt.encoders.precomputed import PrecomputedEncoder
from affectgpt.encoders.streams import StreamSpec
from affectgpt.errors import CheckpointError, ConfigError, DataError
from affectgpt.media.profile import MediaProfile
from affectgpt.registry import Spec
from affectgpt.shards.forms.features import FeatureRecipe
from affectgpt.shards.index import ShardIndex, read_index

log = logging.getLogger(__name__)


class Encoding(Protocol):
    """What stored features need of a model: its streams, and the encoders to compare them with."""

    specs: dict[str, StreamSpec]
    media: MediaProfile

    def encoder(self, name: str) -> Encoder:
        """The encoder of a stream."""


def feature_key(model: Encoding, name: str) -> FeatureKey | None:
    """The key of a stream's features, from the current weights of its encoder.

    Returns:
        The key; ``None`` for a stream configured as ``precomputed``, which accepts any features of the right width.
    """
    encoder = model.encoder(name)
    if isinstance(encoder, PrecomputedEncoder):
        return encoder.key
    return _key(EncoderFacts.of(encoder), model.specs[name], model.media)


def check_datamodule(model: Encoding, datamodule: Any, stage: str) -> dict[str, FeatureKey]:
    """Check that the data of a stage gives each stream of a model what it needs.

    Args:
        model: The model, with the weights that it will run with.
        datamodule: Its datamodule; one without ``indexes`` is not checked.
        stage: ``"fit"``, ``"validate"``, ``"test"`` or ``"predict"``.

    Returns:
        The keys of the streams that come from stored features.

    Raises:
        ConfigError: If mixed sets have features of different streams; see also ``check_features``.
        DataError: See ``check_features``.
    """
    found: dict[str, FeatureKey] = {}
    for indexes in _indexes(datamodule, stage):
        used = [check_features(model, index) for index in indexes]
        for index, keys in zip(indexes, used, strict=True):
            if keys.keys() != used[0].keys():
                raise ConfigError(
                    f"{indexes[0].location!r} has features of {', '.join(used[0]) or 'nothing'}, and "
                    f"{index.location!r} of {', '.join(keys) or 'nothing'}; mixed sets must have the same streams: "
                    "encode them in the same way"
                )
            found |= keys
    return found


def feature_folders(datamodule: Any, stage: str) -> list[str] | None:
    """The shard folders that a stage of the trainer reads, if all of them hold features, else ``None``.

    Args:
        datamodule: The model's datamodule.
        stage: ``"fit"``, ``"validate"``, ``"test"`` or ``"predict"``.
    """
    indexes = [index for found in _indexes(datamodule, stage) for index in found]
    every = bool(indexes) and all(index.form == "features" for index in indexes)
    return [index.url or str(index.folder) for index in indexes] if every else None


def stand_ins(
    specs: Mapping[str, StreamSpec], media: MediaProfile, folders: str | Sequence[str] | None
) -> dict[str, PrecomputedEncoder]:
    """Make stand-ins for the encoders that feature shards replace.

    An encoder is replaced if all folders have the features of its stream and its weights come from a file, so that a
    checkpoint can leave them out. The file's facts are compared with the features' keys; a known file that has not
    changed is not read again. If the file is not on this machine, features that were made with the same spec are
    accepted without this comparison, with a warning.

    Args:
        specs: The model's streams.
        media: How the model expects clips to be decoded.
        folders: Feature shard folders; ``None`` for none.

    Returns:
        Stream name to its stand-in.

    Raises:
        DataError: If the features were made by another encoder, or from other input.
    """
    paths = [folders] if isinstance(folders, str) else list(folders or ())
    recipes = {path: _recipe(path) for path in paths}
    found = {}
    for name, spec in specs.items():
        keys = {path: recipe.streams.get(name) for path, recipe in recipes.items()}
        first = next(iter(keys.values()), None)
        if spec.trainable or first is None or not all(key and key.encoder.from_file for key in keys.values()):
            continue
        facts = facts_of_file(spec.encoder)
        if facts is None:
            _accept_unverified(name, first, spec)
            facts = first.encoder
        wanted = _key(facts, spec, media)
        for path, key in keys.items():
            assert key is not None
            _compare(name, wanted, key, path)
        found[name] = PrecomputedEncoder.standing_for(wanted)
    return found


def check_features(model: Encoding, index: ShardIndex) -> dict[str, FeatureKey]:
    """Check that a shard folder gives each stream of a model what it needs.

    Args:
        model: The model.
        index: A shard folder that it will be fed from, of any form.

    Returns:
        The keys of the streams that come from features.

    Raises:
        ConfigError: If the encoder of a stream is trained, so that stored features would become outdated, or if it is a
            stand-in but the folder has media.
        DataError: If the features were made by another encoder or from other input, or a stream has neither features
            nor media.
    """
    recipe = FeatureRecipe.of(index)
    used = {}
    for name, spec in model.specs.items():
        key = recipe.streams.get(name) if recipe is not None else None
        if recipe is None or key is None:
            _check_media(model, name, recipe, index)
            continue
        if spec.trainable:
            raise ConfigError(
                f"stream {name!r} has trainable: true, but {index.location!r} holds its features, which would stay "
                "as they are while the encoder learns; set trainable: false, or train from media"
            )
        wanted = feature_key(model, name)
        if wanted is None:
            _check_width(model.encoder(name), name, key, index)
        else:
            _compare(name, wanted, key, index.location, index.provenance.get("seed"))
        used[name] = key
    return used


def check_checkpoint(model: Encoding, saved: Mapping[str, Any]) -> None:
    """Check that a model has the encoders on whose features a checkpoint was trained.

    Only encoders whose weights come from files are compared; the weights of others are in the checkpoint.

    Args:
        model: The model.
        saved: Stream name to the key, as plain JSON, that the checkpoint holds.

    Raises:
        CheckpointError: If an encoder has other weights or settings.
    """
    if not isinstance(saved, Mapping) or not all(name in model.specs for name in saved):
        raise CheckpointError(f"the checkpoint's note of features is {str(saved)[:200]!r}, expected a key a stream")
    with only_our_errors("the checkpoint's note of features"):
        _check_keys(model, saved)


def _check_keys(model: Encoding, saved: Mapping[str, Any]) -> None:
    for name, value in saved.items():
        key, encoder, spec = FeatureKey.from_json(value), model.encoder(name), model.specs[name]
        if not key.encoder.from_file:
            continue
        standing = isinstance(encoder, PrecomputedEncoder)
        facts = None if standing else facts_of_file(spec.encoder, encoder)
        wanted = feature_key(model, name) if facts is None else _key(facts, spec, model.media)
        # the code may be newer than the checkpoint; the settings of the model were already compared
        if wanted is not None and _network(wanted) != _network(key):
            raise CheckpointError(
                f"the checkpoint was trained on features of another encoder than stream {name!r} has: "
                + "; ".join(wanted.differences(key, "here", "in the checkpoint"))
                + f". Give the encoder the weights that it was trained with ({json.dumps(key.spec)})"
            )


def _indexes(datamodule: Any, stage: str) -> list[list[ShardIndex]]:
    """The indexes of the shard folders that a stage reads; none if the datamodule has no ``indexes``."""
    if not hasattr(datamodule, "indexes"):
        return []
    names = {"fit": ("train", "val"), "validate": ("val",)}.get(stage, (stage,))
    return [datamodule.indexes(name) for name in names if datamodule.sets.get(name)]


def _network(key: FeatureKey) -> tuple[str, str, Mapping[str, Any]]:
    return key.encoder.kind, key.encoder.weights, key.encoder.input_spec


def _recipe(path: str) -> FeatureRecipe:
    recipe = FeatureRecipe.of(read_index(path))
    if recipe is None:
        raise ConfigError(f"{path!r} has clips, not features; make features from them with affectgpt encode")
    return recipe


def _key(facts: EncoderFacts, spec: StreamSpec, media: MediaProfile) -> FeatureKey:
    return FeatureKey.of(facts, str(spec.source), media, Spec.of(spec.encoder).to_json())


def _compare(name: str, wanted: FeatureKey, given: FeatureKey, folder: str, seed: Any = None) -> None:
    if wanted != given:
        raise DataError(
            f"the features of stream {name!r} in {folder!r} were not made by this model: the model's key is "
            f"{wanted.digest}, theirs {given.digest}. "
            + "; ".join(wanted.differences(given, "in the model", "in the features"))
            + _about_seeds(wanted, given, seed)
            + ". Encode the clips again with this model, or use the model that made them"
        )


def _about_seeds(wanted: FeatureKey, given: FeatureKey, seed: Any) -> str:
    """A remark on the seeds if random weights differ."""
    if wanted.encoder.from_file or wanted.encoder.weights == given.encoder.weights:
        return ""
    ours = os.environ.get("PL_GLOBAL_SEED", "none")
    theirs = "with an unknown seed" if seed is None else f"with seed_everything={seed}"
    return (
        f". The encoder's weights are random unless a checkpoint brought them: this run draws them with "
        f"seed_everything={ours}, the features were made {theirs}; give both the same seed"
    )


def _accept_unverified(name: str, key: FeatureKey, spec: StreamSpec) -> None:
    ours = Spec.of(spec.encoder).to_json()
    if ours != key.spec:
        raise DataError(
            f"stream {name!r}: the weights of {ours} cannot be read here, and the features were made by "
            f"{dict(key.spec)} (key {key.digest}), so they cannot be compared; give the encoder as the features name "
            "it, or its weights"
        )
    log.warning(
        "stream %r: the weights of %s cannot be read here; its features (key %s) are used without comparison. The "
        "checkpoint records the key, which is compared with the weights when it is loaded",
        *(name, ours["name"], key.digest),
    )


def _check_media(model: Encoding, name: str, recipe: FeatureRecipe | None, index: ShardIndex) -> None:
    folder, encoder = index.location, model.encoder(name)
    if isinstance(encoder, PrecomputedEncoder):
        raise ConfigError(
            f"stream {name!r} has no encoder in this model, and {folder!r} does not hold its features; encode that "
            "folder too, or build the model without features="
        )
    source = str(model.specs[name].source)
    if recipe is not None and source not in recipe.media_sources:
        raise DataError(
            f"{folder!r} has features of {', '.join(recipe.streams)}, but neither features of stream {name!r} nor the "
            f"media that it reads ({source!r}); encode the clips again with this model"
        )


def _check_width(encoder: Encoder, name: str, key: FeatureKey, index: ShardIndex) -> None:
    if (encoder.out_dim, encoder.modality) != (key.encoder.width, key.modality):
        raise DataError(
            f"stream {name!r} is 'precomputed' with {encoder.modality} vectors of width {encoder.out_dim}, but "
            f"{index.location!r} has {key.modality} vectors of width {key.encoder.width} for it; change dim and "
            "modality"
        )

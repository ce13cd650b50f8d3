"""Feature vectors in shards: one safetensors member per sample, and the recipe in the index that describes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from affectgpt.encoders.feature_key import FeatureKey
from affectgpt.encoders.weights import DTYPES
from affectgpt.errors import ConfigError, DataError
from affectgpt.media.profile import MediaProfile
from affectgpt.shards.index import ShardIndex

FEATURES_SUFFIX = "feats.safetensors"
_NAME = "affectgpt"  # a single entry: safetensors writes several entries in random order


class ForeignFeaturesError(DataError):
    """A sample has features of another set than its index says."""


@dataclass(frozen=True)
class FeatureRecipe:
    """How the features of a shard folder were made: the ``recipe`` of its index.

    Attributes:
        streams: Stream name to the key of its vectors.
        dtype: Type in which the vectors are stored: ``float16``, ``bfloat16`` or ``float32``.
        media: How the clips were decoded.
        media_sources: Sources that the samples still contain as media, for streams without features.
        input: What was encoded: form, recipe and digest of the shard folder.
    """

    streams: Mapping[str, FeatureKey]
    dtype: str
    media: MediaProfile
    media_sources: tuple[str, ...] = ()
    input: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ConfigError(f"features cannot be stored as {self.dtype!r}; known: {', '.join(DTYPES)}")

    @classmethod
    def of(cls, index: ShardIndex) -> FeatureRecipe | None:
        """The recipe of a shard folder; ``None`` if it holds no features.

        Raises:
            DataError: If its index does not describe its features.
        """
        if index.form != "features":
            return None
        saved = index.recipe
        try:
            return cls(
                streams={name: FeatureKey.from_json(key) for name, key in saved["streams"].items()},
                dtype=saved["dtype"],
                media=MediaProfile.of(saved["media"]),
                media_sources=tuple(saved["media_sources"]),
                input=saved["input"],
            )
        except (KeyError, AttributeError, TypeError, ValueError, OverflowError) as error:
            raise DataError(
                f"the index of {index.location!r} does not say how its features were made ({error!r}); make them "
                "again with encode"
            ) from error

    def to_json(self) -> dict[str, Any]:
        """Plain JSON of the recipe."""
        return {
            "streams": {name: key.to_json() for name, key in self.streams.items()},
            "dtype": self.dtype,
            "media": self.media.to_json(),
            "media_sources": list(self.media_sources),
            "input": dict(self.input),
        }

    def media_profile(self, wanted: MediaProfile) -> MediaProfile | None:
        """The profile of the media that must still be decoded; ``None`` if there are none."""
        sources = [source for source in wanted.sources if source in self.media_sources]
        return MediaProfile.of({**wanted.to_json(), "sources": sources}) if sources else None


def write_features(features: Mapping[str, Tensor], recipe: FeatureRecipe, key: str) -> bytes:
    """Convert the vectors of a sample to the recipe's type, and return the content of its member.

    The same vectors give the same bytes.

    Args:
        features: Stream name to ``[T, D]``, with T of at least 1; a stream that the clip lacks is left out.
        recipe: Type and keys.
        key: The sample's key, for the message.

    Raises:
        DataError: If a value is not finite, or too large for the type.
    """
    from safetensors.torch import save

    stored: dict[str, Tensor] = {}
    for name, value in features.items():
        stored[name] = value.detach().to("cpu", DTYPES[recipe.dtype]).contiguous()
        if not stored[name].isfinite().all():
            if value.isfinite().all():
                raise DataError(
                    f"clip {key!r}: a feature of stream {name!r} has the magnitude {value.abs().max():.3g}, which "
                    f"{recipe.dtype} cannot represent; store the features as bfloat16 or float32"
                )
            raise DataError(
                f"clip {key!r}: the encoder of stream {name!r} returned NaN or infinity; leave the clip out"
            )
    return save(stored, {_NAME: json.dumps({name: recipe.streams[name].digest for name in sorted(stored)})})


def read_features(content: bytes, recipe: FeatureRecipe, key: str) -> dict[str, Tensor]:
    """Read the vectors of a sample.

    Args:
        content: Its ``feats.safetensors`` member.
        recipe: The recipe in the shard's index.
        key: The sample's key, for the message.

    Returns:
        float32 ``[T, D]`` for every stream of the recipe; T is 0 if the clip lacks the stream.

    Raises:
        ForeignFeaturesError: If its vectors are not those of the recipe.
        DataError: If the member is cut.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        stored = load(content)
        digests = _digests(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise DataError(
            f"clip {key!r}: its features cannot be read ({error}); fetch the shard again, or encode again"
        ) from error
    for name, value in stored.items():
        if name not in recipe.streams:
            raise ForeignFeaturesError(
                f"clip {key!r} has features of a stream {name!r}, but the index names {', '.join(recipe.streams)}; "
                "the shard belongs to another set: encode again"
            )
        expected = recipe.streams[name]
        if digests.get(name) != expected.digest:
            raise ForeignFeaturesError(
                f"clip {key!r}: its features of stream {name!r} have the key {digests.get(name)!r}, but the index has "
                f"{expected.digest!r} ({json.dumps(expected.to_json())}); the shard belongs to "
                "another set: encode again"
            )
        _check_shape(value, recipe, name, key)
    width = {name: stream.encoder.width for name, stream in recipe.streams.items()}
    return {name: stored[name].float() if name in stored else torch.zeros(0, width[name]) for name in recipe.streams}


def _check_shape(value: Tensor, recipe: FeatureRecipe, name: str, key: str) -> None:
    width, dtype = recipe.streams[name].encoder.width, DTYPES[recipe.dtype]
    if value.ndim != 2 or not len(value) or value.shape[1] != width or value.dtype != dtype:
        raise ForeignFeaturesError(
            f"clip {key!r}: its features of stream {name!r} are {str(value.dtype).removeprefix('torch.')} "
            f"{list(value.shape)}, but the index says {recipe.dtype} [time, {width}]; encode again"
        )


def _digests(content: bytes) -> dict[str, str]:
    """The key of each stream, from the header of the member."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    return dict(json.loads(header["__metadata__"][_NAME]))

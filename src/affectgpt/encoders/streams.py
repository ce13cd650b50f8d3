"""The input streams of a model: which input of a clip each reads, with which encoder and pooling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from affectgpt.errors import ConfigError, did_you_mean
from affectgpt.registry import SOURCES, Spec

MULTI = "multi"
"""Slot of the pre-fused tokens."""


@dataclass(frozen=True)
class StreamSpec:
    """One input stream of the model.

    Attributes:
        encoder: The encoder that reads the stream.
        pooling: The pooling that turns its feature vectors into tokens.
        source: Which input of a clip it reads: a name in ``SOURCES``, such as ``frame``, ``face`` or ``audio``; by
            default the stream's own name, if that is one of these.
        trainable: Whether the encoder is trained; frozen by default, as published.
    """

    encoder: Spec | str
    pooling: Spec | str = "attention"
    source: str | None = None
    trainable: bool = False

    @classmethod
    def of(cls, value: StreamSpec | Mapping[str, Any] | str) -> StreamSpec:
        """Read a stream from plain JSON; a bare name is an encoder.

        Raises:
            ConfigError: If a key is unknown or the encoder is missing.
        """
        if isinstance(value, StreamSpec):
            return replace(value, encoder=Spec.of(value.encoder), pooling=Spec.of(value.pooling))
        if isinstance(value, str):
            return cls.of({"encoder": value})
        if not isinstance(value, Mapping):
            raise ConfigError(f"a stream is the name of an encoder, or a mapping with 'encoder', but got {value!r}")
        known = list(cls.__dataclass_fields__)
        unknown = [name for name in value if name not in known]
        if unknown or "encoder" not in value:
            wrong = f"unknown key {unknown[0]!r}" if unknown else "no 'encoder'"
            raise ConfigError(f"a stream is a mapping of {', '.join(known)}, but it has {wrong}: {dict(value)!r}")
        return cls.of(cls(**value))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON of the stream."""
        return {
            "encoder": Spec.of(self.encoder).to_json(),
            "pooling": Spec.of(self.pooling).to_json(),
            "source": self.source,
            "trainable": self.trainable,
        }


def read_streams(streams: Mapping[str, Any]) -> dict[str, StreamSpec]:
    """Read the streams of a model from plain JSON; each gets its source.

    Raises:
        ConfigError: If there are no streams, or a name or a source is invalid.

    Examples:
        >>> read_streams({"frame": "tiny-vision"})["frame"].source
        'frame'
    """
    if not isinstance(streams, Mapping) or not streams:
        raise ConfigError(
            f"a model needs streams, such as {{'frame': {{'encoder': 'tiny-vision'}}}}, but got {streams!r}"
        )
    return {name: _named(name, StreamSpec.of(value)) for name, value in streams.items()}


def sources_of(specs: Mapping[str, StreamSpec]) -> tuple[str, ...]:
    """The inputs of a clip that the streams read, each once, in the order of the streams."""
    return tuple(dict.fromkeys(str(spec.source) for spec in specs.values()))


def _named(name: str, spec: StreamSpec) -> StreamSpec:
    if name in (MULTI, "subtitle"):
        raise ConfigError(f"a stream cannot be called {name!r}: the prompt already has a slot of that name")
    source = spec.source or name
    if source not in SOURCES:
        raise ConfigError(
            f"stream {name!r}: 'source' must say which input of a clip it reads: {', '.join(SOURCES)}; got {source!r}."
            f"{did_you_mean(source, SOURCES)} Others come from plug-ins, by the entry-point group {SOURCES.group!r}"
        )
    return replace(spec, source=source)

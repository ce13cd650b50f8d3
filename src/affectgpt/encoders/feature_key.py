"""The key of stored feature vectors: identifies how they were made, so that they are never confused with others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from affectgpt.errors import DataError
from affectgpt.media.profile import MediaProfile, modality_of
from affectgpt.types import Modality

if TYPE_CHECKING:  # who reads stored keys needs no encoder, nor lightning and transformers with it
    from affectgpt.encoders.base import Encoder

FEATURE_VERSION = 1
"""Increase it when the code between a clip's file and an encoder's input changes that input."""


@dataclass(frozen=True)
class EncoderFacts:
    """What determines the vectors that an encoder returns for the same input.

    Attributes:
        kind: Name of the encoder's class.
        version: The class's ``feature_version``.
        args: Its hyper-parameters, except those that only say where the weights are.
        input_spec: The input that the network expects.
        width: Width D of a vector.
        weights: Digest of its tensors, see ``weights_digest``.
        from_file: Whether the weights come from a file of the encoder's own, so that they can be read again at any
            time; not part of the key.
    """

    kind: str
    version: int
    args: Mapping[str, Any]
    input_spec: Mapping[str, Any]
    width: int
    weights: str
    from_file: bool = field(compare=False)

    @classmethod
    def of(cls, encoder: Encoder) -> EncoderFacts:
        """The facts of an encoder as it is now; reads every weight once."""
        args = {k: v for k, v in encoder.hparams.items() if k not in encoder.location_args}
        return cls(
            kind=encoder.class_name,
            version=encoder.feature_version,
            args=_plain(args),
            input_spec=_plain(encoder.input_spec.to_json()),
            width=int(encoder.out_dim),
            weights=weights_digest(encoder),
            from_file=is_from_file(encoder),
        )


@dataclass(frozen=True)
class FeatureKey:
    """What determines the vectors of a stream for the same clip.

    Attributes:
        source: The input that the stream reads: a name in ``affectgpt.registry.SOURCES``.
        media: The source's settings, see ``Source.settings``.
        encoder: The encoder.
        version: ``FEATURE_VERSION`` of the code that made the vectors.
        spec: Name and arguments with which the encoder was built, as plain JSON; not part of the key.
    """

    source: str
    media: Mapping[str, Any]
    encoder: EncoderFacts
    version: int = FEATURE_VERSION
    spec: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, facts: EncoderFacts, source: str, media: MediaProfile, spec: Mapping[str, Any]) -> FeatureKey:
        """The key of an encoder in a stream.

        Args:
            facts: The encoder's facts.
            source: What the stream reads.
            media: How clips are decoded.
            spec: Name and arguments of the encoder.
        """
        return cls(source, _plain(media.source(source).settings()), facts, spec=_plain(spec))

    @classmethod
    def from_json(cls, value: Any) -> FeatureKey:
        """Read a key that ``to_json`` wrote.

        Raises:
            DataError: If something is missing or unknown.
        """
        try:
            return cls(**{**value, "encoder": EncoderFacts(**value["encoder"])})
        except (TypeError, KeyError) as error:
            raise DataError(
                f"{value!r} is not the key of a feature stream ({error}); make the features again with encode"
            ) from None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON of the key."""
        return asdict(self)

    @property
    def digest(self) -> str:
        """Twelve hex digits that identify the key."""
        return hashlib.sha256(json.dumps(self._compared(), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def modality(self) -> Modality:
        """The kind of signal that the stream reads."""
        return modality_of(self.source)

    def differences(self, other: FeatureKey, mine: str = "here", theirs: str = "there") -> list[str]:
        """Describe every setting in which two keys differ.

        Args:
            other: The other key.
            mine: What to call this side.
            theirs: What to call the other side.
        """
        ours, others = dict(_flat(self._compared())), dict(_flat(other._compared()))
        names = dict.fromkeys([*ours, *others])
        return [
            f"{name}: {ours.get(name)!r} {mine}, {others.get(name)!r} {theirs}"
            for name in names
            if ours.get(name) != others.get(name)
        ]

    def _compared(self) -> dict[str, Any]:
        """The fields of the JSON that must be equal in two keys."""
        saved = self.to_json()
        encoder = {f.name: saved["encoder"][f.name] for f in fields(EncoderFacts) if f.compare}
        return {f.name: saved[f.name] for f in fields(self) if f.compare} | {"encoder": encoder}


def weights_digest(encoder: Encoder) -> str:
    """Digest of an encoder's tensors: names, types, shapes and every byte.

    Tensors that do not influence the features (``encoder.idle_weights``) do not count.

    Returns:
        ``sha256:`` and 16 hex digits.
    """
    lines = []
    for name, value in sorted(encoder.state_dict().items()):
        if not name.endswith(encoder.idle_weights):
            # a sharded tensor is gathered first, so all ranks must do this in the same order
            whole: Tensor = value.full_tensor() if hasattr(value, "full_tensor") else value
            content: Any = whole.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            lines.append(f"{name} {whole.dtype} {list(whole.shape)} {hashlib.sha256(content).hexdigest()}\n")
    return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def is_from_file(encoder: Encoder) -> bool:
    """Whether all weights of an encoder are those of its own file."""
    prefixes = tuple(encoder.restored_prefixes())
    return bool(prefixes) and not encoder.was_trained and all(k.startswith(prefixes) for k in encoder.state_dict())


def _plain(value: Any) -> Any:
    """A value after a round trip through JSON: tuples become lists."""
    return json.loads(json.dumps(value))


def _flat(value: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{start}{name}.")
        else:
            yield f"{start}{name}", inner

"""The encoder contract: media of one kind in, feature vectors out."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from affectgpt.errors import ConfigError, DataError
from affectgpt.part import Part
from affectgpt.types import Features, Modality

NORMALIZE = ("none", "segment", "clip")
"""Over what audio is normalised, see ``AudioSpec``."""


@dataclass(frozen=True)
class VisualSpec:
    """What a visual encoder wants to see.

    Attributes:
        height: Rows of a frame, in pixels.
        width: Columns of a frame, in pixels.
        mean: Mean of each channel, on the scale [0, 1].
        std: Standard deviation of each channel, on the scale [0, 1].
    """

    height: int
    width: int
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON of the spec."""
        return asdict(self)


@dataclass(frozen=True)
class AudioSpec:
    """What an audio encoder wants to hear.

    Attributes:
        sample_rate_hz: Samples a second.
        normalize: What is brought to zero mean and unit variance first: ``none``, each ``segment`` by itself, or all
            segments of a ``clip`` together. The published model does the last, over everything in a batch; here a
            clip's batch mates have no influence, which is the same at a batch of one.
        min_samples: Shortest segment that the network can read; shorter ones are padded with zeros.
    """

    sample_rate_hz: int = 16_000
    normalize: str = "none"
    min_samples: int = 400

    def __post_init__(self) -> None:
        if self.normalize not in NORMALIZE:
            raise ConfigError(f"audio is normalised per one of {', '.join(NORMALIZE)}, but not per {self.normalize!r}")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON of the spec."""
        return asdict(self)


class Encoder(Part):
    """Turns frames or audio segments into one feature vector each.

    A subclass sets ``modality``, ``out_dim`` and ``input_spec``, and implements ``forward``. Pre-processing is tensor
    code that runs where the tensor is: ``self.preprocess(media)`` resizes and normalises on the device.

    Attributes:
        modality: ``Modality.VISUAL`` or ``Modality.AUDIO``.
        out_dim: Width D of a feature vector.
        input_spec: What the network wants to see or hear.
        feature_version: Raise it when the class gives other vectors than before for the same input and weights; stored
            features of the older version are then refused.
        location_args: Arguments that only say where the weights lie, or how the same vectors are computed. Stored
            features are compared by the weights themselves, so a folder may be moved.
        idle_weights: Ends of the names of tensors that have no influence on the features.
    """

    modality: Modality
    out_dim: int
    input_spec: VisualSpec | AudioSpec
    feature_version: ClassVar[int] = 1
    location_args: ClassVar[tuple[str, ...]] = ("path", "revision", "attention")
    idle_weights: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def forward(self, media: Tensor, keep: Tensor) -> Features:
        """Encode a batch.

        Args:
            media: Visual: uint8 frames ``[B, T, 3, H, W]`` of any size. Audio: float32 segments ``[B, S, N]``, mono,
                at ``input_spec.sample_rate_hz``.
            keep: Bool ``[B, T]``; ``True`` marks a real frame or segment.

        Returns:
            One vector a frame or segment: ``hidden`` ``[B, T, D]`` with the same ``keep``.
        """

    def preprocess(self, media: Tensor, keep: Tensor | None = None) -> Tensor:
        """Bring media to what the network wants, on the media's own device.

        Args:
            media: See ``forward``.
            keep: See ``forward``; segments that are not kept have no part in the statistics of their clip.

        Returns:
            Visual: float ``[B*T, 3, height, width]``, resized and normalised. Audio: float ``[B*S, N]``.

        Raises:
            DataError: If the tensor has another shape or type than ``forward`` takes.
        """
        dtype = next((p.dtype for p in self.parameters() if p.is_floating_point()), torch.float32)
        if isinstance(self.input_spec, VisualSpec):
            return prepare_frames(media, self.input_spec, type(self).__name__).to(dtype)
        return prepare_segments(media, self.input_spec, type(self).__name__, keep).to(dtype)


def prepare_frames(frames: Tensor, spec: VisualSpec, owner: str) -> Tensor:
    """Resize frames (bilinear, with anti-aliasing) and normalise their channels, on their own device.

    Args:
        frames: uint8 ``[B, T, 3, H, W]``.
        spec: Size, mean and standard deviation wanted.
        owner: Who asks, for the message.

    Returns:
        float32 ``[B*T, 3, spec.height, spec.width]``.

    Raises:
        DataError: If the frames have another shape or type.
    """
    if frames.ndim != 5 or frames.shape[2] != 3 or frames.dtype != torch.uint8:
        raise DataError(
            f"{owner} takes uint8 frames [batch, time, 3, height, width], but got {frames.dtype} {tuple(frames.shape)}"
        )
    pixels = frames.flatten(0, 1).float().div_(255)  # in place from here on: a new tensor a step takes twice the time
    size = (spec.height, spec.width)
    if pixels.shape[-2:] != size:
        pixels = F.interpolate(pixels, size=size, mode="bilinear", antialias=True, align_corners=False)
    for channel, (mean, std) in enumerate(zip(spec.mean, spec.std, strict=True)):
        pixels[:, channel].sub_(mean).div_(std)  # numbers, not tensors: those would be waited for on their way over
    return pixels


def prepare_segments(segments: Tensor, spec: AudioSpec, owner: str, keep: Tensor | None = None) -> Tensor:
    """Pad segments to the shortest length that can be read, and normalise them as the spec says.

    Args:
        segments: Floating point ``[B, S, N]``.
        spec: Length and normalisation wanted.
        owner: Who asks, for the message.
        keep: Bool ``[B, S]``; ``True`` marks a real segment. All are, by default.

    Returns:
        float32 ``[B*S, N]``.

    Raises:
        DataError: If the segments have another shape or type.
    """
    if segments.ndim != 3 or not segments.is_floating_point():
        raise DataError(
            f"{owner} takes float segments [batch, segments, samples], but got {segments.dtype} {tuple(segments.shape)}"
        )
    waveform = segments.float()
    if waveform.shape[-1] < spec.min_samples:
        waveform = F.pad(waveform, (0, spec.min_samples - waveform.shape[-1]))
    if spec.normalize == "none":
        return waveform.flatten(0, 1)
    # mean and variance over samples, and over the real segments of a clip where they are joint
    real = torch.ones_like(waveform[..., :1]) if keep is None else keep[..., None].float()
    over = (1, 2) if spec.normalize == "clip" else (2,)
    share = real / (real.sum(over, keepdim=True) * waveform.shape[-1]).clamp(min=1)
    centred = waveform - (waveform * share).sum(over, keepdim=True)
    variance = (centred.square() * share).sum(over, keepdim=True)
    return (centred / (variance + 1e-7).sqrt()).flatten(0, 1)

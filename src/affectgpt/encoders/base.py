"""The encoder contract: media of one kind in, feature vectors out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from affectgpt.errors import ConfigError, DataError
from affectgpt.part import Part
from affectgpt.types import Features, Modality

NORMALIZE = ("none", "segment", "clip")
"""Units over which audio is normalised, see ``AudioSpec``."""


class InputSpec(ABC):
    """The input that an encoder expects: a frozen dataclass of plain JSON.

    Attributes:
        modality: The kind of signal.
    """

    modality: ClassVar[Modality]

    @abstractmethod
    def prepare(self, media: Tensor, owner: str, keep: Tensor | None) -> Tensor:
        """Convert media to what the network reads, on their own device.

        Args:
            media: ``[B, T, ...]``, as the source collates them.
            owner: The encoder that asks, for messages.
            keep: Bool ``[B, T]``, ``True`` for a real step; all are real by default.

        Returns:
            float ``[B*T, ...]``.

        Raises:
            DataError: If the media have a wrong shape or type.
        """

    def to_json(self) -> dict[str, Any]:
        """Plain JSON of the spec."""
        return asdict(cast(Any, self))


@dataclass(frozen=True)
class VisualSpec(InputSpec):
    """The input that a visual encoder expects.

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

    modality = Modality.VISUAL

    def prepare(self, media: Tensor, owner: str, keep: Tensor | None) -> Tensor:
        """Resize and normalise frames; see ``prepare_frames``."""
        return prepare_frames(media, self, owner)


@dataclass(frozen=True)
class AudioSpec(InputSpec):
    """The input that an audio encoder expects.

    Attributes:
        sample_rate_hz: Samples per second.
        normalize: What is normalised to zero mean and unit variance: ``none``, each ``segment`` separately, or all
            segments of a ``clip`` together. The published model normalises over the whole batch; here other clips of
            the batch have no influence, which is the same for a batch of one.
        min_samples: Shortest segment that the network accepts, in samples; shorter ones are padded with zeros.
    """

    sample_rate_hz: int = 16_000
    normalize: str = "none"
    min_samples: int = 400

    modality = Modality.AUDIO

    def __post_init__(self) -> None:
        if self.normalize not in NORMALIZE:
            raise ConfigError(f"normalize must be one of {', '.join(NORMALIZE)}, but is {self.normalize!r}")

    def prepare(self, media: Tensor, owner: str, keep: Tensor | None) -> Tensor:
        """Pad and normalise segments; see ``prepare_segments``."""
        return prepare_segments(media, self, owner, keep)


class Encoder(Part):
    """Turns frames, audio segments or the steps of another modality into one feature vector each.

    A subclass sets ``modality``, ``out_dim`` and ``input_spec``, and implements ``forward``. Pre-processing is tensor
    code that runs where the tensor is: ``self.preprocess(media)`` resizes and normalises on the device.

    Attributes:
        modality: ``Modality.VISUAL``, ``Modality.AUDIO``, or the modality of a source from a plug-in.
        out_dim: Width D of a feature vector.
        input_spec: The input that the network expects; its modality is the encoder's.
        feature_version: Increase it when the class returns different vectors than before for the same input and
            weights; stored features of the older version are then refused.
        location_args: Arguments that only say where the weights are, or how the same vectors are computed. Stored
            features are compared by the weights themselves, so a folder may be moved.
        idle_weights: Suffixes of the names of tensors that do not influence the features.
    """

    modality: Modality
    out_dim: int
    input_spec: InputSpec
    feature_version: ClassVar[int] = 1
    location_args: ClassVar[tuple[str, ...]] = ("path", "revision", "attention")
    idle_weights: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def forward(self, media: Tensor, keep: Tensor) -> Features:
        """Encode a batch.

        Args:
            media: Visual: uint8 frames ``[B, T, 3, H, W]`` of any size. Audio: float32 segments ``[B, S, N]``, mono,
                at ``input_spec.sample_rate_hz``. Another modality: ``[B, T, ...]``, as its source collates it.
            keep: Bool ``[B, T]``; ``True`` marks a real frame, segment or step.

        Returns:
            One vector per frame, segment or step: ``hidden`` ``[B, T, D]`` with the same ``keep``.
        """

    def preprocess(self, media: Tensor, keep: Tensor | None = None) -> Tensor:
        """Convert media to the input that the network expects, on the media's device.

        Args:
            media: See ``forward``.
            keep: See ``forward``; segments that are not kept do not count in the statistics of their clip.

        Returns:
            Visual: float ``[B*T, 3, height, width]``, resized and normalised. Audio: float ``[B*S, N]``. Another
            modality: what ``input_spec.prepare`` returns.

        Raises:
            DataError: If the tensor has a wrong shape or type.
        """
        dtype = next((p.dtype for p in self.parameters() if p.is_floating_point()), torch.float32)
        return self.input_spec.prepare(media, type(self).__name__, keep).to(dtype)


def prepare_frames(frames: Tensor, spec: VisualSpec, owner: str) -> Tensor:
    """Resize frames (bilinear, with anti-aliasing) and normalise their channels, on their own device.

    Args:
        frames: uint8 ``[B, T, 3, H, W]``.
        spec: Size, mean and standard deviation to produce.
        owner: The encoder that asks, for the message.

    Returns:
        float32 ``[B*T, 3, spec.height, spec.width]``.

    Raises:
        DataError: If the frames have a wrong shape or type.
    """
    if frames.ndim != 5 or frames.shape[2] != 3 or frames.dtype != torch.uint8:
        raise DataError(
            f"{owner} takes uint8 frames [batch, time, 3, height, width], but got {frames.dtype} {tuple(frames.shape)}"
        )
    # in place from here on: new tensors for each step would take twice the time
    pixels = frames.flatten(0, 1).float().div_(255)
    size = (spec.height, spec.width)
    if pixels.shape[-2:] != size:
        pixels = F.interpolate(pixels, size=size, mode="bilinear", antialias=True, align_corners=False)
    for channel, (mean, std) in enumerate(zip(spec.mean, spec.std, strict=True)):
        pixels[:, channel].sub_(mean).div_(std)  # numbers rather than tensors, whose transfer to the device would block
    return pixels


def prepare_segments(segments: Tensor, spec: AudioSpec, owner: str, keep: Tensor | None = None) -> Tensor:
    """Pad segments to the shortest accepted length, and normalise them as the spec says.

    Args:
        segments: Floating point ``[B, S, N]``.
        spec: Length and normalisation to produce.
        owner: The encoder that asks, for the message.
        keep: Bool ``[B, S]``; ``True`` marks a real segment. By default all are real.

    Returns:
        float32 ``[B*S, N]``.

    Raises:
        DataError: If the segments have a wrong shape or type.
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
    # mean and variance over the samples and, with ``clip``, over the real segments of a clip
    real = torch.ones_like(waveform[..., :1]) if keep is None else keep[..., None].float()
    over = (1, 2) if spec.normalize == "clip" else (2,)
    share = real / (real.sum(over, keepdim=True) * waveform.shape[-1]).clamp(min=1)
    centred = waveform - (waveform * share).sum(over, keepdim=True)
    variance = (centred.square() * share).sum(over, keepdim=True)
    return (centred / (variance + 1e-7).sqrt()).flatten(0, 1)

"""Small encoders that train from scratch in minutes on a CPU, without any download."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from affectgpt.encoders.base import AudioSpec, Encoder, VisualSpec, prepare_segments
from affectgpt.errors import ConfigError
from affectgpt.types import Features, Modality


class TinyVisionEncoder(Encoder):
    """Four strided convolutions and a linear layer over the remaining grid, for each frame separately.

    The network reads the picture and its local contrast, in which a mouth stands out equally on any skin and in any
    light: without it, training takes several times as many steps. The last layer reads every position of the small grid
    separately, because the position of a curve (mouth or brow) says more about a face than the number of curves. There
    are no batch statistics, so a frame's vector depends on that frame only.

    Args:
        size: Rows and columns of a frame after resizing; a multiple of 16.
        dim: Width of the feature vectors.
        channels: Channels of the first convolution; the later ones have two and four times as many.
    """

    modality = Modality.VISUAL

    def __init__(self, size: int = 64, dim: int = 64, channels: int = 16) -> None:
        super().__init__()
        if size < 16 or size % 16:
            raise ConfigError(f"TinyVisionEncoder: size must be a multiple of 16, but is {size}")
        self.out_dim = dim
        self.input_spec = VisualSpec(size, size)
        widths = (channels, 2 * channels, 4 * channels, 4 * channels)
        layers: list[nn.Module] = []
        for in_width, out_width in zip((6, *widths), widths, strict=False):
            layers += [nn.Conv2d(in_width, out_width, 3, stride=2, padding=1), _norm(out_width), nn.GELU()]
        self.convolutions = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(widths[-1] * (size // 16) ** 2, dim), _closing_norm(dim))

    def forward(self, media: Tensor, keep: Tensor) -> Features:
        """Encode uint8 frames ``[B, T, 3, H, W]``; see ``Encoder.forward``."""
        pixels = self.preprocess(media)
        grid = self.convolutions(torch.cat([pixels, local_contrast(pixels)], dim=1))
        return Features(self.head(grid.flatten(1)).unflatten(0, keep.shape), keep)


class TinyAudioEncoder(Encoder):
    """Log-mel spectrum, two convolutions over time, then mean and standard deviation over time, for each segment.

    The last layer also gets the mean and standard deviation of the spectrum itself, so that pitch, loudness and tremor
    are available from the first step.

    Args:
        dim: Width of the feature vectors.
        num_mels: Bands of the mel spectrum.
        channels: Channels of the convolutions.
        sample_rate_hz: Sample rate of the input.
    """

    modality = Modality.AUDIO

    def __init__(self, dim: int = 64, num_mels: int = 64, channels: int = 64, sample_rate_hz: int = 16_000) -> None:
        super().__init__()
        self._fft_size = 1024 * max(1, round(sample_rate_hz / 16_000))
        self._hop = self._fft_size * 5 // 16
        self.out_dim = dim
        self.input_spec = AudioSpec(sample_rate_hz, min_samples=self._fft_size)
        self.window: Tensor
        self.filterbank: Tensor
        self.register_buffer("window", torch.hann_window(self._fft_size), persistent=False)
        self.register_buffer(
            "filterbank", mel_filterbank(self._fft_size // 2 + 1, num_mels, sample_rate_hz), persistent=False
        )
        self.convolutions = nn.Sequential(
            nn.Conv1d(num_mels, channels, 5, padding=2),
            nn.GELU(),
            nn.Conv1d(channels, channels, 5, padding=2),
            nn.GELU(),
        )
        statistics = 2 * (num_mels + channels)
        self.head = nn.Sequential(
            nn.LayerNorm(statistics),
            nn.Linear(statistics, 2 * dim),
            nn.GELU(),
            nn.Linear(2 * dim, dim),
            _closing_norm(dim),
        )

    def forward(self, media: Tensor, keep: Tensor) -> Features:
        """Encode float32 segments ``[B, S, N]``; see ``Encoder.forward``."""
        spectrum = self.log_mel(media)
        heard = torch.cat([spectrum, self.convolutions(spectrum)], dim=1)
        spread = (heard.var(-1, unbiased=False) + 1e-5).sqrt()
        vectors = self.head(torch.cat([heard.mean(-1), spread], dim=-1))
        return Features(vectors.unflatten(0, keep.shape), keep)

    def log_mel(self, segments: Tensor) -> Tensor:
        """Natural logarithm of the mel power spectrum, scaled to about [-2, 2].

        Args:
            segments: float32 ``[B, S, N]``.

        Returns:
            ``[B*S, num_mels, frames]`` in the type of the encoder's weights.
        """
        waveform = prepare_segments(segments, cast(AudioSpec, self.input_spec), type(self).__name__)
        # The Fourier transform exists in single precision only, whatever the training precision.
        with torch.autocast(waveform.device.type, enabled=False):
            spectrum = torch.stft(
                waveform, self._fft_size, self._hop, window=self.window.float(), center=False, return_complex=True
            )
            power = self.filterbank.float() @ spectrum.abs().square()
            log_power = (power + 1e-6).log()
        weight = cast(nn.Linear, self.head[1]).weight
        return ((log_power + 4) / 5).to(weight.dtype)


def local_contrast(pixels: Tensor, block: int = 8) -> Tensor:
    """Divisive normalisation (Jarrett et al. 2009): ``(x - m) / s`` with local mean m and local deviation s.

    The local means are means over blocks, interpolated to full size: five times as fast as a sliding window.

    Args:
        pixels: ``[B, C, H, W]``; H and W are multiples of ``block``.
        block: Rows and columns of a block.

    Returns:
        ``[B, C, H, W]``, of about unit size at edges and near zero on plain surfaces.
    """
    size = pixels.shape[-2:]
    mean = F.interpolate(F.avg_pool2d(pixels, block), size=size, mode="bilinear")
    difference = pixels - mean
    energy = F.avg_pool2d(difference.square().mean(1, keepdim=True), block)
    return difference / (F.interpolate(energy, size=size, mode="bilinear") + 0.01).sqrt()


def mel_filterbank(num_bins: int, num_mels: int, sample_rate_hz: int, low_hz: float = 50.0) -> Tensor:
    """Triangular filters, evenly spaced on the mel scale of O'Shaughnessy (1987): 2595 log10(1 + f/700).

    Args:
        num_bins: Bins of the power spectrum, from 0 Hz to half the sample rate.
        num_mels: Filters.
        sample_rate_hz: Samples per second.
        low_hz: Lower end of the first filter.

    Returns:
        float32 ``[num_mels, num_bins]``; each filter peaks at 1, and none is empty.
    """
    top_mel = 2595 * math.log10(1 + sample_rate_hz / 2 / 700)
    low_mel = 2595 * math.log10(1 + low_hz / 700)
    edges_hz = 700 * (10 ** (torch.linspace(low_mel, top_mel, num_mels + 2) / 2595) - 1)
    bins_hz = torch.linspace(0, sample_rate_hz / 2, num_bins)
    left, centre, right = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    # Low filters are narrower than the distance between two bins; widen them so that each covers one.
    spacing_hz = sample_rate_hz / 2 / (num_bins - 1)
    rise = (bins_hz - left) / (centre - left).clamp(min=spacing_hz)
    fall = (right - bins_hz) / (right - centre).clamp(min=spacing_hz)
    return torch.minimum(rise, fall).clamp(min=0, max=1)


def _norm(width: int) -> nn.Module:
    return nn.GroupNorm(math.gcd(width, 8), width)


def _closing_norm(dim: int) -> nn.LayerNorm:
    """Layer norm with half the usual scale: the unnormalised attention fusion oscillates on larger vectors."""
    norm = nn.LayerNorm(dim)
    nn.init.constant_(norm.weight, 0.5)
    return norm

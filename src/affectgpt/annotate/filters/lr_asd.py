"""The active speaker network LR-ASD (Liao et al., IJCV 2025), for the published weights, which the user supplies.

Grey face crops and cepstra go through one encoder each, are joined by a gate, and two recurrent layers score every
frame. The names of the layers are those in the published files (MIT licence).

``B`` batch, ``T`` video frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from affectgpt.annotate.filters.speech_mfcc import speech_mfcc
from affectgpt.errors import CheckpointError, reason_of

FRAME_RATE_HZ, CROP, STEPS_PER_FRAME = 25, 112, 4
_MEAN, _STD = 0.4161, 0.1688
_EPS = 1e-3
MAX_WEIGHT_BYTES = 64 * 2**20


class ActiveSpeakerNet(nn.Module):
    """Scores of every frame of a face and its sound: above 0 for a face that speaks."""

    def __init__(self) -> None:
        super().__init__()
        self.visualEncoder = _Encoder(3, (1, 32, 64, 128))
        self.audioEncoder = _Encoder(2, (1, 32, 64, 128))
        self.fusion = _Gate(256)
        self.detector = _Detector(256)
        self.head = nn.Linear(128, 2)

    def forward(self, faces: Tensor, cepstra: Tensor) -> Tensor:
        """Score frames.

        Args:
            faces: Grey crops in [0, 255], float ``[B, T, 112, 112]``, 25 a second.
            cepstra: See ``speech_mfcc``, float ``[B, 4 T, 13]``, 100 a second.

        Returns:
            float ``[B, T]``.
        """
        seen = self.visualEncoder(((faces / 255 - _MEAN) / _STD)[:, None]).amax((-2, -1))
        heard = self.audioEncoder(cepstra.transpose(1, 2)[:, None]).mean(2)
        joined = self.fusion(torch.cat([heard, seen], 1)).transpose(1, 2)
        scores: Tensor = self.head(self.detector(joined))[..., 1]
        return scores


def score_frames(
    network: ActiveSpeakerNet,
    faces: NDArray[np.float32],
    waveform: Tensor,
    window_seconds: Sequence[float] = (2.0, 4.0),
) -> NDArray[np.float32]:
    """Scores of every frame, mean over windows of several lengths.

    Args:
        network: The network.
        faces: Grey crops, float32 ``[T, 112, 112]``, see ``cut_faces``.
        waveform: float32 ``[N]``, 16 kHz, over the same time.
        window_seconds: The network hears and sees so much at a time; means over several lengths are steadier.

    Returns:
        float32 ``[T']``; frames without sound have no score.
    """
    cepstra = speech_mfcc(waveform.double().numpy() * 32768)
    count = min(len(faces), len(cepstra) // STEPS_PER_FRAME)
    picture = torch.from_numpy(faces[:count])[None]
    sound = torch.from_numpy(cepstra[: count * STEPS_PER_FRAME])[None]
    found = []
    for seconds in window_seconds:
        size = round(seconds * FRAME_RATE_HZ)
        with torch.inference_mode():
            parts = [
                network(picture[:, i : i + size], sound[:, i * STEPS_PER_FRAME : (i + size) * STEPS_PER_FRAME])[0]
                for i in range(0, count, size)
            ]
        found.append(torch.cat(parts).numpy() if parts else np.empty(0, np.float32))
    mean: NDArray[np.float32] = np.mean(found, axis=0)
    return mean


def load_active_speaker(path: str | Path) -> ActiveSpeakerNet:
    """The network with published weights, such as ``pretrain_AVA.model``.

    Raises:
        CheckpointError: If the file is missing, or holds other weights.
    """
    path = Path(path)
    if not path.is_file() or path.stat().st_size > MAX_WEIGHT_BYTES:
        raise CheckpointError(f"{str(path)!r} is no file of LR-ASD weights; get one from the authors (LR-ASD, MIT)")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        found = {name.removeprefix("module."): value for name, value in saved.items()}
    except Exception as error:  # the unpickler raises of its own for anything but tensors
        raise CheckpointError(f"{str(path)!r} cannot be read as weights: {reason_of(error)}") from error
    weights = {name.removeprefix("model."): value for name, value in found.items() if name.startswith("model.")}
    weights |= {f"head.{n.removeprefix('lossAV.FC.')}": v for n, v in found.items() if n.startswith("lossAV.FC.")}
    network = ActiveSpeakerNet()
    try:
        network.load_state_dict(weights)
    except (RuntimeError, TypeError) as error:
        raise CheckpointError(f"{str(path)!r} holds the weights of another network: {reason_of(error)}") from error
    return network.eval()


class _Encoder(nn.Module):
    """Three blocks; between them the picture, or the time of the sound, is halved."""

    def __init__(self, dims: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.is_picture = dims == 3
        block = _VisualBlock if self.is_picture else _AudioBlock
        self.block1, self.block2, self.block3 = (block(a, b) for a, b in pairwise(widths))
        if self.is_picture:
            self.pool: nn.Module = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        else:
            self.pool = nn.MaxPool2d((1, 3), (1, 2), (0, 1))

    def forward(self, signal: Tensor) -> Tensor:
        found: Tensor = self.block3(self.pool(self.block2(self.pool(self.block1(signal)))))
        return found


class _VisualBlock(nn.Module):
    """Two convolutions in space, then two in time."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        stride = (1, 2, 2) if before == 1 else (1, 1, 1)
        self.s_1 = nn.Conv3d(before, after // 2, (1, 5, 5), stride, (0, 2, 2), bias=False)
        self.s_norm_1 = nn.BatchNorm3d(after // 2, _EPS)
        self.s_2 = nn.Conv3d(after // 2, after, (1, 3, 3), padding=(0, 1, 1), bias=False)
        self.s_norm_2 = nn.BatchNorm3d(after, _EPS)
        self.t_1 = nn.Conv3d(after, after, (5, 1, 1), padding=(2, 0, 0), bias=False)
        self.t_norm_1 = nn.BatchNorm3d(after, _EPS)
        self.t_2 = nn.Conv3d(after, after, (3, 1, 1), padding=(1, 0, 0), bias=False)
        self.t_norm_2 = nn.BatchNorm3d(after, _EPS)

    def forward(self, signal: Tensor) -> Tensor:
        signal = self.s_norm_1(self.s_1(signal)).relu()
        signal = self.s_norm_2(self.s_2(signal)).relu()
        signal = self.t_norm_1(self.t_1(signal)).relu()
        found: Tensor = self.t_norm_2(self.t_2(signal)).relu()
        return found


class _AudioBlock(nn.Module):
    """Two convolutions over the cepstra, then two in time."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.m_1 = nn.Conv2d(before, after // 2, (5, 1), padding=(2, 0), bias=False)
        self.m_norm_1 = nn.BatchNorm2d(after // 2, _EPS)
        self.m_2 = nn.Conv2d(after // 2, after, (3, 1), padding=(1, 0), bias=False)
        self.m_norm_2 = nn.BatchNorm2d(after, _EPS)
        self.t_1 = nn.Conv2d(after, after, (1, 5), padding=(0, 2), bias=False)
        self.t_norm_1 = nn.BatchNorm2d(after, _EPS)
        self.t_2 = nn.Conv2d(after, after, (1, 3), padding=(0, 1), bias=False)
        self.t_norm_2 = nn.BatchNorm2d(after, _EPS)

    def forward(self, signal: Tensor) -> Tensor:
        signal = self.m_norm_1(self.m_1(signal)).relu()
        signal = self.m_norm_2(self.m_2(signal)).relu()
        signal = self.t_norm_1(self.t_1(signal)).relu()
        found: Tensor = self.t_norm_2(self.t_2(signal)).relu()
        return found


class _Gate(nn.Module):
    """Weighs every channel of every step by itself; ``[B, D, T]`` in and out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.Conv1d(width, width, 1, bias=False)
        self.bn = nn.BatchNorm1d(width, _EPS)

    def forward(self, signal: Tensor) -> Tensor:
        weight: Tensor = self.bn(self.attention(signal)).sigmoid()
        return signal * weight


class _Detector(nn.Module):
    """A recurrent layer in each direction of time, joined by a gate; ``[B, T, D]`` in, ``[B, T, D / 2]`` out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gru_forward = nn.GRU(width, width // 4, batch_first=True)
        self.gru_backward = nn.GRU(width, width // 4, batch_first=True)
        self.attention = _Gate(width // 2)

    def forward(self, signal: Tensor) -> Tensor:
        forward, _ = self.gru_forward(signal)
        backward, _ = self.gru_backward(signal.flip(1))
        joined: Tensor = self.attention(torch.cat([forward, backward.flip(1)], -1).transpose(1, 2))
        return joined.transpose(1, 2)

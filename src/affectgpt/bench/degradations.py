"""Degrades clips on purpose, in several strengths: noise, blur, darkness, lost frames, the modality of another clip.

``B`` batch, ``T`` frames, ``H`` height, ``W`` width, ``S`` audio segments, ``N`` samples of one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from affectgpt.bench.answerers.base import Asked
from affectgpt.errors import ConfigError, did_you_mean
from affectgpt.media.profile import modality_of
from affectgpt.types import Modality

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from affectgpt.types import Batch


@dataclass(frozen=True)
class DegradationKind:
    """A way to degrade a clip.

    Attributes:
        title: What it is, in reports.
        unit: What its strength says.
        strengths: Strengths that are tried by default, from mild to strong.
        low: Least strength that is allowed.
        high: Largest one.
        letter: What it degrades: sound (``A``), picture (``V``) or words (``T``).
        swaps: Whether it gives the clip what belongs to another one.
    """

    title: str
    unit: str
    strengths: tuple[float, ...]
    low: float
    high: float
    letter: str
    swaps: bool = False


KINDS: Mapping[str, DegradationKind] = {
    "noise": DegradationKind("noise on the sound", "signal-to-noise ratio in dB", (20, 10, 0, -10), -80, 80, "A"),
    "blur": DegradationKind("blurred picture", "standard deviation in % of the height", (1, 3, 6, 12), 0, 50, "V"),
    "dark": DegradationKind("dark picture", "light taken away in %", (50, 75, 90, 97), 0, 100, "V"),
    "lost-frames": DegradationKind("lost frames", "frames lost in %", (25, 50, 75, 90), 0, 100, "V"),
    "wrong-words": DegradationKind("words of another clip", "clips in %", (25, 50, 100), 0, 100, "T", swaps=True),
    "swapped-sound": DegradationKind("sound of another clip", "clips in %", (25, 50, 100), 0, 100, "A", swaps=True),
    "swapped-picture": DegradationKind("picture of another clip", "clips in %", (25, 50, 100), 0, 100, "V", swaps=True),
}
"""Name to kind, in the order of reports."""


@dataclass(frozen=True)
class Degradation:
    """One kind in one strength.

    What is drawn depends on the seed and the clip's name alone: the same clip is degraded in the same way in every run,
    and a clip to which something is done at one strength is among those to which it is done at a larger one.

    Attributes:
        kind: Name of the kind, from ``KINDS``.
        strength: In the unit of the kind.
        seed: Seed of what is drawn.

    Raises:
        ConfigError: If the kind is unknown, or the strength out of its range.
    """

    kind: str
    strength: float
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(
                f"unknown degradation {self.kind!r}.{did_you_mean(self.kind, KINDS)} Known: all, or {', '.join(KINDS)}"
            )
        kind = KINDS[self.kind]
        if not kind.low <= self.strength <= kind.high:
            raise ConfigError(
                f"{self.kind}: the strength is {self.strength:g}; expected {kind.low:g} to {kind.high:g} ({kind.unit})"
            )

    @property
    def name(self) -> str:
        """Kind and strength, such as ``noise 10``."""
        return f"{self.kind} {self.strength:g}"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"kind": self.kind, "strength": self.strength, "seed": self.seed}

    def partners(self, asked: Sequence[Asked]) -> dict[str, Asked]:
        """For a kind that swaps: the clips of a set that it changes, as they are then asked.

        A clip's partner is the next one in an order drawn from the seed that has other words, or a file to take the
        sound or the picture from.

        Args:
            asked: All clips of the set.
        """
        if not KINDS[self.kind].swaps:
            return {}
        ring = sorted(asked, key=lambda one: self._number(one.key, "order"))
        found = {}
        for at, one in enumerate(ring):
            if 100 * self._number(one.key, "chosen") >= self.strength:
                continue
            for other in ring[at + 1 :] + ring[:at]:
                changed = _SWAPS[self.kind](one, other)
                if changed is not None:
                    found[one.key] = changed
                    break
        return found

    def __call__(self, batch: Batch) -> Batch:
        """Degrade a batch of decoded clips; for a kind that swaps, nothing is left to do.

        Args:
            batch: Clips with media: uint8 ``[B, T, 3, H, W]`` and float32 ``[B, S, N]``, on any device.
        """
        if KINDS[self.kind].swaps:
            return batch
        wanted = Modality.AUDIO if KINDS[self.kind].letter == "A" else Modality.VISUAL
        media, keep = dict(batch.media), dict(batch.keep)
        for name in batch.media:
            if modality_of(name) != wanted:
                continue
            if self.kind == "noise":
                media[name] = self._with_noise(batch, name)
            elif self.kind == "blur":
                media[name] = blurred(batch.media[name], self.strength / 100)
            elif self.kind == "dark":
                media[name] = (batch.media[name] * (1 - self.strength / 100)).round().to(batch.media[name].dtype)
            else:
                keep[name] = self._with_lost_frames(batch, name)
        return replace(batch, media=media, keep=keep)

    def _with_noise(self, batch: Batch, name: str) -> Tensor:
        """White noise of the same power in every segment of a clip; none where a clip is silent."""
        import torch

        noisy, keep = batch.media[name].clone(), batch.keep[name].cpu()
        for row, key in enumerate(batch.keys):
            segments = noisy[row][keep[row]]
            if len(segments):
                noise = torch.randn(segments.shape, generator=self._drawn(key)).to(segments)
                loudness = (segments.square().mean() / 10 ** (self.strength / 10)).sqrt()
                noisy[row, keep[row]] = segments + loudness * noise
        return noisy

    def _with_lost_frames(self, batch: Batch, name: str) -> Tensor:
        """The mask ``[B, T]`` without a share of the real frames of each clip; one remains."""
        import torch

        keep = batch.keep[name].cpu().clone()
        for row, key in enumerate(batch.keys):
            there = keep[row].nonzero().squeeze(1)
            lost = min(round(len(there) * self.strength / 100), len(there) - 1)
            if lost > 0:
                keep[row, there[torch.randperm(len(there), generator=self._drawn(key))[:lost]]] = False
        return keep.to(batch.keep[name].device)

    def _drawn(self, key: str) -> torch.Generator:
        import torch

        return torch.Generator().manual_seed(int(self._digest(key, self.kind)[:15], 16))

    def _number(self, key: str, what: str) -> float:
        """A number from 0 to 1 that belongs to a clip, whatever the strength."""
        return int(self._digest(key, f"{self.kind} {what}")[:13], 16) / 16**13

    def _digest(self, key: str, what: str) -> str:
        return hashlib.sha256(f"{self.seed}\n{what}\n{key}".encode()).hexdigest()


def read_degradations(text: str, seed: int = 0) -> list[Degradation]:
    """Parse a list of degradations: ``all``, or kinds with commas between them, each with strengths of its own or not.

    Args:
        text: Such as ``noise,blur:2:8``.
        seed: Seed of what is drawn.

    Raises:
        ConfigError: If a kind is unknown, or a strength is no number or out of its range.

    Examples:
        >>> [one.name for one in read_degradations("dark, noise:5:-5")]
        ['noise 5', 'noise -5', 'dark 50', 'dark 75', 'dark 90', 'dark 97']
    """
    wanted: dict[str, tuple[float, ...]] = {}
    for item in text.split(","):
        kind, *given = (piece.strip() for piece in item.split(":"))
        if kind == "all" and not given:
            wanted |= {name: one.strengths for name, one in KINDS.items() if name not in wanted}
            continue
        try:
            strengths = tuple(dict.fromkeys(float(strength) for strength in given))
        except ValueError as error:
            raise ConfigError(f"degradation {item.strip()!r}: {error}; write KIND:STRENGTH:STRENGTH") from error
        if any(not math.isfinite(one) for one in strengths):
            raise ConfigError(f"degradation {item.strip()!r}: a strength is a number; write KIND:STRENGTH:STRENGTH")
        wanted[kind] = strengths or (KINDS[kind].strengths if kind in KINDS else (0.0,))
    known = [Degradation(kind, strength, seed) for kind, strengths in wanted.items() for strength in strengths]
    return sorted(known, key=lambda one: list(KINDS).index(one.kind))


def blurred(frames: Tensor, deviation: float) -> Tensor:
    """Blur frames with a Gaussian; the edge is continued outwards.

    Args:
        frames: uint8 ``[B, T, 3, H, W]``.
        deviation: Standard deviation, as a share of the height.
    """
    import torch
    from torch.nn import functional as F  # noqa: N812

    sigma = deviation * frames.shape[-2]
    radius = math.ceil(3 * sigma)
    if radius < 1:
        return frames
    kernel = torch.arange(-radius, radius + 1, device=frames.device, dtype=torch.float32).div(sigma).square()
    kernel = kernel.div(-2).exp()
    kernel = kernel / kernel.sum()
    out = torch.empty_like(frames)
    for row, clip in enumerate(frames):  # in float, a clip at a time
        planes = clip.flatten(0, 1)[:, None].float()
        planes = F.conv2d(F.pad(planes, (radius, radius, 0, 0), mode="replicate"), kernel[None, None, None])
        planes = F.conv2d(F.pad(planes, (0, 0, radius, radius), mode="replicate"), kernel[None, None, :, None])
        out[row] = planes.squeeze(1).view(clip.shape).round().clamp(0, 255).to(frames.dtype)
    return out


def _with_words(one: Asked, other: Asked) -> Asked | None:
    return replace(one, subtitle=other.subtitle) if other.subtitle and other.subtitle != one.subtitle else None


def _with_sound(one: Asked, other: Asked) -> Asked | None:
    sound = other.audio or other.video
    return None if sound is None or (one.video or one.audio) is None else replace(one, audio=sound)


def _with_picture(one: Asked, other: Asked) -> Asked | None:
    if other.video is None or (one.audio or one.video) is None:
        return None
    return replace(one, video=other.video, faces=other.faces, audio=one.audio or one.video)


_SWAPS = {"wrong-words": _with_words, "swapped-sound": _with_sound, "swapped-picture": _with_picture}

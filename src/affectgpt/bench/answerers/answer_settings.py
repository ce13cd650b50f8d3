"""How clips are shown and answers drawn: the settings of answering, and the profiles that choose them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from affectgpt.chat.sampling import Sampling
from affectgpt.errors import ConfigError, did_you_mean

MODALITIES = ("video", "audio", "text")
"""The modalities of a clip that can be shown: its frames, its sound, and its subtitle."""


@dataclass(frozen=True)
class AnswerSettings:
    """How clips are shown to a model, and how its answers are drawn.

    Our checkpoints are shown clips as in their training (with their own media profile); the fields about frames do not
    apply to them.

    Attributes:
        profile: Name of the profile of these settings.
        modalities: The modalities to show, from ``MODALITIES``.
        sampling: How answers are drawn; ``max_tokens`` 0 takes a checkpoint's own limit.
        num_frames: Frames of a video, those in the middle of as many equal intervals of time.
        longest_side: Frames with a longer side are scaled down to this many pixels; 0 keeps their size.
        picture_form: How frames are sent: ``png``, or ``jpeg``.
        sample_rate_hz: Sample rate of the sound.

    Raises:
        ConfigError: If a value is unknown or out of range.
    """

    profile: str
    sampling: Sampling
    modalities: tuple[str, ...] = MODALITIES
    num_frames: int = 8
    longest_side: int = 0
    picture_form: str = "png"
    sample_rate_hz: int = 16_000

    def __post_init__(self) -> None:
        for name in self.modalities:
            if name not in MODALITIES:
                hint = did_you_mean(name, MODALITIES)
                raise ConfigError(f"unknown modality {name!r}.{hint} Known: {', '.join(MODALITIES)}")
        if not self.modalities or len(set(self.modalities)) < len(self.modalities):
            raise ConfigError(f"modalities are {', '.join(self.modalities) or 'none'}; name at least one, each once")
        object.__setattr__(self, "modalities", tuple(one for one in MODALITIES if one in self.modalities))
        for name, least in (("num_frames", 1), ("longest_side", 0), ("sample_rate_hz", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ConfigError(f"{name} is {value!r}; expected a whole number from {least}")

    def changed(
        self,
        modalities: Sequence[str] | None = None,
        *,
        temperature: float | None = None,
        top_p: float | None = None,
        max_tokens: int | None = None,
        **fields: Any,
    ) -> Self:
        """A copy of the settings with every argument that is not ``None``.

        Raises:
            ConfigError: If a value does not fit.
        """
        old = self.sampling
        sampling = replace(
            old,
            temperature=old.temperature if temperature is None else temperature,
            top_p=old.top_p if top_p is None else top_p,
            max_tokens=old.max_tokens if max_tokens is None else max_tokens,
        )
        if not sampling.temperature >= 0 or not 0 < sampling.top_p <= 1 or sampling.max_tokens < 0:
            raise ConfigError(
                f"temperature is {sampling.temperature!r}, top_p {sampling.top_p!r} and max_tokens "
                f"{sampling.max_tokens!r}; expected a number from 0, a share up to 1, and a whole number from 1"
            )
        given = {name: value for name, value in fields.items() if value is not None}
        shown = self.modalities if modalities is None else tuple(modalities)
        return replace(self, sampling=sampling, modalities=shown, **given)

    def for_run(self, run: int) -> Sampling:
        """The sampling of one repetition; each repetition draws different answers."""
        return replace(self.sampling, seed=self.sampling.seed + run)

    def shown(self) -> dict[str, Any]:
        """How clips are shown, as plain JSON, with the settings that matter for the modalities."""
        found: dict[str, Any] = {"modalities": list(self.modalities)}
        if "video" in self.modalities:
            found |= {name: getattr(self, name) for name in ("num_frames", "longest_side", "picture_form")}
        if "audio" in self.modalities:
            found["sample_rate_hz"] = self.sample_rate_hz
        return found


PROFILES: Mapping[str, AnswerSettings] = {
    "fast": AnswerSettings(
        "fast",
        Sampling(temperature=0.0, top_p=1.0, repetition_penalty=1.0, max_tokens=0),
        longest_side=448,
        picture_form="jpeg",
    ),
    "published": AnswerSettings(
        "published", Sampling(temperature=1.0, top_p=0.9, repetition_penalty=1.0, max_tokens=1200)
    ),
}
"""``fast`` repeats exactly and sends small pictures; ``published`` draws answers as the published figures were made."""

LONGEST_ANSWER = 256
"""Largest number of tokens if a profile leaves the limit to the model, and the model has none."""


def get_profile(name: str) -> AnswerSettings:
    """The settings of a profile.

    Raises:
        ConfigError: If the name is unknown.
    """
    if name not in PROFILES:
        hint = did_you_mean(name, PROFILES)
        raise ConfigError(f"unknown profile of the benchmark {name!r}.{hint} Known: {', '.join(PROFILES)}")
    return PROFILES[name]

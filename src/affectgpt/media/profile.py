"""How a clip is turned into tensors: the settings that training and prediction must share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from affectgpt.errors import ConfigError, did_you_mean
from affectgpt.registry import SOURCES, Spec
from affectgpt.registry.builtin_parts import SOURCE_TABLE
from affectgpt.types import Modality

if TYPE_CHECKING:
    from affectgpt.sources.base import Source

PROFILES: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "official": {"visual_policy": "official", "audio_policy": "official", "face_channels": "bgr"},
}
"""The fields that the named profiles set; other fields have their defaults."""

_CHOICES = {"visual_policy": ("default", "official"), "audio_policy": ("default", "official")}
_CHOICES |= {"face_channels": ("rgb", "bgr"), "backend": ("pyav", "torchcodec")}

VISUAL_FIELDS = frozenset({"num_frames", "frame_height", "frame_width", "visual_policy", "face_channels"})
"""Fields that matter for the built-in visual sources only."""
AUDIO_FIELDS = frozenset({"sample_rate_hz", "num_segments", "segment_seconds", "audio_policy"})
"""Fields that matter for sound only."""


@dataclass(frozen=True)
class MediaProfile:
    """The settings of decoding, saved with a model so that ``predict`` decodes a clip as training did.

    A *policy* decides how frames and windows are chosen and scaled. ``default`` is the better one; ``official`` is that
    of the published code, bit for bit, with which the released weights were trained.

    - ``visual_policy``: ``default`` takes the frames on screen in the middle of T equal intervals of time, scaled by
    libswscale. ``official`` takes the decoded frames number ``i * n // T``, and so never the last ones (if there are
    fewer than T, all of them and then the last one again), scaled by FFmpeg's filter ``scale`` with ``flags=bilinear``;
    face crops are scaled as OpenCV does, pictures as Pillow does (bicubic).
    - ``audio_policy``: ``default`` resamples with libswresample, averages the channels and spreads S windows from the
      first sample to the last, one window for a short clip. ``official`` resamples each channel of a sound file with a
      windowed sinc (a video's own track with libswresample, as published sound files seem to be made), starts window
      ``i`` at ``i / S`` of the range of starts, so that the end is never used, repeats a short clip S times, and
      subtracts each window's mean.
    - ``face_channels``: order of the channels of face crops in the model's input. The published code uses ``bgr``.

    Attributes:
        num_frames: Frames taken from a video, T.
        frame_height: Rows of a frame, in pixels; 0 keeps the clip's own.
        frame_width: Columns of a frame, in pixels; 0 keeps the clip's own. Height and width are both set or both 0; a
            frame of another aspect ratio is squeezed to them, as in the published code.
        sample_rate_hz: Audio samples per second, after resampling to mono.
        num_segments: Windows taken from the waveform, S.
        segment_seconds: Length of a window.
        sources: The inputs to prepare: names in ``affectgpt.registry.SOURCES``.
        source_args: Settings of sources from plug-ins: name to arguments, as plain JSON.
        visual_policy: ``default`` or ``official``: how frames, faces and pictures are chosen and scaled.
        audio_policy: ``default`` or ``official``: how a waveform is resampled and cut.
        face_channels: ``rgb`` or ``bgr``.
        backend: The decoder, ``pyav`` or ``torchcodec``. Both give the same frames and sound (scaled frames differ by
            about one grey level in 255), so the backend is not saved with a model, and profiles that differ only in it
            are equal.
    """

    num_frames: int = 8
    frame_height: int = 224
    frame_width: int = 224
    sample_rate_hz: int = 16_000
    num_segments: int = 8
    segment_seconds: float = 2.0
    sources: tuple[str, ...] = ("frame", "audio")
    visual_policy: str = "default"
    audio_policy: str = "default"
    face_channels: str = "rgb"
    source_args: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)
    backend: str = field(default="pyav", compare=False)

    def __post_init__(self) -> None:
        for name in ("num_frames", "sample_rate_hz", "num_segments"):
            self._check_int(name, least=1)
        for name in ("frame_height", "frame_width"):
            self._check_int(name, least=0)
        if (self.frame_height == 0) != (self.frame_width == 0):
            raise ConfigError(
                f"media profile: frame_height={self.frame_height} and frame_width={self.frame_width}; "
                "set both, or both to 0 to keep the size of each clip"
            )
        seconds = self.segment_seconds
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or self.segment_samples < 1:
            raise ConfigError(
                f"media profile: segment_seconds={seconds!r} is shorter than one sample; give a length in seconds, "
                "such as 2.0"
            )
        object.__setattr__(self, "segment_seconds", float(seconds))
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigError(f"media profile: {name}={getattr(self, name)!r}; known: {', '.join(choices)}")
        if self.visual_policy == "official" and not self.frame_height:
            raise ConfigError("media profile: visual_policy 'official' needs a size; set frame_height and frame_width")
        if self.visual_policy == "official" and self.backend != "pyav":
            raise ConfigError(
                "media profile: visual_policy 'official' must equal the published code bit for bit, but the backend "
                f"{self.backend!r} scales differently; use the backend 'pyav'"
            )
        self._check_sources()
        self._check_source_args()

    @classmethod
    def named(cls, name: str, **changes: Any) -> MediaProfile:
        """Get a profile by name: ``default``, or ``official`` for weights trained by the published code.

        Args:
            name: One of ``PROFILES``.
            changes: Fields to change.

        Raises:
            ConfigError: If the name is unknown.

        Examples:
            >>> MediaProfile.named("official").face_channels
            'bgr'
        """
        if name not in PROFILES:
            hint = did_you_mean(name, PROFILES)
            raise ConfigError(f"unknown media profile {name!r}.{hint} Known: {', '.join(PROFILES)}")
        return cls.of({**PROFILES[name], **changes})

    @classmethod
    def of(cls, value: MediaProfile | Mapping[str, Any] | str | None) -> MediaProfile:
        """Read a profile from plain JSON: a name, or a mapping; missing fields have their defaults.

        A mapping may start from a named profile: ``{"profile": "official", "num_frames": 16}``.

        Raises:
            ConfigError: If a key is unknown or a value is out of range.

        Examples:
            >>> MediaProfile.of({"num_frames": 4, "sources": ["audio"]}).sources
            ('audio',)
            >>> MediaProfile.of("official") == MediaProfile.named("official")
            True
        """
        if value is None:
            return cls()
        if isinstance(value, MediaProfile):
            return value
        if isinstance(value, str):
            return cls.named(value)
        if not isinstance(value, Mapping):
            raise ConfigError(
                f"a media profile is a name ({', '.join(PROFILES)}) or a mapping such as {{'num_frames': 8}}, "
                f"but got {value!r}"
            )
        known = [item.name for item in fields(cls)]
        if "profile" in value:
            return cls.named(value["profile"], **{name: value[name] for name in value if name != "profile"})
        for name in value:
            if name not in known:
                hint = did_you_mean(name, known)
                raise ConfigError(f"media profile: unknown key {name!r}.{hint} It takes: {', '.join(known)}")
        return cls(**value)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON of the profile, without its backend; ``MediaProfile.of`` reads it back."""
        kept = {item.name: getattr(self, item.name) for item in fields(self) if item.compare}
        args = kept.pop("source_args")
        return {**kept, "sources": list(self.sources), **({"source_args": _plain(args)} if args else {})}

    @property
    def segment_samples(self) -> int:
        """Samples in a window, N."""
        return round(self.segment_seconds * self.sample_rate_hz)

    def wants(self, modality: Modality) -> bool:
        """Whether the profile has a source of this modality that is made from the clip's own media."""
        sources = map(self.source, self.sources)
        return any(source.modality == modality and not source.suffixes for source in sources)

    def source(self, name: str) -> Source:
        """A source, with its settings in this profile; it need not be one of ``sources``.

        Raises:
            ConfigError: If no source has the name, or it cannot be built.
        """
        given = self.source_args.get(name)
        return _build(name, json.dumps(given) if given else "{}", self, SOURCES.local(name))

    def reading(self, sources: Sequence[str]) -> MediaProfile:
        """This profile with other sources.

        Raises:
            ConfigError: If a source is unknown, or ``source_args`` names one that is not read.
        """
        for name in self.source_args:
            if name not in sources:
                hint = did_you_mean(name, sources)
                raise ConfigError(
                    f"media profile: source_args has settings of {name!r}, but no stream reads it.{hint} "
                    f"The streams read {', '.join(sources)}"
                )
        return replace(self, sources=tuple(sources))

    def _check_int(self, name: str, *, least: int) -> None:
        value = getattr(self, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ConfigError(f"media profile: {name}={value!r}, but it must be a whole number of at least {least}")

    def _check_sources(self) -> None:
        sources: object = self.sources
        if not isinstance(sources, list | tuple) or not all(isinstance(source, str) for source in sources):
            raise ConfigError(f"media profile: sources={sources!r}, but it must be a list such as ['frame', 'audio']")
        object.__setattr__(self, "sources", tuple(sources))
        for source in self.sources:
            _check_known(source)
        if not self.sources or len(set(self.sources)) != len(self.sources):
            raise ConfigError(f"media profile: sources={list(self.sources)}; name at least one, each of them once")

    def _check_source_args(self) -> None:
        given: object = self.source_args
        try:
            fits = isinstance(given, Mapping) and all(isinstance(args, Mapping) for args in given.values())
            object.__setattr__(self, "source_args", _plain(given))
        except (TypeError, ValueError):
            fits = False
        if not fits:
            raise ConfigError(
                f"media profile: source_args={given!r:.200}, but it maps names of sources to their settings, as plain "
                "JSON"
            )
        for name in self.source_args:
            _check_known(name)
            if name in SOURCE_TABLE:
                raise ConfigError(
                    f"media profile: source_args has settings of {name!r}, which is cut from the clip's own media; its "
                    "settings are the other fields of the profile"
                )
            self.source(name)  # refuses wrong settings now


def modality_of(source: str) -> Modality:
    """The kind of signal that a source gives.

    Raises:
        ConfigError: If no source has the name, or it cannot be built.
    """
    return MediaProfile().source(source).modality


@cache
def _check_known(source: str) -> None:
    """Refuse a name that no source has; names that are known are not looked up again, which takes 10 ms for plug-ins.

    Raises:
        ConfigError: If the name is unknown.
    """
    if source not in SOURCES:
        raise ConfigError(
            f"media profile: unknown source {source!r}.{did_you_mean(source, SOURCES)} Known: {', '.join(SOURCES)}. "
            f"Others come from plug-ins, by the entry-point group {SOURCES.group!r}"
        )


@lru_cache(maxsize=256)
def _build(name: str, args: str, profile: MediaProfile, local: Any) -> Source:
    """Build a source; ``local`` is what this process registered under the name, which may be replaced."""
    source: Source = SOURCES.build(Spec(name, json.loads(args)), allow_import=False, profile=profile)
    source.check_contract(name)
    return source


def _plain(value: Any) -> Any:
    """A value after a round trip through JSON: tuples become lists."""
    return json.loads(json.dumps(value))

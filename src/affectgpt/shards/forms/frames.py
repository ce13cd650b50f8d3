"""The form ``frames`` of a sample: frames and faces, already chosen and scaled, as JPEG, and the waveform as FLAC."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from affectgpt.errors import ConfigError, DataError
from affectgpt.media.clip import assemble_clip
from affectgpt.media.compact import decode_flac, decode_jpegs, encode_flac, encode_jpegs
from affectgpt.media.decode.decoder import Decoded
from affectgpt.media.material import NO_CROPS, Material, SourceFile
from affectgpt.media.profile import MediaProfile
from affectgpt.registry.builtin_parts import SOURCE_TABLE
from affectgpt.shards.index import ShardIndex
from affectgpt.types import Clip, Modality

FORM = "frames"
_FRAME, _FACE, _SOUND = "frame", "face", "flac"
# Settings that are applied when a clip is read, because the whole waveform, faces in their own channel order and the
# files of sources from plug-ins are stored
_FREE = frozenset({"num_segments", "segment_seconds", "face_channels", "sources", "source_args"})
_HEARD = frozenset({"sample_rate_hz", "audio_policy"})


@dataclass(frozen=True)
class FramesRecipe:
    """How frames and sound are stored.

    Attributes:
        profile: How clips are decoded. All media of a clip are stored, whatever its ``sources``; files of sources from
            plug-ins are stored as they are.
        jpeg_qscale: FFmpeg's quality of a JPEG, from 1 (best) to 31.
    """

    profile: MediaProfile
    jpeg_qscale: int = 2

    def __post_init__(self) -> None:
        if not isinstance(self.jpeg_qscale, int) or not 1 <= self.jpeg_qscale <= 31:
            raise ConfigError(f"jpeg_qscale={self.jpeg_qscale!r}, but FFmpeg's quality goes from 1 (best) to 31")
        object.__setattr__(self, "profile", replace(self.profile, sources=tuple(SOURCE_TABLE), source_args={}))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, the ``recipe`` of an index."""
        return {"media": self.profile.to_json(), "jpeg_qscale": self.jpeg_qscale}

    def members(
        self,
        seen: Decoded | None,
        heard: Decoded | None,
        faces: NDArray[np.uint8] | None,
        faces_channels: str,
        key: str,
    ) -> dict[str, bytes]:
        """Encode media that were decoded with the profile.

        Args:
            seen: The decoded file with the frames, or ``None``.
            heard: The decoded file with the waveform, or ``None``.
            faces: Face crops, uint8 ``[T', H, W, 3]``, or ``None``.
            faces_channels: Order of their channels.
            key: The sample's key.

        Returns:
            The members: ``frame00.jpg``, ... ``face00.jpg``, ... and ``flac``.

        Raises:
            DataError: If the face crops are invalid.
        """
        members: dict[str, bytes] = {}
        if seen is not None and seen.frames is not None:
            members |= self._pictures(_FRAME, seen.frames)
        if faces is not None:
            profile = replace(self.profile, sources=("face",), face_channels="rgb")
            clip, _ = assemble_clip(Material(key, profile, faces=faces, faces_channels=faces_channels))
            members |= self._pictures(_FACE, clip.media["face"])
        if heard is not None and heard.waveform is not None:
            members[_SOUND] = encode_flac(heard.waveform, self.profile.sample_rate_hz)
        return members

    def _pictures(self, kind: str, frames: torch.Tensor) -> dict[str, bytes]:
        pictures = encode_jpegs(frames, self.jpeg_qscale)
        return {f"{kind}{number:02d}.jpg": picture for number, picture in enumerate(pictures)}


def read_frames(
    key: str,
    members: Mapping[str, bytes],
    facts: Mapping[str, Any],
    profile: MediaProfile,
    files: Mapping[str, SourceFile],
) -> Clip:
    """Make a clip from a sample in this form.

    Args:
        key: The sample's key.
        members: Suffix to content.
        facts: Its json member; ``stored`` in it is the recipe.
        profile: The requested profile.
        files: Source name to its file, for sources from plug-ins.

    Raises:
        ConfigError: If the profile asks for other frames than the stored ones.
        DataError: If a member is broken, or the sample has none of the profile's sources.
    """
    _check_saved(json.dumps(facts["stored"]["media"]), profile)
    name = f"clip {key!r}"
    pictures = {kind: _pictures(members, kind) for kind in (_FRAME, _FACE)}
    found = count_pictures(members)
    if found != facts["num_stored"]:
        raise DataError(
            f"{name} has the stored pictures {found}, but its facts say {facts['num_stored']}; fetch it again"
        )
    visual = {"frame", "image"} & set(profile.sources)
    has_media = facts["duration_seconds"] is not None  # else the sample has files of sources alone
    decoded = Decoded(
        frames=decode_jpegs(pictures[_FRAME], name) if visual and pictures[_FRAME] else None,
        waveform=decode_flac(members[_SOUND], name) if "audio" in profile.sources and _SOUND in members else None,
        duration_seconds=facts["duration_seconds"] or 0.0,
        picture=facts["picture"],
        missing=facts["missing"],
        notes=tuple(facts["media_notes"]),
    )
    faces: NDArray[np.uint8] | str = facts["missing"].get("face", NO_CROPS)
    if "face" in profile.sources and pictures[_FACE]:
        faces = decode_jpegs(pictures[_FACE], name).permute(0, 2, 3, 1).numpy()
    media = decoded if has_media else None
    clip, _ = assemble_clip(
        Material(key, profile, media, media, faces, files=files),
        subtitle=facts.get("subtitle"),
        labels=facts.get("labels") or (),
        description=facts.get("description"),
        extra=facts.get("extra") or {},
    )
    return clip


def check_index(index: ShardIndex, profile: MediaProfile) -> None:
    """Check at the start whether the samples of an index can serve a profile.

    Raises:
        ConfigError: If they hold other frames than the profile needs.
        DataError: If the index does not describe them.
    """
    if index.form != FORM:
        return
    try:
        stored = MediaProfile.of(index.recipe["media"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"the index of {index.location!r} does not say how its frames were made ({error!r}); pack the set again"
        ) from error
    check_profile(stored.to_json(), profile)


@lru_cache(maxsize=64)
def _check_saved(stored: str, profile: MediaProfile) -> None:
    """``check_profile``, cached, because it is called for every sample."""
    check_profile(json.loads(stored), profile)


def check_profile(stored: Mapping[str, Any], profile: MediaProfile) -> None:
    """Refuse a profile that the stored frames and sound cannot serve.

    Any windows can be cut from the stored waveform, and faces converted to either channel order. The number, size and
    choice of frames must be the same, and so must the rate and resampling of the sound, if the profile needs them.

    Raises:
        ConfigError: If it differs; the message has both profiles.
    """
    asked = profile.to_json()
    free = _FREE | (frozenset() if profile.wants(Modality.AUDIO) else _HEARD)
    if not profile.wants(Modality.VISUAL):
        free |= asked.keys() - _HEARD
    stored = MediaProfile.of(stored).to_json()
    differ = [name for name in asked if name not in free and asked[name] != stored[name]]
    if differ:
        parts = ", ".join(f"{name} is {stored[name]!r} there and {asked[name]!r} here" for name in differ)
        raise ConfigError(
            f"the shards hold frames of another media profile: {parts}. Stored: {stored}. Asked for: {asked}. Use the "
            "stored one, pack the set again with this one, or pack the original files (form 'media'), which serve "
            "every profile"
        )


def count_pictures(members: Mapping[str, bytes]) -> dict[str, int]:
    """Stored frames and faces of a sample, by kind."""
    return {kind: len(_pictures(members, kind)) for kind in (_FRAME, _FACE)}


def _pictures(members: Mapping[str, bytes], kind: str) -> list[bytes]:
    """The pictures of a kind, in order of their numbers."""
    names = [suffix for suffix in members if re.fullmatch(rf"{kind}\d+\.jpg", suffix)]
    return [members[name] for name in sorted(names, key=lambda name: (len(name), name))]

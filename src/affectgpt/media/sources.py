"""Decodes the files of a clip, each of them once for all its uses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from affectgpt.media.decode.decoder import Decoded, decode_views
from affectgpt.media.decode.views import View
from affectgpt.media.faces.base import FaceDetector
from affectgpt.media.faces.crop import FaceCrops
from affectgpt.media.faces.find import faces_in, whole_frames
from affectgpt.media.profile import MediaProfile
from affectgpt.media.speech.transcribe import SPEECH_PROFILE


@dataclass(frozen=True)
class Sources:
    """The media of a clip.

    Attributes:
        seen: The decoded file with the frames of the profile; ``None`` if not needed.
        heard: The decoded file with the waveform; the same as ``seen`` if both come from one file.
        faces: The main face, found in frames of the original size; ``None`` if the clip has no pictures.
        looked_for_faces: Whether there was a detector.
        speech: The sound decoded for speech recognition; ``None`` if not needed.
    """

    seen: Decoded | None = None
    heard: Decoded | None = None
    faces: FaceCrops | None = None
    looked_for_faces: bool = False
    speech: Decoded | None = None


def decode_sources(
    source: str | Path | bytes,
    profile: MediaProfile,
    *,
    key: str | None = None,
    audio: str | Path | bytes | None = None,
    detector: FaceDetector | None = None,
    speech: bool = False,
) -> Sources:
    """Decode the file of a clip, and its separate sound file if it has one.

    Args:
        source: A video, sound or picture file, or its content.
        profile: The sources to prepare, and their sizes.
        key: The sample's name, for messages.
        audio: A separate sound file, used in place of the video's own track.
        detector: Finds the main face, if the profile asks for it.
        speech: Whether to also decode the sound for speech recognition.

    Raises:
        MediaError: If a file cannot be decoded.
    """
    visual = [wanted for wanted in profile.sources if wanted in ("frame", "image")]
    sound = ["audio"] if "audio" in profile.sources else []
    own = [*visual, *([] if audio is not None else sound)]
    looks = detector is not None and "face" in profile.sources
    views: dict[str, View] = {}
    if own:
        views["own"] = View(replace(profile, sources=tuple(own)), windows_do=True)
    if looks:
        views["whole"] = View(whole_frames(profile))
    if speech and audio is None:
        views["speech"] = View(SPEECH_PROFILE)
    found = _decode(source, views, key)
    if audio is not None:
        others: dict[str, View] = {}
        if sound:
            others["sound"] = View(replace(profile, sources=("audio",)), windows_do=True)
        if speech:
            others["speech"] = View(SPEECH_PROFILE)
        found |= _decode(audio, others, key)
    return Sources(
        seen=found.get("own"),
        heard=found.get("sound", found.get("own")),
        faces=faces_in(found["whole"], profile, detector) if looks and detector is not None else None,
        looked_for_faces=looks,
        speech=found.get("speech"),
    )


def _decode(source: str | Path | bytes, views: dict[str, View], key: str | None) -> dict[str, Decoded]:
    if not views:
        return {}
    return dict(zip(views, decode_views(source, list(views.values()), key), strict=True))

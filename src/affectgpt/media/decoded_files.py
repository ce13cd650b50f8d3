"""Decodes the files of a clip, each of them once for all its uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from affectgpt.media.decode.decoder import Decoded, decode_views
from affectgpt.media.decode.views import View
from affectgpt.media.faces.base import FaceDetector
from affectgpt.media.faces.crop import FaceCrops
from affectgpt.media.faces.find import faces_in, whole_frames
from affectgpt.media.material import SourceFile, read_source_files
from affectgpt.media.profile import MediaProfile
from affectgpt.media.speech.transcribe import SPEECH_PROFILE
from affectgpt.types import Modality


@dataclass(frozen=True)
class DecodedFiles:
    """The media of a clip.

    Attributes:
        seen: The decoded file with the frames of the profile; ``None`` if not needed.
        heard: The decoded file with the waveform; the same as ``seen`` if both come from one file.
        faces: The main face, found in frames of the original size; ``None`` if the clip has no pictures.
        looked_for_faces: Whether there was a detector.
        speech: The sound decoded for speech recognition; ``None`` if not needed.
        files: Source name to its file, for sources with files of their own.
    """

    seen: Decoded | None = None
    heard: Decoded | None = None
    faces: FaceCrops | None = None
    looked_for_faces: bool = False
    speech: Decoded | None = None
    files: Mapping[str, SourceFile] = field(default_factory=dict)


def decode_files(
    source: str | Path | bytes | None,
    profile: MediaProfile,
    *,
    key: str | None = None,
    audio: str | Path | bytes | None = None,
    detector: FaceDetector | None = None,
    speech: bool = False,
    files: Mapping[str, str | Path | bytes | SourceFile] | None = None,
) -> DecodedFiles:
    """Decode the file of a clip, and its separate sound file if it has one.

    Args:
        source: A video, sound or picture file, or its content; ``None`` for a clip that has only files of its sources.
        profile: The sources to prepare, and their sizes.
        key: The sample's name, for messages.
        audio: A separate sound file, used in place of the video's own track.
        detector: Finds the main face, if the profile asks for it.
        speech: Whether to also decode the sound for speech recognition.
        files: Source name to its file, for sources with files of their own; see ``read_source_files``.

    Raises:
        ConfigError: If a file was given for a source that the profile does not have.
        MediaError: If a file cannot be decoded.
    """
    own_files = read_source_files(files or {}, profile, key or "clip")
    visual = [wanted for wanted in profile.sources if profile.source(wanted).track == Modality.VISUAL]
    sound = [wanted for wanted in profile.sources if profile.source(wanted).track == Modality.AUDIO]
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
            others["sound"] = View(replace(profile, sources=tuple(sound)), windows_do=True)
        if speech:
            others["speech"] = View(SPEECH_PROFILE)
        found |= _decode(audio, others, key)
    return DecodedFiles(
        seen=found.get("own"),
        heard=found.get("sound", found.get("own")),
        faces=faces_in(found["whole"], profile, detector) if "whole" in found and detector is not None else None,
        looked_for_faces=looks,
        speech=found.get("speech"),
        files=own_files,
    )


def _decode(source: str | Path | bytes | None, views: dict[str, View], key: str | None) -> dict[str, Decoded]:
    if not views or source is None:
        return {}
    return dict(zip(views, decode_views(source, list(views.values()), key), strict=True))

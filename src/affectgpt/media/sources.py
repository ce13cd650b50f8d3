"""Decodes the files of a clip, each of them once for all who look at it or listen to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from affectgpt.media.decode.decoder import Decoded, decode_views
from affectgpt.media.decode.views import View
from affectgpt.media.faces.find import whole_frames
from affectgpt.media.profile import MediaProfile
from affectgpt.media.speech.transcribe import SPEECH_PROFILE


@dataclass(frozen=True)
class Sources:
    """The media of a clip.

    Attributes:
        seen: What the frames come from, as the profile wants them; ``None`` where nobody asked.
        heard: What the waveform comes from; the same as ``seen`` where both come from one file.
        whole: Its frames at their own size, to find faces in; ``None`` where nobody asked.
        speech: Its sound as a recogniser hears it; ``None`` where nobody asked.
    """

    seen: Decoded | None = None
    heard: Decoded | None = None
    whole: Decoded | None = None
    speech: Decoded | None = None


def decode_sources(
    source: str | Path | bytes,
    profile: MediaProfile,
    *,
    key: str | None = None,
    audio: str | Path | bytes | None = None,
    whole: bool = False,
    speech: bool = False,
) -> Sources:
    """Decode the file of a clip, and its separate sound file if it has one.

    Args:
        source: A video, sound or picture file, or its content.
        profile: The sources to prepare, and their sizes.
        key: The sample's name, for messages.
        audio: A separate sound file, heard in place of the video's own track.
        whole: Whether the frames are wanted at their own size, too.
        speech: Whether the sound is wanted as a recogniser hears it, too.

    Raises:
        MediaError: If a file cannot be decoded.
    """
    visual = [wanted for wanted in profile.sources if wanted in ("frame", "image")]
    sound = ["audio"] if "audio" in profile.sources else []
    own = [*visual, *([] if audio is not None else sound)]
    views: dict[str, View] = {}
    if own:
        views["own"] = View(replace(profile, sources=tuple(own)), windows_do=True)
    if whole:
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
        whole=found.get("whole"),
        speech=found.get("speech"),
    )


def _decode(source: str | Path | bytes, views: dict[str, View], key: str | None) -> dict[str, Decoded]:
    if not views:
        return {}
    return dict(zip(views, decode_views(source, list(views.values()), key), strict=True))

"""Makes a ``Clip`` from a media file, and says which inputs it lacks and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectgpt.errors import DataError
from affectgpt.media.decoded_files import DecodedFiles, decode_files
from affectgpt.media.faces.base import FaceDetector
from affectgpt.media.faces.crop import FaceCrops
from affectgpt.media.material import NO_CROPS, Material, SourceFile
from affectgpt.media.profile import MediaProfile
from affectgpt.types import Clip


def load_clip(
    source: str | Path | bytes | None,
    profile: MediaProfile,
    *,
    key: str | None = None,
    audio: str | Path | bytes | None = None,
    subtitle: str | None = None,
    labels: Sequence[str] = (),
    description: str | None = None,
    faces: NDArray[np.uint8] | FaceDetector | None = None,
    faces_channels: str = "rgb",
    extra: Mapping[str, Any] | None = None,
    files: Mapping[str, str | Path | bytes | SourceFile] | None = None,
) -> tuple[Clip, dict[str, str]]:
    """Decode a file into the sources that a profile asks for.

    Args:
        source: A video, sound or picture file, or its content; ``None`` for a clip that has only files of its sources.
        profile: The sources to prepare, and their sizes.
        key: The sample's name; by default the file's.
        audio: A separate sound file, used in place of the video's own track.
        subtitle: Spoken words; blank ones count as unknown.
        labels: Open-vocabulary emotion labels.
        description: Free-form emotion description.
        faces: Face crops, uint8 ``[T', H, W, 3]``, from which the profile chooses ``num_frames``; or a detector that
            finds the main face in the file, see ``affectgpt.media.faces``.
        faces_channels: Order of the channels in ``faces``, ``rgb`` or ``bgr``; the clip has them in the profile's
            order.
        extra: Other facts to store with the clip, as plain JSON; notes on the decoding are added under
            ``"media_notes"``.
        files: Source name to its file, for sources with files of their own; see ``read_source_files``.

    Returns:
        The clip, and what it lacks: source name (or ``"subtitle"``) to the reason. Media is ``frame``, ``face`` and
        ``image`` as uint8 ``[T, 3, H, W]``, ``audio`` as float32 ``[S, N]``, real windows only, and what other sources
        make.

    Raises:
        DataError: If a file cannot be decoded, or the clip has nothing that the profile asks for.
    """
    name = key if key is not None else name_of(source)
    detector = faces if isinstance(faces, FaceDetector) else None
    decoded = decode_files(source, profile, key=name, audio=audio, detector=detector, files=files)
    return clip_of(
        decoded,
        profile,
        key=name,
        subtitle=subtitle,
        labels=labels,
        description=description,
        faces=None if isinstance(faces, FaceDetector) else faces,
        faces_channels=faces_channels,
        extra=extra,
    )


def clip_of(
    decoded: DecodedFiles,
    profile: MediaProfile,
    *,
    key: str,
    subtitle: str | None = None,
    labels: Sequence[str] = (),
    description: str | None = None,
    faces: NDArray[np.uint8] | None = None,
    faces_channels: str = "rgb",
    extra: Mapping[str, Any] | None = None,
) -> tuple[Clip, dict[str, str]]:
    """Make a clip from the result of ``decode_files``; see ``load_clip``.

    Args:
        decoded: Its decoded files.
        profile: The sources to prepare.
        key: The sample's name.
        subtitle: See ``load_clip``, also for the arguments below.
        labels: Open-vocabulary emotion labels.
        description: Free-form emotion description.
        faces: Face crops, if no detector was used.
        faces_channels: Order of their channels.
        extra: Other facts to store with the clip.

    Returns:
        The clip, and what it lacks.

    Raises:
        DataError: If it has none of the sources in the profile.
    """
    face_notes: list[str] = []
    crops: NDArray[np.uint8] | str = NO_CROPS if faces is None else faces
    if decoded.looked_for_faces:
        faces_channels = "rgb"
        crops, face_notes = _crops(decoded.faces)
    material = Material(key, profile, decoded.seen, decoded.heard, crops, faces_channels, decoded.files)
    return assemble_clip(
        material, subtitle=subtitle, labels=labels, description=description, face_notes=face_notes, extra=extra
    )


def assemble_clip(
    material: Material,
    *,
    subtitle: str | None = None,
    labels: Sequence[str] = (),
    description: str | None = None,
    face_notes: Sequence[str] = (),
    extra: Mapping[str, Any] | None = None,
) -> tuple[Clip, dict[str, str]]:
    """Make a clip from decoded media; see ``load_clip``.

    Args:
        material: What is there of the clip.
        subtitle: See ``load_clip``, also for the arguments below.
        labels: Open-vocabulary emotion labels.
        description: Free-form emotion description.
        face_notes: Notes about the face crops.
        extra: Other facts to store with the clip.

    Returns:
        The clip, and what it lacks.

    Raises:
        DataError: If the file of a source is broken, or the clip has none of the sources in the profile.
    """
    key, profile = material.key, material.profile
    found = {wanted: profile.source(wanted).steps_of(wanted, material) for wanted in profile.sources}
    media = {wanted: value for wanted, value in found.items() if not isinstance(value, str)}
    missing = {wanted: value for wanted, value in found.items() if isinstance(value, str)}
    if not media:
        reasons = "; ".join(f"{wanted}: {reason}" for wanted, reason in missing.items())
        raise DataError(f"clip {key!r} has none of the sources in the profile ({reasons}); leave it out")
    words = subtitle.strip() if subtitle else ""
    if not words:
        missing["subtitle"] = "none was given"
    decoded = list({id(part): part for part in (material.seen, material.heard) if part is not None}.values())
    notes = [note for part in decoded for note in part.notes] + [*face_notes]
    clip = Clip(
        key=key,
        media=media,
        subtitle=words or None,
        labels=tuple(labels),
        description=description,
        duration_seconds=max((part.duration_seconds for part in decoded), default=None),
        extra={**(extra or {}), **({"media_notes": notes} if notes else {})},
    )
    return clip, missing


def name_of(source: str | Path | bytes | None) -> str:
    """Default name of a clip: that of its file."""
    return "clip" if source is None or isinstance(source, bytes) else Path(source).stem


def _crops(found: FaceCrops | None) -> tuple[NDArray[np.uint8] | str, list[str]]:
    """Crops of the main face, or the reason why there are none, and notes."""
    if found is None:
        return "the file has no pictures to find a face in", []
    kept = found.kept
    if not len(kept):
        return f"no face was found in its {len(found.found)} frames", []
    count = int(found.found.sum())
    notes = [f"the main face was found in {count} of {len(found.found)} frames"] if found.coverage < 1 else []
    return kept, notes

"""Finds the main face in a media file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from affectgpt.media.decode.decoder import Decoded, decode
from affectgpt.media.faces.base import FaceDetector
from affectgpt.media.faces.crop import CROP_SIZE, MARGIN, FaceCrops, crop_faces
from affectgpt.media.profile import MediaProfile


def find_faces(
    source: str | Path | bytes,
    profile: MediaProfile,
    detector: FaceDetector,
    *,
    margin: float = MARGIN,
    key: str | None = None,
) -> FaceCrops | None:
    """Decode a file at its own size, and crop the main face from the frames that the profile samples.

    Args:
        source: A video or a picture, or its content.
        profile: Gives the number of frames and the size of the crops; 224 x 224 if it keeps the size of the clip.
        detector: Finds the faces, see ``affectgpt.registry.FACE_DETECTORS``.
        margin: See ``crop_faces``.
        key: The sample's name, for messages.

    Returns:
        The crops, or ``None`` if the file has no pictures.

    Raises:
        DataError: If the file cannot be decoded.
    """
    return faces_in(decode(source, whole_frames(profile), key=key), profile, detector, margin=margin)


def faces_in(
    decoded: Decoded, profile: MediaProfile, detector: FaceDetector, *, margin: float = MARGIN
) -> FaceCrops | None:
    """Crop the main face from frames that were decoded with the profile of ``whole_frames``; see ``find_faces``."""
    if decoded.frames is None:
        return None
    size = (profile.frame_height or CROP_SIZE, profile.frame_width or CROP_SIZE)
    return crop_faces(decoded.frames.permute(0, 2, 3, 1).numpy(), detector, margin=margin, size=size)


def whole_frames(profile: MediaProfile) -> MediaProfile:
    """The profile for finding faces: as many frames, at their own size."""
    # the official policy expects ready crops, and cannot keep the size of a clip
    return replace(profile, sources=("frame",), frame_height=0, frame_width=0, visual_policy="default")

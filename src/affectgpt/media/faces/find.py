"""Finds the main face in a media file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from affectgpt.media.decode.decoder import decode
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
    """Decode a file at its own size, and cut the main face out of the frames that the profile samples.

    Args:
        source: A video or a picture, or its content.
        profile: Gives the number of frames and the size of the crops; 224 x 224 where it keeps the size of the clip.
        detector: Finds the faces, see ``affectgpt.registry.FACE_DETECTORS``.
        margin: See ``crop_faces``.
        key: The sample's name, for messages.

    Returns:
        The crops, or ``None`` if the file has no pictures.

    Raises:
        DataError: If the file cannot be decoded.
    """
    # the published policy is about crops that were made elsewhere, and cannot keep the size of a clip
    whole = replace(profile, sources=("frame",), frame_height=0, frame_width=0, visual_policy="default")
    frames = decode(source, whole, key=key).frames
    if frames is None:
        return None
    size = (profile.frame_height or CROP_SIZE, profile.frame_width or CROP_SIZE)
    return crop_faces(frames.permute(0, 2, 3, 1).numpy(), detector, margin=margin, size=size)

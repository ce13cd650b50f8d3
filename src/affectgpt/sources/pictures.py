"""The visual sources: frames of the picture track, crops of the face, and still pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from affectgpt.errors import DataError
from affectgpt.media.decode.timeline import floor_indices
from affectgpt.media.faces.face_arrays import check_faces
from affectgpt.media.material import Material, SourceFile
from affectgpt.media.pictures.scale import build_scaler
from affectgpt.media.profile import VISUAL_FIELDS, MediaProfile
from affectgpt.sources.base import Source
from affectgpt.types import Modality


@dataclass(frozen=True)
class FrameSource(Source):
    """Frames of the picture track, uint8 ``[T, 3, H, W]``.

    Attributes:
        profile: Number and size of the frames.
    """

    profile: MediaProfile

    modality = Modality.VISUAL
    track: ClassVar[Modality | None] = Modality.VISUAL
    dtype = torch.uint8

    @property
    def step_shape(self) -> tuple[int, ...]:  # type: ignore[override]  # it follows from the profile
        """Channels, rows and columns; a profile that keeps the size of each clip has frames of any size."""
        return (3, self.profile.frame_height or 224, self.profile.frame_width or 224)

    def prepare(self, material: Material, file: SourceFile | None) -> Tensor | str:
        """The decoded frames; see ``Source.prepare``."""
        seen = material.seen
        if seen is None or seen.frames is None:
            return seen.missing["visual"] if seen else "no video was decoded"
        return seen.frames

    def expected(self) -> str:
        """Type and shape, for messages."""
        return "uint8 [time, 3, height, width]"

    def fits(self, steps: Tensor) -> bool:
        """Whether they are frames, of any size."""
        return steps.ndim == 4 and steps.shape[1] == 3 and steps.dtype == torch.uint8

    def specimen(self) -> Tensor:
        """Two frames of a pattern of slopes and a product."""
        _, height, width = self.step_shape
        time, channel = torch.arange(2)[:, None, None, None], torch.arange(3)[:, None, None]
        row, column = torch.arange(height)[:, None], torch.arange(width)
        pattern = 90 * time + 31 * channel + 3 * row + 5 * column + (row * column >> 4)
        return (pattern % 256).to(torch.uint8)[None]

    def settings(self) -> dict[str, Any]:
        """The fields of the profile that matter for pictures."""
        return {name: value for name, value in self.profile.to_json().items() if name in VISUAL_FIELDS}


@dataclass(frozen=True)
class ImageSource(FrameSource):
    """The picture of a clip that is a still picture, as its only frame."""

    def prepare(self, material: Material, file: SourceFile | None) -> Tensor | str:
        """The picture; see ``Source.prepare``."""
        frames = super().prepare(material, file)
        is_other = material.seen is not None and material.seen.frames is not None and not material.seen.picture
        return "the file is not a picture" if is_other else frames


@dataclass(frozen=True)
class FaceSource(FrameSource):
    """Crops of the main face, in the channel order of the profile; they come with the clip, or from a detector."""

    track = None

    def prepare(self, material: Material, file: SourceFile | None) -> Tensor | str:
        """Choose and scale the crops; see ``Source.prepare``."""
        faces, channels, profile = material.faces, material.faces_channels, material.profile
        if isinstance(faces, str):
            return faces
        check_faces(faces, material.key)
        if channels not in ("rgb", "bgr"):
            raise DataError(
                f"clip {material.key!r}: its face crops are said to be {channels!r}, but must be 'rgb' or 'bgr'"
            )
        count, wanted = len(faces), profile.num_frames
        if profile.visual_policy == "official":
            chosen = floor_indices(count, wanted)
        else:
            chosen = [(2 * index + 1) * count // (2 * wanted) for index in range(wanted)]
        scale = build_scaler(profile)
        scaled = {index: scale.array(faces[index]) for index in dict.fromkeys(chosen)}
        crops = np.stack([scaled[index] for index in chosen])
        return torch.from_numpy(crops if channels == profile.face_channels else np.ascontiguousarray(crops[:, ::-1]))

"""Reads the media of a clip for other models than ours: its frames at a size, and the whole waveform."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from affectgpt.bench.answerers.base import Asked
from affectgpt.errors import DataError
from affectgpt.media.isolation import map_in_order
from affectgpt.media.profile import MediaProfile

if TYPE_CHECKING:
    from torch import Tensor

    from affectgpt.bench.answerers.answer_settings import AnswerSettings
    from affectgpt.media.decode.decoder import Decoded


@dataclass(frozen=True)
class ShownMedia:
    """The media of a clip, as shown to a model.

    Attributes:
        frames: uint8 ``[T, 3, H, W]``, RGB; ``None`` if there are none or they are not shown.
        waveform: float32 ``[N]``; ``None`` if there is none or it is not shown.
        missing: ``"video"`` or ``"audio"`` to the reason why the clip lacks it.
        problem: Why the clip cannot be read at all; ``None`` if it can.
    """

    frames: Tensor | None = None
    waveform: Tensor | None = None
    missing: dict[str, str] = field(default_factory=dict)
    problem: str | None = None


class ReadMedia:
    """Reads the media of a clip; a class, so that it can be sent to a process.

    Args:
        settings: What to show, and how.
    """

    def __init__(self, settings: AnswerSettings) -> None:
        self.settings = settings

    def __call__(self, asked: Asked) -> ShownMedia:
        """The media of one clip, or the reason why it cannot be read."""
        import torch

        torch.set_num_threads(1)
        try:
            return self._read(asked)
        except DataError as error:
            return ShownMedia(problem=str(error))
        except OSError as error:
            return ShownMedia(problem=f"{error.filename!r} cannot be read: {error.strerror}")

    def _read(self, asked: Asked) -> ShownMedia:
        from affectgpt.media.pictures.longest_side import scale_down

        settings = self.settings
        wanted = {"frame": "video" in settings.modalities, "audio": "audio" in settings.modalities}
        source = asked.video or asked.audio
        if source is None:
            if any(wanted.values()):
                raise DataError(f"clip {asked.key!r}: the folder holds no video or sound of it")
            return ShownMedia()
        found = ShownMedia()
        missing: dict[str, str] = {}
        separate = asked.audio is not None and asked.video is not None
        own = [name for name, is_wanted in wanted.items() if is_wanted and not (name == "audio" and separate)]
        if own:
            decoded = self._decode(source, own, asked.key)
            missing |= decoded.missing
            frames = decoded.frames
            if frames is not None and settings.longest_side:
                frames = scale_down(frames, settings.longest_side)
            found = replace(found, frames=frames, waveform=decoded.waveform)
        if wanted["audio"] and separate and asked.audio is not None:
            decoded = self._decode(asked.audio, ["audio"], asked.key)
            missing |= decoded.missing
            found = replace(found, waveform=decoded.waveform)
        names = {"visual": "video", "audio": "audio"}
        return replace(
            found,
            missing={
                names[kind]: reason for kind, reason in missing.items() if names.get(kind, kind) in settings.modalities
            },
        )

    def _decode(self, source: Path, sources: Sequence[str], key: str) -> Decoded:
        from affectgpt.media.decode.decoder import decode_views
        from affectgpt.media.decode.views import View

        settings = self.settings
        profile = MediaProfile(
            num_frames=settings.num_frames,
            frame_height=0,
            frame_width=0,
            sample_rate_hz=settings.sample_rate_hz,
            sources=tuple(sources),
        )
        (decoded,) = decode_views(source, [View(profile)], key)
        return decoded


def read_media(asked: Sequence[Asked], settings: AnswerSettings, num_workers: int) -> Iterator[ShownMedia]:
    """The media of every clip, in order, read in separate processes; only a few are read ahead.

    Args:
        asked: The clips.
        settings: What to show, and how.
        num_workers: Processes for decoding; 0 decodes in this process.
    """
    return map_in_order(ReadMedia(settings), asked, num_workers, _crashed)


def _crashed(asked: Asked, how: str) -> ShownMedia:
    reason = f"clip {asked.key!r} crashes the process that decodes it ({how}); leave it out, or convert it"
    return ShownMedia(problem=reason)

"""Turns a clip into what chat models take: still pictures as JPEG, and sound as WAV."""

from __future__ import annotations

from dataclasses import dataclass

from affectgpt.annotate.stage import ClipRecord, failure_reason
from affectgpt.chat.messages import Picture, Sound
from affectgpt.errors import DataError
from affectgpt.media.compact import encode_jpegs
from affectgpt.media.pictures.longest_side import scale_down
from affectgpt.media.sound.write_wav import write_wav
from affectgpt.media.speech.base import SAMPLE_RATE_HZ

_JPEG_QSCALE = 4


@dataclass(frozen=True)
class ShownClip:
    """What of a clip is shown to a model, or why nothing can be.

    Attributes:
        record: The clip.
        contents: Pictures in order of time, then the sound.
        problem: Why there are none, or ``None``.
    """

    record: ClipRecord
    contents: tuple[Picture | Sound, ...] = ()
    problem: str | None = None


@dataclass(frozen=True)
class ShowClip:
    """The work on one clip: a function that another process can be given.

    Attributes:
        num_frames: Pictures to take, spread over the clip; 0 for none.
        longest_side: Of a picture, in pixels; smaller ones stay.
        sound: Whether the sound is taken.
        longest_seconds: Sound beyond this is left out.
    """

    num_frames: int
    longest_side: int
    sound: bool
    longest_seconds: float

    def __call__(self, record: ClipRecord) -> ShownClip:
        """Decode a clip."""
        try:
            contents: tuple[Picture | Sound, ...] = (*self._pictures(record), *self._sounds(record))
        except Exception as error:  # whatever a file provokes is that file's fault
            return ShownClip(record, problem=failure_reason(error))
        if not contents:
            return ShownClip(record, problem="the clip has neither pictures nor sound to show")
        return ShownClip(record, contents)

    def _pictures(self, record: ClipRecord) -> list[Picture]:
        seen = record.media.see(record.key, num_frames=self.num_frames) if self.num_frames else None
        if seen is None or seen.frames is None:
            return []
        return [
            Picture(jpeg, "image/jpeg")
            for jpeg in encode_jpegs(scale_down(seen.frames, self.longest_side), _JPEG_QSCALE)
        ]

    def _sounds(self, record: ClipRecord) -> list[Sound]:
        heard = record.media.hear(record.key) if self.sound else None
        if heard is None or heard.waveform is None:
            return []
        waveform = heard.waveform[: round(self.longest_seconds * SAMPLE_RATE_HZ)]
        return [Sound(write_wav(waveform, SAMPLE_RATE_HZ), "wav")]


def crashed(record: ClipRecord, how: str) -> ShownClip:
    """What becomes of a clip whose decoding killed its process."""
    return ShownClip(record, problem=f"decoding the clip killed its process ({how}); leave it out, or convert it")


def check_shown(shown: ShownClip) -> tuple[Picture | Sound, ...]:
    """The contents.

    Raises:
        DataError: If there are none.
    """
    if shown.problem is not None:
        raise DataError(shown.problem)
    return shown.contents

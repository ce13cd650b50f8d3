"""Reads a file of any length forward, and hands out its pictures and its sound in chunks of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from affectgpt.errors import DataError
from affectgpt.media.decode.container import audio_stream, describe, opened, video_stream
from affectgpt.media.pictures.scale import FrameScaler
from affectgpt.media.profile import MediaProfile
from affectgpt.media.speech.base import SAMPLE_RATE_HZ

LONGEST_SIDE = 640
"""Pixels of the longer side of the pictures that are kept; larger ones are scaled down."""
_GAP_SECONDS = 0.1
"""Sound that is further than this from its time stamps is moved there: by silence, or by leaving some out."""
_LEAD_SECONDS = 1
"""Sound is decoded from this long before the beginning, so that decoder and resampler are past their first samples."""
_SLACK_SECONDS = 60.0
"""A time stamp that lies further than this behind the end of the film is damaged."""


@dataclass(frozen=True)
class Chunk:
    """A piece of a film.

    Attributes:
        start_seconds: Where it begins.
        end_seconds: Where it ends.
        times: float64 ``[T]``, when each picture is shown.
        frames: uint8 RGB ``[T, H, W, 3]``; no rows for a film without pictures.
        waveform: float32 ``[N]``, mono, 16 kHz; empty for a film without sound.
        is_last: Whether the film ends here.
    """

    start_seconds: float
    end_seconds: float
    times: NDArray[np.float64]
    frames: NDArray[np.uint8]
    waveform: NDArray[np.float32]
    is_last: bool


class Film:
    """A media file that is read forward.

    Pictures and sound are read through a handle each, so that a file in which one comes long before the other needs no
    more memory.

    Times count from the first packet of the file: a recording of a broadcast may have any time stamps.

    Args:
        source: A video or a sound.
        frame_rate_hz: Pictures to take a second.
        start_seconds: Where to begin; the pictures and sound from there on are those of a film read from its beginning.

    Raises:
        MediaError: If the file cannot be opened.
        DataError: If it has neither moving pictures nor sound.
    """

    def __init__(self, source: str | Path, *, frame_rate_hz: float = 4.0, start_seconds: float = 0.0) -> None:
        self.source, self.frame_rate_hz, self.start_seconds = Path(source), frame_rate_hz, start_seconds
        name = describe(source, None)
        with opened(source, name) as container:
            self.has_pictures, self.has_sound = video_stream(container) is not None, audio_stream(container) is not None
            self.duration_seconds = None if container.duration is None else container.duration / av.time_base
            self.offset_seconds = max(0, container.start_time or 0) / av.time_base
        if not self.has_pictures and not self.has_sound:
            raise DataError(f"{name} has neither pictures nor sound that can be decoded; watch needs one of them")
        self.notes: list[str] = []
        self._name = name

    def chunks(self, seconds: float = 20.0, *, read_seconds: float | None = None) -> Iterator[Chunk]:
        """Read to the end.

        Args:
            seconds: Length of a chunk; the last one is shorter.
            read_seconds: Up to where an earlier run had read; the first chunk ends where its next one did.
        """
        with self.open() as film:
            read = self.start_seconds if read_seconds is None else read_seconds
            while True:
                read += seconds
                chunk = film.until(read)
                yield chunk
                if chunk.is_last:
                    return

    @contextmanager
    def open(self) -> Iterator[OpenFilm]:
        """Open the file, to be read from ``start_seconds`` on."""
        with ExitStack() as files:
            eye = ear = None
            if self.has_pictures:
                eye = _Eye(files.enter_context(opened(self.source, self._name)), self)
            if self.has_sound:
                ear = _Ear(files.enter_context(opened(self.source, self._name)), self)
            yield OpenFilm(self, eye, ear)


class OpenFilm:
    """A film that is open; ``Film.open`` makes it.

    Args:
        film: The film.
        eye: Its pictures, if it has any.
        ear: Its sound, if it has any.
    """

    def __init__(self, film: Film, eye: _Eye | None, ear: _Ear | None) -> None:
        self._film, self._eye, self._ear = film, eye, ear
        self._start = film.start_seconds

    def until(self, end: float) -> Chunk:
        """Read on up to this time, in seconds of the film."""
        eye, ear, start = self._eye, self._ear, self._start
        times, frames = eye.until(end) if eye is not None else (np.empty(0), np.empty((0, 0, 0, 3), np.uint8))
        heard = ear.until(end) if ear is not None else np.empty(0, np.float32)
        last = (eye is None or eye.is_over) and (ear is None or ear.is_over)
        if last:
            ends = [
                start + len(heard) / SAMPLE_RATE_HZ,
                times[-1] + 1 / self._film.frame_rate_hz if len(times) else start,
            ]
            end = min(end, max(ends))
        self._start = end
        return Chunk(start, end, times, frames, heard, last)


class _Track:
    """One stream of the film, decoded packet by packet; damaged packets are skipped and counted."""

    def __init__(self, container: Any, stream: Any, film: Film, kind: str, start_seconds: float) -> None:
        stream.thread_type = "NONE"
        if start_seconds > 0:
            container.seek(int((start_seconds + film.offset_seconds) * av.time_base), backward=True)
        self.is_over = False
        self._container, self._stream, self._film, self._kind = container, stream, film, kind
        self._num_bad = 0

    def decoded(self) -> Iterator[tuple[float | None, Any]]:
        """Every frame, with its time in the film; ``None`` if it has none, or one that cannot be."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                for frame in packet.decode():
                    yield self._time(frame), frame
            except av.error.EOFError:
                break
            except av.FFmpegError as error:
                self._num_bad += 1
                if self._num_bad > 1000 or not isinstance(error, av.error.InvalidDataError):
                    self._film.notes.append(f"the {self._kind} could be read no further ({error.strerror})")
                    break
        if self._num_bad:
            self._film.notes.append(f"{self._num_bad} packets of the {self._kind} are damaged and were skipped")

    def _time(self, frame: Any) -> float | None:
        if frame.pts is None:
            return None
        seconds = float(frame.pts * frame.time_base) - self._film.offset_seconds
        length = self._film.duration_seconds
        return None if length is not None and seconds > length + _SLACK_SECONDS else seconds


class _Eye(_Track):
    """Takes the picture that is on screen at each tick."""

    def __init__(self, container: Any, film: Film) -> None:
        super().__init__(container, video_stream(container), film, "video", film.start_seconds)
        self._step = 1 / film.frame_rate_hz
        self._tick = int(np.ceil(film.start_seconds / self._step - 1e-9))
        self._shown: tuple[float, VideoFrame] | None = None
        self._frames = self._timed()
        self._next: tuple[float, VideoFrame] | None = next(self._frames, None)
        self._scaler: FrameScaler | None = None

    def until(self, end: float) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
        """The pictures up to this time."""
        times, pictures = [], []
        while (now := self._tick * self._step) < end:
            while self._next is not None and self._next[0] <= now:
                self._shown, self._next = self._next, next(self._frames, None)
            if self._next is None:  # the last picture stays for as long as the others did
                over = self._shown is None or now >= self._shown[0] + self._step - 1e-6
                if over:
                    self.is_over = True
                    break
            if self._shown is not None:
                times.append(now)
                pictures.append(self._scaled(self._shown[1]))
            self._tick += 1
        if not pictures:
            return np.empty(0), np.empty((0, 0, 0, 3), np.uint8)
        return np.array(times), np.stack(pictures)

    def _timed(self) -> Iterator[tuple[float, VideoFrame]]:
        last = 0.0
        for seconds, frame in self.decoded():
            last = last if seconds is None else seconds
            yield last, frame

    def _scaled(self, frame: VideoFrame) -> NDArray[np.uint8]:
        if self._scaler is None:
            height, width = frame.height, frame.width
            if round(frame.rotation / 90) % 2:
                height, width = width, height
            share = min(1.0, LONGEST_SIDE / max(height, width))
            size = [max(2, round(side * share / 2) * 2) for side in (height, width)]
            self._scaler = FrameScaler(MediaProfile(frame_height=size[0], frame_width=size[1]))
        return np.ascontiguousarray(self._scaler(frame).transpose(1, 2, 0))


class _Ear(_Track):
    """Takes the sound, mono at 16 kHz, each sample where its time stamp puts it.

    All silence is put in, and all sound left out, before the resampler: so its samples lie on the same grid wherever
    reading began, since that is always at a whole second.
    """

    def __init__(self, container: Any, film: Film) -> None:
        self._origin = max(0, int(film.start_seconds) - _LEAD_SECONDS)
        super().__init__(container, audio_stream(container), film, "sound", self._origin)
        self._resampler: AudioResampler | None = None
        self._form: tuple[object, ...] = ()
        self._held = np.empty(0, np.float32)
        self._position = round(film.start_seconds * SAMPLE_RATE_HZ)  # number of the first sample in _held
        self._pieces = self._from_start(self._position - self._origin * SAMPLE_RATE_HZ)

    def until(self, end: float) -> NDArray[np.float32]:
        """The sound up to this time."""
        wanted = round(end * SAMPLE_RATE_HZ) - self._position
        parts, length = [self._held], len(self._held)
        while length < wanted:
            piece = next(self._pieces, None)
            if piece is None:
                self.is_over = True
                break
            parts.append(piece)
            length += len(piece)
        joined = np.concatenate(parts)
        taken, self._held = joined[:wanted], joined[wanted:]
        self._position += len(taken)
        self.is_over = self.is_over and not len(self._held)
        return taken

    def _from_start(self, skip: int) -> Iterator[NDArray[np.float32]]:
        for piece in self._resampled():
            yield piece[skip:]
            skip = max(0, skip - len(piece))

    def _resampled(self) -> Iterator[NDArray[np.float32]]:
        reached, is_first = float(self._origin), True
        for seconds, frame in self.decoded():
            off = 0.0 if seconds is None else seconds - reached
            if is_first or abs(off) > _GAP_SECONDS:
                late = round(off * frame.sample_rate)
                if -late >= frame.samples:
                    continue
                while late > 0:  # a second at a time, since a gap may be long
                    silence = _silence(frame, min(late, frame.sample_rate))
                    yield from self._take(silence)
                    reached += silence.samples / frame.sample_rate
                    late -= silence.samples
                if late < 0:
                    frame = _without_first(frame, -late)
            yield from self._take(frame)
            reached += frame.samples / frame.sample_rate
            is_first = False
        yield from self._flush()

    def _take(self, frame: Any) -> Iterator[NDArray[np.float32]]:
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != self._form:
            yield from self._flush()
            self._form = form
            self._resampler = AudioResampler(format="flt", layout=frame.layout, rate=SAMPLE_RATE_HZ)
        assert self._resampler is not None
        frame.pts = None  # the resampler counts samples; it would refuse time stamps that jump
        for resampled in self._resampler.resample(frame):
            yield _mono(resampled)

    def _flush(self) -> Iterator[NDArray[np.float32]]:
        for resampled in self._resampler.resample(None) if self._resampler is not None else ():
            yield _mono(resampled)


def _silence(like: Any, samples: int) -> AudioFrame:
    """Samples of silence in the form of another frame."""
    middle = 0x80 if like.format.name.startswith("u8") else 0
    return _filled(like, samples, [bytes([middle])] * len(like.planes))


def _without_first(frame: Any, samples: int) -> AudioFrame:
    """A frame without its first samples."""
    width = frame.format.bytes * (1 if frame.format.is_planar else frame.layout.nb_channels)
    return _filled(frame, frame.samples - samples, [bytes(plane)[samples * width :] for plane in frame.planes])


def _filled(like: Any, samples: int, planes: Sequence[bytes]) -> AudioFrame:
    """A frame in the form of another one; a single byte fills its plane."""
    made = AudioFrame(format=like.format, layout=like.layout, samples=samples)
    made.sample_rate = like.sample_rate
    for plane, content in zip(made.planes, planes, strict=True):
        size = plane.buffer_size
        plane.update(content * size if len(content) == 1 else content[:size])
    return made


def _mono(frame: Any) -> NDArray[np.float32]:
    samples = frame.to_ndarray().reshape(frame.samples, -1).mean(axis=1, dtype=np.float32)
    clean: NDArray[np.float32] = np.clip(np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0), -1.0, 1.0)
    return clean

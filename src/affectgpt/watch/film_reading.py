"""Reads a film in a process of its own, which a file may crash without ending the one that answers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from affectgpt.errors import AffectGPTError, DataError, MediaError
from affectgpt.media.isolation import Isolated
from affectgpt.media.memory import bounded_memory
from affectgpt.media.speech.base import SAMPLE_RATE_HZ
from affectgpt.watch.film import Chunk, Film, OpenFilm

_PICTURES_SENT = 80
"""Pictures that cross to this process at once: 55 MB at the most."""


@dataclass(frozen=True)
class Look:
    """What the process that reads is asked for.

    Attributes:
        path: The film.
        frame_rate_hz: Pictures to take a second.
        start_seconds: From where on; the process opens the film there, unless it has just read up to there.
        end_seconds: Up to where; ``None`` only opens the film.
    """

    path: Path
    frame_rate_hz: float
    start_seconds: float
    end_seconds: float | None


@dataclass(frozen=True)
class Seen:
    """What the process that reads answers.

    Attributes:
        chunk: What was asked for; ``None`` if nothing was, or it cannot be had.
        duration_seconds: The film's length, if it tells one.
        notes: What was skipped or damaged since the film was opened.
        problem: Why the film cannot be read on.
    """

    chunk: Chunk | None = None
    duration_seconds: float | None = None
    notes: tuple[str, ...] = ()
    problem: DataError | None = None


class FilmReader:
    """The job of the process: keeps the film open from one look to the next."""

    def __init__(self) -> None:
        self._files = ExitStack()
        self._film: Film | None = None
        self._open: OpenFilm | None = None
        self._at: tuple[Path, float, float] | None = None

    def __call__(self, look: Look) -> Seen:
        """Open the film, or read on."""
        try:
            with bounded_memory():
                return self._look(look)
        except DataError as error:
            return Seen(problem=error)
        except (AffectGPTError, MemoryError):
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            return Seen(problem=MediaError(f"{_where(look)} breaks the decoder ({what}); convert the file"))

    def _look(self, look: Look) -> Seen:
        wanted = (look.path, look.frame_rate_hz, look.start_seconds)
        if self._film is None or self._open is None or self._at != wanted:
            self._files.close()
            self._film = Film(look.path, frame_rate_hz=look.frame_rate_hz, start_seconds=look.start_seconds)
            self._open = self._files.enter_context(self._film.open())
            self._at = wanted
        chunk = None
        if look.end_seconds is not None:
            chunk = self._open.until(look.end_seconds)
            self._at = (look.path, look.frame_rate_hz, look.end_seconds)
        return Seen(chunk, self._film.duration_seconds, tuple(self._film.notes))


class IsolatedFilm:
    """A film like ``Film``, read in another process, which is one piece ahead of whoever takes the chunks.

    A script that uses it must guard its main module with ``if __name__ == "__main__"``, as for any use of
    ``multiprocessing``. Use it in a ``with`` block, whose end ends the process.

    Args:
        source: See ``Film``.
        frame_rate_hz: See there.
        start_seconds: See there.

    Attributes:
        duration_seconds: The film's length, if it tells one.
        notes: What was skipped or damaged.

    Raises:
        MediaError: If the file cannot be opened, or crashes the process.
        DataError: If it has neither moving pictures nor sound.
    """

    def __init__(self, source: str | Path, *, frame_rate_hz: float = 4.0, start_seconds: float = 0.0) -> None:
        self.source, self.frame_rate_hz, self.start_seconds = Path(source), frame_rate_hz, start_seconds
        self.duration_seconds: float | None = None
        self.notes: list[str] = []
        self._before: list[str] = []
        self._reader: Isolated[Look, Seen] = Isolated(FilmReader(), 1, crashed)
        try:
            self._take(self._reader.submit(Look(self.source, frame_rate_hz, start_seconds, None)).result())
        except BaseException:
            self._reader.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.__exit__()

    def chunks(self, seconds: float = 20.0, *, read_seconds: float | None = None) -> Iterator[Chunk]:
        """Read to the end; see ``Film.chunks``.

        Raises:
            MediaError: If the file crashes the process, wherever it is read from, or its decoder fails.
        """
        pieces = self._plan(seconds, read_seconds)
        look, ends_chunk = next(pieces)
        coming = self._reader.submit(look)
        held: list[Chunk] = []
        while True:
            piece = self._take(coming.result())
            assert piece is not None  # it was asked for
            held.append(piece)
            is_last, ends = piece.is_last, ends_chunk
            if not is_last:  # the next piece is read while this one is answered
                look, ends_chunk = next(pieces)
                coming = self._reader.submit(look)
            if ends or is_last:
                chunk = _joined(held)
                held = []
                yield chunk
            if is_last:
                return

    def _plan(self, seconds: float, read_seconds: float | None) -> Iterator[tuple[Look, bool]]:
        """What to ask for, one after the other, and whether a chunk ends with it."""
        start = self.start_seconds
        read = start if read_seconds is None else read_seconds
        while True:
            read += seconds
            first, span = start, read - start
            count = max(1, math.ceil(span * self.frame_rate_hz / _PICTURES_SENT - 1e-9))
            for number in range(1, count + 1):
                end = read if number == count else _at_a_sample(first + number * span / count)
                yield Look(self.source, self.frame_rate_hz, start, end), number == count
                start = end

    def _take(self, seen: Seen) -> Chunk | None:
        if seen.problem is not None:
            raise seen.problem
        if len(seen.notes) < len(self._before):  # a new process, which opened the film anew
            self._before = []
        self.notes += seen.notes[len(self._before) :]
        self._before = list(seen.notes)
        self.duration_seconds = seen.duration_seconds
        return seen.chunk


def crashed(look: Look, how: str) -> Seen:
    """The answer of a process that a film crashed, each time that it was tried."""
    message = f"{_where(look)} crashes the process that decodes it ({how}); convert it, for example with ffmpeg"
    return Seen(problem=MediaError(message, "crashed"))


def _where(look: Look) -> str:
    if look.end_seconds is None:
        return f"film {str(look.path)!r}"
    return f"film {str(look.path)!r} between {look.start_seconds:.1f} and {look.end_seconds:.1f} s"


def _at_a_sample(seconds: float) -> float:
    return round(seconds * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ


def _joined(pieces: list[Chunk]) -> Chunk:
    if len(pieces) == 1:
        return pieces[0]
    shown = [piece for piece in pieces if len(piece.frames)]
    return Chunk(
        pieces[0].start_seconds,
        pieces[-1].end_seconds,
        np.concatenate([piece.times for piece in pieces]),
        np.concatenate([piece.frames for piece in shown]) if shown else pieces[0].frames,
        np.concatenate([piece.waveform for piece in pieces]),
        pieces[-1].is_last,
    )

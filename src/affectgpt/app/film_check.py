"""Decodes a film once before it is watched: a job for a process of its own, which loads nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from affectgpt.errors import DataError, MediaError
from affectgpt.watch.film import Film


@dataclass(frozen=True)
class FilmCheck:
    """A film to decode once before it is watched.

    Attributes:
        path: The file.
        longest_seconds: Longest film.
    """

    path: Path
    longest_seconds: float


def check_film(check: FilmCheck) -> DataError | None:
    """Decode a whole film: a job for ``affectgpt.media.isolation``; gives what is wrong with it."""
    try:
        film = Film(check.path)
        _check_length(check, film.duration_seconds or 0.0)
        for chunk in film.chunks():
            _check_length(check, chunk.end_seconds)
    except DataError as error:
        return error
    return None


def crashed(check: FilmCheck, how: str) -> DataError:
    """What is wrong with a film that crashes its decoder."""
    message = f"{check.path.name!r} crashes the process that decodes it ({how}); convert it"
    return MediaError(message, "crashed")


def _check_length(check: FilmCheck, seconds: float) -> None:
    if seconds > check.longest_seconds:
        raise MediaError(
            f"{check.path.name!r} lasts more than {check.longest_seconds / 60:g} min, the longest film that this page "
            "takes; cut it",
            "too_long",
        )

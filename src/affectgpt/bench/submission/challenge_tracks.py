"""The tracks of MER2026 about clips, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from affectgpt.errors import ConfigError


@dataclass(frozen=True)
class Track:
    """One track of the challenge.

    Attributes:
        number: Number of the track.
        title: Title of the track.
        table: The list of candidates.
        count: Number of candidates.
        keys: Columns that identify a row of the list; a clip may occur again in another pair.
        column: Column of the answers.
        metric: Figure that ranks the track.
    """

    number: int
    title: str
    table: str
    count: int
    keys: tuple[str, ...]
    column: str
    metric: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of ``answer.csv``."""
        return (*self.keys, self.column)


TRACKS: Mapping[int, Track] = {
    track.number: track
    for track in (
        Track(1, "MER-Cross", "track1_track2_candidate.csv", 20_000, ("name",), "discrete", "weighted F1"),
        Track(2, "MER-FG", "track1_track2_candidate.csv", 20_000, ("name",), "openset", "wheel F1"),
        Track(3, "MER-Prefer", "track3_candidate.csv", 10_000, ("name", "a1", "a2"), "preference", "weighted F1"),
    )
}


def get_track(number: int) -> Track:
    """The track with a number.

    Raises:
        ConfigError: If the track is unknown, or is Track 4, which is not about the picture and sound of people.
    """
    if number == 4:
        raise ConfigError(
            "Track 4 (MER-PS) asks for valence and arousal over time from EEG and fNIRS; affectgpt reads pictures, "
            "sounds and words, and does not support it"
        )
    if number not in TRACKS:
        raise ConfigError(f"unknown track {number}; choose 1, 2 or 3")
    return TRACKS[number]

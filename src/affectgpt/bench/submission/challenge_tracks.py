"""The tracks of MER2026 that take answers about clips, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from affectgpt.errors import ConfigError


@dataclass(frozen=True)
class Track:
    """One track of the challenge.

    Attributes:
        number: Of the track.
        title: Its name.
        table: The list of candidates.
        count: How many it has.
        keys: Columns that name a row of the list; a clip may come again in another pair.
        column: Column of the answer.
        metric: What the track is ranked by.
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
    """The track of that number.

    Raises:
        ConfigError: If there is none; Track 4 is not about the picture and sound of people.
    """
    if number == 4:
        raise ConfigError(
            "Track 4 (MER-PS) asks for valence and arousal over time from EEG and fNIRS; affectgpt reads pictures, "
            "sounds and words, and has nothing for it"
        )
    if number not in TRACKS:
        raise ConfigError(f"there is no track {number}; choose 1, 2 or 3")
    return TRACKS[number]

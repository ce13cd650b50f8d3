"""Divides the rest of an epoch among ranks in equal steps, by arithmetic on positions alone.

With n samples left, h of them held back, R ranks and batches of b samples:

    share   = floor((n - h) / R / b) * b    samples of each rank; floor((n - h) / R) without ``whole_batches``
    steps   = ceil(share / b)               batches of each rank
    rank r    reads positions r * share up to (r + 1) * share of the pieces laid end to end
    reserve = n - R * share                 the remaining samples, of which rank r has floor(r * reserve / R) onwards

So every rank makes the same number of steps, which the collectives of training require, and no sample is in two shares.
The samples that no rank has read after s steps are again a list of pieces, so a run can be resumed with any R and b.

Where batches are dealt out by length (see ``length_windows``), a window of w batches is a run of w * b samples of a
rank. After a whole number of windows everything above holds. In the middle of one, what was read depends on the
lengths, so that whoever knows them must say what is left of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from affectgpt.errors import ConfigError

Piece = tuple[int, int]
"""Positions ``start`` to ``stop - 1`` of an epoch's sequence."""


@dataclass(frozen=True)
class EpochPlan:
    """Divides positions of an epoch's sequence among ranks.

    The pieces, laid end to end, are cut into one contiguous run for each rank, so that a rank opens few shards. The
    remainder of this division and the samples held back on purpose form the reserve. Each rank has a share of it, from
    which bad samples are replaced; unused reserve is left out of the epoch.

    Attributes:
        pieces: The rest of the epoch: all of it, or the samples that a run on other ranks had not read.
        world_size: Number of ranks.
        batch_size: Samples in a batch, on each rank.
        whole_batches: Whether an incomplete last batch goes to the reserve.
        held_back: Number of samples that always go to the reserve.
        window: Batches that are dealt out together by length; 1 for batches of consecutive samples.

    Raises:
        ConfigError: If ``world_size``, ``batch_size`` or ``window`` is below 1.

    Examples:
        >>> plan = EpochPlan(((0, 10),), world_size=2, batch_size=2)
        >>> plan.steps, plan.of_rank(1), plan.reserve_of(0), plan.reserve_of(1)
        (2, ((4, 8),), ((8, 9),), ((9, 10),))
        >>> plan.rest(1, [0, 1])
        ((2, 4), (6, 9))
    """

    pieces: tuple[Piece, ...]
    world_size: int
    batch_size: int
    whole_batches: bool = True
    held_back: int = 0
    window: int = 1

    def __post_init__(self) -> None:
        if min(self.world_size, self.batch_size, self.window) < 1:
            raise ConfigError(
                f"world_size={self.world_size}, batch_size={self.batch_size}, window={self.window}: all must be at "
                "least 1"
            )

    @property
    def samples(self) -> int:
        """Number of all samples, including the reserve."""
        return sum(stop - start for start, stop in self.pieces)

    @property
    def share(self) -> int:
        """Number of samples that each rank reads."""
        free = max(self.samples - self.held_back, 0) // self.world_size
        return free // self.batch_size * self.batch_size if self.whole_batches else free

    @property
    def steps(self) -> int:
        """Number of batches that each rank makes."""
        return -(-self.share // self.batch_size)

    def of_rank(self, rank: int, skip_steps: int = 0) -> tuple[Piece, ...]:
        """The positions that a rank reads after its first ``skip_steps`` batches, a whole number of windows."""
        first = min(skip_steps * self.batch_size, self.share)
        return cut_pieces(self.pieces, rank * self.share + first, (rank + 1) * self.share)

    def reserve_of(self, rank: int, used: int = 0) -> tuple[Piece, ...]:
        """A rank's share of the reserve, without its first ``used`` positions."""
        first, size = self.world_size * self.share, self.samples - self.world_size * self.share
        start, stop = (first + number * size // self.world_size for number in (rank, rank + 1))
        return cut_pieces(self.pieces, min(start + used, stop), stop)

    def rest(
        self, steps: int, used: Sequence[int], unread: Sequence[tuple[Piece, ...]] | None = None
    ) -> tuple[Piece, ...]:
        """The positions that no rank has read after some steps.

        Args:
            steps: Batches that each rank has made.
            used: Samples that each rank has taken from its share of the reserve.
            unread: What each rank has left of its share; needed in the middle of a window.
        """
        left = [*(unread or (self.of_rank(rank, steps) for rank in range(self.world_size)))]
        left += [self.reserve_of(rank, used[rank]) for rank in range(self.world_size)]
        return join_pieces(piece for pieces in left for piece in pieces)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        plain = {
            "pieces": [list(piece) for piece in self.pieces],
            "world_size": self.world_size,
            "batch_size": self.batch_size,
            "whole_batches": self.whole_batches,
            "held_back": self.held_back,
        }
        return plain if self.window == 1 else {**plain, "window": self.window}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Self:
        """Read what ``to_json`` wrote.

        Raises:
            ConfigError: If it is something else.
        """
        kinds = {"world_size": int, "batch_size": int, "whole_batches": bool, "held_back": int, "window": int}
        try:
            saved = {"window": 1, **saved}
            pieces = tuple((start, stop) for start, stop in saved["pieces"])
            values = {name: saved[name] for name in kinds}
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{str(saved)[:200]!r} is no plan of an epoch ({error!r})") from None
        numbers = [number for piece in pieces for number in piece]
        if any(type(values[name]) is not kind for name, kind in kinds.items()) or any(
            type(number) is not int or number < 0 for number in (*numbers, values["held_back"])
        ):
            raise ConfigError(f"{str(saved)[:200]!r} is no plan of an epoch")
        return cls(pieces, **values)


def cut_pieces(pieces: Iterable[Piece], start: int, stop: int) -> tuple[Piece, ...]:
    """Positions ``start`` to ``stop - 1`` of the pieces laid end to end, as pieces."""
    found, begin = [], 0
    for low, high in pieces:
        first, last = max(low, low + start - begin), min(high, low + stop - begin)
        if first < last:
            found.append((first, last))
        begin += high - low
    return tuple(found)


def join_pieces(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """The same positions in the same order, with adjacent pieces merged."""
    joined: list[Piece] = []
    for start, stop in pieces:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return tuple(joined)

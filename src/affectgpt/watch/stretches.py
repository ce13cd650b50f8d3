"""Cuts a film into stretches to answer: utterances where somebody speaks, windows where nobody does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from affectgpt.errors import ConfigError
from affectgpt.media.speech.base import Segment


@dataclass(frozen=True)
class Stretch:
    """A piece of the film that is answered as one clip.

    Attributes:
        start_seconds: Where it begins.
        end_seconds: Where it ends.
        is_spoken: Whether somebody speaks.
        words: What is said, if it is known already (from a subtitle file).
    """

    start_seconds: float
    end_seconds: float
    is_spoken: bool
    words: str | None = None

    @property
    def seconds(self) -> float:
        """Length."""
        return self.end_seconds - self.start_seconds


@dataclass(frozen=True)
class CuttingRules:
    """How stretches are cut.

    Attributes:
        longest_seconds: Longer speech is cut into equal pieces.
        shortest_seconds: Shorter speech is left out.
        pause_seconds: Speech goes on over pauses up to this long.
        window_seconds: Length of the windows where nobody speaks; a film without sound has only these.
        quiet_seconds: Silence that is shorter than this is not answered.
        answers_quiet: Whether silence is answered at all.

    Raises:
        ConfigError: If a length is not above 0, or the shortest is not below the longest.
    """

    longest_seconds: float = 12.0
    shortest_seconds: float = 0.4
    pause_seconds: float = 0.4
    window_seconds: float = 8.0
    quiet_seconds: float = 4.0
    answers_quiet: bool = True

    def __post_init__(self) -> None:
        for name in ("longest_seconds", "shortest_seconds", "window_seconds", "quiet_seconds"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"watch: {name} is {getattr(self, name)}, but must be above 0")
        if self.shortest_seconds >= self.longest_seconds:
            raise ConfigError(
                f"watch: shortest_seconds is {self.shortest_seconds}, which is not below longest_seconds, "
                f"{self.longest_seconds}"
            )


def cut(
    spoken: Sequence[Segment], start_seconds: float, end_seconds: float, rules: CuttingRules, *, is_last: bool
) -> tuple[list[Stretch], float]:
    """Cut what was read so far.

    What may go on in the next chunk is held back, unless it is as long as a stretch may be.

    Args:
        spoken: Where somebody speaks, in order, in seconds of the film.
        start_seconds: Where what was read begins.
        end_seconds: Where it ends.
        rules: How to cut.
        is_last: Whether the film ends there.

    Returns:
        The stretches, in order; and the time from which on to read again.

    Examples:
        >>> rules = CuttingRules(answers_quiet=False)
        >>> spoken = [Segment(1.0, 3.0), Segment(3.2, 4.0), Segment(19.0, 20.0)]
        >>> found, rest = cut(spoken, 0.0, 20.0, rules, is_last=False)
        >>> [(one.start_seconds, one.end_seconds) for one in found], rest
        ([(1.0, 4.0)], 19.0)
    """
    joined = _joined(spoken, rules)
    stretches: list[Stretch] = []
    reached = start_seconds
    for segment in joined:
        goes_on = not is_last and segment.end_seconds > end_seconds - rules.pause_seconds
        if goes_on and segment.text is not None:
            return stretches + _quiet(reached, segment.start_seconds, rules), segment.start_seconds
        stretches += _quiet(reached, segment.start_seconds, rules)
        if goes_on:
            length = segment.end_seconds - segment.start_seconds
            whole = int(length // rules.longest_seconds)
            for number in range(whole):
                at = segment.start_seconds + number * rules.longest_seconds
                stretches.append(Stretch(at, at + rules.longest_seconds, True))
            return stretches, segment.start_seconds + whole * rules.longest_seconds
        stretches += _pieces(segment, rules)
        reached = segment.end_seconds
    if is_last:
        return stretches + _quiet(reached, end_seconds, rules), end_seconds
    if not rules.answers_quiet:
        return stretches, max(reached, end_seconds - rules.pause_seconds)
    windows = int((end_seconds - rules.pause_seconds - reached) // rules.window_seconds)
    for number in range(max(0, windows)):
        at = reached + number * rules.window_seconds
        stretches.append(Stretch(at, at + rules.window_seconds, False))
    return stretches, reached + max(0, windows) * rules.window_seconds


def _joined(spoken: Sequence[Segment], rules: CuttingRules) -> list[Segment]:
    """Speech over short pauses, as long as it stays within the longest stretch."""
    joined: list[Segment] = []
    for segment in spoken:
        near = joined and segment.start_seconds - joined[-1].end_seconds <= rules.pause_seconds
        if segment.text is not None:  # a subtitle is a stretch of its own
            joined.append(segment)
            continue
        if near and segment.end_seconds - joined[-1].start_seconds <= rules.longest_seconds:
            joined[-1] = Segment(joined[-1].start_seconds, segment.end_seconds)
        else:
            joined.append(segment)
    return joined


def _pieces(segment: Segment, rules: CuttingRules) -> list[Stretch]:
    length = segment.end_seconds - segment.start_seconds
    if segment.text is not None:
        return [Stretch(segment.start_seconds, segment.end_seconds, True, segment.text)]
    if length < rules.shortest_seconds:
        return []
    count = max(1, -int(-length // rules.longest_seconds))
    step = length / count
    starts = [segment.start_seconds + number * step for number in range(count)]
    return [Stretch(at, segment.end_seconds if at == starts[-1] else at + step, True) for at in starts]


def _quiet(start: float, end: float, rules: CuttingRules) -> list[Stretch]:
    """Windows of equal length, none longer than ``window_seconds``."""
    length = end - start
    if not rules.answers_quiet or length < rules.quiet_seconds:
        return []
    count = max(1, -int(-length // rules.window_seconds))
    step = length / count
    return [Stretch(start + number * step, start + (number + 1) * step, False) for number in range(count)]

"""The rules of a vote: which of the words that several systems said about a clip make the common answer."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from affectgpt.bench.voting.ballots import Ballots
from affectgpt.errors import ConfigError, did_you_mean
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

RULES: Mapping[str, str] = {
    "rank-decay": "a word scores 1 / (1 + decay * rank) in each system; those near the best score are kept",
    "wheel": "as rank-decay, and words that share a group of a wheel support each other",
    "majority": "the words of more than half of the systems that answered, or else the word that most of them said",
    "union": "every word of every system",
}
"""Name of a rule to what it does."""

_BLOCK = 50_000  # samples that are counted at a time: what bounds the memory


@dataclass(frozen=True)
class Constants:
    """The constants of the rules; the defaults of rank-decay are those of the winner of MER2026, Track 2 (MultiMER).

    Attributes:
        decay: How fast the weight of a word falls with its rank, which begins at 0.
        ratio: Share of the best score that a word needs, to be kept.
        lo: Words that are kept at least, as far as the systems said so many.
        hi: Words that are kept at most.
        depth: Words of each answer that vote.
        support: Of rule ``wheel``: share of the score of words in the same group that a word gets in addition.
        fitted: Where the constants come from, if they were fitted: file, digest and samples of the labelled set.
    """

    decay: float = 0.7
    ratio: float = 0.29
    lo: int = 3
    hi: int = 6
    depth: int = 8
    support: float = 0.5
    fitted: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.decay < 0 or not 0 <= self.ratio <= 1 or self.support < 0:
            raise ConfigError(
                f"decay={self.decay}, ratio={self.ratio}, support={self.support}: expected decay and support of 0 or "
                "more, and a ratio from 0 to 1"
            )
        if not 1 <= self.lo <= self.hi or self.depth < 1:
            raise ConfigError(f"lo={self.lo}, hi={self.hi}, depth={self.depth}: expected 1 <= lo <= hi, and depth >= 1")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def check_rule(rule: str) -> str:
    """The rule, if there is one of that name.

    Raises:
        ConfigError: If there is none.
    """
    if rule not in RULES:
        raise ConfigError(f"unknown voting rule {rule!r}.{did_you_mean(rule, RULES)} Known: {', '.join(RULES)}")
    return rule


@dataclass(frozen=True, eq=False)
class Tally:
    """Who said what about some samples, one row per sample and word, sorted by both.

    Attributes:
        samples: int64 ``[P]``: the sample.
        words: int64 ``[P]``: the word.
        at_rank: int64 ``[P, depth]``: how many systems said it at each rank.
        answered: int64 ``[S]``: how many systems answered each sample with a word; ``S`` samples from ``start`` on.
        start: The first sample.
    """

    samples: Numbers
    words: Numbers
    at_rank: Numbers
    answered: Numbers
    start: int

    @property
    def systems(self) -> Numbers:
        """How many systems said each word, int64 ``[P]``."""
        found: Numbers = self.at_rank.sum(1)
        return found

    @property
    def best_rank(self) -> Numbers:
        """The first rank at which a system said it, int64 ``[P]``."""
        found: Numbers = (self.at_rank > 0).argmax(1)
        return found


def choose_words(
    ballots: Ballots, rule: str = "rank-decay", constants: Constants | None = None, wheel: EmotionWheel | None = None
) -> list[list[str]]:
    """The common answer to every sample, best word first.

    Words with equal scores are ordered by the number of systems that said them, then by the best rank that one gave
    them, then alphabetically: the order of the systems plays no part.

    Args:
        ballots: What the systems said.
        rule: One of ``RULES``.
        constants: The constants of the rule; by default the published ones.
        wheel: The vocabulary of rule ``wheel``; by default the built-in one.

    Raises:
        ConfigError: If there is no such rule.
    """
    check_rule(rule)
    constants = constants or Constants()
    groups = word_groups(ballots, wheel or EmotionWheel.builtin()) if rule == "wheel" else None
    depth = depth_of(ballots, rule, constants)
    chosen: list[list[str]] = []
    for start in range(0, len(ballots.names), _BLOCK):
        tally = count_votes(ballots, start, min(start + _BLOCK, len(ballots.names)), depth)
        chosen += pick_words(ballots, tally, rule, constants, groups)
    return chosen


def depth_of(ballots: Ballots, rule: str, constants: Constants) -> int:
    """How many words of each answer vote: all of them where a rule asks who said a word, not at which rank."""
    if rule in ("union", "majority"):
        return max((int(one.ranks.max(initial=0)) + 1 for one in ballots.systems), default=1)
    return constants.depth


def pick_words(
    ballots: Ballots, tally: Tally, rule: str, constants: Constants, groups: Numbers | None
) -> list[list[str]]:
    """The common answers of the samples of a tally; see ``choose_words``."""
    samples, kept = _kept(tally, rule, constants, groups)
    ends = np.searchsorted(samples, np.arange(tally.start, tally.start + len(tally.answered) + 1)).tolist()
    said = [ballots.words[word] for word in kept.tolist()]
    return [said[begin:end] for begin, end in itertools.pairwise(ends)]


def count_votes(ballots: Ballots, start: int, stop: int, depth: int) -> Tally:
    """Count, for the samples from ``start`` up to ``stop``, which words the systems said at which rank.

    Args:
        ballots: What the systems said.
        start: First sample.
        stop: The one after the last.
        depth: Words of each answer that count.
    """
    keys, ranks = [], []
    answered = np.zeros(stop - start, dtype=np.int64)
    for one in ballots.systems:
        begin, end = np.searchsorted(one.samples, [start, stop])
        said = one.samples[begin:end].astype(np.int64)
        counts = one.ranks[begin:end] < depth
        keys.append((said * len(ballots.words) + one.words[begin:end])[counts])
        ranks.append(one.ranks[begin:end][counts])
        answered[np.unique(said) - start] += 1
    pairs, place = np.unique(np.concatenate(keys), return_inverse=True)
    cells = place.reshape(-1) * depth + np.concatenate(ranks)
    at_rank = np.bincount(cells, minlength=len(pairs) * depth).reshape(len(pairs), depth)
    num_words = max(len(ballots.words), 1)
    return Tally(pairs // num_words, pairs % num_words, at_rank, answered, start)


def _kept(tally: Tally, rule: str, constants: Constants, groups: Numbers | None) -> tuple[Numbers, Numbers]:
    """Samples and words that are kept, samples ascending, the best word of each first."""
    if rule in ("union", "majority"):
        scores = tally.systems.astype(np.float64)
    else:
        scores = _decayed(tally, constants)
        if groups is not None:
            scores = scores + constants.support * _support(tally, scores, groups)
    # scores that are equal but for the last bits of a float are equal
    order = np.lexsort((tally.words, tally.best_rank, -tally.systems, -scores.round(9), tally.samples))
    samples, words, scores = tally.samples[order], tally.words[order], scores[order].round(9)
    first = np.searchsorted(samples, samples)
    rank = np.arange(len(samples)) - first
    if rule == "union":
        keep = np.ones(len(samples), dtype=bool)
    elif rule == "majority":
        keep = (2 * scores > tally.answered[samples - tally.start]) | (rank == 0)
    else:
        near = scores >= (constants.ratio * scores[first]).round(9)
        keep = (rank < constants.lo) | (near & (rank < constants.hi))
    return samples[keep], words[keep]


def _decayed(tally: Tally, constants: Constants) -> Floats:
    """Sum over systems of 1 / (1 + decay * rank), rank by rank, so that the systems' order changes no bit."""
    scores = np.zeros(len(tally.words))
    for rank in range(tally.at_rank.shape[1]):
        scores += tally.at_rank[:, rank] / (1 + constants.decay * rank)
    return scores


def _support(tally: Tally, scores: Floats, groups: Numbers) -> Floats:
    """What the other words of a sample that share a group give to each word: their scores, averaged over the wheels."""
    found = np.zeros(len(scores))
    for of_wheel in groups:
        group = of_wheel[tally.words]
        placed = np.flatnonzero(group >= 0)
        keys = tally.samples[placed] * (int(of_wheel.max(initial=0)) + 1) + group[placed]
        _, place = np.unique(keys, return_inverse=True)
        place = place.reshape(-1)
        sums = np.bincount(place, weights=scores[placed]) if len(placed) else np.zeros(0)
        found[placed] += sums[place] - scores[placed]
    return found / len(groups)


def word_groups(ballots: Ballots, wheel: EmotionWheel) -> Numbers:
    """The level-1 group of every word in every wheel, int64 ``[W, V]``; -1 where it has none."""
    places = [wheel.find(word) for word in ballots.words]
    known = np.array([-1 if place is None else place for place in places], dtype=np.int64)
    rows = []
    for number in range(1, wheel.num_wheels + 1):
        codes = np.append(wheel.grouping(number).codes.astype(np.int64), -1)  # the closing -1 is for unknown words
        rows.append(codes[known])
    return np.stack(rows)

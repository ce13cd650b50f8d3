"""Derives the sentiment of a list of emotion labels from the valence of the words, or of their groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from affectgpt.bench.extract.base import SentimentReader
from affectgpt.errors import DataError
from affectgpt.files import digest_of
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel, check_wheel

# How pleasant each word family of the built-in wheel is, from -3 to 3. The sign follows Russell's circumplex (1980) and
# the studies behind the Geneva wheel; mild states (calm, worry, boredom) have grade 1, outright ones 2, intense ones 3.
# docs/extraction.md explains how the grades were set, and on which data.
GRADES: Mapping[int, str] = {
    3: "joy pleasure love gratitude hope confidence energy",
    2: "positive satisfaction amusement humor excitement pride respected respect trust friendliness passion relief "
    "interest curiosity",
    1: "anticipation creativity determination agreement compassion calm",
    -1: "confusion doubt anxiety caution shame boredom apathy fatigue mockery jealousy",
    -2: "suspicion fear insecurity helplessness desperation sadness negative loneliness rejection disappointment guilt "
    "annoyance frustration resentment hurt criticism contempt",
    -3: "grief depression anger hostility hatred disgust",
}


class LexiconSentiment(SentimentReader):
    """Decides by the sign of the sum of the labels' grades, see ``GRADES``.

    If a label is not in the built-in vocabulary, its first known word counts ("a bit sad"). If the grades sum to 0, the
    sentiment is negative: bad weighs more than good (Rozin & Royzman 2001), and the benchmark counts everything that is
    not positive as negative. If no label has a grade, the sentiment is neutral.

    Examples:
        >>> LexiconSentiment().read([["happy", "nervous"], ["calm", "bored"], ["serious"], []])
        ['positive', 'negative', 'neutral', 'neutral']
    """

    name = "lexicon"

    def __init__(self) -> None:
        super().__init__()
        self._wheel = EmotionWheel.builtin()
        # A family is named after one of its words.
        self._grade_of_family = {
            self._wheel.kin[found]: grade
            for grade, families in GRADES.items()
            for family in families.split()
            if (found := self._wheel.find(family)) is not None
        }

    def settings(self) -> dict[str, Any]:
        """The vocabulary; there are no other settings."""
        return {"wheel": self._wheel.name}

    def digest(self) -> str:
        """The digest of the vocabulary with the grade of every word."""
        grades = [int(self._grade_of_family.get(kin, 0)) for kin in self._wheel.kin]
        return digest_of([list(self._wheel.labels), grades])

    def grade(self, label: str) -> int:
        """The grade of a label, from -3 (unpleasant) to 3 (pleasant); 0 if it is neither, or unknown."""
        found = self._wheel.find(label, fold=True)
        if found is None:
            words = label.lower().replace("-", " ").split()
            found = next((i for i in map(self._wheel.find, words) if i is not None), None)
        return 0 if found is None else self._grade_of_family.get(self._wheel.kin[found], 0)

    def _read(self, labels: Sequence[Sequence[str]]) -> list[str]:
        return [self._one(sample, number) for number, sample in enumerate(labels)]

    def _one(self, sample: Sequence[str], number: int) -> str:
        grades = [self.grade(label) for label in _checked(sample, number)]
        if not any(grades):
            return "neutral"
        return "positive" if sum(grades) > 0 else "negative"


class WheelSentiment(SentimentReader):
    """Decides by the majority of the labels; the valence of a label is that of its groups in the wheels.

    The sentiment is neutral if pleasant and unpleasant labels balance, or no label has a group.

    Args:
        wheel: The vocabulary; by default the built-in one.

    Examples:
        >>> WheelSentiment().read([["happy", "nervous", "worried"], ["calm"], []])
        ['negative', 'positive', 'neutral']
    """

    name = "wheel"

    def __init__(self, wheel: EmotionWheel | None = None) -> None:
        super().__init__()
        self.wheel = EmotionWheel.builtin() if wheel is None else check_wheel(wheel)

    def settings(self) -> dict[str, Any]:
        """The vocabulary."""
        return {"wheel": self.wheel.name}

    def digest(self) -> str:
        """The digest of the vocabulary with the valence of every word."""
        return digest_of([[label, self.wheel.valence(label)] for label in self.wheel.labels])

    def _read(self, labels: Sequence[Sequence[str]]) -> list[str]:
        return [self._one(_checked(sample, number)) for number, sample in enumerate(labels)]

    def _one(self, sample: Sequence[str]) -> str:
        known = [self.wheel.valence(label) for label in sample]
        balance = known.count("positive") - known.count("negative")
        return "positive" if balance > 0 else "negative" if balance < 0 else "neutral"


def _checked(sample: Sequence[str], number: int) -> Sequence[str]:
    if not isinstance(sample, (list, tuple)) or not all(isinstance(label, str) for label in sample):
        raise DataError(f"sample {number} is {sample!r}; expected a list of labels, as an extractor returns it")
    return sample

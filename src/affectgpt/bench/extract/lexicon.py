"""Finds emotion words in English free text, such as a description of a clip."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from affectgpt.bench.extract import lexicon_cues as cues
from affectgpt.bench.extract.base import LabelExtractor
from affectgpt.errors import ConfigError, DataError
from affectgpt.files import digest_of
from affectgpt.metrics.labels import is_missing, parse_labels
from affectgpt.metrics.wheel.emotion_wheel import NEUTRAL, EmotionWheel, check_wheel


@dataclass(frozen=True)
class Mention:
    """One emotion word in a text.

    Attributes:
        label: The word, as spelt in the vocabulary.
        sentence: Number of the sentence.
        negated: Whether a negation in the same clause governs it.
        hedged: Whether it is part of a guess ("may", "possibly").
        claimed: Whether the sentence is a summary, or the word follows a phrase such as "it can be inferred that".
    """

    label: str
    sentence: int
    negated: bool
    hedged: bool
    claimed: bool


class LexiconExtractor(LabelExtractor):
    """Finds the emotion words of a vocabulary in free text, by longest match, with weights for claims and guesses.

    Quoted speech is left out. Words that only announce an emotion ("mood") or usually mean something else ("open",
    "direct") do not count, and neither do negated words. Every mention weighs 1, times ``hedge_weight`` in a guess and
    times ``claim_weight`` in a conclusion. The weights are summed over each family of words; families with less than
    ``min_share`` of the largest sum are left out. docs/extraction.md has the figures.

    Args:
        wheel: The vocabulary; by default the built-in one, which has the fewest words of general language.
        claim_weight: Factor for words in conclusions.
        hedge_weight: Factor for words in guesses.
        min_share: Smallest share of the heaviest family's weight, in [0, 1].
        max_labels: Largest number of labels, the heaviest first; ``None`` for all.

    Raises:
        ConfigError: If a weight is not positive, or ``min_share`` or ``max_labels`` is out of range.

    Examples:
        >>> text = 'She smiles and looks calm. She says "I am angry". Therefore, she may be happy, not worried.'
        >>> LexiconExtractor().extract([text])
        [['happy', 'calm']]
    """

    name = "lexicon"

    def __init__(
        self,
        wheel: EmotionWheel | None = None,
        claim_weight: float = 3.0,
        hedge_weight: float = 0.75,
        min_share: float = 1 / 3,
        max_labels: int | None = None,
    ) -> None:
        super().__init__()
        if claim_weight <= 0 or hedge_weight <= 0:
            raise ConfigError(f"claim_weight is {claim_weight}, hedge_weight {hedge_weight}; both must be above 0")
        if not 0 <= min_share <= 1:
            raise ConfigError(f"min_share is {min_share}; it must lie in [0, 1]")
        if max_labels is not None and max_labels < 1:
            raise ConfigError(f"max_labels is {max_labels}; it must be at least 1, or None for all")
        self.wheel = EmotionWheel.builtin() if wheel is None else check_wheel(wheel)
        self.claim_weight, self.hedge_weight = claim_weight, hedge_weight
        self.min_share, self.max_labels = min_share, max_labels
        skipped = cues.FRAME_WORDS | cues.ORDINARY_WORDS
        # If a word has several spellings, the first in the list is kept: "fed up" before "fed-up".
        self._vocabulary = {
            folded: label
            for label in (NEUTRAL, *reversed(self.wheel.labels))
            if (folded := " ".join(label.replace("-", " ").replace("_", " ").split())) not in skipped
        }
        self._longest = max(len(words.split()) for words in self._vocabulary)

    def settings(self) -> dict[str, Any]:
        """The vocabulary and the weights."""
        return {
            "wheel": self.wheel.name,
            "claim_weight": self.claim_weight,
            "hedge_weight": self.hedge_weight,
            "min_share": self.min_share,
            "max_labels": self.max_labels,
        }

    def digest(self) -> str:
        """The digest of the vocabulary in use, its families, and the cue words."""
        words = [[folded, label, self._family(label)] for folded, label in sorted(self._vocabulary.items())]
        patterns = [p.pattern for p in (cues.CONCLUSION, cues.INFERENCE, cues.QUOTATION, cues.SENTENCE_END)]
        return digest_of([words, sorted(cues.NEGATORS), sorted(cues.HEDGES), sorted(cues.CONTRASTS), patterns])

    def mentions(self, text: str) -> list[Mention]:
        """Every emotion word of a text, in order, including negated ones."""
        text = cues.QUOTATION.sub(lambda match: " " * len(match.group()), text)
        sentences = [part for part in cues.SENTENCE_END.split(text) if part.strip()]
        return [found for number, part in enumerate(sentences) for found in self._in_sentence(part.lower(), number)]

    def weigh(self, text: str) -> dict[str, float]:
        """The labels of a text with the weight of their family, heaviest family first, before any are left out."""
        of_family: dict[int, float] = defaultdict(float)
        of_label: dict[str, float] = defaultdict(float)
        for mention in self.mentions(text):
            if not mention.negated:
                weight = self.claim_weight if mention.claimed else 1.0
                weight *= self.hedge_weight if mention.hedged else 1.0
                of_family[self._family(mention.label)] += weight
                of_label[mention.label] += weight
        ranked = sorted(of_label, key=lambda label: (-of_family[self._family(label)], -of_label[label]))
        return {label: of_family[self._family(label)] for label in ranked}

    def _extract(self, answers: Sequence[Any]) -> list[list[str]]:
        return [self._one(answer, number) for number, answer in enumerate(answers)]

    def _one(self, answer: Any, number: int) -> list[str]:
        if is_missing(answer):
            return []
        if not isinstance(answer, str):
            try:
                return parse_labels(answer)
            except DataError as error:
                raise DataError(f"answer {number}: {error}") from None
        weights = self.weigh(answer)
        least = self.min_share * max(weights.values(), default=0.0)
        return [label for label, weight in weights.items() if weight >= least][: self.max_labels]

    def _family(self, label: str) -> int:
        found = self.wheel.find(label)
        return -1 if found is None else int(self.wheel.kin[found])

    def _in_sentence(self, sentence: str, number: int) -> Iterator[Mention]:
        for phrase, joined in cues.JOINED:
            sentence = sentence.replace(phrase, joined)
        sentence = sentence.replace("-", " ").replace("\u2019", "'")
        tokens = list(cues.TOKEN.finditer(sentence))
        inference = cues.INFERENCE.search(sentence)
        sums_up = cues.CONCLUSION.search(sentence) is not None
        scope, hedged, position = 0, False, 0
        while position < len(tokens):
            word = tokens[position].group()
            # A negation ends with its clause; a guess continues across the commas of an enumeration.
            if word in {",", ":", "(", ")"} or word in cues.CONTRASTS:
                scope, hedged = 0, hedged and word == ","
            if word in cues.NEGATORS:
                scope = cues.SCOPE_WORDS
            hedged = hedged or word in cues.HEDGES
            length, label = self._longest_at(tokens, position)
            if label is not None:
                inferred = inference is not None and tokens[position].start() >= inference.end()
                yield Mention(label, number, scope > 0, hedged, sums_up or inferred)
            position += length
            scope = max(0, scope - length)

    def _longest_at(self, tokens: Sequence[re.Match[str]], position: int) -> tuple[int, str | None]:
        """The number of tokens and the label of the longest entry here; 1 and ``None`` without one."""
        words = [token.group() for token in tokens[position : position + self._longest]]
        for length in range(len(words), 0, -1):
            label = self._vocabulary.get(" ".join(words[:length]))
            if label is not None:
                return length, label
        return 1, None

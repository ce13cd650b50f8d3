"""Keeps a clip where its description agrees with the vote of the classifiers, drops it or asks a person otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from affectgpt.annotate.stage import Answer, ClipRecord, Stage
from affectgpt.errors import ConfigError
from affectgpt.metrics.wheel.emotion_wheel import NEUTRAL, EmotionWheel

CRITERIA = ("E", "S", "E+S")
ACTIONS = ("keep", "drop", "person")


class AgreementStage(Stage):
    """Compares ``labels`` and ``sentiment`` of the description with ``vote_emotion`` and ``vote_sentiment``.

    Writes ``agreement``: for ``E`` the share of wheels in which one of the labels falls into the group of the vote,
    for ``S`` whether both sentiments are the same. A vote of ``neutral`` is met by a description that names neutral or
    no emotion of the vocabulary; a vote that no wheel knows is no vote.

    Args:
        criterion: ``E``, ``S``, or ``E+S`` for both.
        least_wheels: Share of the wheels that must agree for ``E``; 0 stands for "any", as the authors' code has it.
        on_disagreement: ``drop``, ``person`` or ``keep``.
        on_no_vote: The same where there is no vote (a tie, or a class that is in no wheel) or no sentiment.
        wheel: ``builtin``, or a folder with the authors' word tables.

    Raises:
        ConfigError: If an argument does not fit.
        DataError: If the folder holds no word tables.
    """

    reads = ("labels", "sentiment", "vote_emotion", "vote_sentiment")
    writes = ("agreement",)

    def __init__(
        self,
        criterion: str = "E+S",
        least_wheels: float = 0.0,
        on_disagreement: str = "drop",
        on_no_vote: str = "person",
        wheel: str = "builtin",
    ) -> None:
        if criterion not in CRITERIA or not 0 <= least_wheels <= 1:
            raise ConfigError(
                f"criterion is {criterion!r}, least_wheels {least_wheels}; choose {', '.join(CRITERIA)}, and a share"
            )
        for name, action in (("on_disagreement", on_disagreement), ("on_no_vote", on_no_vote)):
            if action not in ACTIONS:
                raise ConfigError(f"{name} is {action!r}; choose {', '.join(ACTIONS)}")
        self._criterion, self._least = criterion, least_wheels
        self._on_disagreement, self._on_no_vote = on_disagreement, on_no_vote
        self.optional = {"E": ("sentiment", "vote_sentiment"), "S": ("vote_emotion",), "E+S": ()}[criterion]
        self._wheel = EmotionWheel.builtin() if wheel == "builtin" else EmotionWheel.official(wheel)

    def identity(self) -> dict[str, Any]:
        """The rules and the vocabulary."""
        return {
            "version": 1,
            "criterion": self._criterion,
            "least_wheels": self._least,
            "on_disagreement": self._on_disagreement,
            "on_no_vote": self._on_no_vote,
            "wheel": [self._wheel.name, len(self._wheel.labels)],
        }

    def answer(self, record: ClipRecord) -> Answer:
        """The decision on one clip."""
        labels = [str(label) for label in record.fields.get("labels") or ()]
        emotion, sentiment = record.fields.get("vote_emotion"), record.fields.get("vote_sentiment")
        found: dict[str, Any] = {"E": None, "S": None}
        missing, against = [], []
        if "E" in self._criterion:
            share = None if emotion is None else agreeing_wheels(labels, str(emotion), self._wheel)
            found["E"] = None if share is None else round(share, 3)
            if share is None:
                missing.append("no emotion won the vote" if emotion is None else f"no wheel knows the vote {emotion!r}")
            elif share <= 0 or share < self._least:
                against.append(f"the vote is {emotion}, the description says {', '.join(labels) or 'no emotion'}")
        if "S" in self._criterion:
            said = record.fields.get("sentiment")
            if sentiment is None or said is None:
                missing.append("no sentiment won the vote" if sentiment is None else "the description has no sentiment")
            else:
                found["S"] = said == sentiment
                if said != sentiment:
                    against.append(f"the voted sentiment is {sentiment}, that of the description {said}")
        fields = {"agreement": found}
        if against:
            return _act(self._on_disagreement, "; ".join(against), fields)
        return _act(self._on_no_vote, "; ".join(missing), fields) if missing else Answer(fields=fields)


def agreeing_wheels(labels: Sequence[str], vote: str, wheel: EmotionWheel) -> float | None:
    """Share of the wheels that know the vote in which one of the labels is in its group; ``None`` if none knows it.

    Examples:
        >>> wheel = EmotionWheel.builtin()
        >>> agreeing_wheels(["furious"], "angry", wheel), agreeing_wheels(["calm"], "angry", wheel)
        (1.0, 0.0)
        >>> agreeing_wheels([], "neutral", wheel), agreeing_wheels(["sad"], "neutral", wheel)
        (1.0, 0.0)
    """
    if vote.lower() == NEUTRAL:
        known = [label for label in labels if label.lower() != NEUTRAL and wheel.knows(label)]
        return float(not known)
    votes = [(number, wheel.group(vote, number)) for number in range(1, wheel.num_wheels + 1)]
    known_votes = [(number, group) for number, group in votes if group is not None]
    if not known_votes:
        return None
    hits = [any(wheel.group(label, number) == group for label in labels) for number, group in known_votes]
    return sum(hits) / len(hits)


def _act(action: str, reason: str, fields: dict[str, Any]) -> Answer:
    if action == "drop":
        return Answer.drop(reason, fields)
    return Answer.ask_person(reason, fields) if action == "person" else Answer(fields=fields, reason=reason)

"""Lets classifiers that were trained on categorical sets vote on the emotion and the sentiment of a clip."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from affectgpt.annotate.stage import Answer, ClipRecord, Stage
from affectgpt.classifier import EmotionClassifier
from affectgpt.datamodules.collate import collate
from affectgpt.errors import CheckpointError, ConfigError, DataError, reason_of
from affectgpt.files import digest_of_file
from affectgpt.media import MediaProfile, load_clip
from affectgpt.media.faces.base import FaceDetector
from affectgpt.registry import FACE_DETECTORS

TIES = ("probability", "none")


@dataclass(frozen=True)
class Ballot:
    """What one classifier says of a clip.

    Attributes:
        voter: Name of the classifier.
        label: Its class.
        probability: What it gives that class, from 0 to 1.
    """

    voter: str
    label: str
    probability: float


class VoteStage(Stage):
    """Writes ``votes``, ``vote_emotion`` and ``vote_sentiment``; drops nothing, see the stage ``agreement``.

    The class with most votes wins. Of equals the one with the larger sum of probabilities wins (``tie:
    probability``), or none (``tie: none``); where those sums are equal too, none does. A winner needs at least
    ``least_share`` of the votes.

    Args:
        emotion: Checkpoints of ``EmotionClassifier`` whose classes are emotions.
        sentiment: Checkpoints whose classes are ``positive``, ``negative`` and, perhaps, ``neutral``.
        media: Media profile that the classifiers were trained with; its ``sources`` are taken from them.
        face_detector: Finds the face for classifiers that look at one.
        tie: What happens where two classes have equally many votes.
        least_share: Share of the votes that a winner needs.

    Raises:
        ConfigError: If an argument does not fit.
        CheckpointError: If a file is no such checkpoint.
    """

    writes = ("votes", "vote_emotion", "vote_sentiment")
    isolated = True

    def __init__(
        self,
        emotion: Sequence[str] = (),
        sentiment: Sequence[str] = (),
        media: Mapping[str, Any] | str | None = None,
        face_detector: str = "centerface",
        tie: str = "probability",
        least_share: float = 0.0,
    ) -> None:
        if not (emotion or sentiment) or isinstance(emotion, str) or isinstance(sentiment, str):
            raise ConfigError("a vote needs classifiers: list their checkpoints under emotion, sentiment or both")
        if tie not in TIES or not 0 <= least_share <= 1:
            raise ConfigError(
                f"tie is {tie!r}, least_share {least_share}; choose {' or '.join(TIES)}, and a share in [0, 1]"
            )
        self._tie, self._least = tie, least_share
        self._voters = {
            kind: [(Path(path), load_classifier(path)) for path in paths]
            for kind, paths in (("emotion", emotion), ("sentiment", sentiment))
        }
        sources = {
            str(spec.source) for voters in self._voters.values() for _, one in voters for spec in one.specs.values()
        }
        self._profile = replace(MediaProfile.of(media), sources=tuple(sorted(sources)))
        self._detector_name = face_detector if "face" in sources else None
        self._detector: FaceDetector | None = FACE_DETECTORS.build(face_detector) if "face" in sources else None
        self._digests = {kind: [digest_of_file(path) for path, _ in voters] for kind, voters in self._voters.items()}

    def identity(self) -> dict[str, Any]:
        """Digests of the checkpoints, how clips are decoded, and the rules."""
        names = [path.name for voters in self._voters.values() for path, _ in voters]
        return {
            "version": 1,
            "model": ", ".join(names),
            "voters": self._digests,
            "media": self._profile.to_json(),
            "face_detector": self._detector_name,
            "tie": self._tie,
            "least_share": self._least,
        }

    def answer(self, record: ClipRecord) -> Answer:
        """The votes on one clip."""
        video, audio = record.media.video(), record.media.audio()
        source = video if video is not None else audio
        if source is None:
            raise DataError("the clip has no file")
        separate = audio if video is not None else None
        clip, _ = load_clip(source, self._profile, key=record.key, audio=separate, faces=self._detector)
        batch = collate([clip], [""], profile=self._profile)
        found: dict[str, Any] = {"votes": []}
        for kind, voters in self._voters.items():
            ballots = []
            for path, classifier in voters:
                with torch.inference_mode():
                    (said,) = classifier.predict_step(batch, 0)
                ballots.append(Ballot(path.stem, ", ".join(said.labels), float(said.probability)))
            winner = count_votes(ballots, self._tie, self._least) if ballots else None
            found[f"vote_{kind}"] = winner
            found["votes"] += [
                {"kind": kind, "voter": b.voter, "label": b.label, "probability": round(b.probability, 4)}
                for b in ballots
            ]
        return Answer(fields=found)


def count_votes(ballots: Sequence[Ballot], tie: str = "probability", least_share: float = 0.0) -> str | None:
    """The class that wins, or ``None``; see ``VoteStage`` for the rules.

    Examples:
        >>> a, b, c = Ballot("1", "sad", 0.6), Ballot("2", "angry", 0.9), Ballot("3", "sad", 0.5)
        >>> count_votes([a, b, c]), count_votes([a, b]), count_votes([a, b], tie="none")
        ('sad', 'angry', None)
    """
    votes, weights = defaultdict[str, int](int), defaultdict[str, float](float)
    for ballot in ballots:
        votes[ballot.label] += 1
        weights[ballot.label] += ballot.probability
    most = max(votes.values(), default=0)
    leaders = [label for label, count in votes.items() if count == most]
    if not leaders or most < least_share * len(ballots) or (len(leaders) > 1 and tie == "none"):
        return None
    heaviest = max(weights[label] for label in leaders)
    winners = [label for label in leaders if weights[label] > heaviest - 1e-9]
    return winners[0] if len(winners) == 1 else None


def load_classifier(path: str | Path) -> EmotionClassifier:
    """A classifier from its Lightning checkpoint, on the CPU, in eval mode.

    Raises:
        CheckpointError: If the file is none.
    """
    try:
        classifier: EmotionClassifier = EmotionClassifier.load_from_checkpoint(
            path, map_location="cpu", weights_only=True
        )
    except CheckpointError:
        raise
    except Exception as error:  # Lightning, torch and the parts each raise their own
        raise CheckpointError(f"{str(path)!r} is no checkpoint of EmotionClassifier: {reason_of(error)}") from error
    return classifier.eval()

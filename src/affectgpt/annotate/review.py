"""A person's desk: decisions of the engine to look at, and a log for what the person says."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from affectgpt.annotate.annotation_run import OUTCOMES_FILE, REVIEW_FILE
from affectgpt.annotate.outcomes import ClipOutcome, OutcomeFile
from affectgpt.annotate.reliability import agreement
from affectgpt.annotate.review_log import Decision, ReviewLog, Verdict, now
from affectgpt.errors import ConfigError, did_you_mean


class Desk:
    """What one person looks at in an annotated set.

    Args:
        out: Folder that ``annotate`` wrote.
        who: The person's name.

    Raises:
        DataError: If nothing was annotated there.
    """

    def __init__(self, out: Path, who: str) -> None:
        self.who = who
        self.outcomes = OutcomeFile(out / OUTCOMES_FILE)
        self.log = ReviewLog(out / REVIEW_FILE)

    def sample(self, most: int, only: str | None = None, seed: int = 0) -> list[ClipOutcome]:
        """Clips that this person has not decided yet; those that wait for a person first, the others at random.

        Args:
            most: How many.
            only: Only clips with this outcome.
            seed: Of the choice.
        """
        done = {key for key, verdicts in self.log.latest().items() if self.who in verdicts}
        left = [outcome for outcome in self.outcomes if outcome.key not in done and only in (None, outcome.outcome)]
        random.Random(seed).shuffle(left)
        left.sort(key=lambda outcome: outcome.outcome != "person")  # stable, so the rest stays shuffled
        return left[:most]

    def decide(self, key: str, decision: Decision, changes: Mapping[str, Any] | None = None, note: str = "") -> None:
        """Write down a decision.

        Raises:
            ConfigError: If there is no such clip, or the decision does not fit.
        """
        if key not in self.outcomes:
            hint = did_you_mean(key, self.outcomes.keys())
            raise ConfigError(f"no clip is called {key!r} in {str(self.outcomes.path)!r}.{hint}")
        outcome = self.outcomes[key]
        self.log.append(Verdict(key, outcome.clip, self.who, now(), decision, changes or {}, outcome.outcome, note))

    def pair(self, outcome: ClipOutcome) -> tuple[str, str]:
        """Two descriptions of a clip to choose between.

        Raises:
            ConfigError: If the clip has only one.
        """
        texts = [outcome.fields.get("description"), outcome.given.get("description")]
        texts += [value for name, value in outcome.fields.items() if name.startswith("description_")]
        found = list(dict.fromkeys(text for text in texts if isinstance(text, str) and text.strip()))
        if len(found) < 2:
            raise ConfigError(
                f"clip {outcome.key!r} has one description, so there is nothing to prefer; give the clips one of their "
                "own, or let a second 'merge' stage write a field such as description_b"
            )
        return found[0], found[1]

    def agreement(self) -> dict[str, Any]:
        """How far people and engine agree; see ``reliability.agreement``."""
        latest = self.log.latest()
        return agreement(latest, {key: self.outcomes[key] for key in latest if key in self.outcomes})

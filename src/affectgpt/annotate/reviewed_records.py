"""Lets what people decided about clips count where these are packed: their labels replace those of the manifest."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from affectgpt.annotate.outcomes import ClipOutcome
from affectgpt.annotate.people import REVIEW, decided
from affectgpt.annotate.review_log import ReviewLog, Verdict
from affectgpt.annotate.source_files import LooseFiles
from affectgpt.errors import DataError
from affectgpt.manifests.record import Record, SampleError


class ReviewedRecords:
    """Corrects the records of a manifest by a log of decisions; a clip is known by its content, whatever its name.

    Args:
        log: A file of ``ReviewLog``, such as ``affectgpt app --annotations`` writes.

    Raises:
        DataError: If there is no such file, a line of it is no decision, or there are none.
    """

    def __init__(self, log: str | Path) -> None:
        self._log = Path(log)
        if not self._log.is_file():
            raise DataError(f"{str(log)!r} is no file of decisions; affectgpt app --annotations writes one")
        self._verdicts: dict[str, dict[str, Verdict]] = {}
        for verdict in ReviewLog(self._log).read():
            if verdict.decision != "prefer":
                self._verdicts.setdefault(verdict.clip, {})[verdict.who] = verdict
        if not self._verdicts:
            raise DataError(f"{str(log)!r} holds no decision to accept, edit or reject a clip")
        self._met: set[str] = set()
        self._decisions = Counter[str]()

    def __call__(self, record: Record) -> Record | SampleError:
        """The record with what people decided, or why it is left out; it reads the files of the clip.

        The majority counts, and of several edits the last; see ``people.decided``.

        Raises:
            OSError: If a file cannot be read.
        """
        digest = LooseFiles(record.video, record.audio, record.source_files).digest()
        verdicts = self._verdicts.get(digest)
        if verdicts is None:
            return record
        found = decided(ClipOutcome(record.key, digest, "kept"), verdicts)
        reason = found.reasons.get(REVIEW, "")
        if digest not in self._met:
            self._decisions["edited" if reason.startswith("edited") else found.outcome] += 1
        self._met.add(digest)
        if found.outcome != "kept":
            code = "rejected" if found.outcome == "dropped" else "undecided"
            return SampleError(record.key, REVIEW, code, f"clip {record.key!r}: {reason}")
        fields = found.fields
        return replace(
            record,
            labels=tuple(fields.get("labels", record.labels)),
            description=fields.get("description", record.description),
            subtitle=fields.get("subtitle", record.subtitle),
            extra={**record.extra, REVIEW: reason},
        )

    def told(self) -> str:
        """How many people decided what, for the card of the set."""
        people = len({who for digest in self._met for who in self._verdicts[digest]})
        words = {"kept": "accepted", "edited": "edited", "dropped": "rejected", "person": "left undecided"}
        counts = ", ".join(f"{self._decisions[name]} {word}" for name, word in words.items() if self._decisions[name])
        return f"{people} {'person' if people == 1 else 'people'}, {len(self._met)} clips: {counts or 'none'}"

    def remark(self) -> str:
        """How many of the decided clips were in the manifest."""
        total = len(self._verdicts)
        gone = "; the others are not in the manifest, or their content changed" if len(self._met) < total else ""
        return f"decisions of people about {len(self._met)} of {total} clips in {str(self._log)!r} count{gone}"

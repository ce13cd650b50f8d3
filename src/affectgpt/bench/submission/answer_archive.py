"""Writes ``answer.csv`` and ``answer.zip`` of a track, if every candidate has a valid answer."""

from __future__ import annotations

import csv
import io
import os
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affectgpt import __version__
from affectgpt.bench.submission.candidates import AskedRow
from affectgpt.bench.submission.challenge_tracks import Track
from affectgpt.bench.submission.track_answers import UNKNOWN_NAMES, TrackAnswers
from affectgpt.errors import ConfigError, DataError, first_few
from affectgpt.files import digest_of_file, write_whole
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel
from affectgpt.pages.escaping import for_json

ANSWER = "answer.csv"
_WHEEL_OF_THE_CHALLENGE = "official-2026"
_FIRST_DAY = (1980, 1, 1, 0, 0, 0)  # a fixed date, so that equal answers give equal archives
_SHOWN = 20


@dataclass(frozen=True)
class Submission:
    """A written submission.

    Attributes:
        archive: ``answer.zip``.
        record: Description of its content, as plain JSON; also written as ``submission.json``.
    """

    archive: Path
    record: Mapping[str, Any]


def write_submission(
    out: str | os.PathLike[str],
    track: Track,
    rows: Sequence[AskedRow],
    answers: TrackAnswers,
    wheel: EmotionWheel | None = None,
    *,
    fill: str | None = None,
    more: Mapping[str, Any] | None = None,
) -> Submission:
    """Write the answers to all rows, in their order.

    Args:
        out: Folder for ``answer.csv``, ``answer.zip`` and ``submission.json``; created if it is missing.
        track: The track.
        rows: The candidates.
        answers: The answers of a system.
        wheel: The vocabulary for the coverage in the record (Track 2); by default the built-in one.
        fill: The answer for rows without a valid one: an emotion, comma-separated words, or a preference. By default
            such rows are refused.
        more: Further facts for the record, such as the score on a local split.

    Raises:
        ConfigError: If ``fill`` is not a valid answer for the track.
        DataError: If a row has no valid answer, or an answer has no row.
    """
    filled = _filled(track, rows, answers, fill)
    problems = {what: keys for what, keys in answers.problems.items() if fill is None or what == UNKNOWN_NAMES}
    if problems:
        told = "; ".join(f"{len(keys)} {what}: {first_few(keys)}" for what, keys in problems.items())
        advice = "" if UNKNOWN_NAMES in problems else ", or give an answer for such rows with --fill"
        raise DataError(f"{answers.source}: {told}. Nothing was written; correct the answers{advice}")
    out = Path(out)
    text = _table(track, rows, filled)
    write_whole(out / ANSWER, text)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        member = zipfile.ZipInfo(ANSWER, _FIRST_DAY)
        member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
        archive.writestr(member, text)
    path = out / "answer.zip"
    write_whole(path, packed.getvalue())
    record = {
        "tool": f"affectgpt {__version__}",
        "challenge": "mer2026",
        "track": track.number,
        "title": track.title,
        "rows": len(rows),
        "clips": len({row.cells["name"] for row in rows}),
        "predictions": answers.source,
        "predictions_sha256": digest_of_file(answers.source),
        "answer_sha256": digest_of_file(out / ANSWER),
        "filled": len(rows) - len(answers.values),
        "fill": fill,
        "notes": list(answers.notes),
        **_contents(track, filled, wheel or EmotionWheel.builtin()),
        **(more or {}),
    }
    write_whole(out / "submission.json", for_json(record) + "\n")
    return Submission(path, record)


def _filled(track: Track, rows: Sequence[AskedRow], answers: TrackAnswers, fill: str | None) -> dict[str, Any]:
    if fill is None:
        return dict(answers.values)
    from affectgpt.metrics.functional.emotion_classes import MER_CLASSES
    from affectgpt.metrics.functional.preference import PREFERENCES
    from affectgpt.metrics.labels import parse_labels

    legal = {1: MER_CLASSES, 3: PREFERENCES}.get(track.number)
    value: Any = parse_labels(fill) if track.number == 2 else fill
    if not value or (legal is not None and value not in legal):
        expected = f"one of {', '.join(legal)}" if legal else "comma-separated words"
        raise ConfigError(f"--fill is {fill!r}; expected {expected}")
    return {row.key: answers.values.get(row.key, value) for row in rows}


def _table(track: Track, rows: Sequence[AskedRow], values: Mapping[str, Any]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(track.columns)
    for row in rows:
        value = values[row.key]
        answer = f"[{', '.join(value)}]" if isinstance(value, list) else value
        writer.writerow([*(row.cells[column] for column in track.keys), answer])
    return text.getvalue()


def _contents(track: Track, values: Mapping[str, Any], wheel: EmotionWheel) -> dict[str, Any]:
    """Statistics of the answers: the count of each, or the number and coverage of words."""
    if track.number != 2:
        return {"answers": dict(Counter(values.values()).most_common())}
    words = Counter(word for said in values.values() for word in said)
    unknown = [(word, times) for word, times in words.most_common() if not wheel.knows(word)]
    total = sum(words.values())
    nothing = sum(not any(wheel.knows(word) for word in said) for said in values.values())
    return {
        "wheel": wheel.name,
        "wheel_of_the_challenge": wheel.name == _WHEEL_OF_THE_CHALLENGE,
        "words_per_clip": round(total / len(values), 4),
        "different_words": len(words),
        "coverage": round(1 - sum(times for _, times in unknown) / total, 4),
        "clips_without_a_known_word": nothing,
        "unknown_words": [[word, times] for word, times in unknown[:_SHOWN]],
    }

"""Writes whole answers beside their labels, one JSON object per clip, in the order of the list."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from affectgpt.bench.answerers.base import Asked
from affectgpt.bench.run import Answered
from affectgpt.files import write_lines


def write_answer_table(path: Path, asked: Sequence[Asked], answered: Answered) -> Path:
    """Write ``name``, ``kind``, ``labels``, ``text`` and, for a clip without an answer, ``reason``.

    Args:
        path: The ``.jsonl`` file to write or replace.
        asked: The clips, in the order of the list.
        answered: Their answers, labels and failures.
    """

    def lines() -> list[str]:
        found = []
        for one in asked:
            row: dict[str, object] = {"name": one.key, "kind": "answered", "labels": answered.labels[one.key]}
            if one.key in answered.failed:
                row |= {"kind": "failed", "reason": answered.failed[one.key]}
            elif one.key in answered.refused:
                row |= {"kind": "refused", "reason": answered.refused[one.key]}
            if one.key in answered.texts:
                row["text"] = answered.texts[one.key]
            found.append(json.dumps(row, ensure_ascii=False))
        return found

    write_lines(path, lines())
    return path

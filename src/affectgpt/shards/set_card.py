"""Writes the data card of a shard folder: what is in it, where it comes from, and what may be done with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from affectgpt.pages.escaping import for_markdown
from affectgpt.shards.index import ShardIndex

CARD_FILE = "README.md"
FORMS = {
    "media": "the clips' own files",
    "frames": "ready pictures and sound",
    "features": "vectors of frozen encoders, without pictures and sound",
}
_MOST_LABELS = 15


def set_card(index: ShardIndex, num_left_out: int) -> str:
    """Markdown for a repository or a hub; every number is one of ``index.json``.

    Args:
        index: The index of the folder.
        num_left_out: Samples that could not be used, with their reasons in ``rejects.jsonl``.
    """
    return "\n".join(_lines(index, num_left_out)) + "\n"


def _lines(index: ShardIndex, num_left_out: int) -> Iterator[str]:
    told = dict(index.provenance)
    licence = told.pop("licence", None)
    yield "---"
    yield "tags: [emotion-recognition, webdataset]"
    if licence:
        yield f"license: {json.dumps(str(licence))}"
    yield from ("---", "", f"# {index.samples:,} samples for affectgpt", "")
    facts: dict[str, Any] = {
        "samples": f"{index.samples:,} in {len(index.shards):,} shard(s), {index.bytes / 1e6:,.1f} MB",
        "length": f"{index.duration_seconds / 3600:,.2f} h",
        "what a sample holds": FORMS.get(index.form, index.form),
        "left out": f"{num_left_out:,}" + (", see rejects.jsonl" if num_left_out else ""),
        "source": told.pop("source", None) or "not told",
        "licence": licence or "not told",
        **told,
        "written by": index.tool,
    }
    yield from _table(("what", ""), facts.items())
    yield from ("", "## What the samples have", "")
    yield from _table(("", "samples"), ((name, f"{count:,}") for name, count in index.modalities.items()))
    if index.labels:
        yield from ("", "## Labels", "", f"{len(index.labels):,} different ones; the most frequent:", "")
        first = list(index.labels.items())[:_MOST_LABELS]
        yield from _table(("label", "samples"), ((name, f"{count:,}") for name, count in first))
    yield ""
    yield "What the licence of the clips forbids, this set may not be used for."
    yield "The card does not know whether the people in the clips agreed to this use."


def _table(columns: tuple[str, str], rows: Any) -> Iterator[str]:
    yield f"| {columns[0]} | {columns[1]} |"
    yield "|---|---|"
    for name, value in rows:
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield f"| {for_markdown(name)} | {for_markdown(shown)} |"

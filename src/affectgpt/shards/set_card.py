"""Writes the data card of a shard folder: what is in it, where it comes from, and what may be done with it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from affectgpt.manifests.record import SampleError
from affectgpt.pages.escaping import for_markdown
from affectgpt.shards.index import ShardIndex

CARD_FILE = "README.md"
FORMS = {
    "media": "the clips' own files",
    "frames": "ready pictures and sound",
    "features": "vectors of frozen encoders",
}
TITLES = {
    "split": "only the entries of the split",
    "labelled_only": "only clips with labels or a description",
    "pipeline": "annotated by the pipeline",
    "encoded_from": "encoded from",
    "review": "decisions of people",
    "annotation": "digest of the annotation",
    "seed": "seed of random weights",
}
_MOST_LABELS = 15


def set_card(index: ShardIndex, rejects: Sequence[SampleError]) -> str:
    """Markdown for a repository or a hub; every number is one of ``index.json`` or of ``rejects.jsonl``.

    Args:
        index: The index of the folder.
        rejects: What was left out.
    """
    return "\n".join(_lines(index, rejects)) + "\n"


def _lines(index: ShardIndex, rejects: Sequence[SampleError]) -> Iterator[str]:
    told = {name: value for name, value in index.provenance.items() if value is not None}
    licence, source = told.pop("licence", None), told.pop("source", None)
    yield "---"
    yield "tags: [emotion-recognition, webdataset]"
    if licence:
        yield f"license: {json.dumps(str(licence))}"
    yield from ("---", "", f"# {index.samples:,} samples for affectgpt", "")
    facts: dict[str, Any] = {
        "samples": f"{index.samples:,} in {len(index.shards):,} shard(s), {index.bytes / 1e6:,.1f} MB",
        "length": f"{index.duration_seconds / 3600:,.2f} h",
        "what a sample holds": _form(index),
        "left out": _left_out(rejects),
        "source": source or "not told",
        "licence": licence or "not told",
        **{TITLES.get(name, name): value for name, value in told.items()},
        "digest": index.digest,
        "written by": index.tool,
    }
    yield from _table(("what", ""), facts.items())
    yield from ("", "## What the samples have", "")
    if index.form == "features":
        yield from ("Of the clips that were encoded; the samples hold vectors in their place.", "")
    yield from _table(("", "samples"), ((name, f"{count:,}") for name, count in index.modalities.items()))
    yield from _recipe(index)
    if index.labels:
        yield from ("", "## Labels", "", f"{len(index.labels):,} different ones; the most frequent:", "")
        first = list(index.labels.items())[:_MOST_LABELS]
        yield from _table(("label", "samples"), ((name, f"{count:,}") for name, count in first))
    yield ""
    if "pipeline" in told:
        yield "Models labelled or filtered these clips: the labels are training data, not gold."
    yield "What the licence of the clips forbids, this set may not be used for."
    yield "The card does not know whether the people in the clips agreed to this use."


def _form(index: ShardIndex) -> str:
    kept = index.recipe.get("media_sources") if index.form == "features" else None
    media = f", and the media of {', '.join(map(str, kept))}" if isinstance(kept, list) and kept else ""
    alone = ", without pictures and sound" if index.form == "features" and not media else ""
    return FORMS.get(index.form, index.form) + media + alone


def _left_out(rejects: Sequence[SampleError]) -> str:
    codes = Counter(problem.code for problem in rejects)
    reasons = ", ".join(f"{code} {number:,}" for code, number in codes.most_common())
    return f"{len(rejects):,} ({reasons}), see rejects.jsonl" if rejects else "0"


def _recipe(index: ShardIndex) -> Iterator[str]:
    """How ready pictures or vectors were made."""
    recipe = index.recipe
    streams = recipe.get("streams")
    if index.form == "features" and isinstance(streams, Mapping):
        yield from ("", "## Encoders", "", f"Vectors of type {for_markdown(recipe.get('dtype'))}.", "")
        yield from _table(("stream", "encoder"), ((name, _encoder(key)) for name, key in streams.items()))
    media = recipe.get("media")
    if isinstance(media, Mapping):
        yield from ("", "## How the clips were decoded", "")
        yield from _table(("setting", ""), ((name, value) for name, value in media.items() if value is not None))
    if recipe.get("face_detector"):
        found = for_markdown(recipe["face_detector"])
        yield from ("", f"Faces of clips that brought no crops were found by {found}.")


def _encoder(key: Any) -> str:
    """Which encoder a stream was encoded by: name, weights and width."""
    spec, facts = (key.get(name) if isinstance(key, Mapping) else None for name in ("spec", "encoder"))
    if not isinstance(facts, Mapping):
        return "not told"
    name = spec.get("name") if isinstance(spec, Mapping) else None
    path = spec.get("args", {}).get("path") if isinstance(spec, Mapping) else None
    where = f" ({PurePath(str(path)).name})" if path else ""
    origin = "from its own file" if facts.get("from_file") else "as they were in the model"
    digest = str(facts.get("weights", "")).removeprefix("sha256:")[:16]
    return f"{name or facts.get('kind')}{where}, {facts.get('width')} wide; weights {origin}, digest {digest}"


def _table(columns: tuple[str, str], rows: Any) -> Iterator[str]:
    yield f"| {columns[0]} | {columns[1]} |"
    yield "|---|---|"
    for name, value in rows:
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield f"| {for_markdown(name)} | {for_markdown(shown)} |"

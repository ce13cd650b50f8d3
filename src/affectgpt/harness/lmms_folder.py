"""Writes the folder of tasks that lmms-eval takes with ``--include_path``: tables of clips, and YAML without code."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from affectgpt.datamodules.unibench.sets import TEST_SETS
from affectgpt.errors import ConfigError, DataError
from affectgpt.files import cache_folder, digest_of, draft_folder, write_lines, write_whole
from affectgpt.harness.exam import Item
from affectgpt.harness.grading import Grading

GROUP = "mer_unibench"
MODALITIES = ("video", "audio", "text")
_FUNCTIONS = "affectgpt.harness.lmms_tasks"
_MAX_NEW_TOKENS = 1024
_METRICS = (
    ("score", "official", True),
    ("score_strict", "strict", True),
    ("standard_error", "official_error", False),
    ("standard_error_strict", "strict_error", False),
)
"""Names of the metrics, the function of each, and whether more is better."""


def write_lmms_folder(
    items: Mapping[str, Sequence[Item]],
    grading: Grading,
    *,
    modalities: Sequence[str] = ("video", "text"),
    out: str | Path | None = None,
) -> Path:
    """Write the tasks of some test sets, one each, and their group ``mer_unibench``.

    Args:
        items: The clips by set, see ``read_items``.
        grading: How answers are scored; it stands in the tables, so that scoring needs no variable.
        modalities: What the model is shown of a clip: ``video`` (the file), ``audio`` (the sound file of the authors'
            copies), ``text`` (the spoken words).
        out: The folder; by default one of the cache that is named after what it holds.

    Returns:
        The folder.

    Raises:
        ConfigError: If a modality does not exist.
        DataError: If a file that is to be shown is not there.
    """
    unknown = [name for name in modalities if name not in MODALITIES]
    if unknown or not modalities:
        raise ConfigError(f"modalities are {', '.join(MODALITIES)}, but got {', '.join(unknown) or 'none'}")
    tables = {name: [_row(item, grading, modalities) for item in listed] for name, listed in items.items()}
    texts = {f"{GROUP}_{name}.yaml": _task_text(name) for name in tables} | {f"{GROUP}.yaml": _group_text(tables)}
    if out is None:
        out = cache_folder() / "lmms-eval" / digest_of([tables, texts])[:16]
        if out.is_dir():
            return out
    with draft_folder(out) as folder:
        for name, text in texts.items():
            write_whole(folder / name, text)
        for name, rows in tables.items():
            write_lines(folder / f"{name}.jsonl", [json.dumps(row, ensure_ascii=False) for row in rows])
    return Path(out)


def _row(item: Item, grading: Grading, modalities: Sequence[str]) -> dict[str, Any]:
    row = item.to_json()
    files = {name: row[name] for name in ("video", "audio") if name in modalities}
    if not all(files.values()):
        lacking = next(name for name, path in files.items() if not path)
        raise DataError(
            f"{item.set_name}, clip {item.name!r} has no {lacking} file; leave {lacking} out of the modalities, or "
            "name other sets"
        )
    return {
        **{key: row[key] for key in ("set", "name", "gold", "question", "cluster")},
        "shown": list(files.values()),
        "grading": json.dumps(asdict(grading)),
    }


def _task_text(name: str) -> str:
    test_set = TEST_SETS[name]
    plain = {
        "task": f"{GROUP}_{name}",
        "task_alias": f"{test_set.title} ({test_set.metric})",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": f"{name}.jsonl"}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "question",
        "doc_to_target": "gold",
        # as affectgpt bench answers: the likeliest answer, to its end
        "generation_kwargs": {"until": [], "max_new_tokens": _MAX_NEW_TOKENS, "do_sample": False, "temperature": 0},
        "cluster_key": "cluster",
        "metadata": {"version": 1, "published_clips": test_set.num_samples},
    }
    calls = ("doc_to_visual", "process_results")
    lines = [f"{call}: !function {_FUNCTIONS}.{call}" for call in calls] + ["metric_list:"]
    for metric, function, higher in _METRICS:
        lines += [f"- metric: {metric}", f"  aggregation: !function {_FUNCTIONS}.{function}"]
        lines += [f"  higher_is_better: {str(higher).lower()}"]
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True) + "\n".join(lines) + "\n"


def _group_text(sets: Mapping[str, Any]) -> str:
    means = [{"metric": name, "aggregation": "mean", "weight_by_size": False} for name in ("score", "score_strict")]
    group = {
        "group": GROUP,
        "group_alias": "MER-UniBench" + ("" if len(sets) == len(TEST_SETS) else f" ({len(sets)} of {len(TEST_SETS)})"),
        "task": [f"{GROUP}_{name}" for name in sets],
        "aggregate_metric_list": means,
        "metadata": {"version": 1},
    }
    return yaml.safe_dump(group, sort_keys=False)

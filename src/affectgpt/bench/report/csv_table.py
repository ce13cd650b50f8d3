"""Write the report as CSV, one row a figure."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from affectgpt.bench.report.markdown import cell_of

CSV_COLUMNS = (
    *("system", "inputs", "kind", "dataset", "metric", "mode", "wheel", "score", "low", "high", "strict_score"),
    *("coverage", "samples", "expected_samples", "missing", "rule", "optimistic", "honest_score", "source"),
)


def to_csv(content: Mapping[str, Any]) -> str:
    """One row for every system (ours and published ones) and set, and for its mean; figures in percent."""
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    metric_of = {test_set["dataset"]: test_set["metric"] for test_set in content["sets"]}
    for result in content["results"]:
        writer.writerow(_csv_row(result, cell_of(content, result)))
    for system in content["systems"]:
        writer.writerow(
            {
                **{"system": system["system"], "kind": "scored here", "dataset": "mean", "metric": "mean"},
                **{"score": _number(system["mean"]), "honest_score": _number(system["honest_mean"])},
                "optimistic": system["optimistic"],
            }
        )
    for row in content["published"]:
        named = {"system": row["system"], "inputs": row["inputs"], "kind": "published", "source": row["source"]}
        for dataset, score in row["scores"].items():
            writer.writerow({**named, "dataset": dataset, "metric": metric_of[dataset], "score": _number(score)})
        writer.writerow({**named, "dataset": "mean", "metric": "mean", "score": _number(row["mean"])})
    return out.getvalue()


def _csv_row(result: Mapping[str, Any], cell: Mapping[str, Any]) -> dict[str, Any]:
    strict = result if result["mode"] == "strict" else result.get("strict") or {}
    return {
        **{key: result.get(key, "") for key in ("system", "dataset", "metric", "mode", "wheel", "expected_samples")},
        "kind": "scored here",
        "score": _number(result["score"]),
        "low": _number(cell["low"]),
        "high": _number(cell["high"]),
        "strict_score": _number(strict.get(result["metric"])),
        "coverage": _number(result.get("coverage")),
        "samples": result.get("gold_samples", ""),
        "missing": len(result.get("missing_predictions") or ()),
        "rule": cell["rule"] or "",
        "optimistic": cell["optimistic"],
        "honest_score": _number(cell["honest"]),
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.4f}"

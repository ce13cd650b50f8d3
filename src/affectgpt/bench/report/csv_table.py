"""Writes the report as CSV, one row per figure."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

from affectgpt.bench.report.content import Report
from affectgpt.bench.system_result import SystemResult
from affectgpt.pages.escaping import for_csv

CSV_COLUMNS = (
    *("system", "inputs", "kind", "dataset", "metric", "mode", "wheel", "score", "low", "high", "strict_score"),
    *("coverage", "samples", "expected_samples", "missing", "rule", "optimistic", "honest_score", "source"),
)


def to_csv(report: Report) -> str:
    """The report as CSV: one row per system (ours and published) and set, and one for the mean; figures in percent."""
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    metric_of = {test_set.name: test_set.metric for test_set in report.sets}
    for result in report.results:
        writer.writerow(_csv_row(report, result))
    for row in report.systems:
        named = {"system": for_csv(row.system), "kind": "scored here", "dataset": "mean", "metric": "mean"}
        scores = {"score": _number(row.mean), "honest_score": _number(row.honest_mean)}
        writer.writerow({**named, **scores, "optimistic": row.optimistic})
    for table in report.views:
        for view, cells in table.cells.items():
            named = {"system": for_csv(table.system), "inputs": view, "kind": "view"}
            for dataset, cell in cells.items():
                ends = {"score": _number(cell.score), "low": _number(cell.low), "high": _number(cell.high)}
                writer.writerow({**named, "dataset": dataset, "metric": metric_of[dataset], **ends})
            writer.writerow({**named, "dataset": "mean", "metric": "mean", "score": _number(table.means.get(view))})
    for line in report.published:
        named = {"system": for_csv(line.system), "inputs": line.inputs, "kind": "published", "source": line.source}
        for dataset, score in line.scores.items():
            writer.writerow({**named, "dataset": dataset, "metric": metric_of[dataset], "score": _number(score)})
        writer.writerow({**named, "dataset": "mean", "metric": "mean", "score": _number(line.mean)})
    return out.getvalue()


def _csv_row(report: Report, one: SystemResult) -> dict[str, Any]:
    result, cell = one.result, report.cell_of(one)
    strict = result if result.mode == "strict" else result.other
    return {
        "system": for_csv(one.system),
        "dataset": result.dataset,
        "metric": result.metric,
        "mode": result.mode,
        "wheel": for_csv(result.wheel),
        "expected_samples": "" if result.expected_samples is None else result.expected_samples,
        "kind": "scored here",
        "score": _number(cell.score),
        "low": _number(cell.low),
        "high": _number(cell.high),
        "strict_score": _number(strict.figure(result.metric) if strict is not None else None),
        "coverage": _number(result.coverage),
        "samples": "" if result.gold_samples is None else result.gold_samples,
        "missing": len(result.missing_predictions),
        "rule": cell.rule or "",
        "optimistic": cell.optimistic,
        "honest_score": _number(cell.honest),
    }


def _number(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{100 * value:.4f}"

"""Writes the report of a benchmark into a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from affectgpt.bench.report.content import build_report
from affectgpt.bench.report.csv_table import to_csv
from affectgpt.bench.report.markdown import to_markdown
from affectgpt.bench.report.page import to_page
from affectgpt.bench.result import SetResult
from affectgpt.bench.system_result import SystemResult
from affectgpt.errors import ConfigError
from affectgpt.files import write_whole
from affectgpt.pages.escaping import for_json


def write_report(
    results: Sequence[SystemResult | SetResult], out: str | os.PathLike[str], title: str = "MER-UniBench"
) -> Path:
    """Write ``report.json``, ``report.md``, ``report.csv`` and ``report.html``, a page that loads no other files.

    Args:
        results: One result per system and set, as returned by ``affectgpt.bench.score``, or as a ``SystemResult`` with
            the name of the system and, if a checkpoint was chosen, the selection.
        out: Folder; created if it is missing.
        title: Heading of the report.

    Returns:
        The path of the HTML page.

    Raises:
        ConfigError: If a set or a selection rule does not exist, or matplotlib, which the page needs, is not installed;
            the other three files are still written.
        DataError: If there are no results, one has the wrong type, or a system has two results for one set.
    """
    report, out = build_report(results, title), Path(out)
    write_whole(out / "report.json", for_json(report.to_json()) + "\n")
    write_whole(out / "report.md", to_markdown(report))
    write_whole(out / "report.csv", to_csv(report))
    try:
        page = to_page(report)
    except ConfigError as error:
        raise ConfigError(f"report.json, .md and .csv are in {out}, but not the page: {error}") from error
    write_whole(out / "report.html", page)
    return out / "report.html"

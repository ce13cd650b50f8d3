"""Write the report of a benchmark into a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from affectgpt.bench.report.content import build_content
from affectgpt.bench.report.csv_table import to_csv
from affectgpt.bench.report.markdown import to_markdown
from affectgpt.bench.report.page import to_page
from affectgpt.errors import ConfigError
from affectgpt.files import write_whole


def write_report(
    results: Sequence[Mapping[str, Any]], out: str | os.PathLike[str], title: str = "MER-UniBench"
) -> Path:
    """Write ``report.json``, ``report.md``, ``report.csv`` and ``report.html``, a page that loads nothing.

    Args:
        results: Per system and set what ``affectgpt.bench.score`` returns, with ``system`` (a name) and, where a
            checkpoint was chosen, ``selection``: ``rule`` (``last``, ``best-on-validation`` or ``official``),
            ``chosen``, ``candidates`` (name to score) and, for ``official``, ``honest``: the ``score`` of an honest
            rule, with its ``rule`` and ``chosen``. Values are fractions.
        out: Folder; made if missing.
        title: Heading of the report.

    Returns:
        The path of the page.

    Raises:
        ConfigError: If a set or a selection rule does not exist, or matplotlib, which the page needs, is not
            installed; the other three files are written all the same.
        DataError: If there is no result, one lacks an entry, or a system has two results for one set.
    """
    content, out = build_content(results, title), Path(out)
    write_whole(out / "report.json", json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    write_whole(out / "report.md", to_markdown(content))
    write_whole(out / "report.csv", to_csv(content))
    try:
        page = to_page(content)
    except ConfigError as error:
        raise ConfigError(f"report.json, .md and .csv are in {out}, but not the page: {error}") from error
    write_whole(out / "report.html", page)
    return out / "report.html"

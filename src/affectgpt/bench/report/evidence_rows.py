"""The rows of the report about labels that stay though the view that alone brought them is gone."""

from __future__ import annotations

from affectgpt.bench.report.content import Report
from affectgpt.bench.report.figure_names import ABSENT, between, percent

EVIDENCE_TITLE = "Labels without their evidence"
EVIDENCE_MEANING = (
    "A label has one only evidence if the answer to sound, picture or words alone has it, and the answers to the other "
    "two alone have not. It stays if it is still named once this input is left out: then the model did not read it "
    "there, unless the two others show it together. Labels that are named with nothing shown are counted apart. What "
    "an input is evidence for is the model's own word, so this tells little about a model that was never trained with "
    "missing inputs."
)
EVIDENCE_HEAD = (
    *("set", "labels", "named with nothing shown", "with one only evidence", "of these stay"),
    *("share, %", "95 % interval"),
)


def evidence_rows(report: Report, system: str) -> list[list[str]]:
    """One row for each set on which a system's labels were counted, as ``EVIDENCE_HEAD`` says."""
    title_of = {test_set.name: test_set.title for test_set in report.sets}
    rows = []
    for one in report.results:
        if one.system != system or one.evidence is None:
            continue
        found, ends = one.evidence.counts, one.evidence.interval
        numbers = [f"{number:,}" for number in (found.labels, found.blind, found.tested, found.stay)]
        interval = between(ends.low, ends.high) if ends is not None else ""
        rows.append([title_of[one.result.dataset], *numbers, percent(found.share), interval or ABSENT])
    return rows

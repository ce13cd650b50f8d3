"""Draws how many clips each stage let through, dropped, sent to a person or failed on, as part of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from affectgpt.pages.escaping import for_html

STYLE = """
.falls { margin: 4px 0 20px; } .falls div { margin-top: 9px; }
.falls p { margin: 0 0 3px; font-size: 15px; display: flex; flex-wrap: wrap; gap: 0 14px; }
.falls b { flex: 1 1 180px; font-weight: 600; overflow-wrap: anywhere; }
.falls span { color: var(--soft); font-variant-numeric: tabular-nums; }
.falls u { display: flex; height: 20px; border-radius: 5px; overflow: hidden; background: var(--page); }
.falls i { display: block; height: 100%; min-width: 0; }
i.on { background: #4657c9; } i.person { background: #d9a441; } i.out { background: #b8679b; }
i.bad { background: #8a8f9c; } i.ends { background: #9aa5ee; }
.falls span.out { color: #a04c83; } .falls span.person { color: #8a6100; }
@media (prefers-color-scheme: dark) { i.on { background: #7f8df2; } i.ends { background: #4d578f; }
  .falls span.out { color: #e39bc6; } .falls span.person { color: #e9c06d; } }
"""
_KINDS = (("done", "on", "go on"), ("person", "person", "to a person, go on"), ("dropped", "out", "dropped"))
_FAILED = ("failed", "bad", "failed")


def draw_waterfall(stages: Sequence[Mapping[str, Any]], clips: int, kept: int) -> str:
    """A bar for each stage, as wide as the clips that came to it, in colours for what became of them; as HTML.

    Args:
        stages: Rows of the data card, with ``as``, ``done``, ``dropped``, ``person`` and ``failed``.
        clips: Clips at the start.
        kept: Clips at the end.
    """
    rows = [_row("clips", [(clips, "ends", "")], clips)]
    rows += [
        _row(str(row["as"]), [(row[n], css, word) for n, css, word in (*_KINDS, _FAILED)], clips) for row in stages
    ]
    rows.append(_row("kept", [(kept, "ends", "")], clips))
    return f'<div class="falls">{"".join(rows)}</div>'


def _row(name: str, counts: Sequence[tuple[int, str, str]], clips: int) -> str:
    shown = [one for one in counts if one[0]] or [counts[0]]
    words = "".join(f'<span class="{css}">{number:,} {word}</span>' for number, css, word in shown)
    bars = "".join(f'<i class="{css}" style="width:{100 * n / max(clips, 1):.2f}%"></i>' for n, css, _ in shown)
    return f"<div><p><b>{for_html(name)}</b>{words}</p><u>{bars}</u></div>"

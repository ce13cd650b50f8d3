"""The report of a training on rewards: one self-contained page with figures, curves and answers before and after."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from affectgpt.files import write_whole
from affectgpt.metrics.functional.faithfulness import Faithfulness
from affectgpt.pages import style_sheet
from affectgpt.pages.plotting import INK, PALE, SOFT, STRONG, data_url, new_panels, to_png
from affectgpt.post_training.gain import Gain

PAGE = Template("""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title><style>$style</style></head><body>
<header><h1>$title</h1><p>$about</p></header>
<main>
<div class="cards">$cards</div>
<section><h2>While it learnt</h2><p>Means over the answers that the model drew at each step, and their running mean.</p>
<img alt="Curves of the reward and of the answers over the steps" src="$curves"></section>
<section><h2>Held-out clips</h2><p>$num_clips clips, answered with the most likely words. In percent, except labels and
entropy (bits). Strict: a word that no wheel knows costs precision. Hit skill: hits of the first true label above those
on shuffled targets.</p>
<div class="scroll"><table><thead><tr><th></th><th class="num">before</th><th class="num">after</th></tr></thead>
<tbody>$rows</tbody></table></div>$faithful</section>
<section><h2>Answers</h2><p>The clips whose answers differ, in the order of the set, ten at most.</p>
<div class="scroll"><table><thead><tr><th>clip</th><th>true labels</th><th>before</th><th>after</th></tr></thead>
<tbody>$examples</tbody></table></div></section>
</main></body></html>
""")

FIGURES = {
    "f1": "wheel F1",
    "precision": "precision",
    "recall": "recall",
    "f1_strict": "wheel F1, strict",
    "hit_skill": "hit skill",
    "coverage": "labels that the wheels know",
    "labels": "labels a clip",
    "label_entropy": "entropy of the labels",
}
PLAIN = ("labels", "label_entropy")
"""Figures that are no fractions."""

CURVES = {"train/reward": "reward", "answers/f1_strict": "wheel F1, strict", "answers/labels": "labels an answer"}


def write_gain_page(
    gain: Gain,
    history: Sequence[Mapping[str, float]],
    examples: Sequence[tuple[str, Sequence[str], Sequence[str], Sequence[str]]],
    path: str | Path,
    *,
    title: str,
    about: str,
    faithful: Mapping[str, Faithfulness] | None = None,
    minutes: float | None = None,
) -> None:
    """Write the page.

    Args:
        gain: Of the held-out clips.
        history: What was logged at each step: ``step`` and the names of ``CURVES``, as far as they are there.
        examples: Key, true labels, and the labels before and after, of each clip.
        path: File to write.
        title: Heading.
        about: A sentence below it.
        faithful: ``before`` and ``after`` to what ``metrics.functional.faithfulness`` counted.
        minutes: Length of the whole run.

    Raises:
        ConfigError: If matplotlib is not installed.
    """
    differing = [one for one in examples if list(one[2]) != list(one[3])]
    page = PAGE.substitute(
        title=escape(title),
        about=escape(about),
        style=style_sheet(),
        cards=_cards(gain, minutes),
        curves=data_url(draw_curves(history), "image/png"),
        num_clips=gain.num_clips,
        rows="".join(_row(name, gain) for name in FIGURES),
        faithful="" if faithful is None else _faithful(faithful),
        examples="".join(_example(*one) for one in differing[:10]),
    )
    write_whole(path, page)


def draw_curves(history: Sequence[Mapping[str, float]]) -> bytes:
    """The reward, the score and the length of the answers over the steps, as a PNG file."""
    figure, panels = new_panels(1, len(CURVES), 10.5, 3.0, grid="y", extra="demo")
    for axes, (name, label) in zip(panels, CURVES.items(), strict=True):
        rows = [(row["step"], row[name]) for row in history if math.isfinite(row.get(name, math.nan))]
        if rows:
            steps, values = zip(*rows, strict=True)
            axes.plot(steps, values, color=PALE, linewidth=1.1)
            axes.plot(steps, _running_mean(values), color=STRONG, linewidth=2.4)
            axes.set_ylim(bottom=min(0.0, *values), top=1.08 * max(*values, 1e-6))
        axes.margins(x=0.01)
        axes.set_title(label, color=INK, fontsize=11, loc="left")
        axes.set_xlabel("step", color=SOFT, fontsize=10)
    return to_png(figure)


def _running_mean(values: Sequence[float], span: float = 8.0) -> list[float]:
    keep, total, weight, found = 1 - 1 / span, 0.0, 0.0, []
    for value in values:
        total, weight = keep * total + value, keep * weight + 1
        found.append(total / weight)
    return found


def _cards(gain: Gain, minutes: float | None) -> str:
    low, high = (f"{100 * end:+.1f}" for end in (gain.f1.low, gain.f1.high))
    cards = [
        ("main", f"{100 * gain.f1.value:+.1f}", f"points of wheel F1, paired 95&nbsp;% interval {low} to {high}"),
        ("", f"{100 * gain.before['f1']:.1f} → {100 * gain.after['f1']:.1f}", "wheel F1 before and after"),
        ("", f"{100 * gain.longer:+.1f} %", "labels a clip"),
        ("", "yes" if gain.is_earned else "no", "above chance, and not by length alone"),
    ]
    if minutes is not None:
        cards.append(("", f"{minutes:.1f} min", "the whole run"))
    return "".join(f'<div class="card {kind}"><b>{value}</b><span>{what}</span></div>' for kind, value, what in cards)


def _row(name: str, gain: Gain) -> str:
    scale, digits = (1, 2) if name in PLAIN else (100, 1)
    cells = "".join(f'<td class="num">{scale * of[name]:.{digits}f}</td>' for of in (gain.before, gain.after))
    return f"<tr><td>{FIGURES[name]}</td>{cells}</tr>"


def _faithful(counts: Mapping[str, Faithfulness]) -> str:
    told = "; ".join(
        f"{name}: {one.stay} of {one.tested} labels with one only evidence stay without it, and "
        f"{one.blind} of {one.labels} are named with nothing shown"
        for name, one in counts.items()
    )
    return f'<p class="note">Faithfulness to the inputs, {escape(told)}.</p>'


def _example(key: str, target: Sequence[str], before: Sequence[str], after: Sequence[str]) -> str:
    gold = "".join(f'<span class="chip gold">{escape(label)}</span>' for label in target)
    answers = "".join(f"<td>{escape(', '.join(labels)) or '(none)'}</td>" for labels in (before, after))
    return f"<tr><td>{escape(key)}</td><td>{gold}</td>{answers}</tr>"


def curves_of(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """What ``write_gain_page`` draws, from the rows of a ``metrics.csv`` that Lightning's CSV logger wrote."""
    wanted = ("step", *CURVES)
    found = [{name: float(row[name]) for name in wanted if row.get(name) not in (None, "")} for row in rows]
    return [row for row in found if "train/reward" in row]

"""Writes the demo's report: one self-contained page with figures, curves and example clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from affectgpt.demo.charts import Bar, draw_loss, draw_modalities, draw_strip
from affectgpt.demo.corpus.states import STATES, SyntheticState
from affectgpt.errors import ConfigError
from affectgpt.files import write_whole
from affectgpt.metrics import EmotionWheel
from affectgpt.pages import style_sheet
from affectgpt.pages.plotting import data_url

TITLES: Mapping[str, str] = {
    "full": "all modalities",
    "text": "text only",
    "face+text": "face + text",
    "audio+text": "voice + text",
    "no-prefusion": "all, no pre-fusion",
}
FACES: Mapping[str, str] = {"smile": "smiling", "tear": "tearful", "wide": "wide-eyed", "frown": "frowning"}
COLUMNS = (("f1", "wheel F1"), ("precision", "precision"), ("recall", "recall"), ("hit_rate", "hit rate"))

PAGE = Template("""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>affectgpt demo</title><style>$style$own_style</style></head><body>
<header><h1>A model that looks, listens and reads</h1>
<p>affectgpt trained a small multimodal language model on talking faces, then asked it what the people on $samples
clips that it had never seen feel. The answers are open-vocabulary emotion words.</p></header>
<main>
<div class="cards">$cards</div>
<section><h2>What this run shows</h2>
<ul class="findings">$findings</ul>
<p class="note"><b>The clips are synthetic.</b> affectgpt drew the faces, synthesised the voices and wrote the
sentences from templates. The run shows that the whole pipeline works, from files to scores, and how well the model
combines its inputs. It says nothing about how well a model reads real people.</p></section>
<div class="pair">
<section><h2>Modalities</h2><p>Wheel F1 on the held-out clips with inputs removed$whiskers.</p>
<img alt="Bar chart of wheel F1 by modalities" src="$modalities"></section>
<section><h2>Training</h2><p>$training</p>
<img alt="Training loss over the steps" src="$loss"></section>
</div>
<section><h2>Scores</h2><p>In percent, on $samples held-out clips with other speakers than those in training. Labels are
compared by the groups of an emotion wheel (vocabulary: $wheel), so that &ldquo;glad&rdquo; counts for
&ldquo;happy&rdquo;.$intervals</p>
<div class="scroll"><table class="figures"><thead><tr><th>seen by the model</th>$headings</tr></thead>
<tbody>$rows</tbody></table></div></section>
<section><h2>Why one look is not enough</h2><p>Each of the $num_states emotions is a face, a voice and a kind of
sentence. No face, no voice and no sentence belongs to one emotion alone; in two cases only the words decide.
Open words fit good and bad news alike.</p>
<div class="scroll"><table class="grid"><thead><tr><th></th>$voices</tr></thead><tbody>$grid</tbody></table></div>
</section>
$examples
</main>
<footer>$footer</footer></body></html>
""")


# On a narrow screen the tables of this page fit: smaller cells, and a list in place of the grid of faces and voices.
OWN_STYLE = """
td small { display: block; font-size: 12px; font-weight: 400; color: var(--soft); white-space: nowrap; }
@media (max-width: 620px) {
  .figures th, .figures td { padding: 7px 4px; font-size: 13px; } .figures td small { font-size: 11px; }
  .grid, .grid tbody, .grid tr, .grid th, .grid td { display: block; width: auto; } .grid thead { display: none; }
  .grid td:empty { display: none; } .grid th { padding: 14px 0 2px; border-bottom: 0; font-size: 15px; }
  .grid td { padding: 5px 0 5px 12px; } .grid td span.label { display: block; }
  .grid td::before { content: attr(data-voice); color: var(--soft); font-size: 13px; display: block; }
  .answers th { width: 108px; } .cards { grid-template-columns: 1fr 1fr; } }
"""


def write_report(
    report: Mapping[str, Any],
    history: Sequence[Mapping[str, float]],
    examples: Sequence[Mapping[str, Any]],
    out: Path | str,
) -> Path:
    """Write ``report.html`` with ``loss.png`` and ``modalities.png`` beside it.

    The page includes its style and plots, and loads nothing from elsewhere.

    Args:
        report: The content of ``report.json``: ``scores`` (set of modalities to ``f1``, ``precision``, ``recall``,
            ``hit_rate`` in [0, 1] and ``samples``; ``full`` is required, the others are shown where they are present),
            ``chance`` (``f1``, ``hit_rate``), ``train`` (``seconds``, ``steps``, ``final_loss``), ``total_seconds``,
            ``peak_rss_mb``, ``versions`` and, where known, ``f1_intervals`` and ``f1_lost`` (low and high end of the
            95 % interval of each set's F1, and of what it loses against ``full``), ``wheel`` and ``hardware`` (a text
            or a mapping).
        history: One mapping a training step, with ``step`` and ``loss``.
        examples: Clips to show: ``frames`` (uint8 ``[T, 3, H, W]``, RGB), ``subtitle``, ``labels`` (the target),
            ``answers`` (set of modalities to the labels that the model gave) and, where known, ``key`` and ``state``.
        out: Folder; created if it is missing.

    Returns:
        The path of the page.

    Raises:
        ConfigError: If the report lacks an entry, frames are of another shape, or the demo extra is not installed.
    """
    out = Path(out)
    try:
        page, loss, modalities = _render(report, history, examples)
    except KeyError as error:
        raise ConfigError(f"the report or an example has no entry {error}; see write_report for the layout") from error
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "loss.png", loss)
    write_whole(out / "modalities.png", modalities)
    write_whole(out / "report.html", page)
    return out / "report.html"


def _render(
    report: Mapping[str, Any], history: Sequence[Mapping[str, float]], examples: Sequence[Mapping[str, Any]]
) -> tuple[str, bytes, bytes]:
    scores, chance = report["scores"], report["chance"]
    intervals, lost = report.get("f1_intervals", {}), report.get("f1_lost", {})
    bars = [Bar(_title(name), score["f1"], _interval(intervals.get(name))) for name, score in _ordered(scores)]
    loss, modalities = draw_loss(history), draw_modalities(bars, chance["f1"])
    wheel = EmotionWheel.builtin()
    shown = "".join(_example(example, wheel) for example in examples)
    page = PAGE.substitute(
        style=style_sheet(),
        samples=int(scores["full"]["samples"]),
        cards=_cards(report),
        findings="".join(f"<li>{line}</li>" for line in _findings(scores, chance, intervals, lost)),
        own_style=OWN_STYLE,
        whiskers="; the line on a bar is its 95&nbsp;% interval" if intervals else "",
        intervals=" In brackets: the 95&nbsp;% interval, from 10,000 resamples of the clips." if intervals else "",
        modalities=data_url(modalities, "image/png"),
        loss=data_url(loss, "image/png"),
        training=_training(report["train"]),
        wheel=escape(str(report.get("wheel", wheel.name))),
        headings="".join(f'<th class="num">{title}</th>' for _, title in COLUMNS),
        rows=_rows(scores, chance, intervals),
        examples=_examples_section(shown),
        num_states=len(STATES),
        voices="".join(f"<th>{voice} voice</th>" for voice in _unique("voice")),
        grid=_grid(),
        footer=_footer(report),
    )
    return page, loss, modalities


def _cards(report: Mapping[str, Any]) -> str:
    full, train = report["scores"]["full"], report["train"]
    cards = (
        (
            "main",
            _percent(full["f1"]),
            f"wheel F1, all modalities{_between(report.get('f1_intervals', {}).get('full'))}",
        ),
        ("", _percent(report["chance"]["f1"]), "wheel F1 by chance"),
        ("", _duration(train["seconds"]), f"training, {_steps(train)} steps"),
        ("", _duration(report["total_seconds"]), "the whole demo"),
        ("", f"{report['peak_rss_mb'] / 1024:.1f} GiB", "memory at its peak"),
    )
    return "".join(f'<div class="card {kind}"><b>{value}</b><span>{what}</span></div>' for kind, value, what in cards)


def _steps(train: Mapping[str, Any]) -> str:
    before = train.get("pretraining_steps")
    return f"{int(before)} + {int(train['steps'])}" if before else str(int(train["steps"]))


def _training(train: Mapping[str, Any]) -> str:
    """The text about the loss curve."""
    steps = int(train["steps"])
    if not train.get("pretraining_steps"):
        return f"Loss of the answer's words, {steps} steps."
    return (
        f"The small encoders first learnt to tell the emotions apart ({int(train['pretraining_steps'])} steps) and "
        f"were frozen. Then the model learnt to answer: loss of the answer's words, {steps} steps."
    )


def _findings(
    scores: Mapping[str, Any],
    chance: Mapping[str, float],
    intervals: Mapping[str, Sequence[float]],
    lost: Mapping[str, Sequence[float]],
) -> list[str]:
    """The findings in words, for any outcome."""
    full = scores["full"]["f1"]
    lines = [
        f"With face, voice and words the model reaches a wheel F1 of <b>{_percent(full)}</b>"
        f"{_between(intervals.get('full'))}; guessing reaches {_percent(chance['f1'])}."
    ]
    for name, missing in (("face+text", "the voice"), ("audio+text", "the face"), ("text", "both face and voice")):
        if name in scores:
            lines.append(f"Without {missing} it {_change(full, scores[name]['f1'], lost.get(name))}.")
    if "no-prefusion" in scores:
        change = _change(full, scores["no-prefusion"]["f1"], lost.get("no-prefusion"))
        lines.append(f"With the pre-fused token left out of the prompt (same weights) it {change}.")
    return lines


def _change(full: float, other: float, lost: Sequence[float] | None) -> str:
    points = 100 * (full - other)
    if abs(points) < 0.05:
        return f"stays at {_percent(other)}"
    how = "falls" if points > 0 else "rises"
    if lost is None:
        return f"{how} to {_percent(other)} ({abs(points):.1f} points)"
    low, high = sorted(100 * end * (1 if points > 0 else -1) for end in lost)
    sure = "" if low > 0 else ", so this may be chance"
    return f"{how} to {_percent(other)} ({abs(points):.1f} points, 95&nbsp;% interval {low:.1f} to {high:.1f}{sure})"


def _rows(scores: Mapping[str, Any], chance: Mapping[str, float], intervals: Mapping[str, Sequence[float]]) -> str:
    rows = []
    for name, score in _ordered(scores):
        ends = {"f1": intervals.get(name)}
        cells = "".join(f'<td class="num">{100 * score[key]:.1f}{_brackets(ends.get(key))}</td>' for key, _ in COLUMNS)
        kind = ' class="best"' if name == "full" else ""
        rows.append(f"<tr{kind}><td>{escape(_title(name))}</td>{cells}</tr>")
    cells = "".join(f'<td class="num">{100 * chance[k]:.1f}</td>' if k in chance else "<td></td>" for k, _ in COLUMNS)
    return "".join(rows) + f'<tr class="chance"><td>chance</td>{cells}</tr>'


def _interval(ends: Sequence[float] | None) -> tuple[float, float] | None:
    return None if ends is None else (float(ends[0]), float(ends[1]))


def _brackets(ends: Sequence[float] | None) -> str:
    return "" if ends is None else f"<small>[{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]</small>"


def _between(ends: Sequence[float] | None) -> str:
    return "" if ends is None else f" (95&nbsp;% interval {100 * ends[0]:.1f} to {100 * ends[1]:.1f})"


def _examples_section(shown: str) -> str:
    if not shown:
        return ""
    return (
        "<section><h2>Clips and answers</h2><p>The answer of the model for each set of inputs. "
        '<span class="chip right">a target label</span><span class="chip near">another word for the same emotion</span>'
        f'<span class="chip wrong">another emotion</span></p>{shown}</section>'
    )


def _example(example: Mapping[str, Any], wheel: EmotionWheel) -> str:
    gold = [str(label) for label in example["labels"]]
    lines = [_answer_row("target", "".join(f'<span class="chip gold">{escape(label)}</span>' for label in gold))]
    for name, labels in _ordered(example["answers"]):
        chips = "".join(f'<span class="chip {judge(str(x), gold, wheel)}">{escape(str(x))}</span>' for x in labels)
        lines.append(_answer_row(_title(name), chips or '<span class="chip wrong">no answer</span>'))
    states = (state for state in STATES if state.name == example.get("state") or list(state.labels) == gold)
    state = next(states, None)
    cues = f'<p class="cues">{FACES[state.face]} face, {state.voice} voice</p>' if state else ""
    said = escape(str(example["subtitle"] or "no subtitle"))
    return (
        f'<article><div class="strip"><img alt="Frames of {escape(str(example.get("key", "the clip")))}" '
        f'src="{draw_strip(example["frames"])}"><blockquote>&ldquo;{said}&rdquo;</blockquote>{cues}</div>'
        f'<table class="answers"><tbody>{"".join(lines)}</tbody></table></article>'
    )


def _answer_row(title: str, chips: str) -> str:
    return f"<tr><th>{escape(title)}</th><td>{chips}</td></tr>"


def judge(label: str, gold: Sequence[str], wheel: EmotionWheel) -> str:
    """Judge one answered label for the eye; the scores are made elsewhere.

    Returns:
        ``"right"`` for a target label, ``"near"`` for one that shares its group with a target label in most of the
        wheels that place the target, else ``"wrong"``.

    >>> wheel = EmotionWheel.builtin()
    >>> [judge(label, ["happy"], wheel) for label in ("Happy", "cheerful", "sad")]
    ['right', 'near', 'wrong']
    """
    if label.strip().lower() in {word.lower() for word in gold}:
        return "right"
    votes = []
    for number in range(1, wheel.num_wheels + 1):
        wanted = {group for word in gold if (group := wheel.group(word, number)) is not None}
        if wanted:
            votes.append(wheel.group(label, number) in wanted)
    return "near" if sum(votes) * 2 > len(votes) else "wrong"


def _grid() -> str:
    def cell(face: str, voice: str) -> str:
        found = [state for state in STATES if (state.face, state.voice) == (face, voice)]
        return "".join(_cell_line(state, len(found) > 1) for state in found)

    return "".join(
        f"<tr><th>{FACES[face]} face</th>"
        + "".join(f'<td data-voice="{voice} voice">{cell(face, voice)}</td>' for voice in _unique("voice"))
        + "</tr>"
        for face in _unique("face")
    )


def _cell_line(state: SyntheticState, words_decide: bool) -> str:
    words = " or ".join(state.words) + (" words decide" if words_decide else " words")
    return f'<span class="label">{", ".join(state.labels)}</span><span class="words">{words}</span>'


def _unique(cue: str) -> list[str]:
    return list(dict.fromkeys(getattr(state, cue) for state in STATES))


def _footer(report: Mapping[str, Any]) -> str:
    parts = [f"<code>{escape(str(name))} {escape(str(value))}</code>" for name, value in report["versions"].items()]
    hardware = report.get("hardware")
    if isinstance(hardware, Mapping):
        hardware = ", ".join(f"{name}: {value}" for name, value in hardware.items())
    last = report["train"]["final_loss"]
    lines = [f"Final training loss {last:.4f}. All figures are in report.json beside this page."]
    if hardware:
        lines.append(f"Made on {escape(str(hardware))}.")
    return f"<p>{' '.join(lines)}</p><p>{''.join(parts)}</p>"


def _ordered(by_modalities: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Known sets in the order of ``TITLES``, others behind them."""
    rank = {name: i for i, name in enumerate(TITLES)}
    return sorted(by_modalities.items(), key=lambda item: rank.get(item[0], len(rank)))


def _title(name: str) -> str:
    return TITLES.get(name, name)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}&nbsp;%"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}&nbsp;min" if minutes else f"{rest}&nbsp;s"

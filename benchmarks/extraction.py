"""Measure the extractors of labels and sentiments against released and human labels.

    python benchmarks/extraction.py FOLDER [--grid]

FOLDER holds ``oracle/metrics/meld_released.csv`` and ``sims_released.csv`` (gold, and the authors' sentences, label
lists and sentiments), ``data/ov_merd_text.jsonl`` (descriptions with human labels) and ``data/emotion_wheel`` (the
authors' word tables). Prints the tables of docs/extraction.md; with rows for vaderSentiment where it is installed.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib.util
import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from affectgpt.bench.extract import LexiconExtractor, get_extractor, get_sentiment_reader
from affectgpt.bench.extract import lexicon_cues as cues
from affectgpt.metrics import EmotionWheel, parse_labels
from affectgpt.metrics.functional import emotion_hit_rate, emotion_wheel_score, sentiment_score

Rows = Sequence[Mapping[str, Any]]
SENTIMENT_CHECKPOINTS = ("ckpt30", "ckpt45")


def half(name: str) -> int:
    """0 for the half of the samples on which settings were chosen, 1 for the other."""
    return hashlib.sha256(name.encode()).digest()[-1] % 2


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table."""
    for cells in (header, ["---"] * len(header), *rows):
        print("|", " | ".join(map(str, cells)), "|")
    print()


def percent(value: float) -> str:
    """With two decimals."""
    return f"{100 * value:.2f}"


def by_template(meld: Rows, sims: Rows, wheel: EmotionWheel) -> None:
    """The label lists by template beside the released ones, which a language model made."""
    lines = []
    for title, rows, checkpoints in (("MELD", meld, ("ckpt30",)), ("CH-SIMS", sims, SENTIMENT_CHECKPOINTS)):
        for checkpoint in checkpoints:
            found = get_extractor("template").extract([row[f"sentence_{checkpoint}"] for row in rows])
            released = [parse_labels(row[f"openset_{checkpoint}"]) for row in rows]
            pairs = [(set(a), set(b)) for a, b in zip(found, released, strict=True)]
            shares = [sum(map(test, pairs)) / len(pairs) for test in (lambda p: p[0] == p[1], lambda p: p[1] <= p[0])]
            if title == "MELD":
                gold: Any = [row["gold"] for row in rows]
                scores = [float(emotion_hit_rate(labels, gold, wheel)["hit_rate"]) for labels in (found, released)]
            else:
                gold = [float(row["gold"]) for row in rows]
                read = get_sentiment_reader("lexicon").read
                scores = [float(sentiment_score(read(labels), gold)["weighted_f1"]) for labels in (found, released)]
            change = f"{100 * (scores[0] - scores[1]):+.2f}"
            lines.append([f"{title} {checkpoint}", len(rows), *map(percent, (*shares, *scores)), change])
    print("## Template against the released label lists\n")
    table(["data", "samples", "equal", "released in ours", "score, ours", "score, released", "points"], lines)


def by_lexicon(rows: Rows, wheel: EmotionWheel) -> None:
    """Labels of descriptions beside the human ones, under the official wheel."""
    texts = [row["description"] for row in rows]

    def naive(text: str) -> list[str]:
        return [word for word in dict.fromkeys(re.findall(r"[a-z'-]+", text.lower())) if wheel.knows(word)]

    def without(name: str) -> list[list[str]]:
        with mock.patch.object(cues, name, frozenset()):
            return LexiconExtractor().extract(texts)

    systems: Mapping[str, Callable[[], list[list[str]]]] = {
        "all official vocabulary words": lambda: [naive(text) for text in texts],
        "the same, last third of the text": lambda: [naive(text[-len(text) // 3 :]) for text in texts],
        "**lexicon**": lambda: LexiconExtractor().extract(texts),
        "with the official vocabulary": lambda: LexiconExtractor(wheel).extract(texts),
        "without the list of ordinary words": lambda: without("ORDINARY_WORDS"),
        "without the list of announcing words": lambda: without("FRAME_WORDS"),
        "without negation": lambda: without("NEGATORS"),
        "guesses weigh as much": lambda: LexiconExtractor(hedge_weight=1.0).extract(texts),
        "conclusions weigh no more": lambda: LexiconExtractor(claim_weight=1.0).extract(texts),
        "light words kept": lambda: LexiconExtractor(min_share=0.0).extract(texts),
    }
    lines = []
    for title, run in systems.items():
        found = run()
        whole, first, second = scores_by_half(found, rows, wheel)
        cells = [*(whole[key] for key in ("f1", "precision", "recall")), first["f1"], second["f1"]]
        lines.append([title, *(percent(float(cell)) for cell in cells), f"{sum(map(len, found)) / len(found):.1f}"])
    print(f"## Lexicon on {len(rows)} descriptions against human labels, official wheel\n")
    table(["system", "F1", "precision", "recall", "F1, first half", "F1, second half", "labels"], lines)


def scores_by_half(found: Sequence[list[str]], rows: Rows, wheel: EmotionWheel) -> list[Mapping[str, Any]]:
    """Scores of all samples, of the first half, and of the second."""
    scores = []
    for halves in ({0, 1}, {0}, {1}):
        kept = [i for i, row in enumerate(rows) if half(row["name"]) in halves]
        scores.append(emotion_wheel_score([found[i] for i in kept], [rows[i]["labels"] for i in kept], wheel))
    return scores


def by_weights(rows: Rows, wheel: EmotionWheel) -> None:
    """The lexicon with every combination of weights that was looked at."""
    texts = [row["description"] for row in rows]
    f1s = {}
    for claim, hedge, share in itertools.product((1, 2, 3, 5), (0.5, 0.75, 1), (0.2, 0.25, 1 / 3, 0.5)):
        found = LexiconExtractor(claim_weight=claim, hedge_weight=hedge, min_share=share).extract(texts)
        f1s[claim, hedge, share] = [float(score["f1"]) for score in scores_by_half(found, rows, wheel)]
    lowest, highest = (pick(whole for whole, *_ in f1s.values()) for pick in (min, max))
    (claim, hedge, share), (_, first, second) = max(f1s.items(), key=lambda item: item[1][1])
    print(
        f"## Weights of the lexicon\n\n{len(f1s)} combinations: F1 {percent(lowest)} to {percent(highest)}. Best on the"
    )
    print(f"first half: conclusions {claim}, guesses {hedge}, least share {share:.2f}; {percent(first)}, and", end=" ")
    print(f"{percent(second)} on the second.\n")


def by_valence(rows: Rows, wheel: EmotionWheel) -> None:
    """Sentiments of the released label lists beside the released sentiments, which a language model made."""
    gold = [float(row["gold"]) for row in rows]
    readers: dict[str, Callable[[list[list[str]]], list[str]]] = {
        "**lexicon**": get_sentiment_reader("lexicon").read,
        "wheel": get_sentiment_reader("wheel").read,
        "wheel, official vocabulary": get_sentiment_reader("wheel", wheel=wheel).read,
    }
    if importlib.util.find_spec("vaderSentiment") is not None:
        readers["VADER, sum over labels"] = read_by_vader
    lines = []
    for title, read in readers.items():
        both: list[tuple[int, bool]] = []
        for checkpoint in SENTIMENT_CHECKPOINTS:
            released = [row[f"sentiment_{checkpoint}"] for row in rows]
            found = read([parse_labels(row[f"openset_{checkpoint}"]) for row in rows])
            same = [(half(r["name"]), a == b) for r, a, b in zip(rows, found, released, strict=True)]
            both += same
            scores = [float(sentiment_score(s, gold)["weighted_f1"]) for s in (found, released)]
            lines.append([title, checkpoint, *agreements(same), *map(percent, scores)])
        lines.append([title, "both", *agreements(both), "", ""])
    print("## Sentiment of the released label lists, CH-SIMS\n")
    table(["reader", "checkpoint", "agree", "first half", "second half", "weighted F1", "released"], lines)


def agreements(same: Sequence[tuple[int, bool]]) -> list[str]:
    """Share of equal sentiments: all, first half, second half."""
    parts = [[equal for number, equal in same if number in halves] for halves in ({0, 1}, {0}, {1})]
    return [percent(sum(part) / len(part)) for part in parts]


def read_by_vader(samples: list[list[str]]) -> list[str]:
    """The sign of the sum of the labels' VADER ratings."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    ratings = SentimentIntensityAnalyzer().lexicon
    sums = [sum(ratings.get(label, 0.0) for label in labels) for labels in samples]
    return ["positive" if s > 0 else "negative" if s < 0 else "neutral" for s in sums]


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--grid", action="store_true", help="also the combinations of the lexicon's weights")
    args = parser.parse_args()
    folder = args.folder
    wheel = EmotionWheel.official(folder / "data" / "emotion_wheel")
    released = {}
    for name in ("meld", "sims"):
        with (folder / "oracle" / "metrics" / f"{name}_released.csv").open(encoding="utf-8", newline="") as file:
            released[name] = list(csv.DictReader(file))
    with (folder / "data" / "ov_merd_text.jsonl").open(encoding="utf-8") as file:
        described = [json.loads(line) for line in file]
    by_template(released["meld"], released["sims"], wheel)
    by_lexicon(described, wheel)
    by_valence(released["sims"], wheel)
    if args.grid:
        by_weights(described, wheel)


if __name__ == "__main__":
    main()

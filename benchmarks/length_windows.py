"""Count the padding of batches that are dealt out by length, for windows of several sizes.

    python benchmarks/length_windows.py [--out FILE.md]

Nothing is timed: lengths are drawn as ``benchmarks/train.py`` draws them (60 tokens of prompt, 0 to 80 of subtitle; a
third of the answers are lists of 10 to 40 tokens, the others have 20 to 300), and dealt out in batches of 12.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from affectgpt.streaming.length_windows import deal, fitting_size, positions

BATCH = 12
BUDGET = 3000


def draw(count: int) -> list[int]:
    """Tokens of clips."""
    generator = np.random.default_rng(0)
    return [
        60
        + int(generator.integers(0, 80))
        + int(generator.integers(10, 40) if i % 3 == 0 else generator.integers(20, 301))
        for i in range(count)
    ]


def main() -> None:
    """Count, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="also write the table here")
    args = parser.parse_args()
    lengths = draw(BATCH * 320)
    lines = [
        "# Batches of similar length",
        "",
        f"{time.strftime('%Y-%m-%d')}; `python benchmarks/length_windows.py`. {len(lengths):,} clips in batches of "
        f"{BATCH} on average. Counts, independent of the machine. The last column: clips in a batch of at most "
        f"{BUDGET:,} positions.",
        "",
        "| window | padding | deviation of a batch's positions | largest batch | clips in the budget |",
        "|---|---|---|---|---|",
    ]
    for window in (1, 2, 4, 8, 16, 32):
        found, size = [], BATCH * window
        for start in range(0, len(lengths) - size + 1, size):
            cut = lengths[start : start + size]
            found += positions(deal(cut, window, "count"), cut)
        used = len(found) * BATCH
        padding = 1 - sum(lengths[:used]) / sum(found)
        spread, most = np.std(found) / np.mean(found), max(found) / np.mean(found)
        clips = fitting_size(lengths[:512], BUDGET, window)
        lines.append(f"| {window} | {padding:.0%} | {spread:.2f} | {most:.2f} x the mean | {clips} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if args.out:
        args.out.write_text(text)


if __name__ == "__main__":
    main()

"""The verb ``score``: scores a file of predictions on one test set."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from affectgpt.files import write_whole


def run(verb: str, argv: Sequence[str]) -> int:
    """Score a file.

    Raises:
        ConfigError: If the data set, the mode or the wheel does not exist.
        DataError: If a file is damaged, or the names of predictions and gold do not fit.
    """
    args = _parser().parse_args(argv)
    from affectgpt.bench import score
    from affectgpt.metrics import EmotionWheel

    wheel = EmotionWheel.builtin() if args.wheel == "builtin" else EmotionWheel.official(_folder(args.wheel))
    result = score(args.dataset, args.predictions, args.gold, wheel, args.mode)
    if args.out:
        write_whole(args.out, json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    if args.json:
        print(json.dumps(result, indent=2, ensure_ascii=False))
    else:
        _show(result)
        if args.out:
            print(f"wrote {args.out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="affectgpt score",
        description="Score a file of predictions (.npz, .jsonl, .csv) on one of the nine sets of MER-UniBench.",
        epilog="example: affectgpt score meld predictions.jsonl gold.csv --wheel official",
    )
    parser.add_argument("dataset", help="mer2023 mer2024 meld iemocap mosi mosei sims simsv2 ovmerdplus")
    parser.add_argument("predictions", help="file of predictions: name, and labels, text or sentiment")
    parser.add_argument("gold", help="file of true labels: name, label")
    parser.add_argument(
        "--wheel",
        default="builtin",
        help="builtin; official (from AFFECTGPT_WHEEL_FOLDER, or fetched once); or the folder of the official tables",
    )
    parser.add_argument("--mode", default="official", help="official (as published) or strict")
    parser.add_argument("--out", help="write the result to this file, as JSON")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _folder(wheel: str) -> str | None:
    return None if wheel == "official" else wheel


def _show(result: dict[str, Any]) -> None:
    source = f"{result['mode']}, wheel {result['wheel']}"
    interval = result.get("interval")
    spread = f" [{100 * interval['low']:.2f}, {100 * interval['high']:.2f}]" if interval else ""
    print(f"{result['dataset']}: {result['metric']} {100 * result['score']:.2f}{spread} ({source})")
    for name, value in result.items():
        if isinstance(value, bool) or name in ("score",):
            continue
        if isinstance(value, float):
            print(f"  {name:<24} {100 * value:7.2f}")
        elif isinstance(value, int):
            print(f"  {name:<24} {value:7d}")
    unseen = result.get("unseen_words") or {}
    pairs = unseen.items() if isinstance(unseen, dict) else unseen
    if pairs:
        print("  unseen words             " + ", ".join(f"{word} ({count})" for word, count in list(pairs)[:8]))
    missing = result.get("missing_predictions")
    if missing:
        print(f"  missing predictions      {len(missing)}: {', '.join(list(missing)[:5])}")

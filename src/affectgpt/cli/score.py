"""The verb ``score``: scores a file of predictions on one test set."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from affectgpt.files import write_whole


def run(verb: str, argv: Sequence[str]) -> int:
    """Score a file.

    Raises:
        ConfigError: If the data set, the mode, a reader or the wheel does not exist.
        DataError: If a file is damaged, or the names of predictions and gold do not fit.
    """
    from affectgpt.bench.external import OTHERS

    if argv and argv[0] in OTHERS:
        from affectgpt.cli.score_others import run as run_other

        return run_other(argv)
    args = _parser().parse_args(argv)
    from affectgpt.bench import compare, score, write_report
    from affectgpt.bench.gold import Gold, read_labels
    from affectgpt.bench.report.content import without_nan
    from affectgpt.cli.readers import make_readers
    from affectgpt.datamodules.unibench.sets import get_test_set
    from affectgpt.metrics import EmotionWheel

    wheel = EmotionWheel.builtin() if args.wheel == "builtin" else EmotionWheel.official(_folder(args.wheel))
    extractor, reader = make_readers(args, wheel)
    options: dict[str, Any] = {"wheel": wheel, "mode": args.mode, "extractor": extractor, "sentiment_reader": reader}
    test_set = get_test_set(args.dataset)
    gold = Gold(Path(args.gold), read_labels(test_set, args.gold, args.gold_column))
    result = score(args.dataset, args.predictions, gold, column=args.column, **options)
    if args.against:
        options |= {"column_a": args.column, "column_b": args.against_column}
        result["comparison"] = compare(args.dataset, args.predictions, args.against, gold, **options)
    # A figure that is not defined (0/0 in mode official) is null: JSON has no NaN.
    text = json.dumps(without_nan(result), indent=2, ensure_ascii=False, allow_nan=False)
    if args.out:
        write_whole(args.out, text + "\n")
    system = args.name or Path(args.predictions).stem
    page = write_report([{**result, "system": system}], args.report, args.title) if args.report else None
    if args.json:
        print(text)
        return 0
    _show(result)
    if args.against:
        _show_comparison(result["comparison"])
    for path in (args.out, page):
        if path:
            print(f"wrote {path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    from affectgpt.bench.external import OTHERS
    from affectgpt.cli.readers import add_readers

    parser = argparse.ArgumentParser(
        prog="affectgpt score",
        description="Score a file of predictions (.npz, .jsonl, .csv) on one of the nine sets of MER-UniBench.",
        epilog="example: affectgpt score meld predictions.jsonl gold.csv --wheel official --report out. "
        f"Other benchmarks have options of their own, see affectgpt score TASK --help: {', '.join(OTHERS)}",
    )
    parser.add_argument("dataset", help="mer2023 mer2024 meld iemocap mosi mosei sims simsv2 ovmerdplus")
    parser.add_argument("predictions", help="file of predictions: name, and labels, text or sentiment")
    parser.add_argument("gold", help="true labels: a table of name and label, or the set's own file or folder")
    parser.add_argument(
        "--wheel",
        default="builtin",
        help="builtin; official (from AFFECTGPT_WHEEL_FOLDER, or fetched once); or the folder of the official tables",
    )
    parser.add_argument("--mode", default="official", help="official (as published) or strict")
    add_readers(parser)
    parser.add_argument("--column", help="column of the predictions, where several could be the answer")
    parser.add_argument("--gold-column", help="column of the gold labels, where a table has several")
    parser.add_argument("--against-column", help="column of the predictions that --against names")
    parser.add_argument("--against", help="predictions of another system: the difference, with its interval")
    parser.add_argument("--report", help="write report.html, .md, .csv and .json into this folder")
    parser.add_argument("--name", help="name of what is scored, for the report; by default that of the file")
    parser.add_argument("--title", default="MER-UniBench", help="heading of the report")
    parser.add_argument("--out", help="write the result to this file, as JSON")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _folder(wheel: str) -> str | None:
    return None if wheel == "official" else wheel


def _show(result: dict[str, Any]) -> None:
    from affectgpt.bench.gold_check import PROBLEMS

    source = f"{result['mode']}, wheel {result['wheel']}, answers in column {result['answers']!r}"
    print(
        f"{result['dataset']}: {result['metric']} {_with_ends(result['score'], result['interval']).strip()} ({source})"
    )
    for name, value in result.items():
        if isinstance(value, bool) or name == "score" or "_wheel" in name:
            continue
        if isinstance(value, float):
            print(f"  {name:<24} {_with_ends(value, result.get(f'{name}_interval'))}")
        elif isinstance(value, int):
            print(f"  {name:<24} {value:7d}")
    per_wheel = [
        (result[f"{result['metric']}_wheel{w}"], n)
        for w in range(1, 6)
        if (n := result.get(f"samples_wheel{w}")) is not None
    ]
    if per_wheel:
        print("  by wheel                 " + ", ".join(f"{100 * value:.2f} of {n}" for value, n in per_wheel))
    for name in ("extractor", "sentiment_reader"):
        if result[name]:
            print(f"  {name.replace('_', ' '):<24} {result[name]['name']}, version {result[name]['version']}")
    if result["unseen_words"]:
        print("  unseen words             " + ", ".join(f"{word} ({n})" for word, n in result["unseen_words"][:8]))
    for name in ("missing_predictions", "unreadable_predictions", *PROBLEMS):
        if result[name]:
            print(f"  {name.replace('_', ' '):<24} {len(result[name])}: {', '.join(result[name][:5])}")


def _show_comparison(found: dict[str, Any]) -> None:
    print(f"against {found['b']['predictions']}, on the same resamples, in points")
    for name, one in ((found["metric"], found), ("hit_skill", found.get("hit_skill"))):
        if one:
            difference = _with_ends(one["difference"], one["interval"])
            print(f"  {name:<24} {difference}, ahead in {100 * one['a_better']:.1f} % of the resamples")


def _with_ends(value: float, interval: dict[str, Any] | None) -> str:
    ends = f" [{100 * interval['low']:.2f}, {100 * interval['high']:.2f}]" if interval else ""
    return f"{100 * value:7.2f}{ends}"

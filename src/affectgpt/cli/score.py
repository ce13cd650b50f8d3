"""The verb ``score``: scores a file of predictions on one test set."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectgpt.cli.result_output import hand_out
from affectgpt.cli.score_pairs import NAME as PAIRS
from affectgpt.cli.terminal import say, shown
from affectgpt.cli.verb_parser import VerbParser

if TYPE_CHECKING:
    from affectgpt.bench.result import SetResult
    from affectgpt.bench.system_result import Comparison
    from affectgpt.metrics.functional import Interval


def run(verb: str, argv: Sequence[str]) -> int:
    """Score a file.

    Raises:
        ConfigError: If the data set, the mode, a reader or the wheel does not exist.
        DataError: If a file is damaged, or the names of predictions and gold do not match.
    """
    from affectgpt.bench.external import OTHERS

    if argv and argv[0] in OTHERS:
        from affectgpt.cli.score_others import run as run_other

        return run_other(argv)
    if argv and argv[0] == PAIRS:
        from affectgpt.cli.score_pairs import run as run_pairs

        return run_pairs(argv)
    args = parser().parse_args(argv)
    from affectgpt.bench import compare, score, write_report
    from affectgpt.bench.gold import Gold, read_labels
    from affectgpt.bench.system_result import SystemResult
    from affectgpt.cli.readers import chosen_wheel, make_readers
    from affectgpt.datamodules.unibench.sets import get_test_set

    wheel = chosen_wheel(args.wheel)
    extractor, reader = make_readers(args, wheel)
    options: dict[str, Any] = {"wheel": wheel, "mode": args.mode, "extractor": extractor, "sentiment_reader": reader}
    test_set = get_test_set(args.dataset)
    gold = Gold(Path(args.gold), read_labels(test_set, args.gold, args.gold_column))
    result = score(args.dataset, args.predictions, gold, column=args.column, **options)
    comparison = None
    if args.against:
        options |= {"column_a": args.column, "column_b": args.against_column}
        comparison = compare(args.dataset, args.predictions, args.against, gold, **options)
    found = result.to_json() | ({} if comparison is None else {"comparison": comparison.to_json()})
    system = SystemResult(result, args.name or Path(args.predictions).stem, comparison=comparison)

    def show() -> None:
        _show(result)
        if comparison is not None:
            _show_comparison(comparison)

    hand_out(found, args, show)
    if args.report:
        page = write_report([system], args.report, args.title)
        say(f"wrote {shown(page)}", err=args.json)
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    from affectgpt.bench.external import OTHERS
    from affectgpt.cli.readers import add_readers

    parser = VerbParser(
        prog="affectgpt score",
        description="Score a file of predictions (.npz, .jsonl, .csv) on one of the nine sets of MER-UniBench.",
        epilog="example: affectgpt score meld predictions.jsonl gold.csv --wheel official --report out\n"
        "other tasks, with options of their own (affectgpt score NAME --help):\n  "
        f"{', '.join([*OTHERS, PAIRS])}",
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
    parser.add_argument("--column", help="column of the predictions, if several could be the answer")
    parser.add_argument("--gold-column", help="column of the gold labels, if a table has several")
    parser.add_argument("--against-column", help="column of the predictions of --against")
    parser.add_argument("--against", help="predictions of another system; shows the difference with its interval")
    parser.add_argument("--report", help="write report.html, .md, .csv and .json into this folder")
    parser.add_argument("--name", help="name of the system in the report; by default that of the file")
    parser.add_argument("--title", default="MER-UniBench", help="heading of the report")
    parser.add_argument("--out", help="write the result to this file, as JSON")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _show(result: SetResult) -> None:
    from affectgpt.bench.gold_check import PROBLEMS

    source = f"{result.mode}, wheel {shown(result.wheel)}, answers in column {shown(result.answers)!r}"
    say(f"{result.dataset}: {result.metric} {_with_ends(result.score, result.interval).strip()} ({source})")
    if result.undefined is not None:
        say(f"  note: {result.undefined}")
    for name, value in result.to_json().items():
        if isinstance(value, bool) or name == "score" or "_wheel" in name:
            continue
        if isinstance(value, float):
            say(f"  {name:<24} {_with_ends(value, result.hit_skill_interval if name == 'hit_skill' else None)}")
        elif isinstance(value, int):
            say(f"  {name:<24} {value:7d}")
    per_wheel = [(one.figures[result.metric], one.samples) for one in result.wheels if result.metric in one.figures]
    if per_wheel:
        say("  by wheel                 " + ", ".join(f"{100 * value:.2f} of {n}" for value, n in per_wheel))
    for name, record in (("extractor", result.extractor), ("sentiment reader", result.sentiment_reader)):
        if record:
            say(f"  {name:<24} {record['name']}, version {record['version']}")
    if result.unseen_words:
        say("  unseen words             " + ", ".join(f"{shown(word)} ({n})" for word, n in result.unseen_words[:8]))
    for name in ("missing_predictions", "unreadable_predictions", *PROBLEMS):
        names = getattr(result, name)
        if names:
            say(f"  {name.replace('_', ' '):<24} {len(names)}: {', '.join(map(shown, names[:5]))}")


def _show_comparison(found: Comparison) -> None:
    say(f"against {shown(found.b.predictions)}, on the same resamples, in points")
    sides = [(found.metric, found.difference, found.a_better)]
    if found.hit_skill is not None:
        sides.append(("hit_skill", found.hit_skill.difference, found.hit_skill.a_better))
    for name, difference, better in sides:
        ends = _with_ends(difference.value, difference)
        say(f"  {name:<24} {ends}, ahead in {100 * better:.1f} % of the resamples")


def _with_ends(value: float, interval: Interval | None) -> str:
    ends = f" [{100 * interval.low:.2f}, {100 * interval.high:.2f}]" if interval is not None else ""
    return f"{100 * value:7.2f}{ends}"

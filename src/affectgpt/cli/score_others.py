"""The verb ``score`` for tasks of other benchmarks: MIntRec, HitEmotion, EEmo-Bench."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from affectgpt.bench.external.tasks import OTHERS
from affectgpt.cli.result_output import hand_out
from affectgpt.cli.terminal import say, shown
from affectgpt.cli.verb_parser import VerbParser

if TYPE_CHECKING:
    from affectgpt.bench.external import TaskResult


def run(argv: Sequence[str]) -> int:
    """Score a file of answers.

    Raises:
        ConfigError: If the mode does not exist.
        DataError: If a file is damaged, or answers and gold do not match.
    """
    args = parser().parse_args(argv)
    from affectgpt.bench.external import score_other

    result = score_other(args.task, [args.predictions, *args.more], args.gold, args.mode, args.system, args.column)
    hand_out(result.to_json(), args, lambda: _show(result))
    return 0


def _show(result: TaskResult) -> None:
    task, figures, others = result.task, result.figures, result.other.values
    counted = f"{figures.samples} of {task.num_samples} samples"
    say(f"{task.title}: {task.metric} {100 * result.score:.2f} ({result.mode}, {counted})")
    if result.answers:
        say(f"  answers in column {shown(result.answers)!r}")
    say(f"  {'figure':<20} {result.mode:>9} {result.other_mode:>9}")
    for name, value in figures.values.items():
        say(f"  {name:<20} {100 * value:9.2f} {100 * others[name]:9.2f}")
    for title, groups in figures.groups.items():
        say(f"  {title:<20} " + ", ".join(f"{group} {100 * figure:.2f}" for group, figure in groups.items()))
    unread = [key for key in figures.unreadable if key not in result.missing]
    for keys, what in ((unread, "could not be read"), (result.missing, "have no answer")):
        if keys:
            say(f"  {len(keys)} {what}: {', '.join(map(shown, keys[:5]))}")
    if task.formula:
        say(f"  {task.metric}: {task.formula}")
    if task.listed:
        score, source = task.listed
        say(f"  AffectGPT is listed with {100 * score:.2f} by {source}")


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = VerbParser(
        prog="affectgpt score",
        description="Score answers on a task of MIntRec, HitEmotion or EEmo-Bench.",
        epilog="example: affectgpt score mintrec answers.jsonl test.tsv",
    )
    parser.add_argument("task", choices=list(OTHERS))
    parser.add_argument("predictions", help="answers (.json, .jsonl, .csv, .tsv): id and model_output")
    parser.add_argument("gold", nargs="?", help="the benchmark's own label file, if the answers do not include labels")
    parser.add_argument("--more", nargs="+", default=[], metavar="FILE", help="further answers, such as those of pairs")
    parser.add_argument("--system", help="the system to score, if the file has the answers of several")
    parser.add_argument("--column", help="column of the answers, if several are possible")
    parser.add_argument("--mode", default="official", help="official (as published) or strict")
    parser.add_argument("--out", help="write the result to this file, as JSON")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser

"""The verb ``score`` for tasks of other benchmarks: MIntRec, HitEmotion, EEmo-Bench."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from affectgpt.bench.external.tasks import OTHERS
from affectgpt.cli.terminal import say, shown
from affectgpt.cli.verb_parser import VerbParser
from affectgpt.files import write_whole
from affectgpt.pages.escaping import for_json


def run(argv: Sequence[str]) -> int:
    """Score a file of answers.

    Raises:
        ConfigError: If the mode does not exist.
        DataError: If a file is damaged, or answers and gold do not fit.
    """
    args = _parser().parse_args(argv)
    from affectgpt.bench.external import score_other

    result = score_other(args.task, [args.predictions, *args.more], args.gold, args.mode, args.system, args.column)
    if args.out:
        write_whole(args.out, for_json(result) + "\n")
    if args.json:
        say(for_json(result))
    else:
        _show(result)
        if args.out:
            say(f"wrote {shown(args.out)}")
    return 0


def _show(result: Mapping[str, Any]) -> None:
    counted = f"{result['samples']} of {result['expected_samples']} samples"
    say(f"{result['title']}: {result['metric']} {100 * result['score']:.2f} ({result['mode']}, {counted})")
    if result["answers"]:
        say(f"  answers in column {shown(result['answers'])!r}")
    other = next(mode for mode in ("strict", "official") if mode in result)
    say(f"  {'figure':<20} {result['mode']:>9} {other:>9}")
    for name, value in result.items():
        if isinstance(value, float) and name != "score":
            say(f"  {name:<20} {100 * value:9.2f} {100 * result[other][name]:9.2f}")
        elif isinstance(value, dict) and name.startswith("by_"):
            say(f"  {name:<20} " + ", ".join(f"{part} {100 * figure:.2f}" for part, figure in value.items()))
    for name, what in (("unreadable", "could not be read"), ("missing", "have no answer")):
        keys = [key for key in result[name] if name == "missing" or key not in result["missing"]]
        if keys:
            say(f"  {len(keys)} {what}: {', '.join(map(shown, keys[:5]))}")
    if result["formula"]:
        say(f"  {result['metric']}: {result['formula']}")
    if result["listed"]:
        say(f"  AffectGPT is listed with {100 * result['listed']['score']:.2f} by {result['listed']['source']}")


def _parser() -> argparse.ArgumentParser:
    parser = VerbParser(
        prog="affectgpt score",
        description="Score answers on a task of MIntRec, HitEmotion or EEmo-Bench.",
        epilog="example: affectgpt score mintrec answers.jsonl test.tsv",
    )
    parser.add_argument("task", choices=list(OTHERS))
    parser.add_argument("predictions", help="answers (.json, .jsonl, .csv, .tsv): id and model_output")
    parser.add_argument("gold", nargs="?", help="the benchmark's own file of labels, where the answers hold none")
    parser.add_argument("--more", nargs="+", default=[], metavar="FILE", help="further answers, such as those of pairs")
    parser.add_argument("--system", help="which system is meant, where the file holds the answers of several")
    parser.add_argument("--column", help="column of the answers, where several could be one")
    parser.add_argument("--mode", default="official", help="official (as published) or strict")
    parser.add_argument("--out", help="write the result to this file, as JSON")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser

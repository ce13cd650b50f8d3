"""The verb ``score`` for preferences between two descriptions, as in Track 3 of MER2026."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from affectgpt.cli.result_output import hand_out
from affectgpt.cli.terminal import say, shown
from affectgpt.cli.verb_parser import VerbParser
from affectgpt.errors import ConfigError

if TYPE_CHECKING:
    from affectgpt.bench.submission import PairScores

NAME = "preference"
_SHARES = ("weighted_f1", "accuracy", "weighted_f1_3way", "accuracy_3way")
_COUNTS = ("samples", "dropped", "same_answers", "unknown_answers")


def run(argv: Sequence[str]) -> int:
    """Score a file of preferences.

    Raises:
        ConfigError: If the mode does not exist, or an argument does not fit.
        DataError: If a file is damaged, or answers and gold do not match.
    """
    args = parser().parse_args(argv)
    from affectgpt.bench.submission import score_pairs

    if args.systems is None and args.system_columns is not None:
        raise ConfigError("--system-columns names columns of --systems; give the table as well")
    columns = (args.system_columns or "model1,model2").split(",")
    found = score_pairs(
        args.predictions,
        args.gold,
        swapped=args.swapped,
        systems=args.systems,
        system_columns=[column.strip() for column in columns],
        prior=args.prior,
        mode=args.mode,
        column=args.column,
    )
    hand_out(found.to_json(), args, lambda: _show(found))
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = VerbParser(
        prog="affectgpt score",
        description="Score preferences between two descriptions of clips, as Track 3 of MER2026 does, their "
        "consistency when the descriptions are swapped, and the ranking of the systems that wrote the descriptions.",
        epilog="example: affectgpt score preference answers.jsonl track3_emoprefer.csv --swapped swapped.jsonl\n"
        "         --systems preference_emoprefer_with_modelnames.csv --system-columns model1,model2",
    )
    parser.add_argument("task", choices=[NAME])
    parser.add_argument("predictions", help="answers: .npz, .jsonl or .csv")
    parser.add_argument("gold", help="table of name, a1, a2 and preference")
    parser.add_argument("--swapped", metavar="FILE", help="answers to the same pairs with a1 and a2 swapped")
    parser.add_argument(
        "--systems", metavar="TABLE", help="table of the same pairs that names who wrote each description"
    )
    parser.add_argument(
        "--system-columns", metavar="A,B", help="its columns for who wrote a1 and who wrote a2 (model1,model2)"
    )
    parser.add_argument(
        "--prior", type=float, default=0.5, help="wins added for each system of every pair of systems (0.5); 0 for none"
    )
    parser.add_argument("--mode", default="official", help="official (as published, with strict beside it) or strict")
    parser.add_argument("--column", help="column of the answers, if several are possible")
    parser.add_argument("--out", metavar="FILE", help="write the result to this file, as JSON")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _show(found: PairScores) -> None:
    ends = f"[{100 * found.score.low:.2f}, {100 * found.score.high:.2f}]"
    say(f"preference: weighted_f1 {100 * found.score.value:.2f} {ends} ({found.mode})")
    modes = list(found.figures)
    say(f"  {'figure':<20} " + " ".join(f"{mode:>9}" for mode in modes))
    for name in _SHARES:
        say(f"  {name:<20} " + " ".join(f"{100 * found.figures[mode][name]:9.2f}" for mode in modes))
    for name in _COUNTS:
        say(f"  {name:<20} " + " ".join(f"{int(found.figures[mode][name]):9d}" for mode in modes))
    if found.swap is not None:
        say(
            f"swapped: {100 * found.swap['consistency']:.2f} % of {int(found.swap['samples'])} pairs keep their "
            f"preference; {100 * found.swap['first_share']:.1f} % of the answers are for the description that comes "
            "first"
        )
    if not found.ranking:
        return
    say(f"systems that wrote the descriptions: log strengths (Bradley-Terry, prior {found.prior:g})")
    width = max(len("system"), *(len(shown(one.name)) for one in found.ranking))
    say(f"  {'system':<{width}} {'pairs':>6} {'by people':>10} {'by answers':>11}")
    for one in found.ranking:
        say(f"  {shown(one.name):<{width}} {one.pairs:6d} {one.by_people:10.2f} {one.by_answers:11.2f}")
    say(f"  rank correlation (Spearman) of the two: {found.agreement:.2f}")
    if found.unread:
        say(f"  {len(found.unread)} answers name no preference, and have no part in the ranking")

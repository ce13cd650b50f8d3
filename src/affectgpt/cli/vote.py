"""The verb ``vote``: combines the predictions of several systems, and scores the result."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectgpt.cli.readers import chosen_wheel
from affectgpt.cli.terminal import say, say_json, shown
from affectgpt.cli.verb_parser import VerbParser
from affectgpt.errors import ConfigError
from affectgpt.files import write_whole
from affectgpt.pages.escaping import for_json

if TYPE_CHECKING:
    from affectgpt.bench.voting.ballots import Ballots
    from affectgpt.bench.voting.combine import Vote
    from affectgpt.bench.voting.rules import Constants
    from affectgpt.bench.voting.system_scores import SystemScores
    from affectgpt.metrics import EmotionWheel

_CONSTANTS = ("decay", "ratio", "lo", "hi", "depth", "support")


def run(verb: str, argv: Sequence[str]) -> int:
    """Combine predictions, or fit the constants of the rule.

    Raises:
        ConfigError: If an argument does not fit, or constants are to be scored on the set that they were fitted on.
        DataError: If a file is missing or damaged, or its names do not match.
    """
    args = parser().parse_args(argv)
    if args.fit is not None:
        if args.gold is None or args.out is not None or args.constants is not None:
            raise ConfigError("--fit FILE writes constants, fitted on --gold; leave out --out and --constants")
    elif args.out is None:
        raise ConfigError("name the file for the answers with --out FILE (.npz, .jsonl or .csv)")
    if args.report is not None and args.gold is None:
        raise ConfigError("--report shows scores, which need the true labels; give --gold FILE too")
    from affectgpt.bench.voting.ballots import read_ballots
    from affectgpt.bench.voting.combine import check_out, vote_of
    from affectgpt.bench.voting.near_words import put_near_words

    if args.out is not None:
        check_out(args.out)
    wheel = chosen_wheel(args.wheel)
    constants = _constants(args)
    order = None if args.names is None else _names(args.names)
    ballots = read_ballots(args.predictions, order=order, extractor=args.extractor, column=args.column)
    if args.near_words:
        ballots = put_near_words(ballots, wheel)
    if args.fit is not None:
        return _fit(args, ballots, wheel)
    out = Path(str(args.out))
    if args.gold is not None:
        _refuse_fitted(args, constants)
    found = vote_of(ballots, args.rule, constants, wheel)
    path, beside = found.write(out)
    scores = None
    if args.gold is not None:
        scores = _score(args, found, path, wheel)
        path, beside = found.write(out, scores.to_json())
    if args.json:
        say_json(for_json(dict(found.record) if scores is None else {**found.record, "scores": scores.to_json()}))
    else:
        _show(found)
        if scores is not None:
            _show_scores(scores)
        say(f"wrote {shown(path)} and {shown(beside)}")
    if args.report is not None:
        assert scores is not None
        say(f"wrote {shown(_report(args, found, path, wheel, scores))}", err=args.json)
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    from affectgpt.bench.voting.rules import RULES, Constants

    published = Constants()
    parser = VerbParser(
        prog="affectgpt vote",
        description="Combine the predictions of two to fifty systems. "
        + "; ".join(f"{name}: {says}" for name, says in RULES.items())
        + ".",
        epilog="example: affectgpt vote a.npz b.jsonl c.csv --out answers.npz   |   "
        "affectgpt vote a.npz b.jsonl --gold gold.csv --wheel official --out answers.npz   |   "
        "affectgpt vote dev_a.npz dev_b.npz --gold dev.csv --fit constants.json",
    )
    parser.add_argument("predictions", nargs="+", metavar="FILE", help="one file per system: .npz, .jsonl or .csv")
    parser.add_argument("--out", metavar="FILE", help="answers to write; FILE.vote.json beside it records their origin")
    parser.add_argument("--rule", default="rank-decay", help=f"{', '.join(RULES)} (rank-decay)")
    parser.add_argument("--names", metavar="FILE", help="table with all samples (column name), in the order to write")
    parser.add_argument("--near-words", action="store_true", help="replace words outside the wheel by similar ones")
    parser.add_argument("--wheel", default="builtin", help="builtin; official; or the folder of the official tables")
    parser.add_argument("--extractor", default="template", help="extractor of labels from whole answers (template)")
    parser.add_argument("--column", help="column of the answers, if several are possible")
    constants = parser.add_argument_group("constants of the rule")
    constants.add_argument("--constants", metavar="FILE", help="constants that --fit wrote")
    for name in _CONSTANTS:
        value = getattr(published, name)
        constants.add_argument(f"--{name}", type=type(value), metavar="N", help=f"by default {value}")
    constants.add_argument("--fit", metavar="FILE", help="fit the constants on --gold and write them to this file")
    scores = parser.add_argument_group("scores")
    scores.add_argument("--gold", metavar="FILE", help="true labels of every sample: score all systems and the vote")
    scores.add_argument("--gold-column", help="column of the gold labels, if a table has several")
    scores.add_argument("--dataset", default="ovmerdplus", help="the test set (ovmerdplus: wheel F1 of label lists)")
    scores.add_argument("--mode", default="official", help="official (as published) or strict")
    scores.add_argument("--report", metavar="FOLDER", help="write report.html, .md, .csv and .json of all systems")
    parser.add_argument("--json", action="store_true", help="print the record that is written beside the answers")
    return parser


def _constants(args: argparse.Namespace) -> Constants:
    from affectgpt.bench.voting.combine import with_constants
    from affectgpt.bench.voting.fitting import load_constants
    from affectgpt.bench.voting.rules import Constants, check_rule

    check_rule(args.rule)
    given: Mapping[str, Any] = {name: getattr(args, name) for name in _CONSTANTS}
    found = Constants() if args.constants is None else load_constants(args.constants)
    return with_constants(found, given)


def _names(path: str) -> list[str]:
    from affectgpt.errors import DataError, first_few
    from affectgpt.manifests.text_tables import read_table
    from affectgpt.text import clean_name

    table = read_table(Path(path))
    if "name" not in table.columns:
        raise DataError(f"{path} has the columns {', '.join(table.columns)}; expected one named name")
    names = [clean_name(row["name"]) for row in table.dicts()]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1] if len(set(names)) < len(names) else []
    if twice:
        raise DataError(f"{path} repeats {len(twice)} names: {first_few(twice)}; each sample may occur once")
    return names


def _fit(args: argparse.Namespace, ballots: Ballots, wheel: EmotionWheel) -> int:
    from affectgpt.bench.voting.fitting import fit_constants

    found = fit_constants(ballots, args.gold, args.dataset, args.rule, wheel, args.mode, args.gold_column)
    assert found.fitted is not None
    write_whole(args.fit, for_json(found.to_json()) + "\n")
    numbers = ", ".join(f"{name} {getattr(found, name):g}" for name in _CONSTANTS[:4])
    say(f"fitted on {found.fitted['samples']} samples of {shown(args.gold)}: {numbers}")
    for name, text in (
        ("score", "these constants, on the samples that they were fitted on"),
        ("cross_validated", f"the same fit, each fifth scored with constants of the other {found.fitted['folds'] - 1}"),
        ("score_of_published_constants", "the published constants"),
    ):
        say(f"  {100 * found.fitted[name]:6.2f}  {text}")
    say(f"wrote {shown(args.fit)}; use it with --constants on other sets; on this one it is refused")
    return 0


def _refuse_fitted(args: argparse.Namespace, constants: Constants) -> None:
    from affectgpt.bench.gold import read_labels
    from affectgpt.bench.voting.fitting import refuse_fitted_on
    from affectgpt.datamodules.unibench.sets import get_test_set

    refuse_fitted_on(constants, read_labels(get_test_set(args.dataset), args.gold, args.gold_column))


def _score(args: argparse.Namespace, found: Vote, path: Path, wheel: EmotionWheel) -> SystemScores:
    from affectgpt.bench.voting.system_scores import score_systems

    files = {one["name"]: one["file"] for one in found.record["systems"]}
    options = {"column": args.column, "gold_column": args.gold_column, "extractor": args.extractor}
    return score_systems(files, path, args.gold, args.dataset, wheel, args.mode, **options)


def _report(args: argparse.Namespace, found: Vote, path: Path, wheel: EmotionWheel, scores: SystemScores) -> Path:
    """The report of the benchmark with the vote and every system, each compared with the best single one."""
    from affectgpt.bench import SystemResult, compare, score, write_report

    files = {one["name"]: (one["file"], args.column) for one in found.record["systems"]} | {"vote": (path, None)}
    options: dict[str, Any] = {"wheel": wheel, "mode": args.mode, "extractor": args.extractor}
    options["gold_column"] = args.gold_column
    results = []
    for one in sorted(scores.systems, key=lambda one: not one.is_vote):
        file, column = files[one.name]
        comparison = None
        if one.name != scores.best:
            best, best_column = files[scores.best]
            columns = {"column_a": column, "column_b": best_column}
            comparison = compare(args.dataset, file, best, args.gold, **columns, **options)
        notes = [
            f"{one.words_per_clip:.2f} words a clip; the best constant answer of as many words scores "
            f"{100 * one.constant_score:.2f} ({', '.join(one.constant)})",
            *(warning for warning in scores.warnings if warning.startswith(f"{one.name} ")),
        ]
        results.append(
            SystemResult(
                score(args.dataset, file, args.gold, column=column, **options),
                one.name,
                predictions=str(file),
                data={"notes": notes},
                comparison=comparison,
            )
        )
    return write_report(results, args.report, f"A vote of {len(files) - 1} systems")


def _show(found: Vote) -> None:
    record = found.record
    constants = record["constants"]
    numbers = "" if constants is None else ", ".join(f"{name} {constants[name]:g}" for name in _CONSTANTS[:5])
    origin = " (fitted)" if constants is not None and constants["fitted"] else ""
    say(f"{record['rule']} over {len(record['systems'])} systems, {record['samples']} samples; {numbers}{origin}")
    for one in record["systems"]:
        gaps = [f"{one[kind]} {kind}" for kind in ("missing", "empty") if one[kind]]
        say(f"  {shown(one['name']):<32} {one['words_per_clip']:5.2f} words a clip  {', '.join(gaps)}".rstrip())
    empty = f", {record['empty']} samples without a word" if record["empty"] else ""
    say(f"  {'vote':<32} {record['words_per_clip']:5.2f} words a clip{empty}")
    near = record["near_words"]
    if near is not None:
        first = ", ".join(f"{shown(one['word'])} -> {one['near']} ({one['times']})" for one in near["replaced"][:5])
        share = 100 * near["words"] / max(near["of_words"], 1)
        examples = f"; {first}" if first else ""
        say(f"near words, table version {near['version']}: {near['words']} words ({share:.1f} %) replaced{examples}")


def _show_scores(found: SystemScores) -> None:
    say(f"\n{found.dataset}: {found.metric} in % ({found.mode}, wheel {found.wheel}, {found.samples} samples)")
    width = max(len("system"), *(len(shown(one.name)) for one in found.systems))
    say(
        f"  {'system':<{width}} {'score':>6}  {'95 % interval':>15} {'words':>6} {'known':>6} {'constant':>8}  "
        f"against {shown(found.best)}"
    )
    for one in found.systems:
        ends = f"[{100 * one.score.low:.2f}, {100 * one.score.high:.2f}]"
        gain = "best single system"
        if one.gain is not None:
            gain = f"{100 * one.gain.value:+.2f} [{100 * one.gain.low:+.2f}, {100 * one.gain.high:+.2f}]"
        say(
            f"  {shown(one.name):<{width}} {100 * one.score.value:6.2f}  {ends:>15} {one.words_per_clip:6.2f} "
            f"{100 * one.coverage:6.1f} {100 * one.constant_score:8.2f}  {gain}"
        )
    say("  words: per clip. known: share of them in the wheel, in %. constant: the best answer of as many words")
    say("  that is the same for every clip, found with the gold labels.")
    for warning in found.warnings:
        say(f"warning: {shown(warning)}")

"""The verb ``bench``: answers and scores the test sets of MER-UniBench, or scores prediction files, in one go."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectgpt.cli.bench_answerers import OURS, add_answerers, default_extractor, make_answerers, system_name
from affectgpt.cli.bench_clips import add_clips, answer_clips
from affectgpt.cli.bench_progress import answer_bars
from affectgpt.cli.readers import add_readers, make_readers, names_in
from affectgpt.cli.terminal import make_console, quiet, say, say_json, shown
from affectgpt.cli.untrained import refuse_untrained
from affectgpt.cli.verb_parser import VerbParser
from affectgpt.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from affectgpt.bench.benchmark import Benchmark
    from affectgpt.bench.result import SetResult
    from affectgpt.bench.selection import Validation
    from affectgpt.bench.system_result import Selection, SystemResult
    from affectgpt.metrics.functional import Interval

EXAMPLES = """\
examples:
  affectgpt bench --list --data /data/unibench
  affectgpt bench --model runs/last.ckpt --data /data/unibench --out runs/bench
  affectgpt bench --model runs/*.ckpt --data /data/unibench --select best-on-validation --out runs/bench
  affectgpt bench --model runs/last.ckpt --data /data/unibench --views all --out runs/views
  affectgpt bench --model runs/last.ckpt --data /data/unibench --degrade noise,dark:50:90 --out runs/robust
  affectgpt bench --answerer openai:http://localhost:8000/v1 --model NAME --data /data/unibench --out runs/name
  affectgpt bench --predictions output/results-meld --gold MELD/test_sent_emo.csv --wheel official --out runs/meld
  affectgpt bench --diff runs/bench runs/name
After an interruption the same command goes on. Sets, metrics and where to get them: --list.
"""


def run(verb: str, argv: Sequence[str]) -> int:
    """Run the benchmark.

    Raises:
        CheckpointError: If a checkpoint cannot be read.
        ConfigError: If arguments do not go together, or a name does not exist.
        DataError: If a set or a file is missing, damaged, or differs from the published split.
    """
    args = parser().parse_args(argv)
    if args.list:
        if args.json:
            say_json(json.dumps(_sets_as_json(args.data), indent=2, ensure_ascii=False))
        else:
            _list_sets(args.data)
        return 0
    if args.diff:
        return _diff(*args.diff, as_json=args.json)
    if args.clips:
        if not args.out:
            raise ConfigError("give --out, the folder for the answers")
        return answer_clips(args, make_console(err=True))
    asks = bool(args.model) or args.answerer != OURS
    if asks == bool(args.predictions):
        raise ConfigError(
            "give either --model or --answerer (with --data), or --predictions (with --gold); --list shows the sets"
        )
    partner = ("--data", args.data) if asks else ("--gold", args.gold)
    if not partner[1]:
        raise ConfigError(f"{'--model' if asks else '--predictions'} needs {partner[0]} as well")
    for path in args.model or ():
        if Path(path).suffix in (".yaml", ".yml"):
            how = "Name a checkpoint (runs/.../last.ckpt) or a saved folder"
            refuse_untrained("bench", f"{path} describes a model, but has no trained weights", how, allowed=False)
    if not args.out:
        raise ConfigError("give --out, the folder for answers and report")
    from affectgpt.bench.report import write_report
    from affectgpt.bench.settings import read_settings

    console = make_console(err=True)
    if find_spec("matplotlib") is None:  # said before hours of answering, not after them
        say("there will be no report.html, which needs matplotlib: pip install 'affectgpt[report]'", err=True)
    benchmark = _benchmark(args)
    results = _answer(args, benchmark, console) if asks else _score(args, benchmark, console)
    if not args.json:
        _show(results)
    try:
        page = write_report(results, args.out, title=args.title)
    finally:  # report.json is there where only the page cannot be made
        if args.json and (Path(args.out) / "report.json").is_file():
            say_json((Path(args.out) / "report.json").read_text("utf-8"))
    say(f"wrote {shown(page)} (and report.json, report.md, report.csv)", err=args.json)
    say(
        f"settings {read_settings(args.out)[1][:12]}; affectgpt bench --diff A B shows how two reports differ", err=True
    )
    return 0


def _diff(first: str, second: str, *, as_json: bool) -> int:
    """Show how the settings of two reports differ; return 1 if their figures are not comparable."""
    from affectgpt.bench.settings import GROUPS, compare_settings, read_settings

    (left, one), (right, other) = read_settings(first), read_settings(second)
    found = compare_settings(left, right)
    if as_json:
        facts = {"comparable": found.comparable, "first": one, "second": other, "differing": dict(found.differing)}
        say_json(json.dumps(facts, indent=2))
        return 0 if found.comparable else 1
    if not found.differing:
        say(f"comparable: all settings are the same ({one[:12]})")
        return 0
    name, (a, b) = next(iter(found.differing.items()))
    verdict = "comparable up to rounding" if found.comparable else "not comparable"
    group = name.partition(".")[0]
    say(f"{verdict}: {one[:12]} and {other[:12]} differ in {GROUPS.get(group, group)}")
    say(f"  {shown(name)}: {shown(json.dumps(a))} against {shown(json.dumps(b))}")
    others = list(found.differing)[1:]
    if others:
        say(f"  and {len(others)} more: {shown(', '.join(others))}")
    return 0 if found.comparable else 1


def _benchmark(args: argparse.Namespace) -> Benchmark:
    from affectgpt.bench.benchmark import Benchmark
    from affectgpt.metrics import EmotionWheel

    folder = None if args.wheel == "official" else args.wheel
    wheel = EmotionWheel.builtin() if args.wheel == "builtin" else EmotionWheel.official(folder)
    args.extractor = args.extractor or default_extractor(args)
    extractor, sentiment_reader = make_readers(args, wheel)
    return Benchmark(
        args.out,
        names_in(args.sets),
        wheel=wheel,
        mode=args.mode,
        rule=args.select,
        validation=_validation(args),
        extractor=extractor,
        sentiment_reader=sentiment_reader,
        allow_partial=args.allow_partial,
        resamples=args.resamples,
        column=args.column,
        gold_column=args.gold_column,
    )


def _validation(args: argparse.Namespace) -> Validation | None:
    """Read the validation scores from the file, or else from the checkpoints."""
    from affectgpt.bench.checkpoint_scores import scores_in_checkpoints
    from affectgpt.bench.selection import read_validation

    if args.validation:
        return read_validation(args.validation)
    if not args.model or len(args.model) < 2 or args.select == "last":
        return None
    try:
        return {"": scores_in_checkpoints([Path(path) for path in args.model])}
    except ConfigError:
        if args.select == "official":  # the honest figure is then that of the last checkpoint
            return None
        raise


def _score(args: argparse.Namespace, benchmark: Benchmark, console: Console) -> list[SystemResult]:
    return benchmark.score_files(
        args.predictions,
        args.gold,
        args.name,
        tell=lambda what: console.print(shown(what)),
    )


def _answer(args: argparse.Namespace, benchmark: Benchmark, console: Console) -> list[SystemResult]:
    from affectgpt.bench.degradations import read_degradations
    from affectgpt.bench.modality_views import answer_views, read_views
    from affectgpt.bench.robustness import answer_degraded
    from affectgpt.bench.run import failures_in_words
    from affectgpt.datamodules.unibench import UniBenchDataModule

    quiet()
    if args.views and args.degrade:
        raise ConfigError("--views and --degrade are two runs: views keep features of whole clips; give one of them")
    degradations = read_degradations(args.degrade, args.degrade_seed) if args.degrade else []
    answerers = make_answerers(args)
    data = UniBenchDataModule(args.data, names_in(args.sets) or None, allow_partial=args.allow_partial)
    sizes = ", ".join(f"{one.test_set.title} ({len(one)})" for one in data.sets.values())
    who = answerers[0].title() if len(answerers) == 1 else f"{len(answerers)} checkpoints"
    runs = f", {args.repeats} times" if args.repeats > 1 else ""
    console.print(shown(f"answering {sizes} with {who}{runs}; answers go to {args.out}/answers"))
    for one in data.sets.values():
        for difference in one.differences:
            console.print(shown(f"  {one.test_set.title}: {difference.message}"))
    options: dict[str, Any] = {"system": system_name(args, answerers), "question": args.question}
    lacking: dict[str, str] = {}
    with answer_bars(console) as progress:
        options |= {"progress": progress, "repeats": args.repeats}
        if args.views:
            results, lacking = answer_views(benchmark, answerers, data.sets, read_views(args.views), **options)
        elif degradations:
            results, lacking = answer_degraded(benchmark, answerers, data.sets, degradations, **options)
        else:
            results = benchmark.answer(answerers, data.sets, **options)
    for view, reason in lacking.items():
        console.print(shown(f"no {'view ' if args.views else ''}{view}: {reason}"))
    for answered in results:
        for kind, samples in (("no answer", answered.failed_answers), ("refused", answered.refused_answers)):
            for words in failures_in_words(samples or {}):
                console.print(shown(f"{answered.result.title}, {kind}: {words}"))
    return results


def _show(results: Sequence[SystemResult]) -> None:
    """Print one line per system and set, and the plain mean of each system."""
    from affectgpt.bench.evidence import evidence_in_words
    from affectgpt.bench.modality_views import views_in_words
    from affectgpt.bench.robustness import degraded_in_words
    from affectgpt.bench.selection import means_by_checkpoint

    wheels = ", ".join(sorted({one.result.wheel for one in results}))
    say(f"mode {results[0].result.mode}, wheel {shown(wheels)}; in percent, with 95 % intervals")
    for system in dict.fromkeys(one.system for one in results):
        say(shown(system))
        own = [one for one in results if one.system == system]
        for one in own:
            result = one.result
            score, interval = _honest(one)
            spread = _ends(interval)
            if one.repeats is not None:
                runs = one.repeats
                score = runs.mean
                spread = f" +- {100 * runs.spread:.2f} over {len(runs.scores)} runs"
                if runs.low is not None and runs.high is not None:
                    spread += f" [{100 * runs.low:.2f}, {100 * runs.high:.2f}]"
            note = shown("; ".join(_notes(one)))
            say(f"  {result.title:<11} {result.metric:<12} {100 * score:6.2f}{spread}  ({note})")
            if one.views:
                say(f"  {'':<11} {'by view':<12} {views_in_words(one)}")
            if words := evidence_in_words(one):
                say(f"  {'':<11} {'evidence':<12} {words}")
            for line in degraded_in_words(one):
                say(f"  {'':<11} {'degraded':<12} {line}")
        if len(own) > 1:
            mean = sum(one.repeats.mean if one.repeats is not None else _honest(one)[0] for one in own) / len(own)
            is_optimistic = any(one.selection is not None and one.selection.optimistic for one in own)
            best = 100 * sum(one.result.score for one in own) / len(own)
            note = f"  (optimistic: {best:.2f})" if is_optimistic else ""
            say(f"  {'mean':<11} {f'of {len(own)} sets':<12} {100 * mean:6.2f}{note}")
            means = means_by_checkpoint([one.selection for one in own])
            if means:
                highest, last = max(means, key=lambda name: means[name]), list(means)[-1]
                say(
                    f"  one checkpoint for all sets: last, {shown(last)}: {100 * means[last]:.2f}; optimistic: "
                    f"{100 * means[highest]:.2f} with {shown(highest)}, the best on the test sets"
                )


def _honest(one: SystemResult) -> tuple[float, Interval | None]:
    """The score to print first, with its interval: that of a checkpoint chosen without test labels."""
    honest = None if one.selection is None else one.selection.honest
    return (one.result.score, one.result.interval) if honest is None else (honest.score, honest.interval)


def _notes(one: SystemResult) -> list[str]:
    result = one.result
    notes = [f"{len(one.failed_answers):,} clips without an answer"] if one.failed_answers else []
    notes += [f"{len(one.refused_answers):,} refused"] if one.refused_answers else []
    notes += [result.undefined] if result.undefined is not None else []
    if result.gold_samples != result.expected_samples:
        notes.append(f"{result.gold_samples:,} clips, published {result.expected_samples:,}")
    if one.selection is not None:
        notes.append(_selection_note(result, one.selection))
    return [*notes, f"answers in column {result.answers!r}"]


def _selection_note(result: SetResult, selection: Selection) -> str:
    checkpoints, honest = f"{len(selection.candidates)} checkpoints", selection.honest
    if honest is None:
        return f"{selection.chosen}, {selection.rule} of {checkpoints}"
    best = f"{100 * result.score:.2f}{_ends(result.interval)} with {selection.chosen}, the best on the test set"
    return f"{honest.chosen}, {honest.rule} of {checkpoints}; optimistic: {best}"


def _ends(interval: Interval | None) -> str:
    return "" if interval is None else f" [{100 * interval.low:.2f}, {100 * interval.high:.2f}]"


def _list_sets(data: Sequence[str] | None) -> None:
    from affectgpt.datamodules.unibench import find_sets, read_set
    from affectgpt.datamodules.unibench.folder_layouts import ORIGINAL, PROCESSED
    from affectgpt.datamodules.unibench.sets import TEST_SETS

    found = find_sets(data) if data else {}
    for name, one in TEST_SETS.items():
        say(f"{name:<11} {one.title:<11} {one.num_samples:>6,} clips  {one.language}  {one.split:<24} {one.metric}")
        label_files = [f"{PROCESSED[name].folder}/{PROCESSED[name].labels}"]
        label_files += [layout.labels for layout in ORIGINAL.get(name, ())]
        say(f"{'':<12}read from {' or '.join(label_files)}")
        say(textwrap.fill(f"from {one.source}", 110, initial_indent=" " * 12, subsequent_indent=" " * 12))
        if name in found:
            there = read_set(name, found[name], allow_partial=True)
            state = "; ".join(difference.message for difference in there.differences) or "whole"
            say(f"{'':<12}found at {found[name]}: {state}")
        elif data:
            say(f"{'':<12}not found in {', '.join(data)}")


def _sets_as_json(data: Sequence[str] | None) -> list[dict[str, Any]]:
    """What ``--list`` tells, as plain JSON."""
    from affectgpt.datamodules.unibench import find_sets, read_set
    from affectgpt.datamodules.unibench.sets import TEST_SETS

    found = find_sets(data) if data else {}
    rows = []
    for name, one in TEST_SETS.items():
        row = {"name": name, "title": one.title, "samples": one.num_samples, "split": one.split, "metric": one.metric}
        row |= {"language": one.language, "source": one.source, "found": None, "differences": None}
        if name in found:
            there = read_set(name, found[name], allow_partial=True)
            row |= {"found": str(found[name]), "differences": [one.message for one in there.differences]}
        rows.append(row)
    return rows


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = VerbParser(
        prog="affectgpt bench",
        description="Answer and score the test sets of MER-UniBench with a trained model, or score prediction files.",
        epilog=EXAMPLES,
    )
    add = parser.add_argument
    add("--list", action="store_true", help="list the sets, and with --data also which of them were found")
    add("--diff", nargs=2, metavar="REPORT", help="show how the settings of two reports (report.json) differ")
    add("--model", nargs="+", metavar="CKPT", help="checkpoints: files, or folders to share; or another model's name")
    add("--data", nargs="+", metavar="FOLDER", help="folders of the test sets")
    add("--predictions", nargs="+", metavar="PATH", help="prediction files or folders (or SET=FILE), not a model")
    add("--gold", nargs="+", metavar="PATH", help="folders of the sets, their label files, or tables of name and label")
    add("--out", metavar="FOLDER", help="folder for answers and report")
    add("--sets", metavar="A,B", help="only these sets; by default all that are found")
    add("--wheel", default="builtin", help="builtin; official; or the folder of the official tables (score --help)")
    add("--views", metavar="all|A,V,AV", help="also answer with sound (A), picture (V) or words (T) left out, see docs")
    add("--degrade", metavar="all|KIND:STRENGTH", help="also answer with noise, blur, darkness, swaps, ..., see docs")
    add("--degrade-seed", type=int, default=0, help="seed of noise, lost frames and swaps")
    add("--json", action="store_true", help="print the report as JSON")
    add_answerers(parser.add_argument_group("who answers, and how"))
    add_clips(parser.add_argument_group("clips without labels"))
    choice = parser.add_argument_group("which checkpoint counts").add_argument
    choice("--select", default="last", help="last, best-on-validation, or official (best on test)")
    choice(
        "--validation",
        metavar="FILE",
        help="JSON of checkpoint to validation score; by default read from the checkpoints",
    )
    scoring = parser.add_argument_group("scoring and report")
    add = scoring.add_argument
    add("--mode", default="official", help="official (as published) or strict")
    add("--column", help="column of the predictions, if several could be the answer")
    add("--gold-column", help="column of the gold labels, if a table has several")
    add_readers(scoring)
    add(
        "--allow-partial",
        action="store_true",
        help="accept sets that differ from the published split, and report the differences",
    )
    add("--resamples", type=int, default=10_000, help="bootstrap resamples for the intervals; 0 for none")
    add("--name", help="name of the system in the report")
    add("--title", default="MER-UniBench", help="title of the report")
    parser.set_defaults(extractor=None)
    return parser

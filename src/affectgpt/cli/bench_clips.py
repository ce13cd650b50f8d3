"""Answers a list of clips without gold labels, such as the candidates of a challenge: the option ``--clips``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from affectgpt.cli.bench_answerers import default_extractor, make_answerers, system_name
from affectgpt.cli.bench_progress import answer_bars
from affectgpt.cli.readers import make_readers
from affectgpt.cli.terminal import quiet, say, say_json, shown
from affectgpt.errors import ConfigError, DataError, first_few

if TYPE_CHECKING:
    from rich.console import Console

    from affectgpt.manifests.manifest import Layout
    from affectgpt.manifests.record import Record


def add_clips(parser: argparse._ActionsContainer) -> None:
    """Add ``--clips``, ``--layout`` and ``--subset``."""
    add = parser.add_argument
    add("--clips", metavar="LIST", help="answer these clips, without scoring: a manifest, or a folder of media")
    add("--layout", choices=["mer2025", "mer2026"], help="for --clips: the layout of the folder")
    add("--subset", help="for --layout: the table, such as track1_track2_candidate")


def answer_clips(args: argparse.Namespace, console: Console) -> int:
    """Answer the clips of a list, and write labels and answers in its order.

    Raises:
        ConfigError: If an argument does not fit.
        DataError: If the list or a file that it names is missing, or the answerer cannot continue.
    """
    from affectgpt.bench.answer_table import write_answer_table
    from affectgpt.bench.run import AnswerRun, asked_of_records, failures_in_words
    from affectgpt.metrics import EmotionWheel

    if args.data or args.gold or args.predictions:
        raise ConfigError("--clips is a list without gold labels; leave out --data, --gold and --predictions")
    quiet()
    args.extractor = args.extractor or default_extractor(args)
    extractor, _ = make_readers(args, EmotionWheel.builtin())
    answerers = make_answerers(args)
    if len(answerers) > 1:
        raise ConfigError(f"--clips takes one model, but --model names {len(answerers)}")
    records = _records(args)
    question = args.question or answerers[0].question
    name = args.subset or Path(args.clips).resolve().stem
    console.print(shown(f"answering {len(records):,} clips of {name} with {answerers[0].title()}"))
    asked = asked_of_records(records, question, name)
    written: list[dict[str, object]] = []
    with answer_bars(console) as progress:
        running = AnswerRun(
            answerers[0], Path(args.out) / "answers", system=system_name(args, answerers), progress=progress
        )
        for run in range(args.repeats):
            done = running.answer(asked, name, extractor, run=run)
            table = write_answer_table(done.predictions.with_name(f"{running.file_stem(run)}.jsonl"), asked, done)
            kinds = f"{len(asked) - len(done.failed) - len(done.refused):,} answered"
            others = {"refused": done.refused, "failed": done.failed}
            kinds += "".join(f", {len(found):,} {kind}" for kind, found in others.items() if found)
            facts = {kind: len(found) for kind, found in others.items()} | {"clips": len(asked)}
            written.append({**facts, "labels": str(done.predictions), "answers": str(table)})
            say(f"{kinds}; labels in {shown(done.predictions)}, whole answers in {shown(table)}")
            for kind, found in others.items():
                for words in failures_in_words(found):
                    say(f"{kind}: {shown(words)}", err=True)
    if args.json:
        say_json(json.dumps(written, indent=2))
    return 0


def _records(args: argparse.Namespace) -> list[Record]:
    from affectgpt.manifests.manifest import survey_manifest

    scan = survey_manifest(args.clips, _layout(args))
    if scan.problems and not args.allow_partial:
        raise DataError(
            f"{len(scan.problems):,} entries of {args.clips} cannot be read "
            f"({first_few([one.key for one in scan.problems])}), the first because: {scan.problems[0]}; correct them, "
            "or leave them out with --allow-partial"
        )
    for remark in scan.remarks:
        say(shown(remark), err=True)
    if scan.problems:
        say(f"{len(scan.problems):,} entries are left out: {first_few([one.key for one in scan.problems])}", err=True)
    return scan.records


def _layout(args: argparse.Namespace) -> Layout | None:
    if args.layout is None:
        if args.subset:
            raise ConfigError("--subset names a table of a published layout; give --layout mer2025 or mer2026 as well")
        return None
    chosen = {"subset": args.subset} if args.subset else {}
    if args.layout == "mer2025":
        from affectgpt.manifests.mer2025 import Mer2025

        return Mer2025(**chosen)
    from affectgpt.manifests.mer2026 import Mer2026

    return Mer2026(**chosen)

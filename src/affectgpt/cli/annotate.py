"""The verb ``annotate``: runs a pipeline over clips, shows decisions to a person, and reads and writes JSON forms."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from affectgpt.cli.progress import Progress
from affectgpt.cli.terminal import say, say_json
from affectgpt.cli.verb_parser import VerbParser
from affectgpt.errors import ConfigError

if TYPE_CHECKING:
    from affectgpt.annotate.annotation_run import Estimate, RunReport
    from affectgpt.annotate.on_ray import RayPlan

REVIEW, EXPORT, IMPORT = "review", "export", "import"
RAY = "ray"


def run(verb: str, argv: Sequence[str]) -> int:
    """Run a pipeline, or one of the words ``review``, ``export`` and ``import``.

    Raises:
        ConfigError: If the pipeline or an argument does not fit.
        DataError: If there is no clip, or a stage has no answer for anything.
    """
    from affectgpt.cli import annotate_forms, annotate_review

    words: Mapping[str, Callable[[Sequence[str]], int]] = {
        REVIEW: annotate_review.run,
        EXPORT: annotate_forms.run_export,
        IMPORT: annotate_forms.run_import,
    }
    if argv and argv[0] in words:
        return words[argv[0]](argv[1:])
    args = parser().parse_args(argv)
    return _run(args)


def _run(args: argparse.Namespace) -> int:
    from affectgpt.annotate.annotation_run import annotate, estimate
    from affectgpt.annotate.pipeline import read_pipeline

    pipeline = read_pipeline(args.pipeline)
    plan = _ray_plan(args)
    with Progress("annotating", "answers") as bar:
        bar.say(f"annotating {args.clips} into {args.out}: {', '.join(step.label for step in pipeline.steps)}")

        def progress(title: str, done: int, total: int, remark: str) -> None:
            if title == "annotating":
                bar.update(done, total, remark)

        if args.dry_run:
            found = estimate(
                pipeline,
                args.clips,
                args.out,
                num_sample=args.sample,
                seed=args.seed,
                workers=args.workers,
                progress=progress,
            )
        else:
            report = annotate(
                pipeline,
                args.clips,
                args.out,
                workers=args.workers,
                retry_failed=args.retry == "failed",
                samples_per_shard=args.samples_per_shard,
                on_ray=plan,
                progress=progress,
            )
    if args.dry_run:
        _show_estimate(found, args.json, pipeline.spending.currency)
    else:
        _show(report, args.out, args.json, pipeline.spending.currency)
    return 0


def _ray_plan(args: argparse.Namespace) -> RayPlan | None:
    from affectgpt.annotate.on_ray import RayPlan

    given = [name for name in ("actors", "actor_cpus", "actor_gpus", "actor_memory") if getattr(args, name) is not None]
    if args.on != RAY:
        if given:
            raise ConfigError(f"--{given[0].replace('_', '-')} is for --on {RAY}; add that, or leave it out")
        return None
    if args.dry_run:
        raise ConfigError(f"--dry-run asks about a few clips in this process; leave out --on {RAY}")
    memory = None if args.actor_memory is None else round(args.actor_memory * 2**30)
    return RayPlan(args.actors, args.actor_cpus or 1, args.actor_gpus or 0.0, memory)


def _show(report: RunReport, out: str, as_json: bool, currency: str) -> None:
    if as_json:
        say_json(json.dumps(dict(report.card), indent=2, ensure_ascii=False))
        return
    for remark in report.remarks:
        say(remark)
    total = sum(report.outcomes.values())
    parts = ", ".join(f"{number:,} {name}" for name, number in report.outcomes.items() if number)
    say(f"{total:,} clips: {parts}; {report.num_answers:,} answers were asked for in this run")
    if report.tokens:
        money = "" if report.money is None else f", {report.money:.4f} {currency}".rstrip()
        say(f"spent in {out} so far: {report.tokens:,} tokens{money}")
    if report.num_samples:
        say(f"wrote {report.num_samples:,} samples into {out}/shards, and the data card {out}/card.html")
    else:
        say(f"no clip is left, so there are no shards; {out}/left_out.jsonl and {out}/card.html say why")
    if report.outcomes.get("failed"):
        say(f"{out}/left_out.jsonl has the reasons; run again with --retry failed to ask for those alone")
    if report.outcomes.get("person"):
        say(f"next: affectgpt annotate review {out}, then this command again")


def _show_estimate(found: Estimate, as_json: bool, currency: str) -> None:
    if as_json:
        say_json(json.dumps(found.to_json(), indent=2))
        return
    kept = found.outcomes.get("kept", 0)
    say(f"a sample of {found.num_sample} of {found.num_clips:,} clips was annotated; its answers are kept")
    say(f"  kept      {kept} of {found.num_sample}")
    say(f"  time      {_clock(sum(found.seconds.values()))} for all clips, one after the other as in the sample:")
    for stage, seconds in found.seconds.items():
        say(f"            {_clock(seconds)} {stage}")
    say(f"  requests  {found.requests:,}")
    money = "" if found.money is None else f", {found.money:.2f} {currency}".rstrip()
    say(f"  tokens    {found.tokens:,}{money}")
    size = found.journal_bytes
    say(f"  journal   {size / 1e6:,.1f} MB" if size >= 1e5 else f"  journal   {size / 1e3:,.1f} kB")


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def parser() -> VerbParser:
    """The options."""
    parser = VerbParser(
        prog="affectgpt annotate",
        description="Describe, label and filter clips by the stages of a pipeline, and write what stays as shards with "
        "a manifest and a data card. Every answer is kept in OUT/work/journal, so that the same command goes on after "
        "an interruption, and a changed pipeline asks only for what depends on the change.",
        epilog="example: affectgpt annotate experiments/annotate_offline.yaml clips annotated   |   "
        "affectgpt annotate review annotated   |   affectgpt annotate export annotated set.jsonl --form sharegpt",
    )
    parser.add_argument(
        "pipeline", help="YAML file with the stages; or review, export or import, each with its own --help"
    )
    parser.add_argument("clips", help="folder of media, manifest (.jsonl, .csv, .tsv, .parquet), or shards")
    parser.add_argument("out", help="folder to make, or to go on with")
    parser.add_argument("--dry-run", action="store_true", help="annotate a sample, and tell what all clips would take")
    parser.add_argument("--sample", type=int, default=8, metavar="N", help="clips of the sample of --dry-run (8)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of the sample (0)")
    parser.add_argument("--retry", choices=["failed"], help="ask stages again that failed before")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that decode (all cores)")
    parser.add_argument("--on", choices=["here", RAY], default="here", help="where stages are asked (here)")
    parser.add_argument("--actors", type=int, metavar="N", help="of --on ray: processes (as many as there is room for)")
    parser.add_argument("--actor-cpus", type=int, metavar="N", help="of --on ray: cores of each (1)")
    parser.add_argument("--actor-gpus", type=float, metavar="N", help="of --on ray: GPUs of each, or a share (0)")
    parser.add_argument("--actor-memory", type=float, metavar="GIB", help="of --on ray: most memory of each process")
    parser.add_argument("--samples-per-shard", type=int, default=512, help="most samples in a tar (512)")
    parser.add_argument("--json", action="store_true", help="print the data card, or the estimate, as JSON")
    return parser

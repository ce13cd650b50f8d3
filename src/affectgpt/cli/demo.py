"""The verb ``demo``: runs the whole pipeline on a corpus that the library draws itself."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from affectgpt.cli.terminal import make_console, quiet, say, say_json, shown
from affectgpt.cli.verb_parser import VerbParser
from affectgpt.errors import ConfigError
from affectgpt.files import cache_folder


def run(verb: str, argv: Sequence[str]) -> int:
    """Run the demo and print its scores."""
    args = parser().parse_args(argv)

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Table

    from affectgpt.demo.main_job import DemoSize, Stages, run_demo

    quiet()
    console = make_console(err=args.json)
    cache = _cache_without_home(Path(args.out))
    console.print(f"demo in {shown(args.out)}: a synthetic corpus, SmolLM2-135M with LoRA, encoders from scratch")

    class Bars(Stages):
        def start(self, name: str, total: int) -> None:
            for task in bar.tasks:
                bar.update(task.id, completed=task.total)
            bar.add_task(name, total=total)
            self.tenths = 0

        def advance(self, done: int) -> None:
            task = bar.tasks[-1]
            bar.update(task.id, completed=done)
            tenths = int(10 * done / max(1, task.total or 1))
            if not console.is_terminal and tenths > self.tenths:  # a log file gets lines instead of a bar
                console.print(f"{task.description}: {done} of {task.total:.0f}")
                self.tenths = tenths

    columns = (
        TextColumn("{task.description:<18}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        size = DemoSize(args.train_clips, args.test_clips, args.pretraining_steps, args.steps)
        report = run_demo(args.out, size, seed=args.seed, stages=Bars())
    table = Table(title="held-out clips, built-in wheel", title_justify="left")
    for column in ("input", "wheel F1", "95 % interval", "precision", "recall", "hit rate"):
        table.add_column(column, justify="left" if column == "input" else "right")
    for name, score in [*report["scores"].items(), ("chance", report["chance"])]:
        low, high = report["f1_intervals"].get(name, (None, None))
        between = "" if low is None else f"{_percent(low)} to {_percent(high)}"
        others = (_percent(score.get(key)) for key in ("precision", "recall", "hit_rate"))
        table.add_row(name, _percent(score["f1"]), between, *others)
    console.print(table)
    seconds, memory = report["total_seconds"], report["peak_rss_mb"]
    console.print(f"{seconds:.0f} s, {memory / 1024:.1f} GB")
    out = Path(args.out)
    console.print(
        f"wrote {shown(out / 'report.html')} (open it in a browser), report.json, predictions.jsonl, model.ckpt"
    )
    clip = next((out / "corpus").rglob("*.mp4"), out / "corpus")
    prefix = f"AFFECTGPT_CACHE={shlex.quote(shown(cache))} " if cache is not None else ""
    clip_name, model = (shlex.quote(shown(path)) for path in (clip, out / "model.ckpt"))
    console.print(f"next: {prefix}affectgpt predict {clip_name} --checkpoint {model}")
    if args.json:
        say_json((out / "report.json").read_text("utf-8"))
    return 0


def parser() -> VerbParser:
    """The options."""
    parser = VerbParser(
        prog="affectgpt demo",
        description="Draw a synthetic corpus, pack it, train a small AffectGPT on it, answer held-out clips, score the "
        "answers with all modalities and with some taken away, and write a report. About 8 minutes on 2 cores.",
        epilog="example: affectgpt demo --out runs/demo",
    )
    parser.add_argument("--out", default="runs/demo", help="folder for all output (runs/demo)")
    parser.add_argument("--steps", type=int, default=200, help="training steps of the model (200)")
    parser.add_argument("--pretraining-steps", type=int, default=320, help="training steps of the encoders (320)")
    parser.add_argument("--train-clips", type=int, default=320, help="clips to train on (320)")
    parser.add_argument("--test-clips", type=int, default=80, help="clips held out (80)")
    parser.add_argument("--seed", type=int, default=42, help="seed of everything (42)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


def _cache_without_home(out: Path) -> Path | None:
    """The cache folder for a user without a home folder; ``None`` if the usual cache works."""
    try:
        cache_folder()
    except ConfigError:
        folder = out.absolute() / "cache"
        os.environ["AFFECTGPT_CACHE"] = str(folder)
        say(f"this user has no home folder: the cache is {shown(folder)} (AFFECTGPT_CACHE)", err=True)
        return folder
    return None


def _percent(value: Any) -> str:
    return "" if value is None else f"{100 * value:.1f}"

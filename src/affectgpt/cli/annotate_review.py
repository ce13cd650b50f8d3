"""The word ``review`` of the verb ``annotate``: shows decisions of the engine in the terminal, and takes a person's."""

from __future__ import annotations

import argparse
import getpass
import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from affectgpt.cli.terminal import make_console, quiet, say, say_json, shown
from affectgpt.cli.verb_parser import VerbParser
from affectgpt.errors import ConfigError

if TYPE_CHECKING:
    from affectgpt.annotate.outcomes import ClipOutcome
    from affectgpt.annotate.review import Desk

_PORT = 7861
_HELP = "a accept   e edit   r reject   p prefer   s skip   q quit"


def run(argv: Sequence[str]) -> int:
    """Show decisions, take answers, or report how far people and engine agree."""
    from affectgpt.annotate.review import Desk

    args = parser().parse_args(argv)
    if args.page:
        return _page(args)
    for name in ("clips", "port"):
        if getattr(args, name) is not None:
            raise ConfigError(f"--{name} is for --page; add that, or leave it out")
    desk = Desk(Path(args.out), args.who or getpass.getuser())
    if args.report:
        _report(desk, args.json)
        return 0
    if args.decide:
        key, decision = args.decide
        desk.decide(key, decision, _changes(args), args.note or "")
        say(f"{key}: {decision} by {desk.who}")
        if args.json:
            say_json(json.dumps({"clip": key, "decision": decision, "who": desk.who}))
        return 0
    chosen = desk.sample(args.sample, args.only, args.seed)
    if args.json:
        if not args.list:
            raise ConfigError("--json answers --list, --decide and --report; without one of them a person is asked")
        say_json(json.dumps([_row(outcome) for outcome in chosen], indent=2, ensure_ascii=False))
        return 0
    if not chosen:
        say("there is nothing left to look at; --report says how far people and engine agree")
        return 0
    _table(chosen)
    if args.list:
        return 0
    num = _ask_all(desk, chosen, input)
    say(f"{num} decisions are in {desk.log.path}; run annotate again to let them count")
    return 0


def _page(args: argparse.Namespace) -> int:
    """Show the page until the command is stopped."""
    if args.list or args.decide or args.report:
        raise ConfigError("--page shows decisions and takes them there; leave out --list, --decide and --report")
    if importlib.util.find_spec("gradio") is None:
        raise ConfigError("--page needs gradio, which is not installed: pip install 'affectgpt[app]'")
    quiet()
    from affectgpt.app.review_desk import ReviewDesk, ReviewPlan
    from affectgpt.app.review_page import create_review_page
    from affectgpt.serve import ServiceSettings, run_service

    desk = ReviewDesk(ReviewPlan(Path(args.out), args.clips, args.sample, args.only, args.seed))
    app = create_review_page(desk, args.who or getpass.getuser())
    run_service(
        app,
        port=_PORT if args.port is None else args.port,
        settings=ServiceSettings(drain_seconds=2.0),
        ready=lambda url: say(f"the page is at {url}; Ctrl-C stops it"),
        stopping=app.state.stopping,
    )
    say(f"stopped; decisions are in {args.out}/review.jsonl, and count once annotate runs again", err=True)
    return 0


def _ask_all(desk: Desk, chosen: Sequence[ClipOutcome], ask: Callable[[str], str]) -> int:
    """Take a decision about each clip; ends with the input."""
    number = 0
    for position, outcome in enumerate(chosen, start=1):
        _show(outcome, position, len(chosen))
        while True:
            try:
                word = ask(f"{_HELP} > ").strip().lower()
            except EOFError:
                return number
            if word == "q":
                return number
            if word == "s":
                break
            try:
                if not _take(desk, outcome, word, ask):
                    say(f"{shown(word)!r} is none of these")
                    continue
            except ConfigError as error:
                say(f"not taken: {shown(error)}")
                continue
            number += 1
            break
    return number


def _take(desk: Desk, outcome: ClipOutcome, word: str, ask: Callable[[str], str]) -> bool:
    if word == "a":
        desk.decide(outcome.key, "accept")
    elif word == "r":
        desk.decide(outcome.key, "reject", note=ask("why (may be empty) > ").strip())
    elif word == "e":
        changes = {}
        for name in ("description", "labels", "subtitle"):
            given = ask(f"{name} (empty: as it is) > ").strip()
            if given:
                changes[name] = [one.strip() for one in given.split(",") if one.strip()] if name == "labels" else given
        desk.decide(outcome.key, "edit", changes)
    elif word == "p":
        a, b = desk.pair(outcome)
        say(f"a: {shown(a)}\nb: {shown(b)}")
        desk.decide(outcome.key, "prefer", {"a": a, "b": b, "preferred": ask("a, b or same > ").strip()})
    else:
        return False
    return True


def _row(outcome: ClipOutcome) -> dict[str, object]:
    facts: dict[str, object] = {"clip": outcome.key, "engine": outcome.outcome, "stage": outcome.stage}
    return {**facts, "fields": dict(outcome.fields), "reasons": dict(outcome.reasons)}


def _table(chosen: Sequence[ClipOutcome]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("clip", "engine", "stage", "labels", "description", "why"):
        table.add_column(column, overflow="fold", max_width=44)
    for outcome in chosen:
        labels = ", ".join(map(str, outcome.fields.get("labels") or ()))
        text = str(outcome.fields.get("description") or "")
        why = outcome.reasons.get(outcome.stage or "", "")
        cells = (outcome.key, outcome.outcome, outcome.stage or "", labels, text[:160], why)
        table.add_row(*map(shown, cells))
    make_console().print(table)


def _show(outcome: ClipOutcome, position: int, total: int) -> None:
    say(f"\n[{position}/{total}] {shown(outcome.key)}: {outcome.outcome}")
    for name in ("subtitle", "transcript", "audio_clues", "visual_clues", "description", "labels", "sentiment"):
        value = outcome.fields.get(name)
        if value:
            say(f"  {name}: {shown(', '.join(map(str, value)) if isinstance(value, list) else value)}")
    for stage, reason in outcome.reasons.items():
        say(f"  {shown(stage)}: {shown(reason)}")


def _report(desk: Desk, as_json: bool) -> None:
    from affectgpt.annotate.card_text import people_words

    found = desk.agreement()
    if as_json:
        say_json(json.dumps(found, indent=2))
    else:
        say(people_words(found) if found["clips"] else "nobody has looked yet")


def _changes(args: argparse.Namespace) -> dict[str, object]:
    changes: dict[str, object] = {}
    for text in args.set:
        name, found, value = text.partition("=")
        if not found:
            raise ConfigError(f"--set takes FIELD=VALUE, such as labels='sad, tired', but got {text!r}")
        changes[name] = [one.strip() for one in value.split(",") if one.strip()] if name == "labels" else value
    return changes


def parser() -> VerbParser:
    """The options of ``review``."""
    parser = VerbParser(
        prog="affectgpt annotate review",
        description="Show a sample of the engine's decisions, and write down what a person says of them. Decisions go "
        "into OUT/review.jsonl, to which lines are only added; the next run of annotate lets them count.",
        epilog="example: affectgpt annotate review annotated --sample 20 --who maria   |   "
        "affectgpt annotate review annotated --decide clip_7 edit --set labels='sad, tired'   |   "
        "affectgpt annotate review annotated --page",
    )
    parser.add_argument("out", help="folder that annotate wrote")
    parser.add_argument("--sample", type=int, default=20, metavar="N", help="clips to show (20)")
    parser.add_argument("--only", choices=["kept", "dropped", "person", "failed"], help="only clips with this outcome")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of clips (0)")
    parser.add_argument("--who", metavar="NAME", help="who decides (the name of the login)")
    parser.add_argument("--list", action="store_true", help="show the table, and ask nothing")
    parser.add_argument(
        "--decide", nargs=2, metavar=("CLIP", "DECISION"), help="accept, edit, reject or prefer, at once"
    )
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="of --decide edit or prefer")
    parser.add_argument("--note", help="a remark for --decide")
    parser.add_argument("--report", action="store_true", help="how far people and engine agree")
    parser.add_argument("--page", action="store_true", help="open a page on this machine, with the clips")
    parser.add_argument("--clips", help="of --page: where the clips are now (where they were annotated)")
    parser.add_argument("--port", type=int, help=f"of --page: port; 0 for any that is free ({_PORT})")
    parser.add_argument("--json", action="store_true", help="print --list, --decide or --report as JSON")
    return parser

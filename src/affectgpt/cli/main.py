"""Entry point of the command line: finds the verb, runs it, and turns errors into one readable line."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from affectgpt import __version__
from affectgpt.cli.explain import explain
from affectgpt.cli.rank_lines import RankFilter, leave_warnings_to_first_rank, rank_mark
from affectgpt.cli.terminal import JsonOutput, ShownFormatter, json_output, say, say_json, shown, take_every_character
from affectgpt.cli.verb_parser import WrongCall
from affectgpt.errors import did_you_mean

VERBS = {
    "fit": ("affectgpt.cli.train", "train a model from a configuration"),
    "validate": ("affectgpt.cli.train", "loss and wheel score on the validation shards"),
    "test": ("affectgpt.cli.train", "loss and wheel score on the test shards"),
    "runs": ("affectgpt.cli.runs", "compare runs by what they logged, in a table and a picture"),
    "predict": ("affectgpt.cli.predict", "answer media files, or the shards of a configuration"),
    "watch": ("affectgpt.cli.watch", "answer every utterance and person of a film of any length"),
    "pack": ("affectgpt.cli.pack", "write clips and a manifest as WebDataset shards"),
    "check": ("affectgpt.cli.check", "verify shards against their index, and summarise them"),
    "encode": ("affectgpt.cli.encode", "run the frozen encoders once over shards, and store their features"),
    "score": ("affectgpt.cli.score", "score a file of predictions"),
    "vote": ("affectgpt.cli.vote", "combine the predictions of several systems"),
    "submit": ("affectgpt.cli.submit", "write a checked answer for a track of MER2026"),
    "bench": ("affectgpt.cli.bench", "answer and score MER-UniBench, or score many prediction files"),
    "harness": ("affectgpt.cli.harness", "run MER-UniBench in Inspect or lmms-eval"),
    "annotate": ("affectgpt.cli.annotate", "describe, label and filter clips, and write a data set with its card"),
    "serve": ("affectgpt.cli.serve", "answer clips over HTTP, also in OpenAI's form"),
    "app": ("affectgpt.cli.app", "show a page for uploading clips and looking at answers"),
    "convert": ("affectgpt.cli.convert", "turn a released checkpoint into ours, or back"),
    "export": ("affectgpt.cli.export", "write the language model, adapters merged, for other programs"),
    "parts": ("affectgpt.cli.parts", "list the registered modules, and start a new one"),
    "doctor": ("affectgpt.cli.doctor", "report what works on this machine"),
    "completion": ("affectgpt.cli.completion", "print a script that completes verbs and options in a shell"),
    "demo": ("affectgpt.cli.demo", "run the whole pipeline on a corpus that the library draws itself"),
}

EXAMPLES = {
    "affectgpt demo": "the whole pipeline on a corpus that the library draws",
    "affectgpt doctor": "what works on this machine, and what is missing",
    "affectgpt pack clips/ shards/train": "your own clips as shards",
    "affectgpt score meld predictions.jsonl gold.csv": "score somebody's answers",
}

EXIT_CODES = {
    0: "done",
    1: "a problem with your files, settings or system: the line after error: says what, and how to fix it",
    2: "a wrong call: an unknown verb or option",
    3: "a bug in affectgpt: please report it, with the output of --debug",
    130: "stopped by Ctrl-C",
    141: "the reader of the output, such as head, closed it",
    143: "fit was asked to end (SIGTERM), and saved a checkpoint first",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: Arguments after the program's name; by default those of the process.

    Returns:
        The exit code, see ``EXIT_CODES``.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in args
    take_every_character()
    if not sys.stderr.isatty():  # read when a library imports tqdm: bars of conversions fill a log file
        os.environ.setdefault("TQDM_DISABLE", "1")
    if "--json" not in args:
        return _guarded(args, debug)
    with json_output() as output:
        return _guarded(args, debug, output)


def _guarded(args: Sequence[str], debug: bool, output: JsonOutput | None = None) -> int:
    """Run one verb, and turn what it raises into an exit code and a message."""
    try:
        try:
            return _run([arg for arg in args if arg != "--debug"], debug, output)
        except WrongCall as error:
            _tell_json(str(error.message), 2, output)
            raise
        finally:
            _flush_output()
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        _drop_output()
        return 141
    except KeyboardInterrupt:
        return _complain("stopped", 130, output)
    except Exception as error:
        if debug:
            raise
        found = explain(error)
        if found is not None:
            return _complain(found, 1, output)
        return _complain(f"{type(error).__name__}: {error} (run again with --debug for the traceback)", 3, output)


def _run(args: Sequence[str], debug: bool, output: JsonOutput | None) -> int:
    if not args or args[0] in ("-h", "--help"):
        say(_overview())
        return 0
    if args[0] == "--version":
        say(f"affectgpt {__version__}")
        return 0
    if args[0] not in VERBS:
        known = f"{did_you_mean(args[0], VERBS)} Known: {', '.join(VERBS)}"
        return _complain(f"unknown verb {args[0]!r}.{known}", 2, output)
    lines = logging.StreamHandler()
    lines.addFilter(RankFilter())
    lines.setFormatter(ShownFormatter("%(levelname)s %(rank_mark)s%(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, handlers=[lines])
    leave_warnings_to_first_rank()
    return int(import_module(VERBS[args[0]][0]).run(args[0], list(args[1:])) or 0)


def _overview() -> str:
    width = max(map(len, VERBS))
    lines = [f"affectgpt {__version__}: multimodal emotion understanding", "", "usage: affectgpt VERB [--help] ...", ""]
    lines += [f"  {name:<{width}}  {text}" for name, (_, text) in VERBS.items()]
    lines += ["", "examples:"]
    lines += [f"  {command:<62}  {what}" for command, what in EXAMPLES.items()]
    lines += ["", "Every verb has --help with an example; --debug shows the traceback of an error.", "exit codes:"]
    lines += [f"  {code:<3}  {meaning}" for code, meaning in EXIT_CODES.items()]
    return "\n".join(lines)


def _complain(message: str, code: int, output: JsonOutput | None = None) -> int:
    _tell_json(message, code, output)
    say(f"error: {rank_mark()}{shown(' '.join(message.split()))}", err=True)
    return code


def _tell_json(message: str, code: int, output: JsonOutput | None) -> None:
    """With ``--json`` an error is the document, unless a result was printed before it."""
    if output is not None and not output.has_document:
        say_json(json.dumps({"error": " ".join(message.split()), "exit_code": code}, ensure_ascii=False))


def _flush_output() -> None:
    """Write the last lines now, so that a full disk or a closed pipe raises here and not when Python exits."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _drop_output()
        error.filename = "standard output"
        raise


def _drop_output() -> None:
    """Discard the rest of the output buffer, because Python would try to write it again when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())

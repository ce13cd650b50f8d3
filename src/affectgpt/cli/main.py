"""Entry point of the command line: finds the verb, runs it, and turns errors into one readable line."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from affectgpt import __version__
from affectgpt.errors import AffectGPTError, did_you_mean

VERBS = {
    "fit": ("affectgpt.cli.train", "train a model from a configuration"),
    "validate": ("affectgpt.cli.train", "loss and wheel score on the validation shards"),
    "test": ("affectgpt.cli.train", "loss and wheel score on the test shards"),
    "predict": ("affectgpt.cli.predict", "answer media files, or the shards of a configuration"),
    "pack": ("affectgpt.cli.pack", "write clips and a manifest as WebDataset shards"),
    "check": ("affectgpt.cli.check", "verify shards against their index, and sum them up"),
    "encode": ("affectgpt.cli.encode", "run the frozen encoders once over shards, and store their features"),
    "score": ("affectgpt.cli.score", "score a file of predictions"),
    "bench": ("affectgpt.cli.bench", "answer and score MER-UniBench, or score many prediction files"),
    "convert": ("affectgpt.cli.convert", "turn a released checkpoint into ours, or back"),
    "parts": ("affectgpt.cli.parts", "list the parts that the registry holds"),
    "doctor": ("affectgpt.cli.doctor", "say what this machine can do"),
    "demo": ("affectgpt.cli.demo", "run the whole job on a corpus that the library draws itself"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: Arguments after the program's name; those of the process by default.

    Returns:
        Exit code: 0, or 1 for an error of the user's, 2 for a wrong call, 3 for an error of ours.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in args
    args = [arg for arg in args if arg != "--debug"]
    if not args or args[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if args[0] == "--version":
        print(f"affectgpt {__version__}")
        return 0
    if args[0] not in VERBS:
        return _complain(f"there is no verb {args[0]!r}.{did_you_mean(args[0], VERBS)} Known: {', '.join(VERBS)}", 2)
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        return int(import_module(VERBS[args[0]][0]).run(args[0], args[1:]) or 0)
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return _complain("stopped", 130)
    except AffectGPTError as error:
        if debug:
            raise
        return _complain(str(error), 1)
    except Exception as error:
        if debug:
            raise
        return _complain(f"{type(error).__name__}: {error} (run again with --debug for the traceback)", 3)


def _overview() -> str:
    width = max(map(len, VERBS))
    lines = [f"affectgpt {__version__}: multimodal emotion understanding", "", "usage: affectgpt VERB [--help] ...", ""]
    lines += [f"  {name:<{width}}  {text}" for name, (_, text) in VERBS.items()]
    lines += ["", "example: affectgpt demo", "--debug shows the traceback of an error."]
    return "\n".join(lines)


def _complain(message: str, code: int) -> int:
    line = " ".join(str(message).split())
    print(f"error: {line}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())

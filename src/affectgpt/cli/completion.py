"""The verb ``completion``: a script with which a shell completes verbs, options and files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module

from affectgpt.cli.terminal import say
from affectgpt.cli.train_help import OWN
from affectgpt.cli.train_help import VERBS as TRAINING
from affectgpt.cli.verb_parser import VerbParser


def run(verb: str, argv: Sequence[str]) -> int:
    """Print the script of a shell.

    Raises:
        ConfigError: If shtab is not installed.
    """
    args = parser().parse_args(argv)
    import shtab

    say(shtab.complete(_all_verbs(), shell=args.shell), end="")
    return 0


def parser() -> VerbParser:
    """The options."""
    parser = VerbParser(
        prog="affectgpt completion",
        description="Print a script that lets a shell complete verbs, options and file names.",
        epilog="""examples:
  affectgpt completion bash > ~/.local/share/bash-completion/completions/affectgpt
  affectgpt completion zsh > ~/.zfunc/_affectgpt      # a folder of $fpath""",
    )
    parser.add_argument("shell", choices=["bash", "zsh", "tcsh"], help="bash, zsh or tcsh")
    return parser


def _all_verbs() -> argparse.ArgumentParser:
    from affectgpt.cli.main import VERBS

    whole = argparse.ArgumentParser(prog="affectgpt")
    whole.add_argument("--version", action="store_true", help="the version")
    verbs = whole.add_subparsers()
    for name, (module, text) in VERBS.items():
        own = verbs.add_parser(name, help=text)
        if name in TRAINING and name != "predict":
            for option, what in OWN.items():
                _offer(own, option.split()[0], what, takes_value=" " in option)
            continue
        for action in import_module(module).parser()._actions:
            if action.option_strings and action.help != argparse.SUPPRESS and action.dest != "help":
                _offer(own, action.option_strings[-1], action.help or "", action.nargs != 0, action.choices)
            elif not action.option_strings and action.choices:
                own.add_argument(action.dest, nargs="?", choices=list(action.choices), help="")
    return whole


def _offer(parser: argparse.ArgumentParser, option: str, what: str, takes_value: bool, choices: object = None) -> None:
    what = what.replace("%", "%%")
    if takes_value:
        chosen = list(choices) if isinstance(choices, Sequence) else None
        made = parser.add_argument(option, choices=chosen, help=what)
        if chosen is None:
            import shtab

            made.complete = shtab.FILE  # type: ignore[attr-defined]
    else:
        parser.add_argument(option, action="store_true", help=what)

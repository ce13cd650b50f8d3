"""The argument parser of a verb: help that fits a screen, escaped output, and a report when a disk is full."""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from typing import Any, NoReturn

from affectgpt.cli.terminal import say

SCREEN_LINES = 45
"""Longest help; a longer one names the options of its groups without explaining them, see ``--help-all``."""


class WrongCall(SystemExit):
    """The end of a command that was called wrongly, with exit code 2.

    Attributes:
        message: What is wrong.
    """

    def __init__(self, message: str) -> None:
        super().__init__(2)
        self.message = message


class VerbParser(argparse.ArgumentParser):
    """An ``argparse.ArgumentParser`` that escapes what it repeats from the command line, and reports a full disk.

    ``--help`` shows the usage in one line, the options, and each example on a line of its own. If that is longer than
    a screen, the options of argument groups are only named; ``--help-all`` explains them too.

    Args:
        epilog: The examples: one after ``example:``, several with three spaces and a bar between them; a text of
            several lines is printed as it is.
        options: Further arguments of ``argparse.ArgumentParser``.
    """

    def __init__(self, *, epilog: str = "", **options: Any) -> None:
        options.pop("formatter_class", None)
        super().__init__(epilog=_examples(epilog), formatter_class=_Formatter, **options)
        self.add_argument("--help-all", action=_HelpAll, help=argparse.SUPPRESS)

    def format_usage(self) -> str:
        """The usage in one line: what must be given, and ``[options]``."""
        needed = [a for a in self._actions if a.required or not a.option_strings]
        words = [_as_typed(action) for action in sorted(needed, key=lambda action: not action.option_strings)]
        return " ".join(["usage:", self.prog, "[options]", *words]) + "\n"

    def format_help(self, *, whole: bool = False) -> str:
        """The help.

        Args:
            whole: Whether options of groups are explained however long the help gets.
        """
        text = self._help(explains_groups=True)
        if whole or text.count("\n") <= SCREEN_LINES:
            return text
        return self._help(explains_groups=False)

    def print_help(self, file: Any = None) -> None:
        """Print the help."""
        say(self.format_help(), end="", err=file is sys.stderr)

    def print_usage(self, file: Any = None) -> None:
        """Print the usage of the verb."""
        say(self.format_usage(), end="", err=file is sys.stderr)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """End the command."""
        if message:
            say(message, end="", err=True)
        sys.exit(status)

    def error(self, message: str) -> NoReturn:
        """End the command because of a wrong call."""
        self.print_usage(sys.stderr)
        say(f"{self.prog}: error: {message}", err=True)
        raise WrongCall(message)

    def _help(self, *, explains_groups: bool) -> str:
        formatter = self._get_formatter()
        width = formatter._width
        formatter.add_text(textwrap.fill(" ".join((self.description or "").split()), width))
        own = (self._positionals, self._optionals)
        for group in self._action_groups:
            if group in own or explains_groups:
                formatter.start_section(group.title)
                formatter.add_text(group.description)
                formatter.add_arguments(group._group_actions)
                formatter.end_section()
        if not explains_groups:
            lines = [f"more options, explained by {self.prog} --help-all:"]
            for group in self._action_groups:
                if group not in own and group._group_actions:
                    names = ", ".join(_as_typed(action) for action in group._group_actions)
                    lines.append(
                        textwrap.fill(
                            f"{group.title}: {names}",
                            width,
                            initial_indent="  ",
                            subsequent_indent="    ",
                            break_on_hyphens=False,
                        )
                    )
            formatter.add_text("\n".join(lines))
        formatter.add_text(self.epilog)
        return f"{self.format_usage()}\n{formatter.format_help()}"


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """As wide as the terminal, up to 110 columns."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=min(110, shutil.get_terminal_size().columns - 2))


class _HelpAll(argparse.Action):
    """Prints the whole help, and ends the command."""

    def __init__(self, option_strings: Any, dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, **options)

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        say(parser.format_help(whole=True), end="")
        parser.exit()


def _as_typed(action: argparse.Action) -> str:
    """An argument as it is typed: ``--out FOLDER``, ``--json``, ``clip ...``."""
    several = " ..." if action.nargs in ("+", "*") else ""
    if not action.option_strings:
        name = action.metavar or action.dest
        return f"[{name}]" if action.nargs == "?" else f"{name}{several}"
    if action.nargs == 0:
        return action.option_strings[-1]
    metavar = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    return f"{action.option_strings[-1]} {metavar if isinstance(metavar, str) else ' '.join(metavar)}"


def _examples(epilog: str) -> str:
    """The examples, each on its own line."""
    if "\n" in epilog or not epilog.startswith("example:"):
        return epilog
    commands = [" ".join(command.split()) for command in epilog.removeprefix("example:").split("   |   ")]
    if len(commands) == 1:
        return f"example: {commands[0]}"
    return "\n".join(["examples:", *(f"  {command}" for command in commands)])

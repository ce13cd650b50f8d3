"""The argument parser of a verb, whose output is escaped and never lost."""

from __future__ import annotations

import argparse
import sys
from typing import Any, NoReturn

from affectgpt.cli.terminal import say


class VerbParser(argparse.ArgumentParser):
    """An ``argparse.ArgumentParser`` that escapes what it repeats from the command line, and reports a full disk."""

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

"""The argument parser of a verb: what it prints goes through the terminal's own way, escaped and never lost."""

from __future__ import annotations

import argparse
import sys
from typing import Any, NoReturn

from affectgpt.cli.terminal import say


class VerbParser(argparse.ArgumentParser):
    """``argparse.ArgumentParser``, which by itself repeats what it was given as it is, and passes over a full disk."""

    def print_help(self, file: Any = None) -> None:
        """Print the help."""
        say(self.format_help(), end="", err=file is sys.stderr)

    def print_usage(self, file: Any = None) -> None:
        """Print how the verb is called."""
        say(self.format_usage(), end="", err=file is sys.stderr)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """End the command."""
        if message:
            say(message, end="", err=True)
        sys.exit(status)

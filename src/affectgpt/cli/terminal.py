"""Helpers of the verbs for the terminal: escaped text, quiet libraries, and the choice of a device."""

from __future__ import annotations

import codecs
import contextlib
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

# Characters that control a terminal or are invisible: control characters (ESC and U+009B start a command), line and
# paragraph separators, characters that change the direction of text or have no width, tags, and halves of surrogate
# pairs. The joiners U+200C and U+200D are kept: Persian words and many emoji need them.
_UNSHOWABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
_UNSHOWABLE_IN_LINES = re.compile(_UNSHOWABLE.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))
_ERRORS = "affectgpt-escapes"
_OUTPUT: ContextVar[JsonOutput | None] = ContextVar("output", default=None)


def shown(value: object) -> str:
    r"""The text of a value on one line, with what a terminal would obey or hide written as ``\uXXXX``.

    For names, paths, labels and messages that come from somebody's files. The escapes are those of JSON, so that
    printed JSON stays the same JSON.

    Examples:
        >>> print(shown("clip\x1b[31m\u202e.mp4"), shown("two\nlines"), shown("naïve [/run] 高兴"))
        clip\u001b[31m\u202e.mp4 two\nlines naïve [/run] 高兴
    """
    return _UNSHOWABLE.sub(_escape, str(value))


def shown_lines(text: object) -> str:
    """Like ``shown`` for text of several lines: line breaks and tabs are kept."""
    return _UNSHOWABLE_IN_LINES.sub(_escape, str(text))


def say(text: object = "", *, err: bool = False, end: str = "\n") -> None:
    """Print any text; its line breaks are kept.

    Args:
        text: The text.
        err: ``True`` for the standard error stream.
        end: The text after it.
    """
    try:
        print(shown_lines(text), end=end, file=sys.stderr if err else sys.stdout, flush=err)
    except OSError as error:  # such as a full disk behind >
        error.filename = error.filename or f"standard {'error' if err else 'output'}"
        raise


def say_json(text: str) -> None:
    """Print the document of ``--json``: below ``json_output`` the only thing that reaches the standard output."""
    output = _OUTPUT.get()
    if output is None:
        say(text.rstrip("\n"))
        return
    output.has_document = True
    with contextlib.redirect_stdout(output.stream):
        say(text.rstrip("\n"))


class JsonOutput:
    """Where the document of ``--json`` goes.

    Attributes:
        stream: The standard output of the command.
        has_document: Whether the document was printed.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.has_document = stream, False


@contextlib.contextmanager
def json_output() -> Iterator[JsonOutput]:
    """Send what is printed to the standard error while the block runs, but for the one document of ``say_json``."""
    output = JsonOutput(sys.stdout)
    before = _OUTPUT.set(output)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield output
    finally:
        _OUTPUT.reset(before)


def make_console(*, err: bool = False) -> Console:
    """A console for tables and bars that prints ``[brackets]`` and ``:colons:`` unchanged.

    Colours are off if the stream is not a terminal. Cells must still go through ``shown``.

    Args:
        err: ``True`` for the standard error stream.
    """
    from rich.console import Console

    return Console(stderr=err, markup=False, emoji=False, highlight=False, soft_wrap=True)


class ShownFormatter(logging.Formatter):
    """Formats log lines so that nothing in them can control the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text, escaped."""
        return shown_lines(super().format(record))


def take_every_character() -> None:
    """Let the standard streams escape characters that their encoding lacks, instead of ``UnicodeEncodeError``."""
    codecs.register_error(_ERRORS, _escape_unencodable)
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # a notebook's or a test's stream may lack it
            reconfigure(errors=_ERRORS)


def quiet() -> None:
    """Silence notes and progress bars that are useless on the command line; errors still appear."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        "LightningCLI's args parameter",
        ".*does not have many workers",
        ".*module\\(s\\) in eval mode",
        "Total length of `list` across ranks is zero",
        ".*isinstance\\(treespec, LeafSpec\\)",
        ".*is_gradient_checkpointing",
        ".*GPU available but not used",
        ".*It is recommended to use .self.log.*sync_dist=True",  # what is logged is summed over the ranks already
    ):
        warnings.filterwarnings("ignore", message=message)


def pick_device(name: str) -> str:
    """The device with a name; ``auto`` is the first GPU, or else the processor."""
    if name != "auto":
        return name
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _escape(found: re.Match[str]) -> str:
    return _escaped(found.group())


def _escaped(text: str) -> str:
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    units = text.encode("utf-16-be", "surrogatepass")
    code_units = [units[i : i + 2].hex() for i in range(0, len(units), 2)]
    return short.get(text) or "".join(f"\\u{unit}" for unit in code_units)


def _escape_unencodable(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return _escaped(error.object[error.start : error.end]), error.end

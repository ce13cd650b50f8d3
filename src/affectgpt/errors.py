"""The errors that a user of the library can meet."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AffectGPTError(Exception):
    """Base of every error that the library raises for something the user can fix."""


class ConfigError(AffectGPTError, ValueError):
    """A name, an argument or a combination of parts is wrong."""


class AlignmentError(AffectGPTError, ValueError):
    """The number of feature vectors differs from the number of placeholders in a prompt."""


class CheckpointError(AffectGPTError, RuntimeError):
    """A checkpoint cannot be read, or belongs to another configuration."""


class DataError(AffectGPTError, ValueError):
    """A clip, a manifest, a shard, a table or a prediction file is broken or missing."""


class RankError(AffectGPTError, RuntimeError):
    """Another rank of a distributed run has stopped or is gone."""


class MediaError(DataError):
    """A media file cannot be used.

    Args:
        message: What is wrong with which file, and what to do.
        code: The reason as a machine-readable word: ``unreadable``, ``empty_file``, ``not_media``, ``no_tracks`` or
            ``undecodable``.
    """

    def __init__(self, message: str, code: str = "undecodable") -> None:
        super().__init__(message)
        self.code = code


def reason_of(error: BaseException) -> str:
    r"""The message of another library's error, on one line without a full stop; its class if the message is empty.

    Examples:
        >>> reason_of(OSError("no such file.\nTry another."))
        'no such file'
        >>> reason_of(KeyError())
        'KeyError'
    """
    if "trust_remote_code" in str(error):
        return "it needs code of its own, which is never run; use a model that transformers supports itself"
    lines = str(error).strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else type(error).__name__


def did_you_mean(name: object, known: Iterable[str], *, most: int = 1, cutoff: float = 0.6) -> str:
    """A hint at similar names, with a space before it; empty if no name is similar.

    Args:
        name: The unknown name.
        known: The known names.
        most: Most names to suggest.
        cutoff: Least similarity of a suggested name, from 0 to 1.

    Examples:
        >>> did_you_mean("atention", ["attention", "mean"])
        " Did you mean 'attention'?"
    """
    near = difflib.get_close_matches(str(name), list(known), n=most, cutoff=cutoff)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def first_few(names: Iterable[object], most: int = 5) -> str:
    """The first names of a list for a message, and how many more there are.

    Examples:
        >>> first_few(["b", "a", "c"], most=2)
        "'b', 'a' and 1 more"
    """
    shown = [repr(name) for name in names]
    rest = len(shown) - most
    return ", ".join(shown[:most]) + (f" and {rest} more" if rest > 0 else "")

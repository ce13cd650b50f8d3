"""The errors that a user of the library can meet."""

from __future__ import annotations


class AffectGPTError(Exception):
    """Base of every error that the library raises for something the user can mend."""


class ConfigError(AffectGPTError, ValueError):
    """A name, an argument or a combination of parts is wrong."""


class AlignmentError(AffectGPTError, ValueError):
    """The number of feature vectors does not fit the placeholders of a prompt."""


class CheckpointError(AffectGPTError, RuntimeError):
    """A checkpoint cannot be read, or belongs to another configuration."""


class DataError(AffectGPTError, ValueError):
    """A clip, a manifest, a shard, a table or a prediction file is broken or missing."""


class MediaError(DataError):
    """A media file cannot be used.

    Args:
        message: What is wrong with which file, and what to do.
        code: Why, in one word for a machine: ``unreadable``, ``empty_file``, ``not_media``, ``no_tracks`` or
            ``undecodable``.
    """

    def __init__(self, message: str, code: str = "undecodable") -> None:
        super().__init__(message)
        self.code = code

"""Refuses to answer, score or encode with untrained weights."""

from __future__ import annotations

from affectgpt.errors import ConfigError

UNTRAINED_HELP = "use random weights nevertheless, for example to try a configuration"


def refuse_untrained(verb: str, what: str, how: str, *, allowed: bool) -> None:
    """Stop before random weights are used as a model.

    Args:
        verb: The verb of the command line.
        what: What would be used, and why its weights are random.
        how: What to do instead.
        allowed: Whether the user asked for it with ``--untrained``.

    Raises:
        ConfigError: Unless it is allowed.
    """
    if not allowed:
        raise ConfigError(f"{verb}: {what}; the result would be random. {how}")

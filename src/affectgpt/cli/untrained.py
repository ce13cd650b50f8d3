"""Refuses to answer, score or encode with weights that nobody has trained."""

from __future__ import annotations

from affectgpt.errors import ConfigError

UNTRAINED_HELP = "use random weights all the same, such as to try a configuration out"


def refuse_untrained(verb: str, what: str, how: str, *, allowed: bool) -> None:
    """Stop before random weights are taken for a model.

    Args:
        verb: The verb of the command line.
        what: What would be used, and why its weights are random.
        how: What to do instead.
        allowed: Whether the user asked for it with ``--untrained``.

    Raises:
        ConfigError: Unless it is allowed.
    """
    if not allowed:
        raise ConfigError(f"{verb}: {what}; what comes out would be made of random numbers. {how}")

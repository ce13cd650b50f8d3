"""Replaces the special tokens of a tokenizer by others of its vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from affectgpt.errors import ConfigError


def set_tokens(tokenizer: Any, tokens: Mapping[str, str], path: str) -> None:
    """Use other tokens of a tokenizer's vocabulary in place of its own special ones.

    Args:
        tokenizer: A tokenizer of transformers; changed in place.
        tokens: ``bos``, ``eos`` or ``pad`` to a token.
        path: Where the tokenizer came from, for messages.

    Raises:
        ConfigError: If there is no such role or token.
    """
    for role, token in tokens.items():
        if role not in ("bos", "eos", "pad"):
            raise ConfigError(f"tokens: unknown special token {role!r}; known: bos, eos, pad")
        if tokenizer.convert_tokens_to_ids(token) in (None, tokenizer.unk_token_id):
            raise ConfigError(f"tokens: the tokenizer in {path!r} has no token {token!r} to use as {role}")
        setattr(tokenizer, f"{role}_token", token)

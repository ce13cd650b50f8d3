"""Reads a server's answer to a request for a chat completion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx2

from affectgpt.chat.reply import Reply, is_refusal
from affectgpt.errors import ConfigError, DataError
from affectgpt.files import parse_json
from affectgpt.web import TryAgainError, refusal

SHOWN = 300
"""Number of characters of a server's text that a message repeats."""

_OF_THE_PROMPT = frozenset({400, 413, 415, 422})
"""Statuses that may be about this prompt alone, such as a picture that is too large."""
_POLICY = ("content_policy", "content_filter", "content filter", "content policy", "data_inspection", "moderation")
_PAYMENT = ("insufficient_quota", "billing", "credit balance", "insufficient balance")


class PromptRefusedError(ConfigError):
    """A server rejects this prompt, but may accept others.

    Args:
        message: Message for a run that ends here.
        reason: Reason of one sample, for a run that continues.
        by_policy: Whether the server says that the content is not allowed.
    """

    def __init__(self, message: str, reason: str, *, by_policy: bool) -> None:
        super().__init__(message)
        self.reason, self.by_policy = reason, by_policy


def read_completion(text: str) -> Reply:
    """The reply in the body of a successful answer.

    Raises:
        TryAgainError: If it is not a chat completion.
    """
    try:
        answer = parse_json(text, "it")
        choice = answer["choices"][0]
        message = choice["message"]
        content = _joined(message.get("content"))
        declined = message.get("refusal")
        finish = choice.get("finish_reason")
    except (DataError, LookupError, TypeError, AttributeError) as error:
        raise TryAgainError(f"its answer is not a chat completion: {text[:SHOWN]!r}") from error
    if content is None:
        raise TryAgainError(f"its answer holds no text: {message.get('content')!r:.{SHOWN}}")
    prompt_tokens, answer_tokens = _usage(answer.get("usage"))
    if isinstance(declined, str) and declined.strip():
        return Reply("refused", content or declined, "the model declined", prompt_tokens, answer_tokens)
    if finish == "content_filter":
        return Reply("refused", content, "the server's content filter cut the answer", prompt_tokens, answer_tokens)
    if is_refusal(content):
        return Reply("refused", content, "the answer is a stock refusal", prompt_tokens, answer_tokens)
    if not content.strip():
        reason = f"the answer is empty (finish_reason {finish!r}"
        reason += "; the limit of tokens was spent before it began)" if finish == "length" else ")"
        return Reply("failed", "", reason, prompt_tokens, answer_tokens)
    return Reply("answered", content, None, prompt_tokens, answer_tokens)


def error_of(response: httpx2.Response, said: str, model: str, url: str) -> Exception:
    """The error for an unsuccessful answer: to try again, to skip this prompt, or to end the run."""
    reason = f"HTTP {response.status_code} {response.reason_phrase}: {said}"
    advice = {
        401: "set the key: api_key_env names the environment variable that holds it",
        402: "the account has no credit",
        403: "the key may not use this model",
        404: "check base_url (most end in /v1) and the model's name",
    }.get(response.status_code, "the server does not take this request")
    if any(word in said.lower() for word in _PAYMENT):
        return ConfigError(f"{url} refuses model {model!r} with {reason} (the account has no credit)")
    busy = refusal(response, said)
    if busy is not None:
        return busy
    message = f"{url} refuses model {model!r} with {reason} ({advice})"
    if response.status_code in _OF_THE_PROMPT:
        return PromptRefusedError(message, reason, by_policy=any(word in said.lower() for word in _POLICY))
    return ConfigError(message)


def _joined(content: Any) -> str | None:
    """The text of a message, which some servers send in pieces; ``None`` for anything else."""
    if content is None:
        return ""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, Mapping) and part.get("type") == "text"]
        known = [text for text in texts if isinstance(text, str)]
        return "".join(known) if len(known) == len(texts) else None
    return content if isinstance(content, str) else None


def _usage(told: Any) -> tuple[int | None, int | None]:
    counts = told if isinstance(told, Mapping) else {}
    found = [counts.get(name) for name in ("prompt_tokens", "completion_tokens")]
    prompt, answer = (one if type(one) is int and 0 <= one < 10**9 else None for one in found)
    return prompt, answer

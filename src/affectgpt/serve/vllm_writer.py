"""Writes answers on a vLLM server, which is sent our prompts as embeddings and runs the merged language model."""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2

from affectgpt.errors import ConfigError, DataError
from affectgpt.files import parse_json
from affectgpt.llm.answer_sampling import AnswerSampling
from affectgpt.model.network import Network
from affectgpt.model.slot_content import SlotContent
from affectgpt.prompts.render import PromptIds
from affectgpt.serve.embedded_prompts import encode_embeds, rows_of
from affectgpt.serve.prompt_writer import Written
from affectgpt.web import Patience, TryAgainError, again, open_client, refusal, requested, without_secrets

MAX_ANSWER_BYTES = 2**24
SHOWN = 300


class WriterFailedError(DataError):
    """The server gave no answer."""


class VllmWriter:
    """Writes with ``POST {base_url}/completions`` of a vLLM server.

    The server runs the folder that ``affectgpt export --merged`` wrote of the same checkpoint, with
    ``--enable-prompt-embeds``. It does not check the width of embeddings, so give it to nobody else.

    Args:
        network: The network of the model, which makes the embeddings.
        base_url: Such as ``http://localhost:8000/v1``.
        model: The model's name on the server.
        api_key_env: Environment variable that holds the server's key.
        timeout_seconds: Longest wait for one answer.
        num_parallel: Requests at the same time; vLLM batches them itself.
        num_retries: Further tries after a cut connection or a busy server.

    Raises:
        ConfigError: If the URL is invalid or holds a password, or the environment variable is not set.
    """

    def __init__(
        self,
        network: Network,
        base_url: str,
        model: str,
        api_key_env: str | None = None,
        timeout_seconds: float = 60.0,
        num_parallel: int = 32,
        num_retries: int = 2,
    ) -> None:
        parts = urllib.parse.urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query:
            raise ConfigError(
                f"the vLLM URL is {without_secrets(base_url)!r}; expected such as http://localhost:8000/v1, without "
                "user, password and query"
            )
        if api_key_env is not None and not os.environ.get(api_key_env):
            raise ConfigError(f"the key of vLLM is to be in the environment variable {api_key_env!r}, which is not set")
        self._network, self.base_url, self.model = network, base_url.rstrip("/"), model
        self._patience = Patience(timeout_seconds, num_retries + 1)
        key = {"Authorization": f"Bearer {os.environ[api_key_env]}"} if api_key_env else {}
        self._client = open_client(timeout_seconds, key)
        self._threads = ThreadPoolExecutor(num_parallel, thread_name_prefix="vllm")

    def check(self) -> int | None:
        """Ask the server whether it has the model.

        Returns:
            Most tokens of a prompt and its answer, if the server tells.

        Raises:
            ConfigError: If it has not, or cannot be reached.
        """
        try:
            told = self._send("GET", "/models", None)
        except WriterFailedError as error:
            raise ConfigError(f"{error}; start it first, and check the URL (it ends in /v1)") from error
        listed = told.get("data")
        found = {str(one.get("id")): one for one in listed if isinstance(one, dict)} if isinstance(listed, list) else {}
        if self.model not in found:
            raise ConfigError(
                f"{self.base_url} has no model {self.model!r}; it has {', '.join(map(repr, found)) or 'none'}"
            )
        length = found[self.model].get("max_model_len")
        return length if isinstance(length, int) else None

    def __call__(
        self, prompt: PromptIds, content: SlotContent, max_new_tokens: int, sampling: AnswerSampling
    ) -> list[Written]:
        """One answer to each prompt, in parallel; see ``PromptWriter``.

        Raises:
            WriterFailedError: If the server gives no answer.
        """
        bodies = [
            request_body(encode_embeds(row), self.model, max_new_tokens, sampling, self._network.style.stop.strings)
            for row in rows_of(self._network, prompt, content)
        ]
        return list(self._threads.map(self._write, bodies))

    def _write(self, body: Mapping[str, Any]) -> Written:
        answer = self._send("POST", "/completions", body)
        try:
            choice = answer["choices"][0]
            text, count = choice["text"], answer["usage"]["completion_tokens"]
            ended = choice["finish_reason"] == "stop"
            if not isinstance(text, str) or type(count) is not int:
                raise TypeError
        except (LookupError, TypeError) as error:
            raise WriterFailedError(f"{self.base_url} answers with something else than a completion") from error
        stop = self._network.style.stop
        return Written(stop.read_published(text, None, None) if stop.pieces else stop.read(text), count, ended)

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        try:
            return again(lambda: self._attempt(method, path, body), self._patience)
        except TryAgainError as error:
            raise WriterFailedError(f"the vLLM server gives no answer: {error}") from error

    def _attempt(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        content = bytearray()
        options = {} if body is None else {"json": body}
        with requested(self._client, method, self.base_url + path, **options) as response:
            for piece in response.iter_bytes():
                content += piece
                if len(content) > MAX_ANSWER_BYTES:
                    raise WriterFailedError(f"the vLLM server sent more than {MAX_ANSWER_BYTES:,} bytes")
        if not response.is_success:
            raise refusal(response) or _refused(response, bytes(content))
        try:
            told = parse_json(bytes(content), "the answer of the vLLM server")
        except DataError as error:
            raise WriterFailedError(str(error)) from error
        if not isinstance(told, dict):
            raise WriterFailedError("the answer of the vLLM server is not a JSON object")
        return told


def request_body(
    embeds: str, model: str, max_new_tokens: int, sampling: AnswerSampling, stop: tuple[str, ...]
) -> dict[str, Any]:
    """The body of a completion.

    Args:
        embeds: See ``encode_embeds``.
        model: The model's name on the server.
        max_new_tokens: Longest answer.
        sampling: How it is drawn.
        stop: Strings that end it, besides the end-of-sequence token.
    """
    body: dict[str, Any] = {
        "model": model,
        "prompt": "",
        "prompt_embeds": embeds,
        "max_tokens": max_new_tokens,
        "temperature": sampling.temperature,
        "repetition_penalty": 1.0,  # else that of the model's generation_config.json would count
    }
    if not sampling.is_greedy:
        body |= {"top_p": sampling.top_p, "top_k": sampling.top_k, "seed": sampling.seed}
    if stop:
        body["stop"] = list(stop)
    return {name: value for name, value in body.items() if value is not None}


def _refused(response: httpx2.Response, content: bytes) -> WriterFailedError:
    said = content.decode("utf-8", "replace").strip()[:SHOWN]
    advice = (
        "; start it with --enable-prompt-embeds" if "prompt_embeds" in said or "prompt embed" in said.lower() else ""
    )
    return WriterFailedError(
        f"the vLLM server refuses with HTTP {response.status_code}: {without_secrets(said)}{advice}"
    )

"""A chat model behind an OpenAI-compatible server (vLLM, llama.cpp, Ollama, a commercial one)."""

from __future__ import annotations

import json
import os
import threading
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import httpx2

from affectgpt.chat.base import ChatModel, seed_of
from affectgpt.chat.sampling import Sampling
from affectgpt.errors import ConfigError, DataError
from affectgpt.web import Patience, TryAgainError, again, open_client, refusal, requested

MAX_ANSWER_BYTES = 16 * 2**20
_SHOWN = 300


class ServerModel(ChatModel):
    """Asks ``{base_url}/chat/completions``.

    Args:
        model: The model's name on the server.
        base_url: Such as ``http://localhost:8000/v1``.
        api_key_env: Environment variable that holds the key; only its name is ever recorded.
        revision: What tells versions of the model apart in the cache and the report, if the name does not.
        timeout_seconds: Longest wait for one answer.
        num_retries: Further tries after a cut connection, a busy or failing server, or an answer that is no JSON.
        backoff_seconds: Pause before the first further try; doubled each time, and up to a minute.
        num_parallel: Requests at the same time.

    Raises:
        ConfigError: If the address is none, holds a password, or the environment variable is not set.
    """

    def __init__(
        self,
        model: str,
        base_url: str,
        api_key_env: str | None = None,
        revision: str | None = None,
        timeout_seconds: float = 120.0,
        num_retries: int = 4,
        backoff_seconds: float = 1.0,
        num_parallel: int = 4,
    ) -> None:
        parts = urllib.parse.urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigError(f"base_url is {base_url!r}; expected an address such as http://localhost:8000/v1")
        if parts.username or parts.password or parts.query:
            raise ConfigError(
                f"base_url of {parts.hostname} holds a user, a password or a query, which would end in the report; put "
                "the key into an environment variable, and its name into api_key_env"
            )
        if api_key_env is not None and not os.environ.get(api_key_env):
            raise ConfigError(f"api_key_env names the environment variable {api_key_env!r}, which is not set")
        if num_parallel < 1 or num_retries < 0:
            raise ConfigError(f"num_parallel is {num_parallel}, num_retries {num_retries}; at least 1 and 0 are needed")
        self.model, self.revision, self.api_key_env = model, revision, api_key_env
        self.base_url = base_url.rstrip("/").removesuffix("/chat/completions")
        self.timeout_seconds, self.num_retries = timeout_seconds, num_retries
        self.backoff_seconds, self.num_parallel = backoff_seconds, num_parallel

    def identity(self) -> dict[str, str | None]:
        """The name on the server and the revision as given; the address is not part of it."""
        return {"model": self.model, "revision": self.revision}

    def settings(self) -> dict[str, Any]:
        """Address, and the name of the key's environment variable."""
        return {"backend": "server", "base_url": self.base_url, "api_key_env": self.api_key_env}

    def complete(self, prompts: Sequence[str], sampling: Sampling) -> Iterator[tuple[int, str]]:
        """Position and answer of every prompt; see ``ChatModel``.

        Raises:
            ConfigError: If the server does not exist, or refuses.
            DataError: If no answer can be had; those that came before are handed on first.
        """
        stop = threading.Event()

        def answer(prompt: str) -> str | None:
            # After a failure what waits would fail alike; what is under way is paid for, and still handed on.
            if stop.is_set():
                return None
            try:
                return self._answer(client, prompt, sampling)
            except Exception:
                stop.set()
                raise

        failure: BaseException | None = None
        with open_client(self.timeout_seconds) as client, ThreadPoolExecutor(self.num_parallel) as pool:
            jobs = {pool.submit(answer, prompt): i for i, prompt in enumerate(prompts)}
            try:
                for job in as_completed(jobs):
                    failure = failure or job.exception()
                    found = None if job.exception() else job.result()
                    if found is not None:
                        yield jobs[job], found
            finally:
                # Also where the caller broke off, such as by Ctrl-C.
                stop.set()
        if failure is not None:
            raise failure

    def _answer(self, client: httpx2.Client, prompt: str, sampling: Sampling) -> str:
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": seed_of([prompt]),
        }
        if sampling.repetition_penalty != 1.0:
            # vLLM's name for it, beside llama.cpp's; servers that know neither say so, or leave it out.
            body |= {"repetition_penalty": sampling.repetition_penalty, "repeat_penalty": sampling.repetition_penalty}
        patience = Patience(self.timeout_seconds, self.num_retries + 1, self.backoff_seconds)
        try:
            return again(lambda: self._once(client, body), patience)
        except TryAgainError as error:
            raise DataError(
                f"{self.base_url} gave no answer in {self.num_retries + 1} tries; the last time: {error}. What "
                "was answered before is in the cache: run again to go on from there"
            ) from error

    def _once(self, client: httpx2.Client, body: Mapping[str, Any]) -> str:
        # Not passed on to another host if the server redirects.
        key = {"Authorization": f"Bearer {os.environ.get(self.api_key_env, '')}"} if self.api_key_env else {}
        content = bytearray()
        with requested(client, "POST", f"{self.base_url}/chat/completions", json=body, headers=key) as response:
            for piece in response.iter_bytes():
                content.extend(piece)
                if len(content) > MAX_ANSWER_BYTES:
                    raise DataError(f"{self.base_url} answers with more than {MAX_ANSWER_BYTES:,} bytes; check it")
        text = content.decode("utf-8", "replace")
        if not response.is_success:
            raise self._refusal(response, text[:_SHOWN].strip())
        try:
            answer = json.loads(text)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise TryAgainError(f"its answer is no chat completion: {text[:_SHOWN]!r}") from error
        if answer is not None and not isinstance(answer, str):
            raise TryAgainError(f"its answer holds no text: {answer!r:.{_SHOWN}}")
        return answer or ""

    def _refusal(self, response: httpx2.Response, said: str) -> Exception:
        busy = refusal(response, said)
        if busy is not None:
            return busy
        advice = {
            401: "set the key: api_key_env names the environment variable that holds it",
            403: "the key may not use this model",
            404: "check base_url (most end in /v1) and the model's name",
        }.get(response.status_code, "the server does not take this request")
        reason = f"HTTP {response.status_code} {response.reason_phrase}: {said}"
        return ConfigError(f"{self.base_url} refuses model {self.model!r} with {reason} ({advice})")

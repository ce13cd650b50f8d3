"""A chat model behind an OpenAI-compatible server (vLLM, llama.cpp, Ollama, a commercial one)."""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from affectgpt.chat.base import ChatModel, seed_of
from affectgpt.chat.sampling import Sampling
from affectgpt.errors import ConfigError, DataError

_LONGEST_WAIT_SECONDS = 60.0
_SHOWN = 300


class _TryAgainError(Exception):
    """Something that may pass: a cut connection, an overloaded server, an answer that is no JSON."""

    def __init__(self, reason: str, wait_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


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
                return self._answer(prompt, sampling)
            except Exception:
                stop.set()
                raise

        failure: BaseException | None = None
        with ThreadPoolExecutor(self.num_parallel) as pool:
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

    def _answer(self, prompt: str, sampling: Sampling) -> str:
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
        wait_seconds = self.backoff_seconds
        for num_left in range(self.num_retries, -1, -1):
            try:
                return self._once(json.dumps(body).encode())
            except _TryAgainError as error:
                if num_left == 0:
                    raise DataError(
                        f"{self.base_url} gave no answer in {self.num_retries + 1} tries; the last time: {error}. What "
                        "was answered before is in the cache: run again to go on from there"
                    ) from error
                time.sleep(min(error.wait_seconds or wait_seconds, _LONGEST_WAIT_SECONDS))
                wait_seconds *= 2
        raise AssertionError("the last try returns or raises")

    def _once(self, body: bytes) -> str:
        request = urllib.request.Request(f"{self.base_url}/chat/completions", body, method="POST")
        request.add_header("Content-Type", "application/json")
        if self.api_key_env is not None:
            # Not passed on to another host if the server redirects.
            request.add_unredirected_header("Authorization", f"Bearer {os.environ.get(self.api_key_env, '')}")
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_seconds) as response:
                text = response.read().decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            raise self._refusal(error) from error
        except (OSError, http.client.HTTPException) as error:
            raise _TryAgainError(f"{type(error).__name__}: {error}") from error
        try:
            content = json.loads(text)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError) as error:
            raise _TryAgainError(f"its answer is no chat completion: {text[:_SHOWN]!r}") from error
        if content is not None and not isinstance(content, str):
            raise _TryAgainError(f"its answer holds no text: {content!r:.{_SHOWN}}")
        return content or ""

    def _refusal(self, error: urllib.error.HTTPError) -> Exception:
        try:
            said = error.read().decode("utf-8", "replace")[:_SHOWN].strip()
        except (OSError, http.client.HTTPException):
            said = ""
        reason = f"HTTP {error.code} {error.reason}: {said}"
        if error.code in {408, 409, 425, 429} or error.code >= 500:
            pause = error.headers.get("Retry-After", "")
            return _TryAgainError(reason, float(pause) if pause.isdigit() else None)
        advice = {
            401: "set the key: api_key_env names the environment variable that holds it",
            403: "the key may not use this model",
            404: "check base_url (most end in /v1) and the model's name",
        }.get(error.code, "the server does not take this request")
        return ConfigError(f"{self.base_url} refuses model {self.model!r} with {reason} ({advice})")

"""A chat model behind an OpenAI-compatible server (vLLM, SGLang, llama.cpp, Ollama, a commercial one)."""

from __future__ import annotations

import os
import threading
import time
import urllib.parse
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

import httpx2

from affectgpt.chat.base import ChatModel, seed_of
from affectgpt.chat.completion import SHOWN, PromptRefusedError, error_of, read_completion
from affectgpt.chat.costs import Budget, Prices
from affectgpt.chat.messages import Prompt, to_wire
from affectgpt.chat.rates import RateLimit
from affectgpt.chat.reply import Reply
from affectgpt.chat.sampling import Sampling
from affectgpt.errors import ConfigError, DataError, reason_of
from affectgpt.web import LONGEST_WAIT_SECONDS, Patience, TryAgainError, again, open_client, requested

MAX_ANSWER_BYTES = 16 * 2**20
_READY = 2  # prompts that wait for a free request; each may include the pictures of a clip


class ServerModel(ChatModel):
    """Asks ``{base_url}/chat/completions``.

    Args:
        model: The model's name on the server.
        base_url: Such as ``http://localhost:8000/v1``.
        api_key_env: Environment variable that holds the key; only its name is ever recorded.
        revision: Tells versions of the model apart in the cache and the report, if the name does not.
        timeout_seconds: Longest wait for one answer.
        num_retries: Further tries after a cut connection, a busy or failing server, or an answer that is not JSON.
        backoff_seconds: Pause before the first further try; it doubles each time, up to a minute. If the server asks
            for a pause (``Retry-After``), all requests pause.
        num_parallel: Number of parallel requests.
        requests_per_minute: Most requests in a minute.
        tokens_per_minute: Most tokens in a minute, read and written together.
        prompt_price: Price of a million prompt tokens, in any currency; ``answer_price`` is that of a million answer
            tokens.
        answer_price: See there.
        max_cost: Bound on the cost: no request starts that could exceed it.
        max_failures: Number of failures in a row that end the run.
        extra_body: Further fields of every request, as plain JSON, such as ``{"chat_template_kwargs": {...}}``; one
            that is null is left out, for servers that refuse it.

    Raises:
        ConfigError: If the URL is invalid or contains a password, the environment variable is not set, or a limit is
            wrong.
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
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        prompt_price: float | None = None,
        answer_price: float | None = None,
        max_cost: float | None = None,
        max_failures: int = 20,
        extra_body: Mapping[str, Any] | None = None,
    ) -> None:
        parts = urllib.parse.urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigError(f"base_url is {base_url!r}; expected a URL such as http://localhost:8000/v1")
        if parts.username or parts.password or parts.query:
            raise ConfigError(
                f"base_url of {parts.hostname} holds a user, a password or a query, which would end up in the report; "
                "put the key into an environment variable, and give its name as api_key_env"
            )
        if api_key_env is not None and not os.environ.get(api_key_env):
            raise ConfigError(f"api_key_env names the environment variable {api_key_env!r}, which is not set")
        if num_parallel < 1 or num_retries < 0 or max_failures < 1:
            raise ConfigError(
                f"num_parallel is {num_parallel}, num_retries {num_retries}, max_failures {max_failures}; "
                "at least 1, 0 and 1 are needed"
            )
        if (prompt_price is None) != (answer_price is None):
            raise ConfigError("give both prompt_price and answer_price, each for a million tokens, or neither")
        prices = None if prompt_price is None or answer_price is None else Prices(prompt_price, answer_price)
        self.model, self.revision, self.api_key_env = model, revision, api_key_env
        self.base_url = base_url.rstrip("/").removesuffix("/chat/completions")
        self.timeout_seconds, self.num_retries = timeout_seconds, num_retries
        self.backoff_seconds, self.num_parallel = backoff_seconds, num_parallel
        self.max_failures, self.extra_body = max_failures, dict(extra_body or {})
        self.limit = RateLimit(requests_per_minute, tokens_per_minute)
        self.budget = Budget(prices, max_cost)

    def identity(self) -> dict[str, Any]:
        """The name on the server, the revision and the further fields as given; the URL is not part of it."""
        extra = {"extra_body": self.extra_body} if self.extra_body else {}
        return {"model": self.model, "revision": self.revision, **extra}

    def settings(self) -> dict[str, Any]:
        """The URL, and the name of the environment variable that holds the key."""
        return {"backend": "server", "base_url": self.base_url, "api_key_env": self.api_key_env}

    def divide(self, shares: int) -> None:
        """Take one of several equal shares of the limits, because as many processes ask the server together.

        Raises:
            ConfigError: If a limit is smaller than the number of shares.
        """
        limits = {
            "num_parallel": self.num_parallel,
            "requests_per_minute": self.limit.requests,
            "tokens_per_minute": self.limit.tokens,
        }
        for name, limit in limits.items():
            if limit is not None and limit < shares:
                raise ConfigError(
                    f"{shares} processes share {name}, which is {limit} for the model {self.model!r}; use at most "
                    f"{limit} processes, or raise it"
                )
        self.num_parallel //= shares
        self.limit.requests = None if self.limit.requests is None else self.limit.requests // shares
        self.limit.tokens = None if self.limit.tokens is None else self.limit.tokens // shares

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[tuple[int, str]]:
        """Position and answer of every prompt; see ``ChatModel``.

        Raises:
            ConfigError: If the server does not exist or refuses.
            DataError: If the server gives no answer; answers that came before are yielded first.
        """
        for position, reply in self._run(prompts, sampling, forgiving=False):
            yield position, reply.text

    def replies(self, prompts: Iterable[Prompt], sampling: Sampling) -> Iterator[tuple[int, Reply]]:
        """Yield the position and reply of every prompt as they arrive; a prompt without an answer does not end the run.

        Prompts are taken from the iterable only when they are needed, so that those of many clips are never in memory
        together.

        Raises:
            ConfigError: If the server does not exist, or rejects every prompt.
            CostBoundError: If the next request could exceed the bound on the cost.
            DataError: If ``max_failures`` prompts in a row failed. Earlier replies are yielded first.
        """
        return self._run(prompts, sampling, forgiving=True)

    def _run(self, prompts: Iterable[Prompt], sampling: Sampling, *, forgiving: bool) -> Iterator[tuple[int, Reply]]:
        stop, reached = threading.Event(), threading.Event()

        def reply_to(prompt: Prompt) -> Reply | None:
            # After a failure, waiting requests would fail as well; running ones are paid for, so their answers are
            # used.
            if stop.is_set():
                return None
            try:
                reply = self._reply(client, prompt, sampling, stop)
                reached.set()
                return reply
            except _StoppedError:
                return None
            except Exception as error:
                # a server that was never reached will not answer the next prompt either
                never_there = isinstance(error, _NoAnswerError) and error.unreachable and not reached.is_set()
                if forgiving and isinstance(error, _NoAnswerError | PromptRefusedError) and not never_there:
                    reached.set()
                    return _failed(error)
                stop.set()
                raise

        source = enumerate(prompts)
        failure: BaseException | None = None
        recent: deque[str] = deque(maxlen=self.max_failures)
        jobs: dict[Future[Reply | None], int] = {}
        with open_client(self.timeout_seconds) as client, ThreadPoolExecutor(self.num_parallel) as pool:
            try:
                while True:
                    while not stop.is_set() and len(jobs) < self.num_parallel + _READY:
                        position, prompt = next(source, (-1, ""))
                        if position < 0:
                            break
                        jobs[pool.submit(reply_to, prompt)] = position
                    if not jobs:
                        break
                    for job in wait(jobs, return_when=FIRST_COMPLETED).done:
                        position = jobs.pop(job)
                        failure = failure or job.exception()
                        reply = None if job.exception() else job.result()
                        if reply is None:
                            continue
                        if reply.kind == "failed":
                            recent.append(str(reply.reason))
                        else:
                            recent.clear()
                        if len(recent) == self.max_failures and failure is None and not stop.is_set():
                            stop.set()
                            failure = DataError(
                                f"{self.base_url}: {self.max_failures} prompts one after the other failed, the last "
                                f"with: {reply.reason}. The answers so far are kept: run again when the server works"
                            )
                        yield position, reply
            finally:
                # Also if the caller stops iterating, for example on Ctrl-C.
                stop.set()
        if failure is not None:
            raise failure

    def _reply(self, client: httpx2.Client, prompt: Prompt, sampling: Sampling, stop: threading.Event) -> Reply:
        body = {
            "model": self.model,
            "messages": to_wire(prompt),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": seed_of(prompt, sampling.seed),
        }
        if sampling.repetition_penalty != 1.0:
            # vLLM's name and llama.cpp's; servers that know neither refuse or ignore it.
            body |= {"repetition_penalty": sampling.repetition_penalty, "repeat_penalty": sampling.repetition_penalty}
        body = {name: value for name, value in (body | self.extra_body).items() if value is not None}
        patience = Patience(self.timeout_seconds, self.num_retries + 1, self.backoff_seconds)
        tokens = self.budget.estimate(prompt)
        try:
            return again(lambda: self._attempt(client, body, tokens, sampling.max_tokens, stop), patience)
        except TryAgainError as error:
            raise _NoAnswerError(
                f"{self.base_url} gave no answer in {self.num_retries + 1} tries; the last error was: {error}. Earlier "
                "answers are kept: run again to continue from there",
                f"no answer in {self.num_retries + 1} tries; the last error was: {error}",
                unreachable=isinstance(error.__cause__, httpx2.ConnectError),
            ) from error

    def _attempt(
        self,
        client: httpx2.Client,
        body: Mapping[str, Any],
        prompt_tokens: int,
        most_tokens: int,
        stop: threading.Event,
    ) -> Reply:
        """Send one request as soon as the limits allow."""
        ticket = self.limit.wait(prompt_tokens, stop)
        if ticket is None:
            raise _StoppedError
        reserved = self.budget.reserve(prompt_tokens, most_tokens)
        start = time.monotonic()
        paid: tuple[int | None, int | None] | None = None, None
        try:
            status, text = self._send(client, body)
            if status is not None:
                paid = None
                raise status
            reply = read_completion(text)
            paid = reply.prompt_tokens, reply.answer_tokens
        except TryAgainError as error:
            if error.wait_seconds:
                self.limit.hold(min(error.wait_seconds, LONGEST_WAIT_SECONDS))
            raise
        finally:
            if paid is None:
                self.budget.give_back(reserved)
            else:
                self.budget.settle(reserved, *paid)
        if reply.prompt_tokens is not None and reply.answer_tokens is not None:
            ticket.tokens = reply.prompt_tokens + reply.answer_tokens
        return replace(reply, seconds=time.monotonic() - start)

    def _send(self, client: httpx2.Client, body: Mapping[str, Any]) -> tuple[Exception | None, str]:
        """Send a request; return the error of an unsuccessful status, or ``None``, with the text of the reply."""
        # The key is not passed on to another host if the server redirects.
        key = {"Authorization": f"Bearer {os.environ.get(self.api_key_env, '')}"} if self.api_key_env else {}
        content = bytearray()
        start = time.monotonic()
        with requested(client, "POST", f"{self.base_url}/chat/completions", json=body, headers=key) as response:
            for piece in response.iter_bytes():
                content.extend(piece)
                if len(content) > MAX_ANSWER_BYTES:
                    reason = f"the server sent an answer of more than {MAX_ANSWER_BYTES:,} bytes"
                    raise _NoAnswerError(f"{self.base_url}: {reason}; check the server", reason, unreachable=False)
                if time.monotonic() - start > self.timeout_seconds:
                    raise TryAgainError(f"its answer was not whole after {self.timeout_seconds:g} s")
        text = content.decode("utf-8", "replace")
        if response.is_success:
            return None, text
        return error_of(response, text[:SHOWN].strip(), self.model, self.base_url), text


class _NoAnswerError(DataError):
    """All tries failed.

    Args:
        message: Message for a run that ends here.
        reason: Reason of one sample, for a run that continues.
        unreachable: Whether the server cannot be reached at all.
    """

    def __init__(self, message: str, reason: str, *, unreachable: bool) -> None:
        super().__init__(message)
        self.reason, self.unreachable = reason, unreachable


class _StoppedError(Exception):
    """The run ends, and this request was not sent."""


def _failed(error: _NoAnswerError | PromptRefusedError) -> Reply:
    by_policy = isinstance(error, PromptRefusedError) and error.by_policy
    return Reply("refused" if by_policy else "failed", "", error.reason or reason_of(error))

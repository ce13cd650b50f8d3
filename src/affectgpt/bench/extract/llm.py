"""Labels and sentiments read by a chat model, as in the published benchmark."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from affectgpt.bench.extract.base import UNKNOWN, LabelExtractor, SentimentReader
from affectgpt.bench.extract.chat_answers import read_label_answer, read_sentiment_answer
from affectgpt.bench.extract.few_shot import LABELS_PROMPT, SENTIMENT_PROMPT
from affectgpt.chat.answer_cache import AnswerCache
from affectgpt.chat.base import Asker, ChatModel
from affectgpt.chat.sampling import get_sampling
from affectgpt.errors import ConfigError, DataError
from affectgpt.files import digest_of
from affectgpt.metrics.labels import is_missing, parse_labels


class LLMExtractor(LabelExtractor):
    """Asks a chat model for the labels in every text.

    A list of labels is used unchanged. A reply that is not a list of labels leaves the sample without labels, and
    counts as ``failed``.

    Args:
        model: The model's name on the server, or on the Hugging Face hub, or its folder.
        base_url: URL of an OpenAI-compatible server; without one the model runs in this process, with ``transformers``.
        api_key_env: Environment variable with the server's key.
        revision: Commit of the model on the hub, or any text that tells versions on a server apart.
        sampling: ``greedy``, or ``published`` (temperature 0.7, top_p 0.8, repetition penalty 1.05).
        max_tokens: Longest reply in tokens; 512 in the publication.
        cache: File of stored answers; see ``AnswerCache``.
        backend: Further arguments of ``ServerModel`` or ``LocalModel``.

    Raises:
        ConfigError: If an argument is wrong.
    """

    name = "llm"

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        api_key_env: str | None = None,
        revision: str | None = None,
        sampling: str = "greedy",
        max_tokens: int = 512,
        cache: str | os.PathLike[str] | None = None,
        backend: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        chat = build_chat_model(model, base_url, api_key_env, revision, backend)
        self.asker = Asker(chat, LABELS_PROMPT, get_sampling(sampling, max_tokens), AnswerCache(cache))

    def settings(self) -> dict[str, Any]:
        """The model, its revision, where it runs, and the sampling."""
        return _settings(self.asker)

    def digest(self) -> str:
        """The digest of the prompt."""
        return digest_of(self.asker.template)

    def _extract(self, answers: Sequence[Any]) -> list[list[str]]:
        found: list[list[str]] = [[] for _ in answers]
        texts: dict[int, str] = {}
        for number, answer in enumerate(answers):
            if isinstance(answer, str):
                if answer.strip():
                    texts[number] = answer.strip()
            elif not is_missing(answer):
                try:
                    found[number] = parse_labels(answer)
                except DataError as error:
                    raise DataError(f"answer {number}: {error}") from None
        for number, reply in zip(texts, _ask(self.asker, self._counts, list(texts.values())), strict=True):
            labels = read_label_answer(reply)
            self._counts["failed"] += labels is None
            found[number] = labels or []
        return found


class LLMSentiment(SentimentReader):
    """Asks a chat model for the sentiment of every list of labels.

    An empty list is neutral without asking. A reply that does not name exactly one sentiment gives "unknown", and
    counts as ``failed``.

    Args:
        model: See ``LLMExtractor``, also for the other arguments.
        base_url: See there.
        api_key_env: See there.
        revision: See there.
        sampling: See there.
        max_tokens: See there.
        cache: See there.
        backend: See there.

    Raises:
        ConfigError: If an argument is wrong.
    """

    name = "llm"

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        api_key_env: str | None = None,
        revision: str | None = None,
        sampling: str = "greedy",
        max_tokens: int = 512,
        cache: str | os.PathLike[str] | None = None,
        backend: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        chat = build_chat_model(model, base_url, api_key_env, revision, backend)
        self.asker = Asker(chat, SENTIMENT_PROMPT, get_sampling(sampling, max_tokens), AnswerCache(cache))

    def settings(self) -> dict[str, Any]:
        """The model, its revision, where it runs, and the sampling."""
        return _settings(self.asker)

    def digest(self) -> str:
        """The digest of the prompt."""
        return digest_of(self.asker.template)

    def _read(self, labels: Sequence[Sequence[str]]) -> list[str]:
        found = ["neutral"] * len(labels)
        texts: dict[int, str] = {}
        for number, sample in enumerate(labels):
            if not isinstance(sample, (list, tuple)) or not all(isinstance(label, str) for label in sample):
                raise DataError(f"sample {number} is {sample!r}; expected a list of labels, as an extractor returns it")
            if sample:
                texts[number] = f"[{', '.join(sample)}]"
        for number, reply in zip(texts, _ask(self.asker, self._counts, list(texts.values())), strict=True):
            sentiment = read_sentiment_answer(reply)
            self._counts["failed"] += sentiment is None
            found[number] = sentiment or UNKNOWN
        return found


def build_chat_model(
    model: str,
    base_url: str | None = None,
    api_key_env: str | None = None,
    revision: str | None = None,
    backend: Mapping[str, Any] | None = None,
) -> ChatModel:
    """A chat model, on a server if ``base_url`` is given, else in this process.

    Raises:
        ConfigError: If an argument is wrong.
    """
    target: Any
    args: dict[str, Any] = {"model": model, "revision": revision, **(backend or {})}
    if base_url is not None:
        from affectgpt.chat.server import ServerModel

        target = ServerModel
        args |= {"base_url": base_url, "api_key_env": api_key_env}
    else:
        from affectgpt.chat.local import LocalModel

        target = LocalModel
        if api_key_env is not None:
            raise ConfigError(f"api_key_env is {api_key_env!r}, but there is no base_url of a server to use it for")
    try:
        built: ChatModel = target(**args)
    except TypeError as error:
        raise ConfigError(f"backend of the chat model {model!r}: {error}") from None
    return built


def _settings(asker: Asker) -> dict[str, Any]:
    return {**asker.model.identity(), **asker.model.settings(), "sampling": asker.sampling.to_json()}


def _ask(asker: Asker, counts: Any, texts: list[str]) -> list[str]:
    """The replies; the counts of asked and of stored replies are updated even after a failure."""
    before = asker.num_asked, asker.num_cached
    try:
        return asker.ask(texts)
    finally:
        counts.update(asked=asker.num_asked - before[0], from_cache=asker.num_cached - before[1], failed=0)

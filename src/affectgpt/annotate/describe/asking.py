"""Asks a chat model about many clips, so that one clip's fault is one clip's answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from affectgpt.annotate.describe.published_prompts import StagePrompt
from affectgpt.annotate.stage import Answer, ClipRecord, Usage, failure_reason
from affectgpt.bench.extract.llm import build_chat_model
from affectgpt.chat.base import ChatModel
from affectgpt.chat.messages import Prompt
from affectgpt.chat.reply import Reply, is_refusal
from affectgpt.chat.sampling import Sampling
from affectgpt.chat.server import ServerModel
from affectgpt.errors import CheckpointError, ConfigError
from affectgpt.metrics.final_answer import read_answer

SMOLLM2 = "smollm2-135m-instruct"
"""The chat model that a Python package carries; it needs no network."""
_SENTENCE_END = re.compile(r"[.!?\u3002\uff01\uff1f][\"\u201d\u2019')]*(?=\s|$)|[\u3002\uff01\uff1f]")


def find_chat_model(
    model: str,
    base_url: str | None,
    api_key_env: str | None,
    revision: str | None,
    backend: Mapping[str, Any] | None,
) -> ChatModel:
    """A chat model on a server, of the hub, in a folder, or the packaged one.

    Raises:
        ConfigError: If an argument does not fit.
        CheckpointError: If the package with the weights is missing.
    """
    if model == SMOLLM2 and base_url is None:
        from affectgpt.llm.smollm2 import smollm2_folder

        model = str(smollm2_folder())
    return build_chat_model(model, base_url, api_key_env, revision, backend)


def identity_of_asking(
    chat: ChatModel, prompt: StagePrompt, sampling: Sampling, field: str, most_characters: int | None
) -> dict[str, Any]:
    """All that decides what a chat model answers to a prompt: for ``Stage.identity``."""
    return {
        **chat.identity(),
        "prompt": prompt.text,
        "prompt_source": prompt.source,
        "sampling": sampling.to_json(),
        "most_characters": most_characters,
        "writes": field,
    }


def ask_about(
    records: Iterable[ClipRecord],
    prompt_of: Callable[[ClipRecord], Prompt],
    chat: ChatModel,
    sampling: Sampling,
    to_answer: Callable[[Reply], Answer],
) -> Iterator[tuple[int, Answer]]:
    """Position and answer of every record, as the replies come in.

    Args:
        records: The clips; taken as they are needed.
        prompt_of: Makes the prompt of a clip; what it raises is the clip's fault.
        chat: The model.
        sampling: How it picks its answer.
        to_answer: Makes an answer of a reply.

    Raises:
        ConfigError: If no clip can be asked about; see ``ServerModel.replies``, as for the others.
        DataError: If many clips one after the other got no reply.
    """
    faults: list[tuple[int, Answer]] = []
    positions: list[int] = []

    def prompts() -> Iterator[Prompt]:
        for position, record in enumerate(records):
            try:
                prompt = prompt_of(record)
            except (ConfigError, CheckpointError):
                raise
            except Exception as error:
                faults.append((position, Answer.fail(failure_reason(error))))
                continue
            positions.append(position)
            yield prompt

    for number, reply in _replies(chat, prompts(), sampling):
        while faults:
            yield faults.pop()
        yield positions[number], to_answer(reply)
    while faults:
        yield faults.pop()


def text_answer(reply: Reply, field: str, most_characters: int | None) -> Answer:
    """The words of a reply as a field; a refusal and an empty answer are failures.

    Args:
        reply: What the model said.
        field: Name of the field.
        most_characters: A longer text is cut at the last end of a sentence before; ``None`` for no bound.
    """
    usage = Usage(1, reply.prompt_tokens or 0, reply.answer_tokens or 0)
    if reply.kind != "answered":
        return Answer.fail(f"{reply.kind}: {reply.reason}", usage)
    text = " ".join(read_answer(reply.text).text.split())
    if most_characters is not None:
        text = cut_to_sentences(text, most_characters)
    return Answer(fields={field: text}, usage=usage) if text else Answer.fail("the answer is empty", usage)


def cut_to_sentences(text: str, most: int) -> str:
    """At most so many characters, whole sentences if any fits.

    Examples:
        >>> cut_to_sentences("She smiles. She is happy. She lea", 30)
        'She smiles. She is happy.'
    """
    if len(text) <= most:
        return text
    ends = [found.end() for found in _SENTENCE_END.finditer(text[:most])]
    return text[: ends[-1]] if ends else text[:most].rstrip()


def _replies(chat: ChatModel, prompts: Iterator[Prompt], sampling: Sampling) -> Iterator[tuple[int, Reply]]:
    if isinstance(chat, ServerModel):
        yield from chat.replies(prompts, sampling)
        return
    for number, prompt in enumerate(prompts):  # one by one: what stands beside a prompt must not change its answer
        ((_, text),) = chat.complete([prompt], sampling)
        if not text.strip():
            yield number, Reply("failed", "", "the answer is empty")
        elif is_refusal(text):
            yield number, Reply("refused", text, "the answer is a stock refusal")
        else:
            yield number, Reply("answered", text)

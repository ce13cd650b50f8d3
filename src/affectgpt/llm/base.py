"""The contract of a language-model head: embeddings in; loss, log-probabilities or answers out.

``B`` rows, ``L`` tokens per row, ``E`` width of the embeddings, ``V`` vocabulary.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from affectgpt.deferred_weights import Entry
from affectgpt.errors import ConfigError
from affectgpt.llm.answer_sampling import AnswerSampling
from affectgpt.llm.logprobs import AnswerLogProbs, logprobs_of
from affectgpt.llm.packed_rows import hide_first_labels, number_runs
from affectgpt.llm.split_linear import TensorShare
from affectgpt.llm.written_answers import WrittenAnswers
from affectgpt.part import Part
from affectgpt.prompts.render import IGNORE
from affectgpt.prompts.template import AnswerEnd


@dataclass(frozen=True)
class LLMOutput:
    """What one pass over embeddings gives: with labels the loss of every token, else logits.

    A head takes no mean: over which tokens a loss is a mean is for the trainer to say, which sees the whole step.

    Attributes:
        logits: Float ``[B, L, V]``; ``None`` with labels, since a loss needs only a few of them.
        token_losses: float32 ``[B, L]``, the cross-entropy of the label at each position; 0 where nothing is learnt.
            ``None`` without labels.
        learnt: Bool ``[B, L]``; ``True`` where ``token_losses`` has the loss of a label. ``None`` without labels.
    """

    logits: Tensor | None = None
    token_losses: Tensor | None = None
    learnt: Tensor | None = None

    @property
    def loss(self) -> Tensor | None:
        """Mean over the supervised tokens of the batch, 0 where there are none; ``None`` without labels."""
        if self.token_losses is None or self.learnt is None:
            return None
        return self.token_losses.sum() / self.learnt.sum().clamp(min=1)


class HeadTokenizer(Protocol):
    """What the library needs of a head's tokenizer; every Hugging Face tokenizer has it.

    Attributes:
        pad_token_id: Fills padding and the positions of feature tokens.
        eos_token_id: Ends an answer.
        bos_token_id: Begins a prompt; ``None`` where the model has no such token.
    """

    pad_token_id: int
    eos_token_id: int
    bos_token_id: int | None

    def __call__(self, texts: list[str], *, add_special_tokens: bool, split_special_tokens: bool) -> Any:
        """Tokenize texts.

        Args:
            texts: The texts.
            add_special_tokens: Always ``False``: nothing is put before or after a text.
            split_special_tokens: Always ``True``: text that spells a special token, such as ``<eos>`` in a subtitle, is
                split into ordinary tokens.

        Returns:
            A mapping whose ``"input_ids"`` hold one list of token ids per text.
        """

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """Text of token ids; ``skip_special_tokens`` is ``True``."""


class LLMHead(Part):
    """A causal language model that reads embeddings.

    A subclass sets the two attributes and implements ``embed`` and ``forward``. ``write`` and ``logprobs`` need
    nothing more. A head overrides them to be faster if its model has a key-value cache, or an output layer that can be
    applied to a few tokens.

    Attributes:
        hidden_dim: Width E of the embeddings.
        tokenizer: See ``HeadTokenizer``.
        reads_on_host: Whether ``forward`` takes ``keep``, ``labels`` and ``sample_ids`` on the CPU, where prompts are
            made, beside embeddings on a device. What it finds out from them then waits for no device.
        tensor_share: Which share of its layers this rank holds; ``None`` where it holds all of them.
        attention_reason: Why its network runs the attention that it runs.
    """

    hidden_dim: int
    tokenizer: Any
    reads_on_host: ClassVar[bool] = False
    tensor_share: TensorShare | None = None
    attention_reason: str = "the network came with it"

    @abstractmethod
    def embed(self, ids: Tensor) -> Tensor:
        """Look embeddings up: int64 ``[B, L]`` to ``[B, L, E]``."""

    @abstractmethod
    def forward(
        self, embeds: Tensor, keep: Tensor, labels: Tensor | None = None, sample_ids: Tensor | None = None
    ) -> LLMOutput:
        """Run the model over embeddings.

        A token attends to itself and to the real tokens before it, so padding on either side changes nothing.

        Args:
            embeds: Float ``[B, L, E]``.
            keep: Bool ``[B, L]``; ``True`` marks a real token.
            labels: int64 ``[B, L]``; -100 where nothing is learnt. The output at position t predicts the label at t +
                1.
            sample_ids: int64 ``[B, L]`` if rows hold several samples, one after the other: tokens of one sample have
                the same number. Samples then do not attend to each other, positions begin at 0 in each, and a sample's
                first token is never learnt. ``None``: one sample per row.

        Raises:
            ConfigError: If the head cannot keep the samples of a packed row apart.
        """

    def generate(
        self,
        embeds: Tensor,
        keep: Tensor,
        max_new_tokens: int,
        stop: AnswerEnd | None = None,
        sampling: AnswerSampling | None = None,
    ) -> list[str]:
        """The texts of ``write``: ``sampling.num_answers`` a row; all answers of the first row come first."""
        return list(self.write(embeds, keep, max_new_tokens, stop, sampling).texts)

    @torch.no_grad()
    def write(
        self,
        embeds: Tensor,
        keep: Tensor,
        max_new_tokens: int,
        stop: AnswerEnd | None = None,
        sampling: AnswerSampling | None = None,
    ) -> WrittenAnswers:
        """Write answers.

        Args:
            embeds: Float ``[B, L, E]``, padded on the left.
            keep: Bool ``[B, L]``; ``True`` marks a real token.
            max_new_tokens: Longest answer, in tokens.
            stop: What ends an answer besides the end-of-sequence token.
            sampling: How tokens are drawn; greedy by default.
        """
        from affectgpt.llm.answer_loop import write_answers

        return write_answers(self, embeds, keep, max_new_tokens, stop or AnswerEnd(), sampling or AnswerSampling())

    def split(self, share: TensorShare, entries: Sequence[Entry]) -> list[Entry]:
        """Keep a share of the layers, in place; the ranks of the group then run the head together.

        Args:
            share: Which share.
            entries: Tensors that are yet to be read.

        Returns:
            The same, with what this rank reads of each.

        Raises:
            ConfigError: If the head, or this model, cannot be split.
        """
        raise ConfigError(f"the head {type(self).__name__} cannot be split over ranks; use the strategy fsdp2 or ddp")

    def answer_logits(self, embeds: Tensor, keep: Tensor, labels: Tensor) -> Tensor:
        """What predicts the tokens of given answers; gradients flow if autograd is on.

        Args:
            embeds: Float ``[B, L, E]``, the answers' own tokens included.
            keep: Bool ``[B, L]``; ``True`` marks a real token.
            labels: int64 ``[B, L]``: the answers' tokens; -100 elsewhere. A row's first token is never learnt.

        Returns:
            Logits ``[M, V]`` of the M tokens, all of the first row first.
        """
        logits: Tensor = self(embeds, keep).logits
        return logits[:, :-1][(labels[:, 1:] != IGNORE).to(logits.device)]

    def without_adapters(self) -> AbstractContextManager[None]:
        """Be the model without its adapters for as long as the context is open.

        Raises:
            ConfigError: If it has none.
        """
        raise ConfigError(f"the head {type(self).__name__} has no adapters that can be switched off")

    def logprobs(
        self, embeds: Tensor, keep: Tensor, labels: Tensor, sample_ids: Tensor | None = None
    ) -> AnswerLogProbs:
        """Log-probabilities of given answers; gradients flow if autograd is on.

        Args:
            embeds: Float ``[B, L, E]``, the answers' own tokens included.
            keep: Bool ``[B, L]``; ``True`` marks a real token.
            labels: int64 ``[B, L]``: the answers' tokens; -100 elsewhere.
            sample_ids: See ``forward``.
        """
        if sample_ids is not None:
            labels = hide_first_labels(labels, number_runs(sample_ids, keep))
        rows = []
        for i in range(len(embeds)):  # the logits of one row at a time
            row = slice(i, i + 1)
            logits = self(embeds[row], keep[row], None, None if sample_ids is None else sample_ids[row]).logits
            rows.append(logprobs_of(logits, labels[row]))
        return AnswerLogProbs.of(torch.cat(rows), labels, keep, sample_ids)

    def group_losses(self, embeds: Tensor, keep: Tensor, ids: Tensor, answered: Tensor) -> Tensor:
        """Cross-entropy of every token of several answers to each prompt; gradients flow if autograd is on.

        Args:
            embeds: Float ``[B, L, E]``, the prompts, padded on the left.
            keep: Bool ``[B, L]``; ``True`` marks a real token of a prompt.
            ids: int64 ``[N, A]``, the answers, padded on the right: equally many to each prompt, those to the first one
                come first.
            answered: Bool ``[N, A]``; ``True`` marks a token of an answer.

        Returns:
            float32 ``[N, A]``; 0 at padding.
        """
        device, length, group = embeds.device, embeds.shape[1], len(ids) // len(embeds)
        keep, ids, answered = keep.to(device), ids.to(device), answered.to(device)
        asked = embeds.repeat_interleave(group, 0)
        rows = torch.cat([asked, self.embed(ids).to(embeds.dtype)], 1)
        real = torch.cat([keep.repeat_interleave(group, 0), answered], 1)
        labels = torch.cat([ids.new_full(asked.shape[:2], IGNORE), ids.masked_fill(~answered, IGNORE)], 1)
        # what is real moves to the left, as in every other pass that learns
        order = real.int().argsort(dim=1, descending=True, stable=True)
        rows = rows.gather(1, order[:, :, None].expand_as(rows))
        out = self(rows, real.gather(1, order), labels.gather(1, order))
        if out.token_losses is None:
            raise ConfigError(f"the head {type(self).__name__} was given labels, and gave no token_losses")
        losses: Tensor = torch.zeros_like(out.token_losses).scatter(1, order, out.token_losses)[:, length:]
        return losses

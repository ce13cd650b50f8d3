"""A language-model head that owes nothing to Hugging Face: a GRU over bytes, with a tokenizer of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from affectgpt.llm import LLMHead, LLMOutput


class ByteTokenizer:
    """Bytes 0 to 255, then padding, beginning and end: just what ``HeadTokenizer`` asks for."""

    pad_token_id, bos_token_id, eos_token_id = 256, 257, 258

    def __call__(self, texts: list[str], *, add_special_tokens: bool, split_special_tokens: bool) -> dict[str, object]:
        assert split_special_tokens
        assert not add_special_tokens
        return {"input_ids": [list(text.encode()) for text in texts]}

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        assert skip_special_tokens
        return bytes(i for i in ids if i < 256).decode(errors="replace")


class GruHead(LLMHead):
    """Reads every sample of every row by itself."""

    def __init__(self, dim: int = 24) -> None:
        super().__init__()
        self.hidden_dim = dim
        self.tokenizer = ByteTokenizer()
        self.embedding = nn.Embedding(259, dim)
        self.gru = nn.GRU(dim, 2 * dim, batch_first=True)
        self.output = nn.Linear(2 * dim, 259)

    def embed(self, ids: Tensor) -> Tensor:
        return self.embedding(ids)

    def forward(
        self, embeds: Tensor, keep: Tensor, labels: Tensor | None = None, sample_ids: Tensor | None = None
    ) -> LLMOutput:
        logits = embeds.new_zeros(*keep.shape, 259)
        ids = keep.long() if sample_ids is None else sample_ids.masked_fill(~keep, 0)
        targets = None if labels is None else torch.full_like(labels, -100)
        for row in range(len(keep)):
            for number in ids[row].unique():
                if number == 0:
                    continue
                where = (ids[row] == number).nonzero().squeeze(1)
                logits[row, where] = self.output(self.gru(embeds[row, where][None])[0][0])
                if labels is not None:
                    targets[row, where[:-1]] = labels[row, where[1:]]
        if targets is None:
            return LLMOutput(logits=logits)
        losses = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")  # at the token before the label
        shift = (1, 0)
        return LLMOutput(token_losses=F.pad(losses[:, :-1], shift), learnt=F.pad(targets[:, :-1] != -100, shift))

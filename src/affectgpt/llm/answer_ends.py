"""Finds the token that ends an answer: an end-of-sequence token, a run of tokens, or a string."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from affectgpt.llm.base import HeadTokenizer


class AnswerEnds:
    """What ends an answer.

    Args:
        tokenizer: Reads tokens as text.
        eos: Tokens that end an answer.
        runs: Runs of tokens that do.
        strings: Strings that do.
    """

    def __init__(
        self,
        tokenizer: HeadTokenizer,
        eos: Collection[int],
        runs: Sequence[Sequence[int]] = (),
        strings: Sequence[str] = (),
    ) -> None:
        self._tokenizer = tokenizer
        self._eos = frozenset(eos)
        self._runs = [list(run) for run in runs]
        self._strings = list(strings)
        # a token may bring a part of a character only, so that a string of n characters takes at most 4n tokens
        self._reach = 4 * max(map(len, self._strings), default=0)

    def find(self, ids: Sequence[int], looked: int = 0) -> int | None:
        """Number of tokens up to and including the one that ends the answer; ``None`` if none does.

        Args:
            ids: The answer's tokens so far.
            looked: How many of them were looked at before, in vain.
        """
        text = self._strings and self._ends_in_text(ids[max(0, looked - self._reach) :])
        for count in range(looked + 1, len(ids) + 1):
            if ids[count - 1] in self._eos or any(list(ids[count - len(run) : count]) == run for run in self._runs):
                return count
            if text and self._ends_in_text(ids[max(0, count - 1 - self._reach) : count]):
                return count
        return None

    def _ends_in_text(self, ids: Sequence[int]) -> bool:
        text = self._tokenizer.decode(ids, skip_special_tokens=True)
        return any(string in text for string in self._strings)

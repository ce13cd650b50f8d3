"""Direct preference optimisation: the model learns which of two answers to a clip people prefer.

``P`` pairs, ``A`` tokens of the longest answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

import lightning
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from affectgpt.errors import ConfigError
from affectgpt.metrics.functional.preference import MIRRORED, parse_preference
from affectgpt.model.objective import Objective
from affectgpt.post_training.optimizer_step import take_step
from affectgpt.post_training.rank_exchange import over_ranks
from affectgpt.post_training.reference import Reference, ReferenceState
from affectgpt.post_training.rollouts import without_dropout
from affectgpt.prompts.preference import preference_wording
from affectgpt.prompts.template import PromptStyle
from affectgpt.training.step_loss import DataRanks
from affectgpt.types import Batch, PreferencePair


class PairLosses(NamedTuple):
    """The losses of pairs.

    Attributes:
        loss: float32 ``[P]``; gradients flow.
        better: What the better answer is worth beyond the reference, ``[P]``, without gradients.
        worse: The same of the worse one.
    """

    loss: Tensor
    better: Tensor
    worse: Tensor


def pair_losses(logprobs: Tensor, anchors: Tensor, beta: float) -> PairLosses:
    r"""The loss of each pair (Rafailov et al. 2023, arXiv 2305.18290, equation 7).

    An answer y is worth :math:`beta (\log p(y) - \log p_{ref}(y))`; the loss is ``-log sigmoid`` of what the better
    answer is worth more than the worse one.

    Args:
        logprobs: Log-probability of the better and of the worse answer, float32 ``[P, 2]``; gradients flow.
        anchors: The same under the reference.
        beta: How strongly the reference holds.

    Examples:
        >>> found = pair_losses(torch.tensor([[-1.0, -3.0]]), torch.tensor([[-2.0, -2.0]]), beta=0.5)
        >>> round(float(found.loss), 4), found.better.tolist(), found.worse.tolist()
        (0.3133, [0.5], [-0.5])
    """
    worth = beta * (logprobs - anchors)
    loss = -F.logsigmoid(worth[:, 0] - worth[:, 1])
    return PairLosses(loss, worth[:, 0].detach(), worth[:, 1].detach())


class Dpo(Objective):
    """Learns from preferences; give it to ``learn_by``.

    With the task ``preferred`` the two answers are the descriptions of the clip's pair; with ``preference`` they are
    the right verdict and the opposite one. Both answers share one pass over their prompt. A step takes care of its own
    update, so the trainer's ``accumulate_grad_batches`` and ``gradient_clip_val`` stay at their defaults.

    Args:
        beta: How strongly the reference holds: a small one lets the model go further from it.
        reference: See ``Reference``.
        pairs_per_pass: Pairs in one forward and backward pass; all of a batch by default.
        clip_norm: Largest norm of the gradient; ``None`` for no clipping.

    Raises:
        ConfigError: If a setting is out of its range.
    """

    is_automatic = False
    learns: ClassVar[str] = "which of two answers people prefer (direct preference optimisation)"

    def __init__(
        self,
        beta: float = 0.1,
        reference: str = "start",
        pairs_per_pass: int | None = None,
        clip_norm: float | None = 1.0,
    ) -> None:
        if not (math.isfinite(beta) and beta > 0) or (clip_norm is not None and clip_norm <= 0):
            raise ConfigError(f"dpo: beta is {beta!r} and clip_norm {clip_norm!r}; expected numbers above 0")
        if pairs_per_pass is not None and pairs_per_pass < 1:
            raise ConfigError(f"dpo: pairs_per_pass is {pairs_per_pass!r}; expected a whole number from 1")
        self.beta = beta
        self.reference = Reference(reference)
        self.pairs_per_pass = pairs_per_pass
        self.clip_norm = clip_norm

    def settings(self) -> Mapping[str, Any]:
        """How strongly which reference holds."""
        return {"beta": self.beta, "reference": self.reference.kind, "clip_norm": self.clip_norm}

    def callbacks(self) -> Sequence[lightning.Callback]:
        """What keeps the reference in checkpoints."""
        return [ReferenceState(self.reference)]

    def train(self, model: Any, batch: Batch) -> None:
        """Take an optimiser step with the pairs of a batch.

        Pairs without a preference do not count; a step without any is not taken.

        Args:
            model: An ``AffectGPT`` in training.
            batch: Clips with pairs, or with verdicts.

        Raises:
            ConfigError: If a sample has neither.
        """
        pairs = pairs_of(batch, model.style)
        size = self.pairs_per_pass or len(batch)
        pieces = [range(start, min(start + size, len(batch))) for start in range(0, len(batch), size)]
        ranks = DataRanks.of(model)
        most = over_ranks(ranks, [len(pieces)], model.device, highest=True)[0]
        pieces += [range(0)] * (int(most) - len(pieces))
        decided = sum(pair.is_decided for pair in pairs)
        num_decided = over_ranks(ranks, [decided], model.device)[0] / ranks.number
        model.steps.seen.samples += len(batch)
        model.log("train/undecided_pairs", float(len(pairs) - decided), batch_size=len(batch))
        if num_decided == 0:
            return
        with without_dropout(model):
            with torch.no_grad(), self.reference.in_place(model):
                anchors = [pair_logprobs(model, batch, pairs, piece)[0] for piece in pieces]
            done: list[PairLosses] = []

            def loss_of(number: int) -> Tensor:
                logprobs, num_tokens = pair_logprobs(model, batch, pairs, pieces[number])
                model.steps.seen.tokens += num_tokens
                counts = [pairs[row].is_decided for row in pieces[number]] or [False]
                is_decided = torch.tensor(counts, device=logprobs.device)
                found = pair_losses(logprobs, anchors[number], self.beta)
                done.append(PairLosses(*(values[is_decided] for values in found)))
                return found.loss.where(is_decided, 0 * found.loss).sum() / num_decided

            take_step(model, [partial(loss_of, number) for number in range(len(pieces))], self.clip_norm)
        self._log(model, done, len(batch))

    def _log(self, model: Any, done: Sequence[PairLosses], batch_size: int) -> None:
        loss, better, worse = (torch.cat(values) for values in zip(*done, strict=True))
        if not len(loss):
            return
        figures = {
            "train/loss": loss.detach().mean(),
            "dpo/accuracy": (better > worse).float().mean(),
            "dpo/margin": (better - worse).mean(),
            "dpo/better": better.mean(),
            "dpo/worse": worse.mean(),
        }
        for name, value in figures.items():
            model.log(name, value, prog_bar=name in ("train/loss", "dpo/accuracy"), batch_size=batch_size)


def pair_logprobs(model: Any, batch: Batch, pairs: Sequence[PreferencePair], rows: range) -> tuple[Tensor, int]:
    """Log-probabilities of the better and the worse answers, float32 ``[P', 2]``, and the tokens of the pass.

    Without rows it is a pass over the first pair, for ranks that must walk in step.
    """
    rows = rows or range(1)
    texts = [text for row in rows for text in (pairs[row].better, pairs[row].worse)]
    ids = model.network.renderer.answer_ids(texts)
    groups = tuple((tuple(ids[i]), tuple(ids[i + 1])) for i in range(0, len(ids), 2))
    out = model(replace(batch.rows(rows), answer_ids=groups))
    return -out.sample_losses.view(-1, 2), out.num_positions - out.num_padding


@torch.no_grad()
def finds_better_likelier(model: Any, batch: Batch) -> list[bool]:
    """Whether a model finds the better answer to each sample likelier than the worse one, given the clip.

    The probability is that of the whole answer, as in the loss of DPO; nothing is written.

    Args:
        model: An ``AffectGPT`` in eval mode.
        batch: Clips with pairs, or with verdicts, on the model's device.

    Raises:
        ConfigError: If a sample has neither.
    """
    found, _ = pair_logprobs(model, batch, pairs_of(batch, model.style), range(len(batch)))
    return (found[:, 0] > found[:, 1]).tolist()


def pairs_of(batch: Batch, style: PromptStyle) -> list[PreferencePair]:
    """The two answers to each sample of a batch: its descriptions, or, where it asks for a verdict, both verdicts.

    Raises:
        ConfigError: If a sample has neither.
    """
    wording = preference_wording(style)
    answers = batch.answers or (None,) * len(batch)
    brought = batch.pairs or (None,) * len(batch)
    pairs = []
    for key, question, answer, pair in zip(batch.keys, batch.questions, answers, brought, strict=True):
        if answer is not None and wording.asks(question):
            right = parse_preference(answer) or "same"
            wrong = MIRRORED[right]
            found = PreferencePair(wording.answer_of(right), wording.answer_of(wrong), right != wrong)
        elif pair is not None and question == style.description_question:
            found = pair
        else:
            raise ConfigError(
                f"dpo: sample {key!r} brings no pair of answers; give the datamodule the task preferred or preference, "
                "and shards of a table of pairs, such as track3_emoprefer"
            )
        pairs.append(found)
    return pairs

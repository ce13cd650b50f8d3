"""Distillation between views: what a model says of a whole clip teaches it what to say when something is missing.

``M`` tokens of the answers in a batch, ``V`` vocabulary, ``K`` tokens of the ``multi`` slot, ``E`` width of the LLM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import lightning
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from affectgpt.encoders.streams import MULTI
from affectgpt.errors import ConfigError
from affectgpt.llm.scatter import sent
from affectgpt.model.objective import Objective
from affectgpt.model.slot_content import SlotContent
from affectgpt.model.steps import leave_out
from affectgpt.post_training.reference import Reference
from affectgpt.prompts.render import IGNORE
from affectgpt.types import Batch

TEACHERS = ("current", "start")
LEAST_TEMPERATURE = 0.01


class ViewDistillation(Objective):
    """Learns from two views of each clip: the whole one, and what ``modality_dropout`` of the model leaves of it.

    The loss is a mean over the tokens of the batch's answers:

        full_weight * CE(whole) + partial_weight * CE(partial)
        + answer_weight * T^2 KL(p_whole || p_partial)          of the answers' tokens, at temperature T
        + token_weight * |z_whole - z_partial|^2 / |z_whole|^2  of the pre-fused tokens

    The whole view is not pulled towards the partial one: no gradient flows through it in the last two terms. Knowledge
    distillation: Hinton et al. 2015, arXiv 1503.02531; from the complete to the incomplete view in emotion
    recognition: Li et al. 2024 (self-distillation, arXiv 2410.15029).

    The tokens of the answers have their logits in memory, twice ``M * V`` in float32. Batches are averaged, as with
    ``loss: official``; ``slot_dropout`` and ``packing`` have no effect.

    Args:
        answer_weight: Weight of the divergence of the answers' tokens.
        token_weight: Weight of the distance of the pre-fused tokens, for a pre-fusion that takes any subset.
        full_weight: Weight of the cross-entropy of the whole view, which keeps it as good as it was.
        partial_weight: Weight of the cross-entropy of the partial view.
        temperature: T; above 1 the unlikely tokens weigh more.
        teacher: Who sees the whole view: ``current``, the model as it is; or ``start``, as it was at the beginning of
            the run, for which a copy of the trained weights is kept. The cross-entropy of the whole view is the
            model's own in both cases.

    Raises:
        ConfigError: If a setting is out of its range, or nothing is learnt.
    """

    learns: ClassVar[str] = (
        "what a teacher says of whole clips, while parts of them are missing (distillation between views)"
    )
    uses: ClassVar[tuple[str, ...]] = ("modality_dropout",)

    def __init__(
        self,
        answer_weight: float = 1.0,
        token_weight: float = 0.0,
        full_weight: float = 1.0,
        partial_weight: float = 1.0,
        temperature: float = 1.0,
        teacher: str = "current",
    ) -> None:
        weights = {
            "answer_weight": answer_weight,
            "token_weight": token_weight,
            "full_weight": full_weight,
            "partial_weight": partial_weight,
        }
        for name, value in {**weights, "temperature": temperature}.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise ConfigError(f"view-distillation: {name} is {value!r}; expected a number from 0")
        if not any(weights.values()):
            raise ConfigError("view-distillation: all weights are 0; nothing would be learnt")
        if temperature < LEAST_TEMPERATURE:
            raise ConfigError(
                f"view-distillation: temperature is {temperature}; expected at least {LEAST_TEMPERATURE}, below which "
                "one token has all the weight and gradients overflow"
            )
        if teacher not in TEACHERS:
            raise ConfigError(f"view-distillation: teacher is {teacher!r}; choose one of {', '.join(TEACHERS)}")
        self.answer_weight, self.token_weight = answer_weight, token_weight
        self.full_weight, self.partial_weight = full_weight, partial_weight
        self.temperature = temperature
        self.reference = Reference("start") if teacher == "start" else None

    def settings(self) -> Mapping[str, Any]:
        """The weights of the terms, the temperature and the teacher."""
        names = ("answer_weight", "token_weight", "full_weight", "partial_weight", "temperature")
        teacher = "current" if self.reference is None else self.reference.kind
        return {"teacher": teacher, **{name: getattr(self, name) for name in names}}

    def callbacks(self) -> Sequence[lightning.Callback]:
        """What keeps the teacher in checkpoints."""
        return [] if self.reference is None else [TeacherState(self.reference)]

    def train(self, model: Any, batch: Batch) -> Tensor:
        """The loss of one batch.

        Args:
            model: An ``AffectGPT`` in training, with ``modality_dropout``.
            batch: Clips with answers.

        Raises:
            ConfigError: If nothing is left out, there are no answers, or ranks share the weights.
        """
        _check(model, batch, joins=self.token_weight > 0)
        whole = _encoded(model, batch)
        full = taught = None
        if self.full_weight > 0:
            full = taught = look_at(model, whole)
        if self.answer_weight > 0 or self.token_weight > 0:
            taught = full if full is not None and self.reference is None else self._teach(model, whole)
        partial = look_at(model, leave_out(model, whole))
        terms = {"partial": (self.partial_weight, F.cross_entropy(partial.logits, partial.target))}
        if self.full_weight > 0 and full is not None:
            terms["full"] = (self.full_weight, F.cross_entropy(full.logits, full.target))
        if self.answer_weight > 0 and taught is not None:
            terms["answers"] = (self.answer_weight, divergence(taught.logits, partial.logits, self.temperature))
        if self.token_weight > 0 and taught is not None:
            terms["tokens"] = (self.token_weight, token_distance(taught.content, partial.content))
        loss = torch.stack([weight * value for weight, value in terms.values()]).sum()
        for name, (_, value) in terms.items():
            model.log(f"distil/{name}", value.detach(), batch_size=len(batch))
        model.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(batch))
        model.steps.seen.samples += len(batch)
        model.steps.seen.tokens += partial.num_tokens
        return loss

    @torch.no_grad()
    def _teach(self, model: Any, whole: Batch) -> Look:
        """What the teacher makes of the whole view, where no pass of the model itself says it."""
        with nullcontext() if self.reference is None else self.reference.in_place(model):
            return look_at(model, whole)


class Look(NamedTuple):
    """What a model makes of one view of a batch.

    Attributes:
        logits: float32 ``[M, V]``, what predicts the tokens of the answers.
        target: int64 ``[M]``, these tokens; the same for every view of the batch.
        content: The slots of the prompts.
        num_tokens: Real tokens of prompts and answers.
    """

    logits: Tensor
    target: Tensor
    content: SlotContent
    num_tokens: int


def look_at(model: Any, batch: Batch) -> Look:
    """Run a model over a batch with answers; gradients flow if autograd is on."""
    network = model.network
    content = network.look(batch)
    prompt = network.render(
        content, batch.questions, batch.subtitles, batch.answers, batch.keys, wordless=batch.wordless
    )
    embeds = network.place(prompt, content)
    logits = model.llm.answer_logits(embeds, prompt.keep, prompt.labels)
    target = prompt.labels[:, 1:][prompt.labels[:, 1:] != IGNORE]
    return Look(logits.float(), sent(target, embeds.device), content, int(prompt.keep.sum()))


def divergence(whole: Tensor, partial: Tensor, temperature: float = 1.0) -> Tensor:
    """Mean over the tokens of ``T^2 KL(softmax(whole / T) || softmax(partial / T))``, a scalar.

    Args:
        whole: float32 ``[M, V]``, logits of the teacher; no gradient flows into them.
        partial: float32 ``[M, V]``, logits of the student.
        temperature: T.

    Examples:
        >>> divergence(torch.tensor([[0.0, 0.0]]), torch.tensor([[5.0, 5.0]])).item()
        0.0
    """
    wanted = (whole.detach() / temperature).log_softmax(-1)
    found = (partial / temperature).log_softmax(-1)
    return temperature**2 * F.kl_div(found, wanted, reduction="batchmean", log_target=True)


def token_distance(whole: SlotContent, partial: SlotContent) -> Tensor:
    """Squared distance of the pre-fused tokens as a share of their squared length, a mean over the samples; a scalar.

    Samples whose partial view does not show these tokens do not count.
    """
    there = torch.tensor([a and b for a, b in zip(whole.present[MULTI], partial.present[MULTI], strict=True)])
    wanted, found = whole.tokens[MULTI].detach().float(), partial.tokens[MULTI].float()
    each = (wanted - found).square().flatten(1).sum(1) / wanted.square().flatten(1).sum(1).clamp(min=1e-12)
    counted = sent(there, each.device)
    return (each * counted).sum() / counted.sum().clamp(min=1)


class TeacherState(lightning.Callback):
    """Takes the teacher's weights before the first step, and keeps them in checkpoints.

    Args:
        reference: The teacher.
    """

    def __init__(self, reference: Reference) -> None:
        self.reference = reference

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Take the weights, unless a checkpoint brought some."""
        self.reference.remember(pl_module)

    def state_dict(self) -> dict[str, Any]:
        """The teacher's weights."""
        return {"teacher": self.reference.state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the teacher of a checkpoint."""
        self.reference.restore(state_dict["teacher"])


def _check(model: Any, batch: Batch, *, joins: bool) -> None:
    if batch.answers is None:
        raise ConfigError("a training batch needs answers; the datamodule was asked for none")
    if model.modality_dropout is None:
        raise ConfigError(
            "view-distillation: the model leaves nothing out, so there is no partial view; set model.modality_dropout, "
            "such as {modality: 0.5}"
        )
    if model.network.is_sharded:
        raise ConfigError("view-distillation does not run with weights that ranks share; use the strategy ddp")
    if joins and MULTI not in model.network.num_tokens:
        raise ConfigError("view-distillation: token_weight needs pre-fused tokens, but the pre-fusion is 'none'")


def _encoded(model: Any, batch: Batch) -> Batch:
    """The batch with the features of frozen encoders, which need not run again for another view."""
    frozen = {name: model.network.encode(name, batch) for name in model.specs if model.encoder(name).frozen}
    return replace(batch, features={**batch.features, **frozen})

"""Cross-entropy of given tokens, a few at a time, so that the logits of all of them are never held.

``M`` learnt tokens, ``E`` width of the model, ``V`` vocabulary. With a vocabulary of 152,000 the float32 logits of
1,000 tokens take 0.6 GB, their gradient as much again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

from affectgpt.part import in_eval_mode

PIECE_BYTES = 64 * 2**20
"""Most memory that one piece's logits take, in float32."""


def token_losses(hidden: Tensor, target: Tensor, output: nn.Module, vocabulary: int) -> Tensor:
    """Cross-entropy of every token.

    Where the output layer is frozen, the gradient of each token's loss is computed in the forward pass, piece by piece,
    and scaled in the backward pass: nothing is computed twice. (Liger-Kernel does so for a mean; here each token has a
    weight of its own, since the trainer decides what the loss is a mean of.) Where it is trained, each piece's logits
    are computed again in the backward pass.

    Args:
        hidden: ``[M, E]``, what the output layer reads.
        target: int64 ``[M]``, on the same device.
        output: The output layer, ``[M, E]`` to ``[M, V]``.
        vocabulary: V, from which the size of a piece follows.

    Returns:
        float32 ``[M]``; gradients flow where they are on.
    """
    size = max(1, PIECE_BYTES // (4 * vocabulary))
    if not torch.is_grad_enabled():
        pieces = zip(hidden.split(size), target.split(size), strict=True)
        return torch.cat([_losses(output, part, wanted) for part, wanted in pieces])
    if any(p.requires_grad for p in output.parameters()):
        pieces = zip(hidden.split(size), target.split(size), strict=True)
        found = [checkpoint(_losses, output, part, wanted, use_reentrant=False) for part, wanted in pieces]
        return torch.cat(found)
    losses: Tensor = _FrozenOutput.apply(hidden, target, output, size)
    return losses


def _losses(output: Callable[[Tensor], Tensor], hidden: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output(hidden).float(), target, reduction="none")


class _FrozenOutput(torch.autograd.Function):
    """Loss and gradient of each piece together; the output layer takes no gradient."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, target: Tensor, output: nn.Module, size: int) -> Tensor:
        losses, grads = [], []
        for part, wanted in zip(hidden.detach().split(size), target.split(size), strict=True):
            with torch.enable_grad():
                part = part.requires_grad_()
                found = _losses(output, part, wanted)
                # a token's loss depends on its own row alone: the gradient of their sum has that of each in its row
                grads.append(torch.autograd.grad(found.sum(), part)[0])
            losses.append(found.detach())
        ctx.save_for_backward(torch.cat(grads))
        return torch.cat(losses)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        (grad,) = ctx.saved_tensors
        return grad * grad_outputs[0][:, None].to(grad.dtype), None, None, None


@torch.no_grad()
def has_plain_output(network: Any) -> bool:
    """Whether the logits of a transformers model are what its output layer gives; some models cap or scale them."""
    weight = network.get_input_embeddings().weight
    if weight.is_meta:
        return True
    generator = torch.Generator().manual_seed(0)
    embeds = torch.randn(1, 2, weight.shape[1], generator=generator).to(weight.device, weight.dtype)
    with in_eval_mode(network):
        logits = network(inputs_embeds=embeds, use_cache=False).logits
        hidden = network.get_decoder()(inputs_embeds=embeds, use_cache=False).last_hidden_state
        return torch.allclose(network.get_output_embeddings()(hidden), logits, rtol=1e-3, atol=1e-3)

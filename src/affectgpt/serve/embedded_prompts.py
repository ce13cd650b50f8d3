"""Prompts as embeddings, for a language model on another server, in the form in which vLLM takes them."""

from __future__ import annotations

import base64
import io

import torch
from torch import Tensor

from affectgpt.model.network import Network
from affectgpt.model.slot_content import SlotContent
from affectgpt.prompts.render import PromptIds
from affectgpt.types import Batch


@torch.no_grad()
def prompt_embeds(network: Network, batch: Batch) -> list[Tensor]:
    """The whole prompts of a batch as embeddings, media tokens in their slots.

    Args:
        network: The network of a model in eval mode.
        batch: Clips and questions, on the model's device.

    Returns:
        For each sample float ``[L, E]`` on the CPU, without padding.
    """
    content = network.look(batch)
    prompt = network.render(content, batch.questions, batch.subtitles, keys=batch.keys)
    return rows_of(network, prompt, content)


@torch.no_grad()
def rows_of(network: Network, prompt: PromptIds, content: SlotContent) -> list[Tensor]:
    """The same for prompts that are rendered already."""
    embeds = network.place(prompt, content).cpu()
    return [row[keep] for row, keep in zip(embeds, prompt.keep, strict=True)]


def encode_embeds(embeds: Tensor) -> str:
    """Base64 of the file that ``torch.save`` makes of a prompt: the value of ``prompt_embeds`` in a request to vLLM.

    Args:
        embeds: Float ``[L, E]``: float32, bfloat16 or float16.
    """
    file = io.BytesIO()
    torch.save(embeds.detach().cpu().contiguous().clone(), file)  # a view would be saved with all that it is a view of
    return base64.b64encode(file.getvalue()).decode("ascii")

"""Sees, when a model is built, that each part keeps the contract of its kind (docs/plugins.md).

Attributes of every part are read. Parts that are not the library's own also make one small blank pass, in eval mode and
without gradients; it takes nothing from the random generators. Shape letters are those of ``affectgpt.types``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from affectgpt.encoders.base import AudioSpec, Encoder, VisualSpec
from affectgpt.errors import ConfigError, first_few, reason_of
from affectgpt.fusion.base import Pooling, PreFusion
from affectgpt.fusion.projector import Projector
from affectgpt.llm.base import LLMHead
from affectgpt.part import Part
from affectgpt.types import Features, Modality

PAGE = "docs/plugins.md"
_MISSING = object()


def check_encoder(encoder: Encoder) -> None:
    """See that an encoder says what it reads and how wide its vectors are.

    Raises:
        ConfigError: If an attribute is missing or is something else.
    """
    modality = _attribute(encoder, "modality", "Modality.VISUAL or Modality.AUDIO")
    if modality not in list(Modality):
        raise _fault(encoder, "modality", f"is {modality!r}", "Modality.VISUAL or Modality.AUDIO")
    _check_count(encoder, "out_dim", "the width D of a feature vector")
    wanted = VisualSpec if modality == Modality.VISUAL else AudioSpec
    spec = _attribute(encoder, "input_spec", f"{wanted.__name__}(...)")
    if not isinstance(spec, wanted):
        raise _fault(encoder, "input_spec", f"is {spec!r}", f"{wanted.__name__}(...), since it reads {modality}")


def check_encoding(encoder: Encoder, media: Tensor) -> None:
    """See what an encoder of another project makes of blank media.

    Args:
        encoder: The encoder.
        media: One clip, ``[1, T, ...]``.

    Raises:
        ConfigError: If it does not give features of the shape and type that it promises.
    """
    if not _can_try(encoder):
        return
    keep = torch.ones(1, media.shape[1], dtype=torch.bool)
    with _trial(encoder, media, keep) as (given, mask):
        made = _call(encoder, given, mask)
        if made is None:
            return
        wanted = "Features(hidden [B, T, out_dim], keep [B, T])"
        found = made[0]
        if not isinstance(found, Features):
            raise _fault(encoder, "forward", f"returned a {type(found).__name__}", wanted)
        if not isinstance(found.keep, Tensor) or found.keep.dtype != torch.bool:
            kind = found.keep.dtype if isinstance(found.keep, Tensor) else type(found.keep).__name__
            raise _fault(encoder, "forward", f"returned a keep mask of {kind}", "a mask of torch.bool, True for real")
        if found.keep.shape != mask.shape:
            shape = f"returned a keep mask of shape {list(found.keep.shape)} for media of {list(mask.shape)} steps"
            raise _fault(encoder, "forward", shape, "the mask that it was given, [B, T]")
        _check_tensor(encoder, found.hidden, (*mask.shape, encoder.out_dim), "hidden [B, T, out_dim]")


def check_fusion(part: Pooling | PreFusion) -> None:
    """See that a pooling or a pre-fusion gives as many tokens, as wide, as it says.

    Raises:
        ConfigError: If an attribute is missing or is something else, or the tokens of a part of another project are.
    """
    joins = isinstance(part, PreFusion)
    _check_count(part, "num_tokens", "the number of its tokens, K", least=0 if joins else 1)
    if part.num_tokens == 0:
        return
    _check_count(part, "out_dim", "the width of its tokens")
    if not _can_try(part):
        return
    dims = part.in_dims if isinstance(part, PreFusion) else (part.in_dim,)
    with _trial(part, *(torch.zeros(1, 2, dim) for dim in dims)) as hidden:
        streams = [Features(steps, torch.ones(1, 2, dtype=torch.bool, device=steps.device)) for steps in hidden]
        made = _call(part, streams if joins else streams[0])
        if made is not None:
            _check_tensor(part, made[0], (1, part.num_tokens, part.out_dim), "tokens [B, num_tokens, out_dim]")


def check_projector(projector: Projector) -> None:
    """See that a projector of another project gives tokens of the LLM's width.

    Raises:
        ConfigError: If it does not.
    """
    if not _can_try(projector):
        return
    with _trial(projector, torch.zeros(1, 1, projector.in_dim)) as (tokens,):
        made = _call(projector, tokens)
        if made is not None:
            _check_tensor(projector, made[0], (1, 1, projector.out_dim), "tokens [B, K, out_dim]")


def check_llm(llm: LLMHead) -> None:
    """See that a language model has its width, its embeddings, and a tokenizer with what is asked of one.

    Raises:
        ConfigError: If something is missing or is something else.
    """
    _check_count(llm, "hidden_dim", "the width E of the embeddings")
    _check_tokenizer(llm, _attribute(llm, "tokenizer", "a tokenizer"))
    if not _can_try(llm):
        return
    with _trial(llm, torch.full((1, 2), int(llm.tokenizer.pad_token_id))) as (ids,):
        made = _call(llm, ids, call="embed")
        if made is not None:
            _check_tensor(llm, made[0], (1, 2, llm.hidden_dim), "embeddings [B, L, hidden_dim]", call="embed")


def _check_tokenizer(llm: LLMHead, tokenizer: Any) -> None:
    needed = ("pad_token_id", "eos_token_id", "bos_token_id", "decode")
    lacking = [name for name in needed if getattr(tokenizer, name, _MISSING) is _MISSING]
    lacking += [] if callable(tokenizer) else ["__call__"]
    kind = type(tokenizer).__name__
    if lacking:
        raise _fault(llm, "tokenizer", f"is a {kind} without {first_few(lacking)}", f"one with {', '.join(needed)}")
    for name in ("pad_token_id", "eos_token_id"):
        value = getattr(tokenizer, name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise _fault(llm, "tokenizer", f"is a {kind} whose {name} is {value!r}", "an int")
    if _is_ours(llm):
        return
    call, text = "tokenizer(texts, add_special_tokens=False, split_special_tokens=True)", ["a", "b a"]
    try:
        made = tokenizer(text, add_special_tokens=False, split_special_tokens=True)
    except Exception as error:
        what = f"is a {kind} that cannot be called so: {type(error).__name__}: {reason_of(error)}"
        raise _fault(llm, "tokenizer", what, call) from error
    try:
        ids = [[int(number) for number in row] for row in made["input_ids"]]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        what = f"is a {kind} whose call returned a {type(made).__name__} without lists of ids"
        raise _fault(llm, "tokenizer", what, 'a mapping with "input_ids", one list of ids for each text') from error
    if len(ids) != len(text):
        what = f"is a {kind} that made {len(ids)} lists of ids of {len(text)} texts"
        raise _fault(llm, "tokenizer", what, "one list of ids for each text")
    try:
        words = tokenizer.decode(ids[0], skip_special_tokens=True)
    except Exception as error:
        what = f"is a {kind} whose decode cannot be called so: {type(error).__name__}: {reason_of(error)}"
        raise _fault(llm, "tokenizer", what, "decode(ids, skip_special_tokens=True)") from error
    if not isinstance(words, str):
        what = f"is a {kind} whose decode returned a {type(words).__name__}"
        raise _fault(llm, "tokenizer", what, "the text of a list of ids")


def _is_ours(part: Part) -> bool:
    return type(part).__module__.partition(".")[0] == "affectgpt"


def _can_try(part: Part) -> bool:
    """Whether a part makes the blank pass.

    The library's own parts are held to the contract by its tests, and weights without values (a model on the meta
    device, of which only the shapes are asked for) compute nothing.
    """
    lacks_values = torch.get_default_device().type == "meta" or any(p.is_meta for p in part.parameters())
    return not _is_ours(part) and not lacks_values


@contextmanager
def _trial(part: Part, *inputs: Tensor) -> Iterator[Sequence[Tensor]]:
    """The inputs on the part's device, with the part in eval mode and the random generators as they were afterwards."""
    tensors = [*part.parameters(), *part.buffers()]
    device = tensors[0].device if tensors else torch.device("cpu")
    dtype = next((p.dtype for p in part.parameters() if p.is_floating_point()), torch.float32)
    modes = {module: module.training for module in part.modules()}
    vectors = not isinstance(part, Encoder)  # an encoder takes media as they are
    moved = [x.to(device, dtype if vectors and x.is_floating_point() else x.dtype) for x in inputs]
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad():
        try:
            part.eval()
            yield moved
        finally:
            for module, mode in modes.items():
                module.training = mode


def _call(part: Part, *args: Any, call: str = "forward") -> tuple[Any] | None:
    """What a method returned; ``None`` where it failed.

    An error of the part's own says nothing of the contract (its kernels may be those of a GPU): it comes up at its use.
    """
    try:
        return (getattr(part, call)(*args),)  # forward, not part(...): hooks are for real uses
    except Exception:
        return None


def _attribute(part: Part, name: str, expected: str) -> Any:
    value = getattr(part, name, _MISSING)
    if value is _MISSING:
        raise _fault(part, name, "is missing", expected)
    return value


def _check_count(part: Part, name: str, meaning: str, least: int = 1) -> None:
    value = _attribute(part, name, f"an int: {meaning}")
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise _fault(part, name, f"is {value!r}", f"an int of {least} or more: {meaning}")


def _check_tensor(part: Part, made: Any, shape: Sequence[int], meaning: str, call: str = "forward") -> None:
    if not isinstance(made, Tensor):
        raise _fault(part, call, f"returned a {type(made).__name__}", f"a tensor: {meaning}")
    if tuple(made.shape) != tuple(shape) or not made.is_floating_point():
        what = f"returned {made.dtype} {list(made.shape)}, where the part's attributes say {list(shape)}"
        raise _fault(part, call, what, f"float {meaning}")


def _fault(part: Part, attribute: str, found: str, expected: str) -> ConfigError:
    name = f"{type(part).__module__}.{type(part).__qualname__}"
    return ConfigError(f"{name}.{attribute} {found}; expected {expected}. The contract of each kind: {PAGE}")

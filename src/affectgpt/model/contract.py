"""Checks, when a model is built, that each part keeps the contract of its kind (docs/plugins.md).

The attributes of every part are checked. Parts from outside the library also run once on a small blank input, in eval
mode and without gradients; the random generators keep their state. What a part makes of its first real input is looked
at instead where it fails on the blank one. Shape letters are those of ``affectgpt.types``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from affectgpt.encoders.base import AudioSpec, Encoder, InputSpec, VisualSpec
from affectgpt.errors import ConfigError, first_few, reason_of
from affectgpt.fusion.base import Pooling, PreFusion
from affectgpt.fusion.projector import Projector
from affectgpt.llm.base import LLMHead
from affectgpt.part import Part, in_eval_mode
from affectgpt.types import Features, Modality

PAGE = "docs/plugins.md"
_MISSING = object()
_MODALITIES = "Modality.VISUAL, Modality.AUDIO, or the modality of a source from a plug-in"


def check_encoder(encoder: Encoder) -> None:
    """Check that an encoder declares what it reads and how wide its vectors are.

    Raises:
        ConfigError: If an attribute is missing or has the wrong type or value.
    """
    modality = _attribute(encoder, "modality", _MODALITIES)
    if not isinstance(modality, str):
        raise _fault(encoder, "modality", f"is {modality!r}", _MODALITIES)
    _check_count(encoder, "out_dim", "the width D of a feature vector")
    built_in = {Modality.VISUAL: VisualSpec, Modality.AUDIO: AudioSpec}.get(Modality(modality), InputSpec)
    wanted = f"{built_in.__name__}(...)" if built_in is not InputSpec else f"an InputSpec of the modality {modality!r}"
    spec = _attribute(encoder, "input_spec", wanted)
    if not isinstance(spec, InputSpec) or spec.modality != modality:
        raise _fault(encoder, "input_spec", f"is {spec!r}", f"{wanted}, since it reads {modality}")


def check_encoding(encoder: Encoder, media: Tensor) -> None:
    """Check the features that an encoder of another project computes from blank media.

    Args:
        encoder: The encoder.
        media: One clip, ``[1, T, ...]``.

    Raises:
        ConfigError: If the features do not have the shape and type that the encoder promises.
    """
    keep = torch.ones(1, media.shape[1], dtype=torch.bool)
    _try(encoder, lambda device, dtype: (media.to(device), keep.to(device)), _judge_encoding)


def check_fusion(part: Pooling | PreFusion) -> None:
    """Check that a pooling or a pre-fusion returns tokens of the number and width that it declares.

    Raises:
        ConfigError: If an attribute is missing or wrong, or a part of another project returns tokens of another shape.
    """
    joins = isinstance(part, PreFusion)
    _check_count(part, "num_tokens", "the number of its tokens, K", least=0 if joins else 1)
    if part.num_tokens == 0:
        return
    _check_count(part, "out_dim", "the width of its tokens")
    dims = part.in_dims if isinstance(part, PreFusion) else (part.in_dim,)

    def blank(device: torch.device, dtype: torch.dtype) -> tuple[Any]:
        keep = torch.ones(1, 2, dtype=torch.bool, device=device)
        streams = [Features(torch.zeros(1, 2, dim, dtype=dtype, device=device), keep) for dim in dims]
        return (streams if joins else streams[0],)

    _try(part, blank, _judge_tokens)


def check_projector(projector: Projector) -> None:
    """Check that a projector of another project returns tokens of the LLM's width.

    Raises:
        ConfigError: If it does not.
    """
    _try(
        projector,
        lambda device, dtype: (torch.zeros(1, 1, projector.in_dim, dtype=dtype, device=device),),
        _judge_projection,
    )


def check_llm(llm: LLMHead) -> None:
    """Check the width, the embeddings and the tokenizer of a language model.

    Raises:
        ConfigError: If one of them is missing or wrong.
    """
    _check_count(llm, "hidden_dim", "the width E of the embeddings")
    _check_tokenizer(llm, _attribute(llm, "tokenizer", "a tokenizer"))
    padding = int(llm.tokenizer.pad_token_id)
    _try(llm, lambda device, dtype: (torch.full((1, 2), padding, device=device),), _judge_embedding, call="embed")


def _judge_encoding(encoder: Encoder, made: Any, media: Tensor, keep: Tensor) -> None:
    if not isinstance(made, Features):
        wanted = "Features(hidden [B, T, out_dim], keep [B, T])"
        raise _fault(encoder, "forward", f"returned a {type(made).__name__}", wanted)
    if not isinstance(made.keep, Tensor) or made.keep.dtype != torch.bool:
        kind = made.keep.dtype if isinstance(made.keep, Tensor) else type(made.keep).__name__
        raise _fault(encoder, "forward", f"returned a keep mask of {kind}", "a mask of torch.bool, True for real")
    if made.keep.shape != keep.shape:
        shape = f"returned a keep mask of shape {list(made.keep.shape)} for media of {list(keep.shape)} steps"
        raise _fault(encoder, "forward", shape, "the mask that it was given, [B, T]")
    _check_tensor(encoder, made.hidden, (*keep.shape, encoder.out_dim), "hidden [B, T, out_dim]")


def _judge_tokens(part: Pooling | PreFusion, made: Any, given: Features | Sequence[Features]) -> None:
    first = given if isinstance(given, Features) else given[0]
    shape = (first.hidden.shape[0], part.num_tokens, part.out_dim)
    _check_tensor(part, made, shape, "tokens [B, num_tokens, out_dim]")


def _judge_projection(projector: Projector, made: Any, tokens: Tensor) -> None:
    _check_tensor(projector, made, (*tokens.shape[:-1], projector.out_dim), "tokens [B, K, out_dim]")


def _judge_embedding(llm: LLMHead, made: Any, ids: Tensor) -> None:
    _check_tensor(llm, made, (*ids.shape, llm.hidden_dim), "embeddings [B, L, hidden_dim]", call="embed")


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
        what = f"is a {kind} that cannot be called like this: {type(error).__name__}: {reason_of(error)}"
        raise _fault(llm, "tokenizer", what, call) from error
    try:
        ids = [[int(number) for number in row] for row in made["input_ids"]]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        what = f"is a {kind} whose call returned a {type(made).__name__} without lists of ids"
        raise _fault(llm, "tokenizer", what, 'a mapping with "input_ids", one list of ids for each text') from error
    if len(ids) != len(text):
        what = f"is a {kind} that returned {len(ids)} lists of ids for {len(text)} texts"
        raise _fault(llm, "tokenizer", what, "one list of ids for each text")
    try:
        words = tokenizer.decode(ids[0], skip_special_tokens=True)
    except Exception as error:
        what = f"is a {kind} whose decode cannot be called like this: {type(error).__name__}: {reason_of(error)}"
        raise _fault(llm, "tokenizer", what, "decode(ids, skip_special_tokens=True)") from error
    if not isinstance(words, str):
        what = f"is a {kind} whose decode returned a {type(words).__name__}"
        raise _fault(llm, "tokenizer", what, "the text of a list of ids")


def _is_ours(part: Part) -> bool:
    return type(part).__module__.partition(".")[0] == "affectgpt"


def _try(
    part: Part,
    blank: Callable[[torch.device, torch.dtype], tuple[Any, ...]],
    judge: Callable[..., None],
    call: str = "forward",
) -> None:
    """Judge what a part of another project makes of blank input; or else of the first real one, once.

    The library's own parts are held to the contract by its tests. A part that fails on blank input may still work (its
    kernels may be those of a GPU), and weights without values (a model on the meta device, of which only the shapes
    are asked for) compute nothing.

    Args:
        part: The part.
        blank: Gives the input, from the part's device and type.
        judge: Raises a ``ConfigError``; it takes the part, what it made, and the input.
        call: The method to try.
    """
    if _is_ours(part):
        return
    lacks_values = torch.get_default_device().type == "meta" or any(p.is_meta for p in part.parameters())
    if not lacks_values:
        tensors = [*part.parameters(), *part.buffers()]
        device = tensors[0].device if tensors else torch.device("cpu")
        given = blank(device, next((p.dtype for p in part.parameters() if p.is_floating_point()), torch.float32))
        with _trial(part, device):
            try:
                made = getattr(part, call)(*given)  # forward, not part(...): hooks are for real uses
            except Exception:
                lacks_values = True  # an error of the part's own comes up again at its use
            else:
                judge(part, made, *given)
    if lacks_values:
        setattr(part, call, _FirstUse(part, call, judge))


class _FirstUse:
    """Stands for a method of a part until its first call, whose outcome it judges; it then gives way to the method."""

    def __init__(self, part: Part, call: str, judge: Callable[..., None]) -> None:
        self.part, self.call, self.judge = part, call, judge
        self.method = getattr(part, call)
        self.was_own = call in part.__dict__

    def __call__(self, *args: Any, **options: Any) -> Any:
        made = self.method(*args, **options)
        if self.was_own:
            setattr(self.part, self.call, self.method)
        else:
            self.part.__dict__.pop(self.call, None)
        self.judge(self.part, made, *args, *options.values())
        return made


@contextmanager
def _trial(part: Part, device: torch.device) -> Iterator[None]:
    """Within it the part is in eval mode without gradients; it and the random generators are afterwards as before."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad(), in_eval_mode(part):
        yield


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
        what = f"returned {made.dtype} {list(made.shape)}, but the part's attributes say {list(shape)}"
        raise _fault(part, call, what, f"float {meaning}")


def _fault(part: Part, attribute: str, found: str, expected: str) -> ConfigError:
    name = f"{type(part).__module__}.{type(part).__qualname__}"
    return ConfigError(f"{name}.{attribute} {found}; expected {expected}. The contract of each kind: {PAGE}")

"""The common base of every swappable part: a LightningModule that remembers how it was built."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import lightning
import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule

from affectgpt.types import Features

# not in types.py, which is imported without torch; every user of Features imports this file
torch.export.register_dataclass(Features, serialized_type_name="affectgpt.types.Features")
# a dataclass of two tensors, stored as input of a saved torch.export program
torch.serialization.add_safe_globals([Features])


class Part(lightning.LightningModule):
    """A LightningModule whose constructor arguments are its hyper-parameters, as plain JSON.

    A subclass declares its arguments in ``__init__`` and calls ``super().__init__()``; nothing else is needed for
    ``load_from_checkpoint`` to rebuild it. Arguments that are not plain JSON are refused with a ``TypeError``.

    A frozen part (``freeze()``) gets no gradients and stays in eval mode, whatever the trainer does.
    """

    _init_args: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:  # noqa: D102  stores the arguments; __init__ follows
        part = super().__new__(cls)
        # nn.Module.__setattr__ is not ready before __init__
        object.__setattr__(part, "_init_args", _bound_arguments(cls, args, kwargs))
        return part

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        signature = inspect.signature(cls.__init__)
        # __new__ takes any arguments; the signature of the part is that of __init__
        cls.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]

    def __init__(self) -> None:
        super().__init__()
        self._frozen = False
        self._was_trained = False
        # Lightning's save_hyperparameters collects arguments from the calling frames: if one module builds another in
        # its __init__, the inner one gets those of the outer one (tests/test_parts_contract.py shows it).
        self.hparams.update(copy.deepcopy(self._init_args))

    @property
    def class_name(self) -> str:
        """Name of the part's class; FSDP2 puts a class of its own in front of it."""
        return next(cls.__name__ for cls in type(self).__mro__ if not issubclass(cls, FSDPModule))

    @property
    def frozen(self) -> bool:
        """Whether the part gets no gradients and stays in eval mode."""
        return self._frozen

    def freeze(self) -> Self:
        """Stop training this part: no gradient, eval mode, until ``unfreeze``."""
        self._frozen = True
        super().freeze()
        return self

    @property
    def was_trained(self) -> bool:
        """Whether its weights may differ from its weight file: it was once unfrozen, or a checkpoint replaced them."""
        return self._was_trained

    def keep_weights(self) -> None:
        """Note that the weights differ from the weight file, so that checkpoints hold all of them."""
        self._was_trained = True

    def unfreeze(self) -> Self:
        """Train this part; checkpoints hold all its weights from then on."""
        self._frozen = False
        self._was_trained = True
        super().unfreeze()
        return self

    def train(self, mode: bool = True) -> Self:
        """Set the training mode; a frozen part stays in eval mode."""
        return super().train(mode and not self._frozen)

    def shard_units(self) -> list[nn.Module]:
        """Sub-modules that FSDP shards one by one, innermost first; by default the part as a whole."""
        return []

    def restored_prefixes(self) -> list[str]:
        """Prefixes of the state dict that ``__init__`` reads from a weight file; a checkpoint can leave them out."""
        return []

    def own_keys(self) -> list[str]:
        """Names under these prefixes that no weight file has, such as adapters; stored even where they are frozen."""
        return []


@contextmanager
def in_eval_mode(module: nn.Module) -> Iterator[None]:
    """Eval mode for a while: no dropout, no running statistics; each sub-module then has the mode that it had."""
    modes = [(one, one.training) for one in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for one, training in modes:
            one.training = training


def _bound_arguments(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of ``cls.__init__`` by name, defaults included, as plain JSON."""
    signature = inspect.signature(cls.__init__)  # type: ignore[misc]  # read, not called
    try:
        bound = signature.bind(None, *args, **kwargs)
    except TypeError:
        return {}  # copy and unpickle call __new__ bare; a wrong call fails in __init__ with Python's own message
    bound.apply_defaults()
    names = list(signature.parameters)[1:]
    values: dict[str, Any] = {}
    for name in names:
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            continue
        if kind is inspect.Parameter.VAR_KEYWORD:
            values |= bound.arguments.get(name, {})
        else:
            values[name] = bound.arguments[name]
    try:
        return dict(json.loads(json.dumps(values, default=_to_json)))
    except TypeError as error:
        raise TypeError(
            f"{cls.__name__}: its arguments must be plain JSON, so that a checkpoint holds them: {error}"
        ) from None


def _to_json(value: Any) -> Any:
    if hasattr(value, "to_json"):
        return value.to_json()
    raise TypeError(f"{type(value).__name__} {value!r} is not plain JSON")

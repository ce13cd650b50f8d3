"""Decides which parts of a stored model may be replaced when training starts from it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from affectgpt.checkpoints.io import ADDED_LATER, SAME_MATHS, SAME_RESULT, compare_config
from affectgpt.checkpoints.storable import Storable
from affectgpt.encoders.streams import MULTI
from affectgpt.errors import CheckpointError

log = logging.getLogger(__name__)

REPLACEABLE = ("llm", "projector", "prefusion")
"""Arguments of a model that may differ from those of the model that training starts from."""

LOCATION = SAME_RESULT | {"path", "revision", "dtype"}
"""Arguments that say where a language model is and how it is run, not which one it is."""


def kept_tensors(model: Storable, theirs: Mapping[str, Any], tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors of a stored model with which a model starts training; a warning names the parts that start anew.

    Encoders, poolings and prompt must be those of the stored model. Its language model may be replaced: adapters and
    projectors then start anew, because they belong to it. Its projectors may be replaced too, and its pre-fusion, with
    which the projector of its tokens starts anew. A language model for which only the location differs counts as the
    same one if the stored tensors fit it; so does a pre-fusion that takes other subsets of the same streams.

    Args:
        model: The model to train.
        theirs: Arguments of the stored model.
        tensors: Its tensors by name.

    Returns:
        A state dict for the model: the kept tensors, and the model's own tensors for the parts that start anew.

    Raises:
        CheckpointError: If anything else differs; the message lists the differences and what may differ.
    """
    ours = {**ADDED_LATER, **model.hparams}
    theirs = {**ADDED_LATER, **theirs}
    try:
        compare_config(ours, theirs, [name for name in SAME_MATHS if name not in REPLACEABLE])
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}. When training starts from a stored model, only its language model (model.llm), its projectors "
            "(model.projector) and its pre-fusion (model.prefusion) can be replaced; everything else must be kept"
        ) from None
    anew: list[str] = []
    if not _same_llm(model, ours["llm"], theirs["llm"], tensors):
        anew = ["llm.", "projectors."]
        log.warning(
            "THE LANGUAGE MODEL DIFFERS from that of the stored model (%s): its adapters and the projectors start anew",
            theirs["llm"].get("name"),
        )
    elif ours["projector"] != theirs["projector"]:
        anew = ["projectors."]
        log.warning("the projectors differ from those of the stored model: they start anew")
    if _joining(ours["prefusion"]) != _joining(theirs["prefusion"]):
        anew += ["prefusion.", f"projectors.{MULTI}."]
        log.warning(
            "the pre-fusion %s differs from that of the stored model, %s: it starts anew, with its projector",
            *(spec.get("name") for spec in (ours["prefusion"], theirs["prefusion"])),
        )
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(tuple(anew))}
    if not anew:
        return kept
    from_files = set(model.network.restored_keys())
    state = {name: tensor for name, tensor in model.state_dict().items() if name not in from_files}
    return kept | {name: tensor for name, tensor in state.items() if name.startswith(tuple(anew))}


def _joining(prefusion: Any) -> Any:
    """Which pre-fusion it is; the subsets of the streams for which its tokens are shown are no matter of weights."""
    args = {name: value for name, value in prefusion.get("args", {}).items() if name != "any_subset"}
    return prefusion.get("name"), args


def _same_llm(model: Storable, ours: Any, theirs: Any, tensors: Mapping[str, Any]) -> bool:
    def which(spec: Any) -> Any:
        args = spec.get("args", {})
        return spec.get("name"), {name: value for name, value in args.items() if name not in LOCATION}

    if ours == theirs:
        return True
    if which(ours) != which(theirs):
        return False
    state = model.state_dict()
    return all(
        name in state and state[name].shape == tensor.shape
        for name, tensor in tensors.items()
        if name.startswith("llm.")
    )

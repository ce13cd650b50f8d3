"""Decides which parts of a stored model may be replaced when training starts from it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from affectgpt.checkpoints.io import ADDED_LATER, SAME_MATHS, SAME_RESULT, compare_config
from affectgpt.checkpoints.merged_llm import digest_of_adapters, merged_adapters
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
    same one if the stored tensors fit it; so does what ``affectgpt export --merged`` made of the stored one, whose
    adapters are left out then, and a pre-fusion that takes other subsets of the same streams.

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
    if _is_merged(ours["llm"], theirs["llm"], tensors):
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("llm.")}
        log.info("the adapters of the stored model are merged into the language model; they are not loaded again")
    elif not _same_llm(model, ours["llm"], theirs["llm"], tensors):
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


def _is_merged(ours: Any, theirs: Any, tensors: Mapping[str, Any]) -> bool:
    """Whether our language model is a folder into which the stored model's adapters were merged.

    Raises:
        CheckpointError: If other adapters were merged into it, or it is to get adapters of its own as well.
    """
    folder = ours.get("args", {}).get("path")
    own = digest_of_adapters(tensors)
    if folder is None or own is None or folder == theirs.get("args", {}).get("path"):
        return False
    merged = merged_adapters(folder)
    if merged is None:
        return False
    if merged != own:
        raise CheckpointError(
            f"the language model in {folder} has other adapters merged into it than those of the stored model; make "
            "the folder from this one: affectgpt export CHECKPOINT FOLDER --merged"
        )
    if ours["args"].get("lora", {}) is not None:
        raise CheckpointError(
            f"the adapters of the stored model are merged into the language model in {folder}, so it takes no adapters "
            "of its own: set lora: null below model.llm.args, or take the language model as it was"
        )
    return True


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

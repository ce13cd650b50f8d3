"""Builds a model from a released checkpoint, and writes one in the released format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from affectgpt.checkpoints.official import released_config, released_file
from affectgpt.checkpoints.official.released_names import LAYOUTS
from affectgpt.checkpoints.storable import Storable, fill
from affectgpt.errors import CheckpointError
from affectgpt.files import draft

M = TypeVar("M", bound=Any)


def from_official(build: Callable[..., M], checkpoint: str | Path, layout: str | None, **options: Any) -> M:
    """Build the released model; see ``AffectGPT.from_official``.

    Fusions, token counts and adapters are those of the file's own configuration.

    Args:
        build: Builds a model from its arguments.
        checkpoint: The released ``.pth`` file.
        layout: The authors' name of the prompt layout, such as ``multiface_audio_face_text`` or
            ``multiframe_audio_frame_text``; by default that of the file's configuration.
        options: ``clip``, ``hubert`` and ``llm``: folder or hub id of CLIP ViT-L/14, Chinese HuBERT-large and
            Qwen2.5-7B-Instruct. ``bert``: folder of the BERT that has the sizes of the Q-Formers, if they are not those
            of bert-base. ``encoder_dtype``: type of the encoders' weights. ``llm_dtype``: type of the frozen language
            model's weights; ``float32`` to compare numbers. ``attention``: attention backend of the language model.

    Raises:
        CheckpointError: If the file cannot be read, or does not fit the folders; every difference is listed.
        ConfigError: If the layout is neither given nor named by the file.
    """
    file = released_file.read_official(checkpoint)
    name = released_config.choose_layout(file, layout)
    options = {key: str(value) if isinstance(value, Path) else value for key, value in options.items()}
    args = released_config.model_arguments(file, LAYOUTS[name], **options)
    with torch.device("meta"):  # shapes first, so that a file that does not fit is refused before gigabytes are read
        complete = build(**released_config.model_arguments(file, None, **options))
        planned = build(**args)
    expected = released_file.expected_tensors(complete)
    released_file.check_tensors(file, expected, tied=released_file.has_tied_output(complete))
    known, carried = released_file.place_tensors(file, expected, LAYOUTS[name], planned.state_dict())
    args["official"] = {
        "layout": name,
        "epoch": file.epoch,
        "config": dict(file.config),
        "carried": {theirs: list(tensor.shape) for theirs, tensor in carried.items()},
    }
    model = build(**args)
    known |= {released_file.CARRIED + theirs.replace(".", "/"): tensor for theirs, tensor in carried.items()}
    fill(model, known, checkpoint)
    return model


def save_official(model: Storable, path: str | Path) -> None:
    """Write the trained weights in the released format, for the authors' own code.

    Args:
        model: A model that came from a released checkpoint.
        path: The ``.pth`` file to write. Optimiser and scaler are not written; configuration and epoch are those of the
            file that the model came from, even after more training.

    Raises:
        CheckpointError: If the model did not come from a released checkpoint.
    """
    origin = model.hparams.get("official")
    if not origin:
        raise CheckpointError(
            "only a model that came from a released checkpoint can be written as one: the format has weights that "
            "other models lack, such as an image projector; use save_pretrained"
        )
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    state = released_file.official_state(
        model.state_dict(), trained, LAYOUTS[origin["layout"]], tied=released_file.has_tied_output(model)
    )
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with draft(path) as file:
        torch.save({"model": state, "config": dict(origin["config"]), "epoch": origin["epoch"]}, file)

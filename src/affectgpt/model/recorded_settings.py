"""Turns a model's arguments into the settings that are stored with it: plain JSON, without those of the run."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from affectgpt.encoders.streams import StreamSpec
from affectgpt.media.profile import MediaProfile
from affectgpt.registry import Spec
from affectgpt.training.optim import OptimSpec

OF_THE_RUN = ("features", "allow_import", "packing", "answered_val_batches")
"""Arguments that belong to a run, not to the model."""


def record_settings(
    settings: MutableMapping[str, Any],
    streams: Mapping[str, StreamSpec],
    parts: Mapping[str, Spec | str],
    *,
    media: MediaProfile,
    optim: OptimSpec,
) -> None:
    """Replace arguments by plain JSON, in place, and drop those of the run.

    Args:
        settings: The arguments as they were given.
        streams: Stream name to its spec.
        parts: Argument name to the part that it names.
        media: How clips are decoded.
        optim: Optimiser settings.
    """
    settings.update({name: Spec.of(given).to_json() for name, given in parts.items()})
    settings["streams"] = {name: spec.to_json() for name, spec in streams.items()}
    settings.update(media=media.to_json(), optim=optim.to_json())
    for name in OF_THE_RUN:
        del settings[name]

"""The configuration of a short ``affectgpt fit`` of a tiny model, as a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tinytrain import SMALL


def write_fit_config(
    path: Path,
    shards: Path,
    *,
    model: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    trainer: Mapping[str, Any] | None = None,
    **sections: Any,
) -> Path:
    """Write it; the run's files go beside it.

    Args:
        path: The file.
        shards: The training set.
        model: Arguments of the model besides those of ``SMALL``.
        data: Arguments of the datamodule besides those that are needed.
        trainer: Arguments of the trainer besides those that keep it quiet.
        sections: Further sections, such as ``objective``.
    """
    of_data = {"train": str(shards), "batch_size": 2, "num_workers": 0, "task": "labels", **(data or {})}
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    config = {
        "model": {**SMALL, **(model or {})},
        "data": {"name": "mercaption", "args": of_data},
        "trainer": {**quiet, "default_root_dir": str(path.parent), **(trainer or {})},
        **sections,
    }
    path.write_text(yaml.safe_dump(config))
    return path

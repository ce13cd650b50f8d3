"""A stored model that the tests of this folder damage or forge."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from affectgpt import AffectGPT


@pytest.fixture(scope="module")
def honest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model of the module's ``CONFIG``, as ``model/`` and as ``model.ckpt``."""
    folder = tmp_path_factory.mktemp("honest")
    torch.manual_seed(5)
    model = AffectGPT(**request.module.CONFIG)
    model.save_pretrained(folder / "model")
    model.save_checkpoint(folder / "model.ckpt")
    return folder

"""Whatever stands in the files of a stored model, only the library's own errors come out."""

from __future__ import annotations

import contextlib
import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affectgpt import AffectGPT
from affectgpt.checkpoints.model_folder import MAX_JSON_BYTES
from affectgpt.errors import AffectGPTError, CheckpointError
from affectgpt.features import EncoderSet

CONFIG: dict[str, Any] = {
    "streams": {"frame": {"encoder": {"name": "tiny-vision", "args": {"size": 16, "dim": 8, "channels": 2}}}},
    "llm": {"name": "tiny", "args": {"dim": 16, "layers": 1, "heads": 2, "lora": None}},
    "media": {"frame_height": 32, "frame_width": 32, "num_frames": 2},
    "style": "brief",
}
WRONG = [
    None,
    True,
    0,
    -1,
    2.5,
    float("nan"),
    "x",
    "",
    [],
    {},
    [1],
    [None],
    [[]],
    {"a": 1},
    {"name": 3},
    10**400,
    "\ud83d",
]
FUZZ = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def copied(honest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the same weights whose JSON the tests replace."""
    folder = tmp_path_factory.mktemp("copied") / "model"
    shutil.copytree(honest / "model", folder)
    return folder


def load(folder: Path, name: str, content: Any) -> None:
    """Load the model with another content of one file; only our errors may come out."""
    before = (folder / name).read_bytes()
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    (folder / name).write_bytes(text)
    try:
        with contextlib.suppress(AffectGPTError):
            AffectGPT.from_pretrained(folder)
    finally:
        (folder / name).write_bytes(before)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    return [at, *(place for key, item in inner for place in places(item, (*at, key)))]


def changed(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    if not at:
        return new
    copied = copy.copy(value)
    copied[at[0]] = changed(value[at[0]], at[1:], new)
    return copied


@pytest.mark.parametrize("name", ["config.json", "self_test.json"])
@FUZZ
@given(data=st.data())
def test_wrong_types_anywhere(name, data, honest, copied):
    content = json.loads((honest / "model" / name).read_text())
    place = data.draw(st.sampled_from(places(content)))
    load(copied, name, changed(content, place, data.draw(st.sampled_from(WRONG))))


def test_every_wrong_type_of_every_key_of_the_self_test(honest, copied):
    content = json.loads((honest / "model" / "self_test.json").read_text())
    for place in [place for place in places(content) if len(place) < 3]:
        for wrong in WRONG:
            load(copied, "self_test.json", changed(content, place, wrong))


@pytest.mark.parametrize("name", ["config.json", "self_test.json", "model.safetensors"])
@FUZZ
@given(data=st.data())
def test_bytes_that_are_cut_or_changed(name, data, honest, copied):
    content = bytearray((honest / "model" / name).read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, min(len(content), 600) - 1))] = data.draw(st.integers(0, 255))
    load(copied, name, bytes(content[: data.draw(st.integers(0, len(content)))]))


@pytest.mark.parametrize("name", ["config.json", "self_test.json"])
def test_json_that_is_deep_large_or_in_another_encoding(name, copied):
    for text in (b"[" * 100_000, b'{"model":' * 100_000, b"9" * 10_000, "{}".encode("utf-16"), b"\xff\xfe", b"NaN"):
        load(copied, name, text)
    deep: Any = 1
    for _ in range(200):
        deep = {"a": deep}
    load(copied, name, {"format": 1, "style_digest": "x", "model": deep})
    before = (copied / name).read_bytes()
    (copied / name).write_bytes(b" " * (MAX_JSON_BYTES + 1))
    with pytest.raises(CheckpointError, match="may have at most 16777216"):
        AffectGPT.from_pretrained(copied)
    (copied / name).write_bytes(before)


@FUZZ
@given(data=st.data())
def test_wrong_types_anywhere_in_a_checkpoint(data, honest, tmp_path_factory):
    checkpoint = torch.load(honest / "model.ckpt", weights_only=True)
    outer = {key: value for key, value in checkpoint.items() if key != "state_dict"}
    place = data.draw(st.sampled_from(places(outer)[1:]))
    wrong = data.draw(st.sampled_from([w for w in WRONG if not isinstance(w, int) or abs(w) < 2**60]))
    path = tmp_path_factory.mktemp("broken") / "model.ckpt"
    torch.save({**checkpoint, **changed(outer, place, wrong)}, path)
    for read in (AffectGPT.from_checkpoint, EncoderSet.from_checkpoint):
        with contextlib.suppress(AffectGPTError):
            read(path)


@pytest.mark.parametrize("state", [None, 3, [], {"a": 1}, {3: torch.ones(1)}, {"encoders": {"a": torch.ones(1)}}])
def test_a_checkpoint_without_tensors(state, honest, tmp_path):
    checkpoint = torch.load(honest / "model.ckpt", weights_only=True)
    torch.save({**checkpoint, "state_dict": state}, tmp_path / "model.ckpt")
    with pytest.raises(CheckpointError):
        AffectGPT.from_checkpoint(tmp_path / "model.ckpt")
    with pytest.raises(CheckpointError):
        EncoderSet.from_checkpoint(tmp_path / "model.ckpt")

"""What a stranger's model may not do: every form of naming code or a place, as file and folder, by every verb."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.checkpoints import pass_gate
from affectgpt.cli.main import main
from affectgpt.errors import AffectGPTError, CheckpointError
from affectgpt.features import EncoderSet
from clipmaker import make_clip
from setmaker import make_processed

pytestmark = pytest.mark.filterwarnings("ignore")

CONFIG: dict[str, Any] = {
    "streams": {
        "audio": {"encoder": {"name": "tiny-audio", "args": {"dim": 8, "num_mels": 8, "channels": 4}}},
        "frame": {"encoder": {"name": "tiny-vision", "args": {"size": 16, "dim": 8, "channels": 2}}},
    },
    "llm": {"name": "tiny", "args": {"dim": 32, "lora": {"rank": 2, "targets": ["q_proj"]}, "trainable": False}},
    "media": {"frame_height": 32, "frame_width": 32, "segment_seconds": 0.2, "num_frames": 2},
    "style": "brief",
    "max_tokens": 256,
}
CODE = "payload_module:run"
ORDER = {"class_path": "os.system", "init_args": {"command": "touch PWNED"}}


def put(*path: str) -> Callable[[dict[str, Any], Any], None]:
    def change(config: dict[str, Any], value: Any) -> None:
        for name in path[:-1]:
            config = config[name]
        config[path[-1]] = copy.deepcopy(value)

    return change


ORDERS = {
    "llm argument": (put("llm", "args", "lora"), ORDER),
    "deep in an argument": (put("llm", "args", "lora"), {"a": [{"b": ORDER}]}),
    "encoder argument": (put("streams", "frame", "encoder", "args", "dim"), ORDER),
    "stream": (put("streams", "frame"), ORDER),
    "llm": (put("llm"), ORDER),
    "media": (put("media"), ORDER),
    "optim": (put("optim"), ORDER),
    "official": (put("official"), {"config": {"model": ORDER}}),
    "lightning's instantiator": (put("_instantiator"), "lightning.pytorch.cli.instantiate_module"),
}
PARTS = {
    "llm": (put("llm"), CODE),
    "llm by name": (put("llm"), {"name": CODE}),
    "pre-fusion": (put("prefusion"), CODE),
    "pre-fusion by name": (put("prefusion"), {"name": CODE, "args": {}}),
    "stream": (put("streams", "frame"), CODE),
    "encoder": (put("streams", "frame", "encoder"), CODE),
    "encoder by name": (put("streams", "frame", "encoder"), {"name": CODE}),
    "pooling": (put("streams", "frame", "pooling"), CODE),
    "pooling by name": (put("streams", "frame", "pooling"), {"name": CODE}),
    "in an argument": (put("streams", "frame", "encoder", "args", "inner"), CODE),
    "in an argument by name": (put("llm", "args", "inner"), [{"name": CODE}]),
    "a module that is no identifier": (put("llm"), "payload-module:run"),
}
PLACES = {
    "features": (put("features"), "http://127.0.0.1:9/features"),
    "features in a folder": (put("features"), ["/shards"]),
    "path": (put("llm", "args", "path"), "http://127.0.0.1:9/lm"),
    "share": (put("llm", "args", "path"), "\\\\127.0.0.1\\lm"),
    "wheel": (put("wheel"), "https://127.0.0.1:9/wheel"),
    "trust": (put("allow_import"), True),
}
PAYLOADS = [
    pytest.param(*payload, id=f"{kind}: {name}")
    for kind, table in (("order", ORDERS), ("part", PARTS), ("place", PLACES))
    for name, payload in table.items()
]


@pytest.fixture
def traps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Modules that leave a file when they are imported; a working directory in which commands would leave one."""
    pwned = tmp_path / "PWNED"
    for name in ("payload_module", "payload-module"):
        (tmp_path / f"{name}.py").write_text(f"open({str(pwned)!r}, 'w')\nrun = dict\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield pwned
    for name in ("payload_module", "payload-module"):
        sys.modules.pop(name, None)
    assert not pwned.exists(), "code of a stored model was run"


def store(honest: Path, folder: Path, form: str, change: Callable[[dict[str, Any], Any], None], value: Any) -> Path:
    """The honest model with changed arguments."""
    if form == "file":
        checkpoint = torch.load(honest / "model.ckpt", weights_only=True)
        change(checkpoint["hyper_parameters"], value)
        torch.save(checkpoint, folder / "model.ckpt")
        return folder / "model.ckpt"
    target = folder / "model"
    target.mkdir()
    for file in (honest / "model").iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    record = json.loads((target / "config.json").read_text())
    change(record["model"], value)
    (target / "config.json").write_text(json.dumps(record))
    return target


@pytest.mark.parametrize("form", ["file", "folder"])
@pytest.mark.parametrize(("change", "value"), PAYLOADS)
def test_a_payload_is_refused_by_every_reader(change, value, form, honest, traps, tmp_path):
    source = store(honest, tmp_path, form, change, value)
    readers: list[Callable[..., Any]] = [AffectGPT.load, EncoderSet.from_checkpoint]
    readers += [AffectGPT.from_checkpoint, AffectGPT.load_from_checkpoint] if form == "file" else []
    readers += [AffectGPT.from_pretrained] if form == "folder" else []
    for reader in readers:
        with pytest.raises(
            CheckpointError,
            match=r"instruction to import|names code to import|names a location|features|sets allow_import itself",
        ):
            reader(source)


VERBS: dict[str, Callable[[Path, Path, Path], list[str]]] = {
    "fit": lambda source, shards, out: ["fit", "--config", str(run_file(out, shards)), "--start", str(source)],
    "predict": lambda source, shards, out: ["predict", "--checkpoint", str(source), str(out / "clip.mp4")],
    "encode": lambda source, shards, out: ["encode", str(source), str(shards), str(out / "features")],
    "convert": lambda source, shards, out: ["convert", str(source), str(out / "other.ckpt")],
    "bench": lambda source, shards, out: [
        *("bench", "--model", str(source), "--data", str(sims(out)), "--sets", "sims", "--allow-partial"),
        *("--out", str(out / "bench")),
    ],
}


def sims(folder: Path) -> Path:
    make_processed(folder / "sets", "sims", 2, clip=make_clip(0.3))
    return folder / "sets"


def run_file(folder: Path, shards: Path) -> Path:
    file = folder / "fit.yaml"
    file.write_text(
        f"data: {{name: mercaption, args: {{train: {shards}, batch_size: 2}}}}\n"
        "trainer: {max_steps: 1, accelerator: cpu, logger: false, enable_progress_bar: false, "
        f"enable_model_summary: false, default_root_dir: {folder}}}\n"
    )
    return file


@pytest.mark.parametrize("payload", ["order", "bare", "nested", "place"])
@pytest.mark.parametrize("form", ["file", "folder"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_payload_is_refused_by_every_verb(verb, form, payload, honest, shards, traps, tmp_path, capsys):
    payloads = {
        "order": ORDERS["llm argument"],
        "bare": PARTS["llm"],
        "nested": PARTS["in an argument"],
        "place": PLACES["features"],
    }
    source = store(honest, tmp_path, form, *payloads[payload])
    assert main(VERBS[verb](source, shards, tmp_path)) == 1
    said = "".join(capsys.readouterr())
    assert "instruction to import" in said if payload == "order" else "allow_import" in said


def test_a_trusted_model_may_name_code(honest, tmp_path, monkeypatch):
    (tmp_path / "trusted_module.py").write_text("from affectgpt.llm import TinyLM as Head\n")
    monkeypatch.syspath_prepend(tmp_path)
    source = store(honest, tmp_path, "file", put("llm", "name"), "trusted_module:Head")
    with pytest.raises(CheckpointError, match=r"names code to import, 'trusted_module:Head', .* \(llm.name\)"):
        AffectGPT.load(source)
    assert AffectGPT.load(source, allow_import=True).llm.hidden_dim == 32


def test_a_registry_is_asked_with_the_callers_word(tmp_path, traps):
    """The second lock: names that no walk over the arguments would find are refused where the part is built."""
    with pytest.raises(AffectGPTError, match="allow_import=True"):
        AffectGPT(**{**CONFIG, "llm": CODE}, allow_import=False)
    with pytest.raises(AffectGPTError, match="allow_import=True"):
        AffectGPT(**{**CONFIG, "streams": {"frame": {"encoder": "tiny-vision", "pooling": CODE}}}, allow_import=False)
    with pytest.raises(AffectGPTError, match="allow_import=True"):
        EncoderSet({"frame": CODE}, allow_import=False)


def test_the_word_tables_that_a_stored_model_names_are_not_read(honest, tmp_path):
    source = store(honest, tmp_path, "folder", put("wheel"), str(tmp_path / "tables"))
    model = AffectGPT.load(source)
    with pytest.raises(CheckpointError, match="not read because a stored model names it"):
        model.steps.scores.take("val", model.device)


def test_what_real_models_store_passes():
    config = {**CONFIG, "llm": {"name": "causal-lm", "args": {"path": "Qwen/Qwen2.5-7B", "tokens": {"bos": "<|a:b|>"}}}}
    assert pass_gate(config, "x", allow_import=False) == config
    released = {**config, "official": {"config": {"run": {"dist_url": "env://", "device": "cuda:0"}}}}
    assert pass_gate(released, "x", allow_import=False) == released
    windows = {**config, "llm": {"name": "causal-lm", "args": {"path": "C:\\models\\qwen"}}}
    assert pass_gate(windows, "x", allow_import=False) == windows


def test_a_users_own_order_is_no_order_either(shards, tmp_path, monkeypatch, capsys):
    """The arguments of parts are data in every configuration."""
    monkeypatch.chdir(tmp_path)
    config = copy.deepcopy(CONFIG)
    config["llm"]["args"]["lora"] = ORDER
    file = run_file(tmp_path, shards)
    file.write_text(file.read_text() + f"model: {json.dumps(config)}\n")
    assert main(["fit", "--config", str(file)]) == 1
    assert not (tmp_path / "PWNED").exists()
    capsys.readouterr()

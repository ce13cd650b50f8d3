"""A folder that somebody made cannot run its code here, by whichever part it is read."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import affectgpt
from affectgpt.chat.local import LocalModel
from affectgpt.chat.sampling import SAMPLINGS
from affectgpt.encoders import ClipVitEncoder, SpeechEncoder, TimmEncoder, TorchaudioEncoder
from affectgpt.errors import AffectGPTError, CheckpointError
from affectgpt.llm import CausalLM, TinyLM
from affectgpt.media.speech.transformers import TransformersAsr

READERS: dict[str, Callable[[str], Any]] = {
    "causal-lm": CausalLM,
    "clip": ClipVitEncoder,
    "hubert": SpeechEncoder,
    "chat": lambda folder: list(LocalModel(folder).complete(["hello"], SAMPLINGS["greedy"])),
    "asr": TransformersAsr,
}


@pytest.fixture
def payload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose settings name a module in it; running that module leaves a mark."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked whether to run the folder's code"))
    folder = tmp_path / "payload"
    folder.mkdir()
    (folder / "evil.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
        "from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast\n"
        "class Config(PretrainedConfig):\n    model_type = 'evil'\n"
        "class Model(PreTrainedModel):\n    config_class = Config\n"
        "class Tokenizer(PreTrainedTokenizerFast):\n    pass\n"
    )
    names = ("AutoModel", "AutoModelForCausalLM", "AutoModelForCTC", "AutoModelForSpeechSeq2Seq")
    code = {"AutoConfig": "evil.Config", **dict.fromkeys(names, "evil.Model")}
    (folder / "config.json").write_text(
        json.dumps({"model_type": "evil", "auto_map": code, "architectures": ["Model"]})
    )
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {"tokenizer_class": "Tokenizer", "auto_map": {"AutoTokenizer": ["evil.Tokenizer", "evil.Tokenizer"]}}
        )
    )
    return folder


@pytest.mark.parametrize("reader", READERS)
def test_a_folders_own_code_is_refused_and_never_offered(reader: str, payload: Path) -> None:
    with pytest.raises(AffectGPTError, match="code of its own, which is never run"):
        READERS[reader](str(payload))
    assert not (payload.parent / "ran").exists()


def test_a_known_network_with_a_foreign_tokenizer_is_refused(payload: Path) -> None:
    head = TinyLM(dim=16, layers=1, heads=2)
    head.network.save_pretrained(payload)
    with pytest.raises(CheckpointError, match="code of its own"):
        CausalLM(str(payload))
    assert not (payload.parent / "ran").exists()


class Mark:
    """Unpickling it leaves a mark."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("reader", ["timm", "torchaudio", "causal-lm", "clip"])
def test_weight_files_are_not_unpickled(reader: str, tmp_path: Path) -> None:
    file, ran = tmp_path / "pytorch_model.bin", tmp_path / "ran"
    torch.save({"weight": Mark(ran)}, file)
    if reader == "causal-lm":
        head = TinyLM(dim=16, layers=1, heads=2)
        head.network.config.save_pretrained(tmp_path)
        head.tokenizer.save_pretrained(tmp_path)
    if reader == "clip":
        from transformers import CLIPVisionConfig

        CLIPVisionConfig(
            hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
        ).save_pretrained(tmp_path)
    read: dict[str, Callable[[], Any]] = {
        "timm": lambda: TimmEncoder("test_vit", checkpoint_path=str(file)),
        "torchaudio": lambda: TorchaudioEncoder("HUBERT_BASE", weights=str(file)),
        "causal-lm": lambda: CausalLM(str(tmp_path)),
        "clip": lambda: ClipVitEncoder(str(tmp_path)),
    }
    with pytest.raises(CheckpointError):
        read[reader]()
    assert not ran.exists()


def test_an_older_timm_is_told_not_to_unpickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def old_load(path: str, use_ema: bool = True, device: str = "cpu", weights_only: bool = False) -> Any:
        return torch.load(path, map_location=device, weights_only=weights_only)

    monkeypatch.setattr("timm.models.load_state_dict", old_load)
    torch.save({"weight": Mark(tmp_path / "ran")}, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="contains more than weights"):
        TimmEncoder("test_vit", checkpoint_path=str(tmp_path / "weights.pt"))
    assert not (tmp_path / "ran").exists()


def test_every_reader_of_the_library_says_that_it_trusts_nobody() -> None:
    source = Path(affectgpt.__file__).parent
    calls = [
        (f"{path.name}:{node.lineno}", ast.unparse(node.func), {keyword.arg for keyword in node.keywords})
        for path in source.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
    ]
    # a keyword without a name is a mapping of options, which holds it
    networks = [
        c for c in calls if (c[1].startswith("Auto") and c[1].endswith(".from_pretrained")) or c[1] == "pipeline"
    ]
    assert networks
    assert [call for call in networks if not call[2] & {"trust_remote_code", None}] == []
    files = [c for c in calls if c[1] == "torch.load"]
    assert files
    assert [call for call in files if "weights_only" not in call[2]] == []

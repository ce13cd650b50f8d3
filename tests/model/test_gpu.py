"""The model on a GPU gives what it gives on the CPU."""

from __future__ import annotations

import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.checkpoints import self_test
from affectgpt.encoders.streams import read_streams
from affectgpt.llm import TinyLM
from affectgpt.training.modality_dropout import ModalityDropout
from affectgpt.types import Batch, rows_kept

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and there is none"),
]


def test_loss_and_answers_on_the_gpu() -> None:
    torch.manual_seed(0)
    streams = {"frame": "tiny-vision", "audio": "tiny-audio"}
    model = AffectGPT.from_config({"streams": streams, "llm": "tiny", "style": "brief"}).eval()
    batch = Batch(
        keys=("a", "b"),
        media={
            "frame": torch.randint(0, 255, (2, 2, 3, 64, 64), dtype=torch.uint8),
            "audio": torch.randn(2, 2, 16_000),
        },
        keep={"frame": torch.ones(2, 2, dtype=torch.bool), "audio": torch.tensor([[True, True], [False, False]])},
        subtitles=("hello", None),
        questions=("Emotions:", "Emotions:"),
        answers=(" happy", " sad"),
    )
    expected, texts = model(batch).loss, model.generate(batch, 8)
    model, batch = model.cuda(), batch.to("cuda")
    torch.testing.assert_close(model(batch).loss.cpu(), expected, rtol=1e-3, atol=1e-3)
    assert model.generate(batch, 8) == texts
    with torch.autocast("cuda", torch.bfloat16):
        torch.testing.assert_close(model(batch).loss.cpu(), expected, rtol=5e-2, atol=5e-2)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_self_test_of_a_stored_model_holds_on_the_gpu(tmp_path, dtype: str) -> None:
    torch.manual_seed(0)
    head = TinyLM(dim=32)
    head.network.save_pretrained(tmp_path / "lm")
    head.tokenizer.save_pretrained(tmp_path / "lm")
    llm = {"name": "causal-lm", "args": {"path": str(tmp_path / "lm"), "dtype": dtype}}
    streams = {"frame": "tiny-vision", "audio": "tiny-audio"}
    model = AffectGPT.from_config({"streams": streams, "llm": llm, "style": "brief"}).eval()
    stored = self_test.record(model)
    assert self_test.compare(stored, self_test.record(model.cuda())) is None


def test_modality_dropout_takes_on_the_gpu_what_it_takes_on_the_cpu() -> None:
    streams = read_streams({"frame": "tiny-vision", "audio": "tiny-audio"})
    batch = Batch(
        keys=tuple(map(str, range(40))),
        media={"frame": torch.zeros(40, 8, 3, 4, 4, dtype=torch.uint8), "audio": torch.zeros(40, 6, 8)},
        keep={"frame": torch.ones(40, 8, dtype=torch.bool), "audio": torch.rand(40, 6) < 0.5},
        subtitles=("words",) * 40,
        questions=("Emotions:",) * 40,
    )
    drop = ModalityDropout(0.5, segment=0.5, step=0.3)
    found = []
    for given in (batch, batch.to("cuda")):
        torch.manual_seed(1)
        found.append(drop(given, streams, shows_words=True).batch)
    here, there = found
    assert here.wordless == there.wordless
    for name, keep in here.keep.items():
        assert torch.equal(keep, there.keep[name].cpu())
        assert torch.equal(rows_kept(there.keep[name]), keep.any(1)), "what the host knows of it is right"

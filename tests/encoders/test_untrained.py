"""Which weights a bare name means, and what is said when random ones are frozen."""

from __future__ import annotations

import copy
import logging
import pickle
from pathlib import Path

import pytest
import torch

from affectgpt.encoders import TimmEncoder, TinyVisionEncoder
from affectgpt.encoders.build import build_encoder
from affectgpt.errors import CheckpointError

LINE = "IS FROZEN WITH RANDOM WEIGHTS"
TINY = {"name": "tiny-vision", "args": {"size": 16, "dim": 4}}


def use(encoder: torch.nn.Module) -> None:
    encoder(torch.zeros(1, 1, 3, 16, 16, dtype=torch.uint8), torch.ones(1, 1, dtype=torch.bool))


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if LINE in record.getMessage()]


@pytest.mark.parametrize("spec", [TINY, "timm/test_vit"])
def test_frozen_random_weights_are_announced_once(spec: object, caplog: pytest.LogCaptureFixture) -> None:
    encoder = build_encoder(spec).freeze()
    use(encoder)
    use(encoder)
    lines = said(caplog)
    assert len(lines) == 1
    assert "\n" not in lines[0]
    assert ("timm/test_vit" if spec == "timm/test_vit" else "tiny-vision") in lines[0]
    assert caplog.records[0].levelno == logging.WARNING


def test_nothing_is_said_of_weights_that_are_trained_or_loaded(caplog: pytest.LogCaptureFixture) -> None:
    use(build_encoder(TINY))  # in training
    stepped = build_encoder(TINY)
    optimizer = torch.optim.SGD(stepped.parameters(), lr=0.1)
    stepped(torch.randint(0, 256, (1, 1, 3, 16, 16), dtype=torch.uint8), torch.ones(1, 1, dtype=torch.bool)).hidden[
        ..., 0
    ].sum().backward()
    optimizer.step()
    use(stepped.freeze())
    loaded = build_encoder(TINY).freeze()
    loaded.load_state_dict(TinyVisionEncoder(size=16, dim=4).state_dict())
    use(loaded)
    assert said(caplog) == []


def test_a_watched_encoder_can_be_copied_and_pickled(caplog: pytest.LogCaptureFixture) -> None:
    encoder = build_encoder(TINY).freeze()
    again = pickle.loads(pickle.dumps(copy.deepcopy(encoder)))
    use(again)
    use(again)
    assert len(said(caplog)) == 1


def test_a_name_with_weights_after_a_dot_fetches_them(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    asked: list[tuple[str, bool]] = []
    real = timm.create_model

    def create(model: str, pretrained: bool, **kwargs: object) -> torch.nn.Module:
        asked.append((model, pretrained))
        return real(model, pretrained=False, **kwargs)

    monkeypatch.setattr("timm.create_model", create)
    assert TimmEncoder("test_vit.r160_in1k").restored_prefixes() == ["network."]
    assert TimmEncoder("test_vit").restored_prefixes() == []
    assert TimmEncoder("test_vit.r160_in1k", pretrained=False).restored_prefixes() == []
    assert TimmEncoder("test_vit", pretrained=True).restored_prefixes() == ["network."]
    assert [pretrained for _, pretrained in asked] == [True, False, False, True]


def test_a_local_file_goes_before_the_weights_of_the_name(tmp_path: Path) -> None:
    import timm

    torch.save(timm.create_model("test_vit", num_classes=0).state_dict(), tmp_path / "weights.pt")
    encoder = TimmEncoder("test_vit.r160_in1k", checkpoint_path=str(tmp_path / "weights.pt"))
    assert encoder.restored_prefixes() == ["network."]
    with pytest.raises(CheckpointError, match="no weight file"):
        TimmEncoder("test_vit.r160_in1k", checkpoint_path="none.pt")


def test_a_watched_encoder_compiles_and_exports_as_one_graph() -> None:
    encoder = build_encoder(TINY).freeze()
    torch._dynamo.reset()
    use(torch.compile(encoder, fullgraph=True, backend="eager"))
    media, keep = torch.zeros(1, 1, 3, 16, 16, dtype=torch.uint8), torch.ones(1, 1, dtype=torch.bool)
    torch.export.export(encoder, (media, keep), strict=False)

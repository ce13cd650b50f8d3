"""Confidence is what it says: likelihoods equal those of the head, and calibration brings the error down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.datamodules.collate import collate
from affectgpt.errors import ConfigError, DataError
from affectgpt.types import Clip
from affectgpt.watch import Asking, Calibration, Sureness, answer_surely, calibrate
from affectgpt.watch.calibration import calibration_error, reliability


@pytest.fixture(scope="module")
def model() -> AffectGPT:
    torch.manual_seed(3)
    streams = {"frame": {"encoder": {"name": "tiny-vision", "args": {"size": 32}}}, "audio": "tiny-audio"}
    return AffectGPT.from_config(
        {"streams": streams, "llm": {"name": "tiny", "args": {"dim": 32}}, "style": "brief", "max_new_tokens": 6}
    )


def batch_of(model: AffectGPT, count: int = 3):
    generator = torch.Generator().manual_seed(0)
    clips = [
        Clip(
            f"c{number}",
            {
                "frame": torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=generator),
                "audio": torch.randn(2, 1600, generator=generator),
            },
            subtitle="well" if number else None,
        )
        for number in range(count)
    ]
    return collate(clips, [model.style.label_question] * count, None)


def test_the_likelihood_is_the_probability_of_what_was_written(model: AffectGPT) -> None:
    """Written out plainly: one clip at a time, token by token, from full logits."""
    found = answer_surely(model, batch_of(model), Asking())
    model.eval()
    for row, (prediction, sure) in enumerate(found):
        one = batch_of(model).rows([row])
        with torch.no_grad():
            written = model(one, model.max_new_tokens).written
        ids = [int(token) for token in written.ids[0][written.keep[0]]]
        logs = []
        for length in range(len(ids)):
            with torch.no_grad():
                out = model(replace(one, answer_ids=((tuple(ids[: length + 1]),),)))
            logs.append(-float(out.sample_losses[0]))
        assert sure.likelihood == pytest.approx(float(np.exp(logs[-1] / len(ids))), rel=1e-5)
        assert prediction.text == written.texts[0]
        assert logs == sorted(logs, reverse=True)  # every token only lowers the probability


def test_answers_do_not_depend_on_the_batch_and_drawn_ones_repeat(model: AffectGPT) -> None:
    whole = answer_surely(model, batch_of(model), Asking(num_drawn=4, seed=1))
    again = answer_surely(model, batch_of(model), Asking(num_drawn=4, seed=1))
    assert [one for _, one in whole] == [one for _, one in again]
    alone = [answer_surely(model, batch_of(model).rows([row]), Asking())[0][1].likelihood for row in range(3)]
    assert alone == pytest.approx([one.likelihood for _, one in whole], rel=1e-5)
    assert all(one.agreement is not None and 0 <= one.agreement <= 1 for _, one in whole)
    assert not model.training


def made(count: int, seed: int = 0) -> tuple[list[Sureness], list[float]]:
    """Answers of an overconfident model: likelihood 0.9 and more, right in 55 % on average, more often if it agrees."""
    random = np.random.default_rng(seed)
    agreement = random.random(count)
    likelihood = 0.9 + 0.09 * random.random(count)
    right = random.random(count) < 0.1 + 0.8 * agreement
    return [Sureness(float(a), float(b)) for a, b in zip(likelihood, agreement, strict=True)], right.astype(
        float
    ).tolist()


def test_calibration_mends_an_overconfident_model(tmp_path: Path) -> None:
    found, overlaps = made(3000)
    fitted = calibrate(found, overlaps, "m")
    assert fitted.error_after < 0.05 < 0.12 < fitted.error_before
    fresh, truth = made(3000, seed=1)
    assert calibration_error([fitted(one) for one in fresh], np.array(truth) >= 0.5) < 0.05
    fitted.save(tmp_path / "c.json")
    assert Calibration.read(tmp_path / "c.json") == fitted
    with pytest.raises(ConfigError, match="fitted with drawn answers"):
        fitted(Sureness(0.9))


def test_what_cannot_be_calibrated_is_refused(tmp_path: Path) -> None:
    found, overlaps = made(30)
    with pytest.raises(DataError, match="too few"):
        calibrate(found[:5], overlaps[:5])
    with pytest.raises(DataError, match="all 30 answers are right"):
        calibrate(found, [1.0] * 30)
    (tmp_path / "bad.json").write_text('{"weights": [1]}')
    with pytest.raises(DataError, match="is no calibration"):
        Calibration.read(tmp_path / "bad.json")
    with pytest.raises(ConfigError, match="-1 drawn answers"):
        Asking(num_drawn=-1)


def test_bins_hold_equally_many_answers() -> None:
    points = reliability([0.1, 0.2, 0.8, 0.9], [False, False, True, True], bins=2)
    assert points == [(pytest.approx(0.15), 0.0, 0.5), (pytest.approx(0.85), 1.0, 0.5)]
    assert calibration_error([0.0, 1.0], [False, True]) == 0.0

"""What modality dropout takes: as often as it is told, never all of a sample, and the same for the same draws."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

from affectgpt.classifier import EmotionClassifier
from affectgpt.encoders.streams import StreamSpec, read_streams
from affectgpt.errors import ConfigError
from affectgpt.training.modality_dropout import ModalityDropout
from affectgpt.types import Batch, Features

STREAMS: dict[str, StreamSpec] = read_streams({"face": "tiny-vision", "frame": "tiny-vision", "audio": "tiny-audio"})


def make_batch(size: int = 600, **changes: Any) -> Batch:
    """Clips with faces, frames and sound; every fourth has no sound, and every fifth no words."""
    heard = torch.ones(size, 4, dtype=torch.bool)
    heard[::4] = False
    keep = {"face": torch.ones(size, 8, dtype=torch.bool), "frame": torch.ones(size, 6, dtype=torch.bool)}
    return Batch(
        keys=tuple(map(str, range(size))),
        media={
            "face": torch.zeros(size, 8, 3, 2, 2, dtype=torch.uint8),
            "frame": torch.zeros(size, 6, 3, 2, 2, dtype=torch.uint8),
            "audio": torch.zeros(size, 4, 8),
        },
        keep={**keep, "audio": heard},
        subtitles=tuple("" if i % 5 == 0 else "words" for i in range(size)),
        questions=("How?",) * size,
        labels=(("sad",),) * size,
        **changes,
    )


def test_every_view_is_seen_and_none_is_empty() -> None:
    torch.manual_seed(0)
    batch = make_batch()
    found = ModalityDropout(0.5)(batch, STREAMS, shows_words=True)
    seen, heard = found.batch.keep["face"].any(1), found.batch.keep["audio"].any(1)
    said = torch.tensor([bool(text) for text in batch.subtitles]) & ~torch.tensor(found.batch.wordless)
    assert torch.equal(seen, found.batch.keep["frame"].any(1)), "face and frames are one modality"
    assert (seen | heard | said).all()
    assert not (heard & ~batch.keep["audio"].any(1)).any()
    views = Counter(zip(seen.tolist(), heard.tolist(), said.tolist(), strict=True))
    assert len(views) == 7
    assert min(views.values()) > 25
    assert all(0.35 < share < 0.5 for share in found.shares.values()), found.shares
    assert torch.equal(found.batch.keep["face"], seen[:, None].expand(-1, 8)), "what stays is whole"


def test_one_modality_alone_is_never_taken() -> None:
    torch.manual_seed(0)
    found = ModalityDropout(1.0)(make_batch(), STREAMS, shows_words=True).batch
    left = torch.stack([found.keep["face"].any(1), found.keep["audio"].any(1), ~torch.tensor(found.wordless)]).int()
    silent = torch.tensor([i % 5 == 0 for i in range(600)])
    left[2] &= ~silent
    assert (left.sum(0) == 1).all()
    # without words among what a model reads, a picture or a sound remains
    found = ModalityDropout(1.0)(make_batch(), STREAMS).batch
    assert found.wordless == ()
    assert (found.keep["face"].any(1) ^ found.keep["audio"].any(1)).all()


def test_rates_are_those_of_each_modality() -> None:
    torch.manual_seed(0)
    found = ModalityDropout({"audio": 0.8})(make_batch(), STREAMS, shows_words=True)
    assert found.shares["visual"] == found.shares["words"] == 0
    assert 0.74 < found.shares["audio"] < 0.86


def test_a_stretch_of_time_is_lost_at_one_go_and_a_step_remains() -> None:
    torch.manual_seed(0)
    batch = make_batch()
    keep = ModalityDropout(segment=0.6, longest_segment=1.0)(batch, STREAMS).batch.keep
    lost = (~keep["face"]).int()
    hit = lost.any(1)
    assert 0.54 < hit.float().mean() < 0.66
    borders = (lost.diff(dim=1, prepend=torch.zeros(600, 1, dtype=torch.int)) == 1).sum(1)
    assert torch.equal(borders, hit.int()), "one stretch each"
    assert keep["face"].any(1).all()
    assert set(lost[hit].sum(1).tolist()) == set(range(1, 8))
    assert {int(row.nonzero()[0]) for row in lost[hit]} == set(range(8)), "it may begin anywhere"
    short = ModalityDropout(segment=1.0, longest_segment=0.25)(batch, STREAMS).batch.keep["face"]
    assert set((~short).sum(1).tolist()) <= {0, 1, 2}


def test_single_steps_are_lost_and_one_remains() -> None:
    torch.manual_seed(0)
    batch = make_batch()
    keep = ModalityDropout(step=0.3)(batch, STREAMS).batch.keep
    assert 0.65 < keep["face"].float().mean() < 0.75
    none = ModalityDropout(step=1.0, segment=1.0)(batch, STREAMS).batch.keep
    assert (none["frame"].sum(1) == 1).all()
    assert torch.equal(none["audio"].any(1), batch.keep["audio"].any(1)), "silent clips stay silent"


def test_padding_is_no_step_that_could_remain() -> None:
    torch.manual_seed(0)
    keep = torch.zeros(400, 6, dtype=torch.bool)
    keep[:, 1:4] = True  # a mask with holes
    features = {"audio": Features(torch.randn(400, 6, 3), keep)}
    batch = Batch(tuple(map(str, range(400))), {}, {}, (None,) * 400, ("?",) * 400, features=features)
    found = ModalityDropout(segment=0.5, step=0.5)(batch, STREAMS).batch.features["audio"]
    assert found.hidden is features["audio"].hidden
    assert not found.keep[:, [0, 4, 5]].any()
    assert (found.keep.sum(1) >= 1).all()
    assert (found.keep.sum(1) < 3).any()


def test_the_same_state_draws_the_same_and_nothing_asked_draws_nothing() -> None:
    batch = make_batch(20)
    drop = ModalityDropout(0.5, segment=0.5, step=0.2)
    torch.manual_seed(1)
    first = drop(batch, STREAMS, shows_words=True).batch
    torch.manual_seed(1)
    again = drop(batch, STREAMS, shows_words=True).batch
    assert first.wordless == again.wordless
    assert all(torch.equal(first.keep[name], again.keep[name]) for name in first.keep)
    whole = ModalityDropout()(batch, STREAMS, shows_words=True).batch
    assert all(torch.equal(whole.keep[name], batch.keep[name]) for name in batch.keep)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"modality": 1.2}, "modality is 1.2; expected a number from 0 to 1"),
        ({"modality": {"visuals": 0.5}}, "unknown modality 'visuals'. Did you mean 'visual'"),
        ({"stepp": 0.5}, "unknown key 'stepp'. Did you mean 'step'"),
        ({"segment": True}, "segment is True"),
    ],
)
def test_wrong_settings_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        ModalityDropout.of(given)


def test_settings_are_plain_json() -> None:
    given = {"modality": {"audio": 0.5}, "segment": 0.1, "longest_segment": 0.3, "step": 0.2}
    drop = ModalityDropout.of(given)
    assert drop is not None
    assert drop.to_json() == given
    assert ModalityDropout.of(drop) is drop
    assert ModalityDropout.of(None) is None


def test_a_classifier_trains_with_missing_modalities() -> None:
    streams = {"audio": {"encoder": {"name": "tiny-audio", "args": {"dim": 8}}}}
    streams["face"] = {"encoder": {"name": "tiny-vision", "args": {"dim": 8}}}
    model = EmotionClassifier(streams, ["sad", "happy"], prefusion="experts", modality_dropout={"modality": 1.0})
    model.log = lambda *args, **options: None  # type: ignore[method-assign]
    seen: list[Batch] = []
    model.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    mask = torch.ones(8, 2, dtype=torch.bool)
    features = {name: Features(torch.randn(8, 2, 8), mask) for name in ("audio", "face")}
    batch = Batch(tuple("abcdefgh"), {}, {}, (None,) * 8, ("?",) * 8, labels=(("sad",),) * 8, features=features)
    model.train().training_step(batch, 0).backward()
    assert (seen[0].features["audio"].keep.any(1) ^ seen[0].features["face"].keep.any(1)).all()
    stored = dict(model.hparams)["modality_dropout"]
    assert ModalityDropout.of(stored) == ModalityDropout(1.0)

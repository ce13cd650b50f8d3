"""Degraded clips: what is done to them, that it repeats, and what the benchmark makes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.bench.answerers.base import Asked
from affectgpt.bench.degradations import KINDS, Degradation, blurred, read_degradations
from affectgpt.bench.report import write_report
from affectgpt.bench.system_result import DegradedResult
from affectgpt.cli.main import main
from affectgpt.encoders.tiny import TinyAudioEncoder, TinyVisionEncoder
from affectgpt.errors import ConfigError
from affectgpt.types import Batch
from setmaker import make_shaded_meld
from viewresults import make_view_results

CONFIG = {
    "streams": {"frame": "tiny-vision", "audio": "tiny-audio"},
    "llm": "tiny",
    "media": {"num_frames": 4, "num_segments": 2, "segment_seconds": 0.25, "frame_height": 32, "frame_width": 32},
    "max_new_tokens": 6,
}


def make_batch(size: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(0)
    keep = torch.ones(size, 3, dtype=torch.bool)
    keep[1, 2] = False
    return Batch(
        keys=tuple(f"clip{i}" for i in range(size)),
        media={
            "frame": torch.randint(0, 255, (size, 8, 3, 24, 20), dtype=torch.uint8, generator=generator),
            "audio": torch.randn(size, 3, 4000, generator=generator) * keep[..., None],
        },
        keep={"frame": torch.ones(size, 8, dtype=torch.bool), "audio": keep},
        subtitles=("words",) * size,
        questions=("How?",) * size,
    )


def test_a_list_of_degradations_is_read() -> None:
    assert [one.name for one in read_degradations("blur:2, noise")] == [
        *(f"noise {strength}" for strength in (20, 10, 0, -10)),
        "blur 2",
    ]
    assert {one.kind for one in read_degradations("all")} == {*KINDS}
    assert [one.strength for one in read_degradations("all,dark:10") if one.kind == "dark"] == [10]
    for wrong, message in (
        ("fog", "unknown degradation 'fog'"),
        ("nosie", "Did you mean 'noise'"),
        ("dark:120", "the strength is 120; expected 0 to 100"),
        ("dark:much", "write KIND:STRENGTH"),
        ("dark:nan", "a strength is a number"),
        ("", "unknown degradation ''"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_degradations(wrong)


@pytest.mark.parametrize("ratio", [20.0, 0.0, -10.0])
def test_noise_has_the_ratio_that_it_is_told(ratio: float) -> None:
    batch = make_batch()
    noisy = Degradation("noise", ratio)(batch)
    added = noisy.media["audio"] - batch.media["audio"]
    for row in range(4):
        real = batch.keep["audio"][row]
        found = 10 * torch.log10(batch.media["audio"][row, real].square().mean() / added[row, real].square().mean())
        assert float(found) == pytest.approx(ratio, abs=0.3)
        assert not added[row, ~real].any()
    assert noisy.media["frame"] is batch.media["frame"]
    # the clip alone gets the same noise
    alone = Degradation("noise", ratio)(batch.rows([2])).media["audio"]
    torch.testing.assert_close(alone[0], noisy.media["audio"][2])
    other = Degradation("noise", ratio, seed=1)(batch).media["audio"]
    assert not torch.equal(other, noisy.media["audio"])
    silent = replace(batch, media={**batch.media, "audio": torch.zeros_like(batch.media["audio"])})
    assert not Degradation("noise", ratio)(silent).media["audio"].any()


def test_pictures_get_dark_and_blurred() -> None:
    batch = make_batch()
    frames = batch.media["frame"]
    dark = Degradation("dark", 75)(batch).media["frame"]
    assert dark.dtype == torch.uint8
    torch.testing.assert_close(dark.float(), frames * 0.25, atol=0.51, rtol=0)
    blur = Degradation("blur", 5)(batch).media["frame"]
    assert blur.dtype == torch.uint8
    assert abs(float(blur.float().mean()) - float(frames.float().mean())) < 1.5
    spread = [float(blurred(frames, share).float().std()) for share in (0.0, 0.03, 0.1, 0.3)]
    assert spread == sorted(spread, reverse=True)
    # one point of light becomes a Gaussian of the given width
    point = torch.zeros(1, 1, 3, 101, 101, dtype=torch.uint8)
    point[..., 50, 50] = 255
    spot = blurred(point, 2 / 101).float()[0, 0, 0]
    expected = 255 * torch.exp(-torch.arange(-3, 4.0).square() / 8) / (8 * torch.pi)
    torch.testing.assert_close(spot[50, 47:54], expected, atol=0.6, rtol=0)
    plain = torch.full((1, 2, 3, 9, 9), 77, dtype=torch.uint8)
    assert torch.equal(blurred(plain, 0.5), plain), "the edge is not darkened"


def test_lost_frames_are_nested_and_one_remains() -> None:
    batch = make_batch()
    kept = [Degradation("lost-frames", share)(batch).keep["frame"] for share in (25, 50, 90, 100)]
    assert [keep.sum(1).tolist() for keep in kept] == [[6] * 4, [4] * 4, [1] * 4, [1] * 4]
    assert all(not (stronger & ~milder).any() for milder, stronger in pairwise(kept))
    assert len({tuple(row.tolist()) for row in kept[1]}) > 1, "each clip loses its own"


def asked(number: int) -> Asked:
    path = Path(f"{number}.mp4")
    return Asked(f"k{number}", "How?", "meld", f"words {number % 3}", path, None, Path(f"{number}.npy"))


def test_swaps_take_from_another_clip_and_are_nested() -> None:
    clips = [asked(number) for number in range(40)]
    found = {share: Degradation("wrong-words", share).partners(clips) for share in (0, 25, 50, 100)}
    assert [len(found[0]), len(found[100])] == [0, 40]
    assert 4 <= len(found[25]) <= 16
    assert all(found[50][key] == changed for key, changed in found[25].items())
    by_key = {one.key: one for one in clips}
    assert all(changed.subtitle != by_key[key].subtitle for key, changed in found[100].items())
    sound = Degradation("swapped-sound", 100).partners(clips)
    assert all(one.video == by_key[key].video and one.audio not in (None, one.video) for key, one in sound.items())
    picture = Degradation("swapped-picture", 100).partners(clips)
    assert all(one.audio == by_key[key].video for key, one in picture.items()), "it keeps its own sound"
    assert all(one.video != by_key[key].video for key, one in picture.items())
    assert all(one.faces == Path(f"{one.video.stem}.npy") for one in picture.values() if one.video)
    assert not Degradation("wrong-words", 100).partners(clips[:1]), "there is no other clip"
    assert Degradation("wrong-words", 100).partners(clips[::3]) == {}, "none has other words"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint and a set in which one clip is cut and one is mute."""
    root = tmp_path_factory.mktemp("degraded")
    make_shaded_meld(root / "sets", 6)
    save_model(root / "model.ckpt")
    return root


def save_model(path: Path, **changes: object) -> None:
    torch.manual_seed(3)
    AffectGPT.from_config({**CONFIG, **changes}).save_checkpoint(path)


def bench(folder: Path, out: Path, *options: str, model: str = "model.ckpt") -> int:
    argv = ["bench", "--model", str(folder / model), "--data", str(folder / "sets"), "--out", str(out)]
    argv += ["--allow-partial", "--num-workers", "0", "--device", "cpu", "--batch-size", "3", "--resamples", "50"]
    return main([*argv, *options])


def test_the_benchmark_answers_degraded_clips(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[torch.Tensor] = []
    seen: list[torch.Tensor] = []
    for kind, given in ((TinyAudioEncoder, heard), (TinyVisionEncoder, seen)):

        def forward(self, media, keep, given=given, whole=kind.forward):
            given.append(media)
            return whole(self, media, keep)

        monkeypatch.setattr(kind, "forward", forward)
    wanted = "noise:0:-60,dark:100,lost-frames:50,wrong-words:100,swapped-sound:100,swapped-picture:100"
    assert bench(folder, tmp_path, "--degrade", wanted) == 0
    said = capsys.readouterr().out
    assert "noise 0:" in said
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    (curves,) = report["degraded"]
    assert list(curves["curves"]) == [name for name in KINDS if name != "blur"]
    assert [one["strength"] for one in curves["curves"]["noise"]] == [0, -60]
    assert curves["units"]["dark"] == KINDS["dark"].unit
    (row,) = report["results"]
    assert len(row["degraded"]) == 7
    assert "Degraded clips" in (tmp_path / "report.html").read_text("utf-8")
    assert "dark picture 100" in (tmp_path / "report.md").read_text("utf-8")
    logs = {log.parent.name: log.read_text("utf-8") for log in tmp_path.rglob("*.answers.jsonl")}
    assert len(logs) == 8
    # the encoders got what was done to the clips
    loudness = sorted(float(sound.abs().max()) for sound in heard)
    assert loudness[-1] > 100 * loudness[0]
    assert sum(int(frames.max()) == 0 for frames in seen) == 2, "both batches of the dark run are black"
    assert '"degradation": {"kind": "dark"' in logs["model-dark-100"]
    # the clip that is cut has no answer in any run, unless its picture is another's
    errors = {name: log.count('"error"') for name, log in logs.items()}
    assert errors["model"] == errors["model-dark-100"] == 1
    # the same again asks nobody about what was answered
    count = len(heard), len(seen)
    assert bench(folder, tmp_path, "--degrade", wanted) == 0
    assert (len(heard), len(seen)) == count


def test_what_does_not_go_together_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(folder, tmp_path, "--degrade", "noise", "--views", "all") == 1
    assert "--views and --degrade are two runs" in capsys.readouterr().err
    assert bench(folder, tmp_path, "--degrade", "noise", "--modalities", "audio") == 1
    assert "leave --modalities out" in capsys.readouterr().err
    assert bench(folder, tmp_path, "--degrade", "noise", "--repeats", "2", "--temperature", "1") == 1
    assert "repeats is 2" in capsys.readouterr().err
    stored = {"frame": {"encoder": {"name": "precomputed", "args": {"dim": 8}}, "source": "frame"}}
    save_model(folder / "stored.ckpt", streams=stored)
    assert bench(folder, tmp_path, "--degrade", "dark", model="stored.ckpt") == 1
    assert "it reads stored features" in capsys.readouterr().err


def test_kinds_that_a_model_does_not_read_are_left_out(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(folder / "seeing.ckpt", streams={"frame": "tiny-vision"}, slots=["frame"])
    wanted = "noise:0,dark:90,wrong-words:100"
    assert bench(folder, tmp_path, "--degrade", wanted, model="seeing.ckpt") == 0
    said = capsys.readouterr().err
    assert "no noise: the model reads no audio" in said
    assert "no wrong-words: the model reads no text" in said
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert list(report["degraded"][0]["curves"]) == ["dark"]


def test_the_report_draws_one_set_and_several(tmp_path: Path) -> None:
    strengths = {"noise": ("AV", "A"), "dark": ("VT", "V", "T")}
    for count, sets in ((1, ["meld"]), (3, ["meld", "mosi", "ovmerdplus"])):
        results = []
        for one in make_view_results(tmp_path, sets, ["A", "V", "T", "AV", "VT", "AVT"]):
            degraded = [
                DegradedResult(kind, KINDS[kind].strengths[at], (one.views or {})[view])
                for kind, views in strengths.items()
                for at, view in enumerate(views)
            ]
            results.append(replace(one, views=None, degraded=tuple(degraded)))
        page = write_report(results, tmp_path / str(count)).read_text("utf-8")
        assert page.count("noise on the sound 20") == 1
        assert page.count('alt="Scores on degraded clips"') == 1
        report = json.loads((tmp_path / str(count) / "report.json").read_text("utf-8"))
        point = report["degraded"][0]["curves"]["noise"][0]
        assert list(point["cells"]) == sets
        scores = [point["cells"][name]["score"] for name in sets]
        assert point["mean"] == pytest.approx(sum(scores) / count)

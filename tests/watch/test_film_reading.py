"""A film is read in a process of its own: the same chunks come of it, and a file that crashes it ends nothing else."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from affectgpt.cli.main import main
from affectgpt.errors import MediaError
from affectgpt.watch import BrokenFilmError, Film, StopWatching, WatchPlan, watch
from affectgpt.watch.film_reading import IsolatedFilm
from clipmaker import make_clip
from deadlyfilm import DeadlyReader
from servicerunner import tiny_model

PLAN = WatchPlan(batch_size=4)
READER = "affectgpt.watch.film_reading.FilmReader"


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("film") / "my film.mp4"
    path.write_bytes(make_clip(50.0, rate_hz=4))
    return path


@pytest.fixture(scope="module")
def model():
    return tiny_model(streams={"frame": "tiny-vision", "audio": "tiny-audio"})


@pytest.mark.parametrize(("rate", "start", "read"), [(4.0, 0.0, None), (25.0, 0.0, None), (4.0, 13.25, 20.0)])
def test_the_chunks_are_those_of_a_film_that_is_read_here(film: Path, rate: float, start: float, read) -> None:
    here = list(Film(film, frame_rate_hz=rate, start_seconds=start).chunks(20.0, read_seconds=read))
    with IsolatedFilm(film, frame_rate_hz=rate, start_seconds=start) as away:
        there = list(away.chunks(20.0, read_seconds=read))
        assert away.duration_seconds == Film(film).duration_seconds
    assert len(here) == len(there) > 1
    for one, other in zip(here, there, strict=True):
        assert (one.start_seconds, one.is_last) == (other.start_seconds, other.is_last)
        assert one.end_seconds == pytest.approx(other.end_seconds, abs=1e-9)
        for name in ("times", "frames", "waveform"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), name


def test_a_file_that_is_none_is_refused_as_it_is_here(tmp_path: Path) -> None:
    (tmp_path / "no.mp4").write_bytes(b"no film" * 99)
    with pytest.raises(MediaError, match="is not a video, sound or picture that FFmpeg can read"):
        IsolatedFilm(tmp_path / "no.mp4")


def test_a_film_that_crashes_its_reader_is_named_and_what_was_answered_is_kept(
    film: Path, model, tmp_path: Path, monkeypatch
) -> None:
    whole = watch(model, film, plan=PLAN, face_detector=None, out=tmp_path / "whole", isolated=True)
    monkeypatch.setattr(READER, partial(DeadlyReader, 40.0))
    with pytest.raises(BrokenFilmError, match=r"my film.mp4' between 40.0 and 60.0 s crashes .*SIGSEGV") as caught:
        watch(model, film, plan=PLAN, face_detector=None, out=tmp_path / "out", isolated=True)
    assert caught.value.code == "crashed"
    found = caught.value.found
    assert 20 < found.seconds <= 40
    assert f"Answered up to {found.seconds:.1f} s" in str(caught.value)
    assert len(found.rows) > 0
    assert found.rows == whole.rows[: len(found.rows)]
    monkeypatch.undo()
    again = watch(model, film, plan=PLAN, face_detector=None, out=tmp_path / "out", isolated=True)
    assert again.rows == whole.rows


def test_a_reader_that_is_killed_once_changes_nothing(film: Path, model, tmp_path: Path, monkeypatch) -> None:
    whole = watch(model, film, plan=PLAN, face_detector=None)
    monkeypatch.setattr(READER, partial(DeadlyReader, 20.0, tmp_path / "died"))
    found = watch(model, film, plan=PLAN, face_detector=None, isolated=True)
    assert (tmp_path / "died").exists()
    assert found == whole


def test_the_command_ends_with_an_error_and_writes_what_it_has(
    film: Path, model, tmp_path: Path, monkeypatch, capsys
) -> None:
    model.save_pretrained(tmp_path / "model")
    out = tmp_path / "out"
    call = ["watch", str(film), "--checkpoint", str(tmp_path / "model"), "--out", str(out), "--face-detector", "none"]
    with monkeypatch.context() as deadly:
        deadly.setattr(READER, partial(DeadlyReader, 20.0))
        assert main(call) == 1
    told = capsys.readouterr().err
    assert "wrote what was answered before" in told
    assert "crashes the process that decodes it" in told
    some = [json.loads(line) for line in (out / "answers.jsonl").read_text("utf-8").splitlines()]
    assert some
    assert main([*call, "--json"]) == 0
    all_of_them = json.loads(capsys.readouterr().out)
    assert all_of_them[: len(some)] == some
    assert len(all_of_them) > len(some)


def test_a_film_that_is_too_long_is_refused_before_it_is_answered(film: Path, model) -> None:
    with pytest.raises(MediaError, match=r"'my film\.mp4' lasts more than 0\.5 min") as caught:
        watch(model, film, plan=PLAN, face_detector=None, longest_seconds=30.0)
    assert caught.value.code == "too_long"


def test_stopping_gives_what_was_answered_and_the_folder_goes_on(film: Path, model, tmp_path: Path) -> None:
    def stop(done: float, total: float | None) -> None:
        raise StopWatching

    whole = watch(model, film, plan=PLAN, face_detector=None)
    some = watch(model, film, plan=PLAN, face_detector=None, out=tmp_path, isolated=True, progress=stop)
    assert 0 < len(some.rows) < len(whole.rows)
    assert some.rows == whole.rows[: len(some.rows)]
    assert some.notes == (f"it was stopped after {some.seconds:.1f} s; what follows in the film was not answered",)
    assert watch(model, film, plan=PLAN, face_detector=None, out=tmp_path).rows == whole.rows


def test_the_page_shows_what_came_of_a_film_that_crashes_and_watches_the_next(film: Path, model, monkeypatch) -> None:
    pytest.importorskip("gradio")
    from affectgpt.app import PageModel, PageSettings
    from affectgpt.app.film_run import watch_film

    settings = PageSettings(face_detector=None)
    page_model = PageModel("tiny", model, settings)

    async def last(path: Path):
        options = {"cues": None, "speech_only": False, "is_wanted": lambda: True}
        return [progress async for progress in watch_film(page_model, settings, path, **options)][-1]

    with monkeypatch.context() as deadly:
        deadly.setattr(READER, partial(DeadlyReader, 20.0))
        broken = asyncio.run(last(film))
    assert isinstance(broken.problem, BrokenFilmError)
    assert broken.found.rows
    whole = asyncio.run(last(film))
    assert whole.problem is None
    assert whole.found.rows[: len(broken.found.rows)] == broken.found.rows

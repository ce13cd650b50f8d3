"""A film is answered from beginning to end, in bounded memory, and a run that was stopped goes on where it was."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from xml.etree import ElementTree

import av
import numpy as np
import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.cli.main import main
from affectgpt.errors import DataError
from affectgpt.media.faces.base import FaceDetector, Faces
from affectgpt.media.speech.base import Asr, Segment
from affectgpt.registry import FACE_DETECTORS
from affectgpt.watch import CuttingRules, Film, Row, Watcher, WatchPlan, draw_timeline, watch, write_tables
from affectgpt.watch import watch_film as watching_file
from affectgpt.watch.tables import to_srt, to_vtt
from clipmaker import make_clip

pytest.importorskip("silero_vad")


class Bright(FaceDetector):
    """A "face" on the left of every picture, and a second one on the right of bright pictures."""

    def detect(self, frames):
        found = []
        for frame in frames:
            boxes = [(4, 4, 24, 24)] + ([(36, 4, 56, 24)] if frame.mean() > 110 else [])
            found.append(Faces(np.array(boxes, np.float32), np.ones(len(boxes), np.float32)))
        return found


class Echo(Asr):
    """Says how long it listened."""

    def transcribe(self, waveform, language=None):
        return f"{len(waveform) / 16000:.1f} seconds", "en"


@pytest.fixture(scope="module")
def model() -> AffectGPT:
    torch.manual_seed(0)
    streams = {
        "face": {"encoder": {"name": "tiny-vision", "args": {"size": 32}}},
        "audio": "tiny-audio",
    }
    media = {"num_frames": 2, "frame_height": 32, "frame_width": 32, "num_segments": 2, "segment_seconds": 0.5}
    return AffectGPT.from_config(
        {
            "streams": streams,
            "llm": {"name": "tiny", "args": {"dim": 32}},
            "style": "brief",
            "media": media,
            "max_new_tokens": 5,
        }
    ).eval()


@pytest.fixture(scope="module", autouse=True)
def detector():
    FACE_DETECTORS.register("bright-left")(Bright)


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    path.write_bytes(make_clip(75.0, rate_hz=4))
    return path


CUES = [Segment(float(at), at + 1.5, f"words {at}") for at in range(2, 74, 6)]
PLAN = WatchPlan(CuttingRules(quiet_seconds=3.0), batch_size=4)


def test_every_cue_and_person_gets_a_row_with_words_and_confidence(model, film, tmp_path) -> None:
    found = model.watch(film, plan=PLAN, cues=CUES, face_detector="bright-left")
    assert found.seconds == pytest.approx(75, abs=0.5)
    spoken = [row for row in found.rows if row.words]
    assert {row.words for row in spoken} == {cue.text for cue in CUES}
    assert all(row.person is not None and 0 <= row.confidence <= 1 for row in found.rows)
    assert {row.speaks for row in spoken} <= {"alone", "unknown"}
    pairs = [row for row in spoken if row.speaks == "unknown"]
    assert len({row.person for row in pairs}) > 1
    assert all("face" in row.used and "audio" in row.used for row in found.rows)
    assert [row.start_seconds for row in found.rows] == sorted(row.start_seconds for row in found.rows)


def test_a_recogniser_hears_each_stretch(model, film, monkeypatch) -> None:
    monkeypatch.setattr("affectgpt.watch.watcher.speech_segments", lambda sound: [Segment(1.0, 3.0)])
    found = watch(model, film, plan=PLAN, asr=Echo(), face_detector="bright-left")
    words = {row.words for row in found.rows if row.words}
    assert words
    assert words <= {"2.4 seconds", "2.2 seconds", "2.0 seconds"}


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(model, film, tmp_path, stop_after) -> None:
    whole = watch(model, film, plan=PLAN, cues=CUES, face_detector="bright-left", out=tmp_path / "whole")

    class StopError(Exception):
        pass

    calls = []

    def stop(done, total):
        calls.append(done)
        if len(calls) == stop_after:
            raise StopError

    out = tmp_path / "stopped"
    with pytest.raises(StopError):
        watch(model, film, plan=PLAN, cues=CUES, face_detector="bright-left", out=out, progress=stop)
    with (out / "rows.jsonl").open("a") as file:  # rows of a chunk that was not finished
        file.write('{"half a row')
    resumed = watch(model, film, plan=PLAN, cues=CUES, face_detector="bright-left", out=out)
    assert resumed.rows == whole.rows
    assert resumed.num_people == whole.num_people
    again = watch(model, film, plan=PLAN, cues=CUES, face_detector="bright-left", out=out)
    assert again.rows == whole.rows


def test_a_folder_of_another_film_or_settings_is_refused_until_restarted(model, film, tmp_path) -> None:
    short = tmp_path / "short.mp4"
    short.write_bytes(make_clip(6.0, rate_hz=4))
    out = tmp_path / "out"
    first = watch(model, short, plan=PLAN, cues=CUES[:1], face_detector=None, out=out)
    with pytest.raises(DataError, match="begun with another plan"):
        watch(model, short, plan=WatchPlan(batch_size=3), cues=CUES[:1], face_detector=None, out=out)
    other = tmp_path / "other.mp4"
    other.write_bytes(make_clip(7.0, rate_hz=4))
    with pytest.raises(DataError, match="begun with another film"):
        watch(model, other, plan=PLAN, cues=CUES[:1], face_detector=None, out=out)
    again = watch(model, short, plan=PLAN, cues=CUES[:1], face_detector=None, out=out, restart=True)
    assert again.rows == first.rows


def test_a_run_that_goes_on_keeps_to_the_language_that_it_heard(model, film, monkeypatch, tmp_path) -> None:
    """The first stretch with words decides; a later one alone could sound like another language."""
    told = []

    class Guess(Echo):
        def transcribe(self, waveform, language=None):
            told.append(language)
            return "hm", "en" if len(told) == 1 else "de"

    class StopError(Exception):
        pass

    def stop(done, total):
        raise StopError

    monkeypatch.setattr("affectgpt.watch.watcher.speech_segments", lambda sound: [Segment(1.0, 3.0)])
    with pytest.raises(StopError):
        watch(model, film, plan=PLAN, asr=Guess(), face_detector=None, out=tmp_path / "out", progress=stop)
    heard = len(told)
    watch(model, film, plan=PLAN, asr=Guess(), face_detector=None, out=tmp_path / "out")
    assert told[:1] == [None]
    assert set(told[heard:]) == {"en"}


@pytest.mark.parametrize("damage", ["{}", "[]", '{"identity": {}}', '{"identity": {}, "num_rows": 1}'])
def test_a_damaged_folder_is_refused_in_words(model, film, tmp_path, damage) -> None:
    (tmp_path / "state.json").write_text(damage)
    with pytest.raises(DataError, match="not written by this watch"):
        watch(model, film, plan=PLAN, cues=CUES[:1], face_detector=None, out=tmp_path)


def test_what_is_kept_of_a_film_does_not_grow(model, film, monkeypatch) -> None:
    sizes = []
    add = watching_file.Watcher.watch

    def spy(self, source, people=None):
        from affectgpt.watch import scene as scene_file

        old = scene_file.Scene.add

        def counted(scene, *given):
            old(scene, *given)
            sizes.append((len(scene.times), len(scene.waveform), len(scene.sightings), len(scene.looked)))

        monkeypatch.setattr(scene_file.Scene, "add", counted)
        yield from add(self, source, people)

    monkeypatch.setattr(watching_file.Watcher, "watch", spy)
    watch(model, film, plan=PLAN, cues=CUES, face_detector="bright-left")
    assert len(sizes) == 4
    seconds = 20 + 12 + 1
    assert all(pictures <= 4 * seconds and samples <= 16_000 * seconds for pictures, samples, _, _ in sizes)
    assert all(faces <= 8 * seconds and looks <= 4 * seconds for _, _, faces, looks in sizes)


@pytest.mark.parametrize("given", [{"video": False}, {"audio": False}])
def test_a_film_may_lack_sound_or_pictures(model, tmp_path, given) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(make_clip(21.0, rate_hz=4, **given))
    found = watch(model, path, plan=PLAN, face_detector="bright-left")
    assert found.rows
    lacking = {name for row in found.rows for name in row.missing}
    assert ("face" in lacking) == ("video" in given)
    assert ("audio" in lacking) == ("audio" in given)


def test_chunks_are_the_film(film) -> None:
    whole = list(Film(film, frame_rate_hz=4).chunks(1000.0))
    parts = list(Film(film, frame_rate_hz=4).chunks(7.0))
    assert (len(whole), len(parts)) == (1, 11)
    assert np.array_equal(np.concatenate([one.waveform for one in parts]), whole[0].waveform)
    assert np.array_equal(np.concatenate([one.frames for one in parts]), whole[0].frames)
    later = list(Film(film, frame_rate_hz=4, start_seconds=28.0).chunks(7.0))
    assert np.array_equal(np.concatenate([one.frames for one in later]), whole[0].frames[4 * 28 :])
    assert np.array_equal(np.concatenate([one.waveform for one in later]), whole[0].waveform[28 * 16_000 :])
    with av.open(str(film)) as container:
        assert len(whole[0].frames) == container.streams.video[0].frames


def test_a_file_without_tracks_is_refused(tmp_path) -> None:
    (tmp_path / "film.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    with pytest.raises(DataError, match="neither pictures nor sound"):
        Film(tmp_path / "film.srt")


ROWS = [
    Row(0.0, 2.5, 1, "alone", "No <b>way</b> --> & so", ("angry", "tense"), "negative", 0.9, False, "angry, tense"),
    Row(2.5, 3725.06, None, "", None, (), None, 0.2, True, "x\n\ny"),
]


def test_every_form_is_what_its_readers_expect(tmp_path) -> None:
    import pysubs2

    files = {path.suffix: path for path in write_tables(ROWS, tmp_path, "film.mp4")}
    assert set(files) == {".csv", ".jsonl", ".vtt", ".srt", ".eaf"}
    with files[".csv"].open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [row["labels"] for row in table] == ["angry, tense", "unsure"]
    assert [Row.of(json.loads(line)) for line in files[".jsonl"].read_text().splitlines()] == ROWS
    for suffix in (".vtt", ".srt"):
        cues = pysubs2.load(str(files[suffix]))
        assert [(cue.start, cue.end) for cue in cues] == [(0, 2500), (2500, 3725060)]
        assert "angry, tense" in cues[0].text
        assert "unsure" in cues[1].text
    assert "No &lt;b&gt;way&lt;/b&gt; --&gt; &amp; so" in to_vtt(ROWS)
    assert "01:02:05,060" in to_srt(ROWS)
    root = ElementTree.parse(files[".eaf"]).getroot()
    tiers = {tier.get("TIER_ID"): tier for tier in root.iter("TIER")}
    assert set(tiers) == {"person 1 emotions", "person 1 words", "nobody seen emotions"}
    slots = {slot.get("TIME_SLOT_ID"): int(slot.get("TIME_VALUE", "")) for slot in root.iter("TIME_SLOT")}
    spans = [
        (slots[one.get("TIME_SLOT_REF1")], slots[one.get("TIME_SLOT_REF2")])
        for one in root.iter("ALIGNABLE_ANNOTATION")
    ]
    assert spans == [(0, 2500), (0, 2500), (2500, 3725060)]


def test_the_timeline_is_a_picture(film, tmp_path) -> None:
    pytest.importorskip("matplotlib")
    path = draw_timeline(ROWS, film, tmp_path / "t.png", 75.0)
    with av.open(str(path)) as picture:
        frame = next(picture.decode(video=0)).to_ndarray(format="rgb24")
    assert frame.shape[1] > 1000
    assert len(np.unique(frame.reshape(-1, 3)[::97], axis=0)) > 20
    assert draw_timeline([], film, tmp_path / "empty.png", 75.0).is_file()


def test_unsure_answers_say_so(model, film) -> None:
    found = watch(model, film, plan=WatchPlan(unsure_below=1.0), cues=CUES[:2], face_detector=None)
    assert all(
        row.is_unsure and row.answer == "unsure" and not row.labels and row.text is not None for row in found.rows
    )


def test_a_watcher_can_be_used_alone(model, film) -> None:
    watcher = Watcher(model, PLAN, cues=CUES)
    steps = list(watcher.watch(Film(film, frame_rate_hz=watcher.frame_rate_hz)))
    assert len(steps) == 4
    assert sum(len(step.rows) for step in steps) > len(CUES)


def test_the_command_writes_everything_and_goes_on(model, film, tmp_path, capsys) -> None:
    pytest.importorskip("matplotlib")
    model.save_pretrained(tmp_path / "model")
    subtitles = tmp_path / "film.srt"
    subtitles.write_text("1\n00:00:02,000 --> 00:00:03,500\nI won!\n")
    call = ["watch", str(film), "--checkpoint", str(tmp_path / "model"), "--out", str(tmp_path / "out")]
    assert main([*call, "--subtitles", str(subtitles), "--face-detector", "none", "--speech-only"]) == 0
    told = capsys.readouterr().out
    assert "1 answers" in told
    assert "timeline.png" in told
    assert main([*call, "--subtitles", str(subtitles), "--face-detector", "none", "--speech-only", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["words"] == "I won!"
    assert main([*call, "--face-detector", "none"]) == 1
    assert "begun with another" in capsys.readouterr().err
    rows = tmp_path / "out" / "rows.jsonl"
    good = rows.read_text()
    rows.write_text('{"no": "row"}\n')
    asked = [*call, "--subtitles", str(subtitles), "--face-detector", "none", "--speech-only"]
    assert main(asked) == 1
    assert "has a row that is damaged" in capsys.readouterr().err
    rows.write_text(good)
    with torch.no_grad():
        next(model.parameters()).add_(0.1)  # trained further, under the same name
    model.save_pretrained(tmp_path / "model")
    assert main(asked) == 1
    assert "begun with another model" in capsys.readouterr().err
    assert main(["watch", str(tmp_path / "no.mp4"), "--checkpoint", str(tmp_path / "model")]) == 1
    assert "cannot be opened" in capsys.readouterr().err


def test_the_command_calibrates_on_clips_with_labels(model, tmp_path, capsys) -> None:
    """Labels are taken from the model's own answers, for every second clip, so that half of the answers are right."""
    pytest.importorskip("matplotlib")
    model.save_pretrained(tmp_path / "model")
    lines = []
    for number in range(20):
        path = tmp_path / f"c{number}.mp4"
        path.write_bytes(make_clip(1.0, rate_hz=4, shade=10 + 11 * number, tone_hz=200 + 40 * number))
        said = model.predict(path, face_detector=None).labels
        lines.append({"name": f"c{number}", "video": path.name, "labels": [*said] if number % 2 and said else ["zzz"]})
    (tmp_path / "set.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tmp_path / "calibration.json"
    call = ["watch", str(tmp_path / "set.jsonl"), "--calibrate", "--checkpoint", str(tmp_path / "model")]
    assert main(call) == 1
    assert "give --out" in capsys.readouterr().err
    assert main([*call, "--out", str(out), "--json"]) == 0
    saved = json.loads(capsys.readouterr().out)
    assert saved["num_clips"] == 20
    assert 0 < saved["share_right"] <= 0.5
    assert out.with_suffix(".png").is_file()

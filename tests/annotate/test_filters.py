"""The filters: who speaks, what is heard, how long a description is, and what classifiers vote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from affectgpt.annotate import annotate
from affectgpt.annotate.filters.active_speaker import ActiveSpeakerStage
from affectgpt.annotate.filters.agreement import AgreementStage, agreeing_wheels
from affectgpt.annotate.filters.face_track import cut_faces, track_face
from affectgpt.annotate.filters.lr_asd import ActiveSpeakerNet, load_active_speaker
from affectgpt.annotate.filters.speech_mfcc import speech_mfcc
from affectgpt.annotate.filters.voice_filter import VoiceStage
from affectgpt.annotate.filters.vote import Ballot, VoteStage, count_votes
from affectgpt.annotate.pipeline import make_pipeline
from affectgpt.annotate.source_files import LooseFiles
from affectgpt.annotate.stage import ClipRecord
from affectgpt.classifier import EmotionClassifier
from affectgpt.errors import CheckpointError, ConfigError
from affectgpt.media.faces.base import FaceDetector, Faces
from affectgpt.metrics import EmotionWheel
from clipmaker import make_clip, write_wav
from conftest import write_manifest
from quiettrainer import save_as_trained

# python_speech_features 0.6: mfcc(x.astype(int16), 16000, numcep=13, winlen=0.025, winstep=0.010) of the sound below
GOLDEN = {
    3: "17.1047 25.7337 18.9755 15.2627 11.0388 5.5638 0.5665 -4.7776 -8.3494 -10.9186 -11.051 -10.4678 -9.2063",
    29: "17.5405 28.9717 18.0569 6.9507 -3.4724 -10.2021 -9.8637 -4.1668 4.6081 11.7616 15.0492 11.5437 3.5194",
}


def test_cepstra_are_those_that_the_published_weights_were_trained_on():
    steps = np.arange(5000)
    sound = (np.sin(steps * 0.05) * 8000 + np.cos(steps**1.3 * 0.01) * 3000).astype(np.int16)
    found = speech_mfcc(sound.astype(float))
    assert found.shape == (30, 13)
    for row, expected in GOLDEN.items():
        np.testing.assert_allclose(found[row], [float(one) for one in expected.split()], atol=2e-4)


def test_the_network_scores_every_frame_and_heeds_both_inputs(tmp_path):
    torch.manual_seed(0)
    network = ActiveSpeakerNet().eval()
    faces, sound = 255 * torch.rand(1, 10, 112, 112), 5 * torch.randn(1, 40, 13)
    with torch.inference_mode():
        scores = network(faces, sound)
        assert scores.shape == (1, 10)
        assert not torch.allclose(scores, network(faces.flip(1), sound))
        assert not torch.allclose(scores, network(faces, sound.flip(1)))
    with pytest.raises(CheckpointError, match="no file of LR-ASD weights"):
        load_active_speaker(tmp_path / "gone.model")
    torch.save({"model.other": torch.zeros(2)}, tmp_path / "other.model")
    with pytest.raises(CheckpointError, match="weights of another network"):
        load_active_speaker(tmp_path / "other.model")
    (tmp_path / "code.model").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        load_active_speaker(tmp_path / "code.model")
    with pytest.raises(ConfigError, match="needs weights"):
        ActiveSpeakerStage()


class Scripted(FaceDetector):
    """Finds a face where the script says, in the frames that it is shown."""

    def __init__(self, *boxes):
        self.boxes = boxes

    def detect(self, frames):
        return [
            Faces(np.array([box] if box else [], np.float32).reshape(-1, 4), np.ones(1 if box else 0, np.float32))
            for box in self.boxes[: len(frames)]
        ]


def test_boxes_between_looks_are_interpolated_and_the_crop_holds_the_mouth():
    frames = np.zeros((11, 100, 100, 3), np.uint8)
    frames[:, 60:70, 40:60] = 255  # a mouth
    track = track_face(frames, Scripted((30, 30, 70, 70), (30, 30, 70, 70), (34, 30, 74, 70)))
    assert track is not None
    assert track.coverage == 1.0
    np.testing.assert_allclose(track.boxes[7], (31.6, 30, 71.6, 70), atol=1e-4)
    cut = cut_faces(frames, np.tile(np.array([30, 30, 70, 70], np.float32), (11, 1)), 28)
    # the region is 28 pixels wide around (50, 58): rows 44 to 72 and columns 36 to 64
    np.testing.assert_allclose(cut[0][:, 14] > 128, [r in range(16, 26) for r in range(28)])
    np.testing.assert_allclose(cut[0][20] > 128, [c in range(4, 24) for c in range(28)])
    beyond = cut_faces(frames[:1], np.array([[80, 80, 120, 120]], np.float32), 28)
    assert beyond[0, -1, -1] == pytest.approx(110)
    assert track_face(frames, Scripted(None, None, None)) is None


def speaker(monkeypatch, tmp_path, score, *, speech=(0.0, 1.0), boxes=((10, 5, 40, 40),) * 9, audio=True):
    """The verdict on a clip where the network gives every frame this score."""
    from affectgpt.annotate.filters import active_speaker
    from affectgpt.media.speech.base import Segment

    net = ActiveSpeakerNet()
    state = net.state_dict()
    named = {(f"lossAV.FC.{n[5:]}" if n.startswith("head.") else f"model.{n}"): v for n, v in state.items()}
    named["lossAV.FC.weight"], named["lossAV.FC.bias"] = torch.zeros(2, 128), torch.tensor([0.0, score])
    torch.save(named, tmp_path / "w.model")
    (tmp_path / "c.mp4").write_bytes(make_clip(1.0, rate_hz=25, audio=audio))
    stage = ActiveSpeakerStage(weights=str(tmp_path / "w.model"))
    monkeypatch.setattr(stage, "_detector", Scripted(*boxes))
    monkeypatch.setattr(active_speaker, "speech_segments", lambda _: [Segment(*speech)] if speech else [])
    return stage.answer(ClipRecord("c", {}, LooseFiles(tmp_path / "c.mp4", None)))


def test_only_a_face_that_does_not_speak_is_dropped(monkeypatch, tmp_path):
    assert speaker(monkeypatch, tmp_path, 2.0).fields == {"speaker": "speaker", "speaker_score": 2.0}
    other = speaker(monkeypatch, tmp_path, -2.0)
    assert (other.status, other.fields["speaker"]) == ("dropped", "not the speaker")
    for answer, why in (
        (speaker(monkeypatch, tmp_path, -0.5), "between the bounds"),
        (speaker(monkeypatch, tmp_path, -2.0, speech=None), "nobody speaks"),
        (speaker(monkeypatch, tmp_path, -2.0, speech=(0.0, 0.1)), "nobody speaks"),
        (speaker(monkeypatch, tmp_path, -2.0, boxes=(None,) * 9), "no face"),
        (speaker(monkeypatch, tmp_path, -2.0, audio=False), "no sound"),
    ):
        assert (answer.status, answer.fields["speaker"]) == ("done", "abstain")
        assert why in str(answer.reason)


def test_published_weights_call_the_talking_clips_speakers(shared):
    weights = shared / "data" / "active_speaker" / "lr_asd_ava.pth"
    stage = ActiveSpeakerStage(weights=str(weights), window_seconds=[2])
    folder = shared / "data" / "clips"
    for name in ("sample_00000167", "sample_00002422"):
        answer = stage.answer(ClipRecord(name, {}, LooseFiles(folder / f"{name}.mp4", None)))
        assert answer.fields["speaker"] == "speaker", answer
        assert answer.fields["speaker_score"] > 0.5


def test_crying_stays_where_a_detector_of_speech_hears_none(shared):
    clip = LooseFiles(shared / "data" / "clips" / "sample_00000727.mp4", None)
    answer = VoiceStage().answer(ClipRecord("c", {}, clip))
    assert answer.status == "done"
    assert answer.fields["voice"] == "voice"
    assert answer.fields["speech_share"] < 0.1


def sound(folder: Path, samples: np.ndarray) -> ClipRecord:
    path = folder / "s.wav"
    path.write_bytes(write_wav(samples.astype(np.float32)[:, None]))
    return ClipRecord("s", {}, LooseFiles(None, path))


def test_kinds_of_sound_and_what_is_dropped(tmp_path):
    time = np.arange(16_000) / 16_000
    hum = 0.3 * sum(np.sin(2 * np.pi * 220 * k * time) / k for k in (1, 2, 3))
    hiss = 0.05 * np.random.default_rng(0).standard_normal(16_000)
    stage = VoiceStage(find_speech=False)
    assert stage.answer(sound(tmp_path, hum)).fields["voice"] == "voice"
    assert stage.answer(sound(tmp_path, hiss)).fields["voice"] == "sound"
    silent = stage.answer(sound(tmp_path, np.zeros(16_000)))
    assert (silent.status, silent.reason) == ("dropped", "its sound is silence")
    (tmp_path / "mute.mp4").write_bytes(make_clip(0.3, audio=False))
    mute = ClipRecord("m", {}, LooseFiles(tmp_path / "mute.mp4", None))
    assert stage.answer(mute).status == "done"
    assert VoiceStage(["no-track"], find_speech=False).answer(mute).reason == "it has no sound track"
    with pytest.raises(ConfigError, match="Did you mean 'silence'"):
        VoiceStage(["silent"])


def many(folder: Path, texts: list[str]) -> Path:
    folder.mkdir()
    clip = make_clip(0.3)
    lines = []
    for number, text in enumerate(texts):
        (folder / f"c{number}.mp4").write_bytes(clip + bytes([number]))
        lines.append({"name": f"c{number}", "video": f"c{number}.mp4", "description": text})
    write_manifest(folder, lines)
    return folder


def test_both_tails_of_the_sets_own_lengths_go(tmp_path):
    clips = many(tmp_path / "clips", ["x" * n for n in (1, *range(40, 58), 500)])
    stage = {"name": "description-length", "args": {"low": 0.1, "high": 0.9, "least": 10}}
    report = annotate(make_pipeline({"stages": [stage]}), clips, tmp_path / "out")
    left = {
        row["key"]: row["reason"] for row in map(json.loads, (tmp_path / "out/left_out.jsonl").read_text().splitlines())
    }
    assert left == {
        "c0": "its description has 1 characters, fewer than 40",
        "c18": "its description has 57 characters, more than 56",
        "c19": "its description has 500 characters, more than 56",
    }
    assert report.card["stages"][0]["settings"]["surveyed"] == {"bounds": [40, 56]}
    few = {"name": "description-length", "args": {"low": 0.1, "high": 0.9, "least": 100}}
    assert annotate(make_pipeline({"stages": [few]}), clips, tmp_path / "few").outcomes["kept"] == 20


def test_lengths_are_surveyed_behind_the_stages_before(tmp_path):
    """A clip that an earlier stage dropped has no part in the quantiles, and the run resumes behind the survey."""
    from stagemaker import calls, counting

    clips = many(tmp_path / "clips", ["x" * n for n in range(40, 60)])
    before = {**counting(reads=("description",), drop="c0 c1", prompt="p", log=tmp_path / "log"), "as": "before"}
    stage = {"name": "description-length", "args": {"low": 0.0, "high": 1.0, "least": 1}}
    run = make_pipeline({"stages": [before, stage]})
    report = annotate(run, clips, tmp_path / "out")
    assert report.card["stages"][1]["settings"]["surveyed"] == {"bounds": [52, 69]}
    assert annotate(run, clips, tmp_path / "out").num_answers == 0
    assert len(calls(tmp_path / "log")) == 20


@pytest.mark.parametrize(
    ("labels", "tie", "least", "winner"),
    [
        ("aab", "probability", 0, "a"),
        ("abc", "probability", 0, "c"),
        ("abc", "none", 0, None),
        ("aabb", "probability", 0, "b"),
        ("aab", "probability", 0.7, None),
        ("", "probability", 0, None),
    ],
)
def test_the_rule_of_the_vote(labels, tie, least, winner):
    ballots = [Ballot(str(i), label, 0.5 + 0.1 * i) for i, label in enumerate(labels)]
    assert count_votes(ballots, tie, least) == winner


def test_equal_votes_with_equal_probabilities_have_no_winner():
    assert count_votes([Ballot("1", "a", 0.5), Ballot("2", "b", 0.5)]) is None


def voter(path: Path, classes: list[str], chosen: int) -> str:
    """A classifier that says one thing of everything."""
    tiny = {"encoder": {"name": "tiny-audio", "args": {"dim": 4, "num_mels": 8}}, "source": "audio"}
    classifier = EmotionClassifier({"audio": tiny}, classes)
    with torch.no_grad():
        for name, weight in classifier.head.named_parameters():
            weight.zero_()
            if name.endswith("bias"):
                weight[chosen] = 2.0
    return str(save_as_trained(classifier, path))


def test_classifiers_vote_and_the_description_must_agree(tmp_path):
    emotions, feelings = ["happy", "sad", "neutral"], ["positive", "negative"]
    one, two, three = (voter(tmp_path / f"e{i}.ckpt", emotions, i % 2) for i in (0, 2, 1))
    good = voter(tmp_path / "s.ckpt", feelings, 0)
    clips = many(tmp_path / "clips", ["She is joyful.", "She is sad.", "A room."])
    stages = [
        "labels",
        {"name": "vote", "args": {"emotion": [one, two, three], "sentiment": [good]}},
        {"name": "agreement", "args": {"on_disagreement": "drop"}},
    ]
    report = annotate(make_pipeline({"stages": stages}), clips, tmp_path / "out")
    left = {
        row["key"]: row["reason"] for row in map(json.loads, (tmp_path / "out/left_out.jsonl").read_text().splitlines())
    }
    assert report.outcomes["kept"] == 1
    assert left["c1"] == (
        "the vote is happy, the description says sad; the voted sentiment is positive, that of the description negative"
    )
    assert left["c2"].startswith("the vote is happy, the description says no emotion")
    (tmp_path / "no.ckpt").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"no.ckpt cannot be read as a checkpoint"):
        VoteStage([str(tmp_path / "no.ckpt")])


SAD = {"labels": ["sad"], "vote_emotion": "sad", "sentiment": "negative"}


def told(**fields) -> ClipRecord:
    return ClipRecord("c", fields, LooseFiles(None, None))


@pytest.mark.parametrize(
    ("criterion", "fields", "status"),
    [
        ("E", {"labels": ["furious"], "vote_emotion": "angry"}, "done"),
        ("E", {"labels": ["calm"], "vote_emotion": "angry"}, "dropped"),
        ("E", {"labels": ["calm"], "vote_emotion": None}, "person"),
        ("E", {"labels": ["calm"], "vote_emotion": "no such word"}, "person"),
        ("E", {"labels": [], "vote_emotion": "neutral"}, "done"),
        ("E", {"labels": ["sad"], "vote_emotion": "neutral"}, "dropped"),
        ("S", {"sentiment": "negative", "vote_sentiment": "negative"}, "done"),
        ("S", {"sentiment": "negative", "vote_sentiment": "positive"}, "dropped"),
        ("S", {"sentiment": None, "vote_sentiment": "positive"}, "person"),
        ("E+S", {**SAD, "vote_sentiment": "positive"}, "dropped"),
        ("E+S", {**SAD, "vote_sentiment": "negative"}, "done"),
        ("E+S", {**SAD, "vote_sentiment": None}, "person"),
    ],
)
def test_what_agreement_decides(criterion, fields, status):
    assert AgreementStage(criterion).answer(told(**fields)).status == status


def test_wheels_may_have_to_agree_in_number():
    wheel = EmotionWheel.builtin()
    share = agreeing_wheels(["surprised"], "happy", wheel)
    assert share is not None
    assert AgreementStage("E", least_wheels=1.0).answer(told(labels=["joyful"], vote_emotion="happy")).status == "done"
    kept = AgreementStage("E", on_disagreement="keep").answer(told(labels=["calm"], vote_emotion="angry"))
    assert (kept.status, kept.reason) == ("done", "the vote is angry, the description says calm")

"""The contract that every registered stage keeps; a stage without a case in the table fails the test."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from affectgpt.annotate.pipeline import Step
from affectgpt.annotate.source_files import LooseFiles
from affectgpt.annotate.stage import STATUSES, ClipRecord, Stage
from affectgpt.annotate.walk import _checked
from affectgpt.classifier import EmotionClassifier
from affectgpt.registry import STAGES, Spec
from affectgpt.registry.builtin_parts import STAGE_TABLE
from chatserver import Step as Reply
from chatserver import serve
from clipmaker import make_clip
from quiettrainer import save_as_trained

PROGRAM = "import sys, json\nfor line in sys.stdin:\n    print(json.dumps({'fields': {'mood': 'calm'}}), flush=True)\n"
CASES: dict[str, dict] = {
    "cues": {"num_frames": 2, "face_mesh": None, "expression": None, "find_speech": False},
    "openai": {"model": "m", "base_url": "@server", "num_frames": 1, "decoders": 0},
    "transformers": {"model": "@missing"},
    "command": {"program": [sys.executable, "-c", PROGRAM], "writes": ["mood"]},
    "merge": {"model": "m", "base_url": "@server"},
    "labels": {},
    "active-speaker": {"weights": "@lr-asd"},
    "voice": {"find_speech": False},
    "description-length": {},
    "vote": {"emotion": ["@classifier"]},
    "agreement": {},
}
NEEDS_WEIGHTS = {"transformers"}
"""Stages that have a test of their own with a model."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    from affectgpt.annotate.filters.lr_asd import ActiveSpeakerNet

    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    state = ActiveSpeakerNet().state_dict()
    named = {(f"lossAV.FC.{n[5:]}" if n.startswith("head.") else f"model.{n}"): v for n, v in state.items()}
    torch.save(named, folder / "lr_asd.model")
    tiny = {"encoder": {"name": "tiny-audio", "args": {"dim": 4, "num_mels": 8}}, "source": "audio"}
    classifier = EmotionClassifier({"audio": tiny}, ["happy", "sad"])

    save_as_trained(classifier, folder / "voter.ckpt")
    return folder


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    path.write_bytes(make_clip(1.0))
    fields = {"subtitle": "Hi.", "description": "She is happy.", "labels": ["happy"], "vote_emotion": "happy"}
    return ClipRecord("clip", {**fields, "audio_clues": "A voice.", "visual_clues": "A face."}, LooseFiles(path, None))


@pytest.fixture
def spec_of(weights):
    with serve(lambda body: Reply("She feels calm.")) as (url, _):
        known = {"@server": url, "@lr-asd": str(weights / "lr_asd.model"), "@classifier": str(weights / "voter.ckpt")}

        def fill(value):
            if isinstance(value, list):
                return [fill(one) for one in value]
            return known.get(value, value) if isinstance(value, str) else value

        yield lambda name: Spec(name, {key: fill(value) for key, value in CASES[name].items()})


def test_every_stage_has_a_case():
    assert set(CASES) == set(STAGE_TABLE)


@pytest.mark.parametrize("name", sorted(set(CASES) - NEEDS_WEIGHTS))
def test_a_stage_says_what_decides_its_answers_and_answers_in_plain_json(name, spec_of, record, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    spec = spec_of(name)
    stage = STAGES.build(spec)
    assert isinstance(stage, Stage)
    identity = stage.identity()
    assert json.loads(json.dumps(identity)) == json.loads(json.dumps(STAGES.build(spec).identity()))
    assert "sk-secret" not in json.dumps(identity)
    assert all(isinstance(field, str) and field for field in (*stage.reads, *stage.writes))
    assert stage.writes or name in ("agreement",)
    if stage.surveys:
        stage.surveyed = json.loads(json.dumps(stage.survey(iter([record]))))
    told = ClipRecord(record.key, {n: v for n, v in record.fields.items() if n in stage.reads}, record.media)
    ((position, answer),) = stage.answers([told])
    assert position == 0
    assert answer.status in STATUSES
    checked = _checked(Step(name, spec, stage), answer)
    assert checked.status == answer.status, checked.reason
    assert checked.fields == dict(answer.fields)


@pytest.mark.parametrize("name", sorted(set(CASES) - NEEDS_WEIGHTS))
def test_a_stage_is_asked_about_none(name, spec_of):
    assert list(STAGES.build(spec_of(name)).answers(iter([]))) == []

"""The preference task from the table of pairs to the answer of Track 3: packed, asked, learnt, scored and exported."""

from __future__ import annotations

import csv
from pathlib import Path

import lightning
import pytest

from affectgpt import AffectGPT
from affectgpt.cli.answers_file import PredictionFile
from affectgpt.cli.main import main
from affectgpt.datamodules import MERCaptionDataModule
from affectgpt.datamodules.questions import check_task, preference_question, question_and_answer
from affectgpt.errors import ConfigError
from affectgpt.manifests.record import SampleError
from affectgpt.prompts import get_style
from affectgpt.prompts.preference import PREFERENCE_WORDINGS, preference_wording
from affectgpt.types import Clip
from mer2026maker import make_release, write_table

MEDIA = {
    "num_frames": 1,
    "frame_height": 16,
    "frame_width": 16,
    "num_segments": 1,
    "segment_seconds": 0.1,
    "sources": ["frame"],
}
PAIR = {"clip": "c", "a1": "She is\n\tglad {a2}.", "a2": "She is sad {a1}.", "preference": "a1"}


def test_the_published_question_is_asked_letter_by_letter() -> None:
    clip = Clip("c", extra={"pair": {**PAIR, "a1": "She smiles.\nGlad.", "a2": "She cries."}})
    question, answer = preference_question("preference_as_given", clip, seed=0, epoch=0)
    assert question == (
        'We provide two descriptions for a given input: a1: "She smiles. Glad.". a2: "She cries.". Please determinate '
        "which one is better aligned with the input content. If both of them equally align with the input content, "
        "please output 'same'. Therefore, the output should be a1, a2, or same. Please direct output the answer "
        "without additional reasoning process."
    )
    assert answer == "a1"


@pytest.mark.parametrize("name", PREFERENCE_WORDINGS)
def test_descriptions_stand_where_they_belong_whatever_is_in_them(name: str) -> None:
    wording = preference_wording(get_style(name))
    question = wording.ask(PAIR["a1"], PAIR["a2"])
    assert question.index("She is glad {a2}.") < question.index("She is sad {a1}.")
    assert wording.asks(question)
    assert not wording.asks(get_style(name).label_question)
    assert not wording.asks("Which is better?")


def test_the_order_is_drawn_by_epoch_in_training_and_the_answer_follows_it() -> None:
    clips = [Clip(f"c{i}", extra={"pair": PAIR}) for i in range(200)]
    given = preference_question("preference_as_given", clips[0], seed=1, epoch=0)
    swapped = preference_question("preference_swapped", clips[0], seed=1, epoch=0)
    assert (given[1], swapped[1]) == ("a1", "a2")
    assert swapped[0].index("She is sad") < swapped[0].index("She is glad")
    drawn = [[preference_question("preference", clip, seed=1, epoch=e) for clip in clips] for e in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert set(drawn[0]) == {given, swapped}
    assert 70 < drawn[0].count(given) < 130


def test_clips_without_a_pair_or_a_preference_are_named() -> None:
    bare = Clip("bare")
    with pytest.raises(SampleError, match="'bare' has no two descriptions"):
        preference_question("preference", bare, seed=0, epoch=0)
    candidate = Clip("open", extra={"pair": {"a1": "x", "a2": "y"}})
    assert preference_question("preference_as_given", candidate, seed=0, epoch=0)[1] is None
    with pytest.raises(SampleError, match="'open' has no preference"):
        question_and_answer("preference", candidate, seed=0, epoch=0)
    odd = Clip("odd", extra={"pair": {"a1": "x", "a2": "y", "preference": "tie"}})
    with pytest.raises(SampleError, match="the preference 'tie'; expected a1, a2 or same"):
        preference_question("preference", odd, seed=0, epoch=0)
    with pytest.raises(ConfigError, match="preference_swapped"):
        check_task("preference_swaped")


@pytest.mark.filterwarnings("ignore")
def test_a_model_learns_preferences_and_its_answers_are_handed_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release = make_release(tmp_path / "release", faces=False)
    pairs = [("samplenew_1", "fits", "not"), ("samplenew_2", "not", "fits"), ("samplenew_3", "fits", "not")]
    write_table(
        release / "track3_emoprefer.csv",
        ["name", "a1", "a2", "preference"],
        [[name, a1, a2, "a1" if a1 == "fits" else "a2"] for name, a1, a2 in pairs],
    )
    write_table(release / "track3_candidate.csv", ["name", "a1", "a2"], [[n, a1, a2] for n, a1, a2 in pairs])
    for subset in ("track3_emoprefer", "track3_candidate"):
        options = ["--layout", "mer2026", "--subset", subset, "--workers", "0"]
        assert main(["pack", str(release), str(tmp_path / subset), *options]) == 0
    lightning.seed_everything(7)
    model = AffectGPT.from_config(
        {
            "streams": {"frame": {"encoder": {"name": "tiny-vision"}, "pooling": {"name": "mean"}}},
            "llm": {"name": "tiny", "args": {"dim": 64}},
            "style": "brief",
            "media": MEDIA,
            "max_new_tokens": 3,
            "optim": {"lr": 3e-3, "warmup_steps": 0},
        }
    )
    shards = str(tmp_path / "track3_emoprefer")
    data = MERCaptionDataModule(
        train=shards, val=shards, predict=str(tmp_path / "track3_candidate"), task="preference", style="brief",
        batch_size=3, num_workers=0, media=MEDIA,
    )  # fmt: skip
    predictions = {name: tmp_path / f"{name}.jsonl" for name in ("given", "swapped")}
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = lightning.Trainer(
        accelerator="cpu", devices=1, max_epochs=150, check_val_every_n_epoch=150, num_sanity_val_steps=0,
        callbacks=[PredictionFile(str(predictions["given"]))], **quiet,
    )  # fmt: skip
    trainer.fit(model, data)
    scores = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert scores["val/preference_accuracy"] == scores["val/preference_f1"] == 1.0
    assert "val/f1" not in scores
    capsys.readouterr()
    trainer.predict(model, data)
    assert f"next: affectgpt score preference {predictions['given']} PAIRS.csv" in capsys.readouterr().out
    data.task = check_task("preference_swapped")
    swapping = lightning.Trainer(
        accelerator="cpu", devices=1, callbacks=[PredictionFile(str(predictions["swapped"]))], **quiet
    )
    swapping.predict(model, data)
    out = tmp_path / "out"
    command = ["submit", "mer2026", str(predictions["given"]), "--track", "3", "--count", "3"]
    files = ["--candidates", str(release / "track3_candidate.csv"), "--out", str(out)]
    assert main([*command, *files, "--swapped", str(predictions["swapped"])]) == 0
    rows = list(csv.DictReader((out / "answer.csv").open(encoding="utf-8")))
    assert [(row["name"], row["preference"]) for row in rows] == [
        (n, "a1" if a1 == "fits" else "a2") for n, a1, _ in pairs
    ]
    assert '"consistency": 1' in (out / "submission.json").read_text("utf-8")

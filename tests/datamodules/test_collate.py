import pytest
import torch

from affectgpt.datamodules.collate import collate
from affectgpt.datamodules.questions import (
    check_task,
    question_and_answer,
)
from affectgpt.errors import ConfigError, DataError
from affectgpt.prompts.wordings import OFFICIAL
from affectgpt.types import Clip


def frames(count, size=4):
    return torch.full((count, 3, size, size), 7, dtype=torch.uint8)


def test_missing_and_short_media_are_zero_and_not_kept():
    clips = [
        Clip("full", {"frame": frames(3), "audio": torch.ones(2, 5)}, "hi", ("happy",)),
        Clip("short", {"frame": frames(1)}),
        Clip("heard", {"audio": torch.ones(1, 5)}),
    ]
    batch = collate(clips, ["q"] * 3, ["a", "b", "c"])
    assert batch.keys == ("full", "short", "heard")
    assert batch.media["frame"].shape == (3, 3, 3, 4, 4)
    assert batch.keep["frame"].tolist() == [[True] * 3, [True, False, False], [False] * 3]
    assert batch.keep["audio"].tolist() == [[True, True], [False, False], [True, False]]
    for name, keep in batch.keep.items():
        assert not batch.media[name][~keep].any()
        assert batch.media[name][keep].all()
    assert batch.subtitles == ("hi", None, None)
    assert batch.labels == (("happy",), (), ())
    assert collate(clips[:1], ["q"]).answers is None


def test_features_are_padded_per_stream():
    clips = [Clip("a", features={"clip": torch.ones(3, 6)}), Clip("b", features={"clip": torch.ones(2, 6)}), Clip("c")]
    stream = collate(clips, ["q"] * 3).features["clip"]
    assert stream.hidden.shape == (3, 3, 6)
    assert stream.keep.sum(1).tolist() == [3, 2, 0]


@pytest.mark.parametrize(
    ("clips", "words"),
    [
        ([], "at least one clip"),
        ([Clip("a", {"frame": frames(1, 4)}), Clip("b", {"frame": frames(1, 5)})], "'a' and 'b' do not fit"),
        ([Clip("a", {"frame": frames(1).float()})], "'a': 'frame' must be uint8"),
        ([Clip("a", {"audio": torch.ones(4)})], "'a': 'audio' must be float"),
        ([Clip("a", {"smell": torch.ones(4)})], "unknown media source 'smell'"),
        ([Clip("a", features={"x": torch.ones(2, 3)}), Clip("b", features={"x": torch.ones(2, 4)})], "'a' and 'b'"),
    ],
)
def test_what_does_not_fit_names_the_clips(clips, words):
    with pytest.raises(DataError, match=words):
        collate(clips, ["q"] * len(clips))


def test_rows_are_rows_whatever_their_names():
    first, second = frames(2), frames(1) + 9
    features = [torch.ones(2, 3), torch.zeros(1, 3)]
    clips = [
        Clip("clip0", {"frame": first}, labels=("sad",), features={"x": features[0]}),
        Clip("clip0", {"frame": second}, labels=("happy",), features={"x": features[1]}),
        Clip("clip0", labels=("calm",)),
    ]
    batch = collate(clips, ["q"] * 3)
    assert batch.keys == ("clip0",) * 3
    assert batch.keep["frame"].tolist() == [[True, True], [True, False], [False, False]]
    assert torch.equal(batch.media["frame"][0], first)
    assert torch.equal(batch.media["frame"][1, :1], second)
    assert batch.features["x"].hidden[:, 0, 0].tolist() == [1, 0, 0]
    assert batch.features["x"].keep.sum(1).tolist() == [2, 1, 0]


def test_the_question_is_drawn_by_the_name_in_the_set():
    alone, mixed = (Clip(key, labels=("sad",), description="d") for key in ("clip-1", "mer/clip-1"))
    for epoch in range(16):
        draw = {"seed": 0, "epoch": epoch}
        assert question_and_answer("hybrid", mixed, **draw, name="clip-1") == question_and_answer(
            "hybrid", alone, **draw
        )


def test_numbers_of_questions_and_answers_are_checked():
    with pytest.raises(DataError, match="questions"):
        collate([Clip("a")], ["q", "q"])
    with pytest.raises(DataError, match="answers"):
        collate([Clip("a")], ["q"], [])


def test_published_questions_and_answers():
    clip = Clip("a", labels=("happy", "relieved"), description="He smiles.")
    asked = {task: question_and_answer(task, clip, seed=0, epoch=0) for task in ("labels", "description")}
    assert asked["labels"] == (OFFICIAL.label_question, "The character's emotional state is happy, relieved.")
    assert asked["description"] == (OFFICIAL.description_question, "He smiles.")


def test_hybrid_is_half_and_half_and_a_pure_function_of_seed_epoch_and_key():
    clips = [Clip(f"clip-{i}", labels=("sad",), description="d") for i in range(400)]

    def draw(seed, epoch):
        return [
            question_and_answer("hybrid", clip, seed=seed, epoch=epoch)[0] == OFFICIAL.label_question for clip in clips
        ]

    assert draw(1, 0) == draw(1, 0)
    assert draw(1, 0) != draw(1, 1)
    assert draw(1, 0) != draw(2, 0)
    assert 150 < sum(draw(1, 0)) < 250


def test_a_clip_without_labels_is_never_neutral():
    described, bare = Clip("d", description="He frowns."), Clip("b")
    for epoch in range(8):
        assert question_and_answer("hybrid", described, seed=0, epoch=epoch) == (
            OFFICIAL.description_question,
            "He frowns.",
        )
    with pytest.raises(DataError, match="'d' has no labels"):
        question_and_answer("labels", described, seed=0, epoch=0)
    for task in ("labels", "description", "hybrid"):
        with pytest.raises(DataError, match="'b' has n"):
            question_and_answer(task, bare, seed=0, epoch=0)


def test_an_unknown_task_is_refused():
    with pytest.raises(ConfigError, match="hybrid"):
        check_task("hybird")

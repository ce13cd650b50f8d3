"""Labels that stay though their only evidence is gone: counted, asked for, and rewarded against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.errors import ConfigError, DataError
from affectgpt.llm.written_answers import WrittenAnswers
from affectgpt.metrics import EmotionWheel
from affectgpt.metrics.functional import faithfulness, unsupported_labels
from affectgpt.model.output import Output
from affectgpt.post_training.clip_views import answer_views, inputs_of, partners, swapped
from affectgpt.registry import REWARDS
from affectgpt.training.rewards import RatedAnswers
from rewardrun import CONFIG, clips_of, fit_grpo

WHEEL = EmotionWheel.builtin()


def test_a_label_stays_if_its_one_evidence_is_gone() -> None:
    whole = [["happy", "sad"], ["angry"], ["blorp"]]
    alone = {"picture": [["joyful"], ["furious"], []], "sound": [["afraid"], ["mad"], ["blorp"]]}
    without = {"picture": [["glad"], ["angry"], []], "sound": [["sad"], ["angry"], ["afraid"]]}
    # happy is seen in the picture alone, and stays without it; sad is in no single input; angry is in both; blorp goes
    assert unsupported_labels(whole, alone, without, WHEEL) == [("happy",), (), ()]
    found = faithfulness(whole, alone, without, WHEEL)
    assert (found.labels, found.tested, found.stay, found.share) == (4, 2, 1, 0.5)
    guessed = faithfulness(whole, alone, without, WHEEL, blind=["glad"])
    assert (guessed.blind, guessed.tested, guessed.stay) == (1, 1, 0)
    none = faithfulness([[]], {"sound": [[]]}, {"sound": [[]]}, WHEEL)
    assert none.share != none.share
    assert none.to_json()["share"] is None


def test_views_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="give both of each"):
        faithfulness([["a"]], {"sound": [["a"]]}, {"picture": [["a"]]}, WHEEL)
    with pytest.raises(DataError, match="1 clips, but 2 answers for the input 'sound'"):
        faithfulness([["a"]], {"sound": [["a"]]}, {"sound": [["a"], ["b"]]}, WHEEL)


class Honest:
    """Stands for a model that names what it is shown: a label for each input, by the content of its rows."""

    def __init__(self, *, listens: bool = True) -> None:
        self.listens = listens
        self.specs = {"frame": SimpleNamespace(source="frame"), "audio": SimpleNamespace(source="audio")}
        self.slots, self.max_new_tokens, self.training = frozenset(("frame", "audio", "subtitle")), 5, False

    def modules(self) -> list[Any]:
        return []

    def encoder(self, name: str) -> Any:
        return SimpleNamespace(frozen=True)

    def __call__(self, batch: Any, longest: int, hide: Sequence[str] = ()) -> Output:
        texts, used = [], []
        for row in range(len(batch)):
            seen = [] if "frame" in hide else [["happy", "sad"][int(batch.media["frame"][row].float().mean() > 100)]]
            heard = [] if "audio" in hide and self.listens else ["angry"]
            read = [str(batch.subtitles[row])] if batch.subtitles[row] and "subtitle" not in hide else []
            texts.append(", ".join([*seen, *heard, *read]))
            used.append(tuple(name for name in ("frame", "audio") if name not in hide))
        written = WrittenAnswers(tuple(texts), torch.zeros(len(texts), 1), torch.ones(len(texts), 1), torch.ones(1))
        return Output(None, None, None, tuple(used), 0, written=written, features={})


def shown(words: str | None = "afraid") -> Any:
    batch = clips_of(range(2, 4))
    frame = torch.stack([torch.full((2, 3, 32, 32), value, dtype=torch.uint8) for value in (0, 200)])
    return replace(
        batch, media={**batch.media, "frame": frame}, subtitles=(words, words), labels=(("happy",), ("sad",)), pairs=()
    )


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_reads_its_inputs_is_told_from_one_that_repeats_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("affectgpt.post_training.clip_views.in_eval_mode", lambda model: torch.no_grad())
    for way in ("mask", "swap"):
        views = answer_views(Honest(), shown(), way)
        assert views.whole == (("happy", "angry", "afraid"), ("sad", "angry", "afraid"))
        assert views.alone["words"] == (("afraid",), ("afraid",))
        assert "happy" not in views.without["picture"][0]
    assert faithfulness(*masked(Honest())).stay == 0
    assert views.without["picture"][0][0] == "sad"  # that of the other clip
    deaf = faithfulness(*masked(Honest(listens=False)))
    assert (deaf.blind, deaf.tested) == (2, 4)  # angry is named whatever is shown
    assert answer_views(Honest(), shown(None)).alone["words"] == ((), ())
    with pytest.raises(ConfigError, match="choose one of mask, swap"):
        answer_views(Honest(), shown(), "blur")


def masked(model: Any) -> tuple[Any, ...]:
    views = answer_views(model, shown())
    return views.whole, views.alone, views.without, WHEEL, views.blind


def test_a_real_model_is_asked_by_its_inputs() -> None:
    torch.manual_seed(0)
    model = AffectGPT.from_config(CONFIG)
    assert inputs_of(model) == {"picture": ["frame"], "sound": ["audio"], "words": ["subtitle"]}
    batch = clips_of(range(2, 6))
    views = answer_views(model, batch)
    assert {*views.alone} == {*views.without} == {"picture", "sound", "words"}
    assert all(len(rows) == 4 for rows in (views.whole, *views.alone.values(), *views.without.values()))
    assert model.training
    other = swapped(batch, ["audio"], model)
    assert torch.equal(other.media["audio"][0], batch.media["audio"][1])
    assert torch.equal(other.media["frame"], batch.media["frame"])
    assert swapped(batch, ["subtitle"], model).subtitles[0] == batch.subtitles[1]


def test_partners_share_no_label_where_that_can_be() -> None:
    assert partners([["a"], ["a", "b"], ["c"]]) == [2, 2, 0]
    assert partners([["a"], ["a"]]) == [1, 0]
    assert partners([["a"]]) == [0]


def test_the_reward_is_minus_the_share_that_stays() -> None:
    reward = REWARDS.build({"name": "faithfulness"})
    labels = (("happy", "sad"), ("angry",), ())
    answers = RatedAnswers(("a",) * 3, ("x",) * 3, labels, (("happy",),) * 3, (1,) * 3, (True,) * 3, (("sad",), (), ()))
    assert reward(answers).tolist() == [-0.5, 0, 0]
    with pytest.raises(ConfigError, match="objective grpo asks for them"):
        reward(replace(answers, unsupported=()))


@pytest.mark.filterwarnings("ignore")
def test_grpo_asks_for_the_views_where_a_reward_needs_them() -> None:
    rewards = {"vowels": "vowels", "faith": {"name": "faithfulness", "weight": 0.0}}
    for evidence in ("mask", "swap"):
        figures = fit_grpo({"rewards": rewards, "group_size": 2, "evidence": evidence}, [clips_of(range(2, 4))])
        assert -1 <= figures["reward/faith"] <= 0

"""What every language-model head does: log-probabilities, packed rows, sampling, and training within the model."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import transformers
from torch.utils.data import DataLoader

from affectgpt import AffectGPT
from affectgpt.errors import AlignmentError, ConfigError
from affectgpt.llm import AnswerSampling, LLMHead, TinyLM, pack_samples
from affectgpt.llm.answer_sampling import next_tokens
from affectgpt.llm.attention_in_words import attention_in_words
from affectgpt.llm.base import LLMHead as Base
from affectgpt.prompts import AnswerEnd
from affectgpt.prompts.render import IGNORE
from affectgpt.types import Batch
from gruhead import GruHead
from quiettrainer import quiet_trainer
from tinyheads import eager, tiny


def with_adapters() -> LLMHead:
    head = TinyLM(dim=16, layers=2, heads=2, lora={"rank": 2, "alpha": 4})
    for name, weight in head.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    return head


HEADS = [tiny, eager, with_adapters, GruHead]


@pytest.fixture(params=HEADS, ids=lambda make: make.__name__)
def head(request: pytest.FixtureRequest) -> LLMHead:
    torch.manual_seed(0)
    made: LLMHead = request.param()
    # weights far from their start, so that a neighbour's influence would show
    for weight in made.parameters():
        weight.data.mul_(3)
    return made.eval()


def samples(head: LLMHead) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Three samples of different length, padded on the right, with answers at their ends."""
    torch.manual_seed(1)
    lengths = (5, 8, 3)
    keep = torch.arange(8) < torch.tensor(lengths)[:, None]
    ids = torch.randint(3, 200, keep.shape)
    embeds = head.embed(ids)
    labels = torch.where(keep & (torch.arange(8) >= 2), ids, IGNORE)
    return embeds, keep, labels


def reference(head: LLMHead, embeds: torch.Tensor, keep: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    logits = head(embeds, keep).logits.double().log_softmax(-1)
    found = torch.zeros(labels.shape, dtype=torch.float64)
    for row, place in (labels[:, 1:] != IGNORE).nonzero().tolist():
        found[row, place + 1] = logits[row, place, labels[row, place + 1]]
    return found


@pytest.mark.parametrize("make", HEADS)
def test_a_head_says_which_attention_runs_and_why(make: Callable[[], LLMHead]) -> None:
    told = attention_in_words(make())
    assert re.fullmatch(r"(its own|eager|sdpa) \([a-z].+\w\)", told), told


def test_logprobs_are_those_of_a_plain_reference(head: LLMHead) -> None:
    embeds, keep, labels = samples(head)
    labels[0, 0] = 7  # the first token of a row follows nothing
    found = head.logprobs(embeds, keep, labels)
    expected = reference(head, embeds, keep, labels)
    torch.testing.assert_close(found.tokens.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.sums.double(), expected.sum(1), rtol=1e-5, atol=1e-5)
    assert found.learnt[:, 0].sum() == 0
    assert torch.equal(found.learnt[:, 1:], labels[:, 1:] != IGNORE)


def test_logprobs_of_small_pieces_and_their_gradients_are_the_same(
    head: LLMHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeds, keep, labels = samples(head)
    embeds = embeds.detach()
    whole = embeds.clone().requires_grad_()
    reference_sum = -head(whole, keep, labels).loss * (labels[:, 1:] != IGNORE).sum()
    reference_sum.backward()
    monkeypatch.setattr("affectgpt.llm.token_losses.PIECE_BYTES", 4 * 259 * 2)
    pieces = embeds.clone().requires_grad_()
    head.logprobs(pieces, keep, labels).sums.sum().backward()
    torch.testing.assert_close(pieces.grad, whole.grad, rtol=1e-4, atol=1e-5)


def test_a_model_that_caps_its_logits_is_read_through_its_own_forward() -> None:
    torch.manual_seed(0)
    config = transformers.Gemma2Config(
        vocab_size=259, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=8, final_logit_softcapping=0.5,
    )  # fmt: skip
    head = TinyLM(dim=16)
    head.attach(transformers.Gemma2ForCausalLM(config), head.tokenizer, None, True)
    head.eval()
    embeds, keep, labels = samples(head)
    embeds = 5 * embeds
    found = head.logprobs(embeds, keep, labels).tokens.double()
    torch.testing.assert_close(found, reference(head, embeds, keep, labels), rtol=1e-5, atol=1e-5)


def test_packed_samples_give_what_they_give_alone(head: LLMHead) -> None:
    embeds, keep, labels = samples(head)
    packed = pack_samples(embeds, keep, labels)
    alone = head(embeds, keep).logits[keep]
    together = head(packed.embeds, packed.keep, None, packed.sample_ids).logits[0]
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    loss = head(packed.embeds, packed.keep, packed.labels, packed.sample_ids).loss
    torch.testing.assert_close(loss, head(embeds, keep, labels).loss, rtol=1e-5, atol=1e-5)
    found = head.logprobs(packed.embeds, packed.keep, packed.labels, packed.sample_ids)
    expected = head.logprobs(embeds, keep, labels)
    torch.testing.assert_close(found.sums, expected.sums, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.tokens[0], expected.tokens[keep], rtol=1e-4, atol=1e-4)


def test_a_changed_sample_leaves_its_neighbours_as_they_were(head: LLMHead) -> None:
    packed = pack_samples(*samples(head))
    before = head(packed.embeds, packed.keep, None, packed.sample_ids).logits[0]
    changed = packed.embeds.clone()
    changed[0, packed.sample_ids[0] == 2] += 3.0
    after = head(changed, packed.keep, None, packed.sample_ids).logits[0]
    others = packed.sample_ids[0] != 2
    torch.testing.assert_close(after[others], before[others], rtol=0, atol=0)
    assert (after[~others] - before[~others]).abs().max() > 1e-3


def test_several_packed_rows_with_padding_and_a_label_on_a_first_token(head: LLMHead) -> None:
    embeds, keep, labels = samples(head)
    first = pack_samples(embeds[:2], keep[:2], labels[:2])
    pad = (0, 10)
    rows = torch.zeros(2, 13, head.hidden_dim)
    rows[0], rows[1, :3] = first.embeds[0], embeds[2, :3]
    ids = torch.stack([first.sample_ids[0], torch.nn.functional.pad(torch.tensor([4, 4, 4]), pad)])
    targets = torch.stack([first.labels[0], torch.nn.functional.pad(labels[2, :3], pad, value=IGNORE)])
    targets[0, 5] = 9  # the second sample's first token follows nothing
    found = head.logprobs(rows, ids > 0, targets, ids)
    torch.testing.assert_close(found.sums, head.logprobs(embeds, keep, labels).sums, rtol=1e-4, atol=1e-4)
    loss = head(rows, ids > 0, targets, ids).loss
    torch.testing.assert_close(loss, head(embeds, keep, labels).loss, rtol=1e-5, atol=1e-5)


def broken(head: TinyLM, **config: Any) -> TinyLM:
    for name, value in config.items():
        setattr(head.network.config, name, value)
    return head


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: broken(tiny(), _attn_implementation="paged|sdpa"), r"runs the attention backend 'paged\|sdpa'.*sdpa"),
        (lambda: broken(tiny(), layer_types=["linear_attention"]), "layers of the kind 'linear_attention'"),
        (lambda: broken(tiny(), sliding_window=4), "attends to 4 tokens at most, but a packed sample has 8"),
    ],
)
def test_what_would_mix_samples_in_silence_is_refused(make: Callable[[], TinyLM], message: str) -> None:
    head = make()
    packed = pack_samples(*samples(head))
    with pytest.raises(ConfigError, match=message):
        head(packed.embeds, packed.keep, None, packed.sample_ids)


def test_a_network_that_mixes_samples_is_found_out() -> None:
    head = tiny()
    real = head.network.model.forward
    head.network.model.forward = lambda **given: real(inputs_embeds=given["inputs_embeds"], use_cache=False)
    packed = pack_samples(*samples(head))
    with pytest.raises(ConfigError, match="does not keep the samples of a packed row apart"):
        head(packed.embeds, packed.keep, None, packed.sample_ids)


def test_borders_of_another_shape_are_refused() -> None:
    head = tiny()
    embeds, keep, _ = samples(head)
    with pytest.raises(AlignmentError, match=r"sample_ids is \(3, 7\), but the rows are \(3, 8\)"):
        head(embeds, keep, None, keep.long()[:, 1:])


def prompt(head: LLMHead) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(2)
    keep = torch.tensor([[False, True, True, True], [True] * 4])
    return head.embed(torch.randint(3, 200, keep.shape)), keep


def test_sampling_repeats_with_its_seed_and_leaves_the_generator_alone(head: LLMHead) -> None:
    embeds, keep = prompt(head)
    drawn = AnswerSampling(temperature=1.5, num_answers=3, seed=5)
    state = torch.get_rng_state()
    first = head.generate(embeds, keep, 6, sampling=drawn)
    assert torch.equal(torch.get_rng_state(), state)
    assert first == head.generate(embeds, keep, 6, sampling=drawn)
    assert len(first) == 6
    assert len(set(first[:3])) > 1
    assert first != head.generate(embeds, keep, 6, sampling=AnswerSampling(temperature=1.5, num_answers=3, seed=6))
    head.generate(embeds, keep, 6, sampling=AnswerSampling(temperature=1.5))
    assert not torch.equal(torch.get_rng_state(), state)


def test_a_prompt_with_a_seed_of_its_own_draws_the_same_in_any_batch(head: LLMHead) -> None:
    embeds, keep = prompt(head)
    drawn = AnswerSampling(temperature=1.5, top_p=0.95, seeds=(3, 4))
    state = torch.get_rng_state()
    together = head.generate(embeds, keep, 6, sampling=drawn)
    assert torch.equal(torch.get_rng_state(), state)
    for row in (0, 1):
        assert head.generate(embeds[[row]], keep[[row]], 6, sampling=drawn.rows([row])) == [together[row]]
    turned = head.generate(embeds[[1, 0]], keep[[1, 0]], 6, sampling=drawn.rows([1, 0]))
    assert turned == together[::-1]
    others = head.generate(embeds, keep, 6, sampling=AnswerSampling(temperature=1.5, top_p=0.95, seeds=(5, 4)))
    assert others[0] != together[0]
    assert others[1] == together[1]
    with pytest.raises(ConfigError, match="2 seeds for 1 prompts"):
        head.generate(embeds[:1], keep[:1], 6, sampling=drawn)


def test_a_narrow_choice_is_the_greedy_answer(head: LLMHead) -> None:
    embeds, keep = prompt(head)
    greedy = head.generate(embeds, keep, 6)
    assert greedy == head.generate(embeds, keep, 6, sampling=AnswerSampling())
    for narrow in ({"top_p": 1e-6}, {"top_k": 1}, {"temperature": 1e-4}, {"temperature": 5e-324}):
        assert greedy == head.generate(embeds, keep, 6, sampling=AnswerSampling.of({"temperature": 1.0, **narrow}))


def test_what_a_model_says_about_sampling_has_no_say() -> None:
    head = tiny().eval()
    embeds, keep = prompt(head)
    drawn = AnswerSampling(temperature=1.0, seed=3)
    plain, greedy = head.generate(embeds, keep, 8, sampling=drawn), head.generate(embeds, keep, 8)
    settings = head.network.generation_config
    settings.do_sample, settings.top_k, settings.min_p, settings.temperature = True, 1, 0.9, 0.1
    settings.repetition_penalty, settings.num_beams = 5.0, 3
    assert head.generate(embeds, keep, 8, sampling=drawn) == plain
    assert head.generate(embeds, keep, 8) == greedy


def test_the_loop_of_the_contract_writes_what_the_cache_writes() -> None:
    torch.manual_seed(0)
    head = tiny().eval()
    embeds, keep = prompt(head)
    for stop in (None, AnswerEnd(("e",))):
        assert Base.generate(head, embeds, keep, 12, stop) == head.generate(embeds, keep, 12, stop)


def test_tokens_are_drawn_in_their_shares() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([0.5, 0.3, 0.2]).log().expand(20_000, -1)

    def shares(**settings: float) -> list[float]:
        sampling = AnswerSampling.of({"temperature": 1.0, **settings})
        drawn = next_tokens(logits, sampling)
        own = next_tokens(logits, sampling, torch.rand(len(logits)))
        counts = [torch.bincount(one, minlength=3) / len(one) for one in (drawn, own)]
        assert (counts[0] - counts[1]).abs().max() < 0.03
        return counts[0].tolist()

    assert shares() == pytest.approx([0.5, 0.3, 0.2], abs=0.02)
    assert shares(top_p=0.6) == pytest.approx([0.625, 0.375, 0], abs=0.02)
    assert shares(top_p=0.5) == [1, 0, 0]
    assert shares(top_k=2) == pytest.approx([0.625, 0.375, 0], abs=0.02)
    assert shares(temperature=0.5) == pytest.approx([25 / 38, 9 / 38, 4 / 38], abs=0.02)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1}, "temperature is -1"),
        ({"temperature": 1.0, "seeds": (1, 2), "num_answers": 2}, "with 2 answers to each prompt"),
        ({"temperature": 1.0, "seeds": [-1]}, r"seeds are \(-1,\)"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_p": 0}, "top_p is 0"),
        ({"top_k": 1.5}, "top_k is 1.5"),
        ({"num_answers": 2}, "2 answers at temperature 0 would all be the same"),
        ({"num_answers": 0}, "num_answers is 0"),
        ({"temprature": 1}, "unknown key 'temprature'.*Did you mean 'temperature'"),
    ],
)
def test_wrong_sampling_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AnswerSampling.of(settings)


def test_a_head_that_is_not_of_hugging_face_trains_within_the_model(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = AffectGPT(
        streams={"frame": {"encoder": {"name": "tiny-vision", "args": {"size": 16, "dim": 8}}, "trainable": True}},
        llm={"name": "gruhead:GruHead", "args": {"dim": 24}},
        style="brief",
        media={"frame_height": 16, "frame_width": 16, "num_frames": 2},
        optim={"lr": 1e-2, "warmup_steps": 0},
    )
    shades = torch.tensor([30, 220, 30, 220], dtype=torch.uint8)
    batch = Batch(
        keys=("a", "b", "c", "d"),
        media={"frame": shades[:, None, None, None, None].expand(4, 2, 3, 16, 16).contiguous()},
        keep={"frame": torch.ones(4, 2, dtype=torch.bool)},
        subtitles=("",) * 4,
        questions=(model.style.label_question,) * 4,
        answers=("sad", "glad", "sad", "glad"),
    )
    losses: list[float] = []

    class Losses(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *_: Any) -> None:
            losses.append(float(trainer.callback_metrics["train/loss"]))

    trainer = quiet_trainer(max_steps=80, default_root_dir=tmp_path, callbacks=[Losses()])
    trainer.fit(model, DataLoader([batch] * 80, batch_size=None))
    assert losses[-1] < 0.2 * losses[0]
    assert model.generate(batch) == ["sad", "glad", "sad", "glad"]
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    again = AffectGPT.from_checkpoint(tmp_path / "model.ckpt", allow_import=True)
    assert again.generate(batch) == ["sad", "glad", "sad", "glad"]

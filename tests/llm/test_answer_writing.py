"""Answers that are written with the library's cache are those of one by one, whatever the batch."""

from __future__ import annotations

import pytest
import torch
import transformers

from affectgpt.llm import TinyLM
from affectgpt.llm.answer_ends import AnswerEnds
from affectgpt.llm.answer_sampling import AnswerSampling
from affectgpt.llm.cached_writing import CachedWriter
from affectgpt.llm.packed_attention import SDPA
from affectgpt.llm.thread_choice import fitting_threads, quickest_threads
from affectgpt.prompts import AnswerEnd


def head_with(backend: str = SDPA) -> TinyLM:
    torch.manual_seed(3)
    head = TinyLM(dim=32, layers=2, lora={"rank": 2}).eval()
    for name, p in head.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p)
    head.network.get_base_model().config._attn_implementation = backend
    return head


def head_with_shared_keys() -> TinyLM:
    """Four heads of queries for two of keys and values, as in Qwen2."""
    head = head_with()
    torch.manual_seed(4)
    config = transformers.LlamaConfig(
        **{**head._base().config.to_dict(), "num_key_value_heads": 2, "attn_implementation": "sdpa"}
    )
    head.attach(transformers.LlamaForCausalLM(config).eval(), head.tokenizer, {"rank": 2}, trainable=False)
    return head.eval()


def prompts(head: TinyLM, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts of 3 to 12 tokens, padded on the left."""
    generator = torch.Generator().manual_seed(5)
    lengths = torch.randint(3, 13, (count, 1), generator=generator)
    keep = torch.arange(12) >= 12 - lengths
    return head.embed(torch.randint(3, 250, (count, 12), generator=generator)), keep


def alone(head: TinyLM, embeds: torch.Tensor, keep: torch.Tensor, row: int) -> tuple[torch.Tensor, torch.Tensor]:
    return embeds[row : row + 1, keep[row]], keep[row : row + 1, keep[row]]


def an_end(head: TinyLM, embeds: torch.Tensor, keep: torch.Tensor) -> AnswerEnd:
    """Strings that end some of the answers early."""
    first, second, third = (head.generate(embeds[i : i + 1], keep[i : i + 1], 24)[0] for i in (1, 2, 3))
    return AnswerEnd((first[5], second[9], third[12]))


def tokens_read(head: TinyLM, embeds: torch.Tensor, keep: torch.Tensor, more: int) -> list[tuple[int, ...]]:
    """Rows and tokens of the passes that read prompts, where ``more`` tokens are then written one by one."""
    seen: list[tuple[int, ...]] = []
    head.write(embeds[:1, -3:], keep[:1, -3:], 1)  # trials are over then
    hook = (
        head._base()
        .get_decoder()
        .register_forward_pre_hook(
            lambda module, args, given: seen.append(tuple(given["inputs_embeds"].shape[:2])), with_kwargs=True
        )
    )
    head.write(embeds, keep, more)
    hook.remove()
    return seen[: len(seen) - (more - 1)]


def test_prompts_are_read_without_padding_and_what_neighbours_begin_with_once() -> None:
    head = head_with()
    embeds, keep = prompts(head, 4)
    assert tokens_read(head, embeds, keep, 3) == [(1, int(keep.sum()))]
    asked = torch.cat([embeds.repeat_interleave(2, 0), head.embed(torch.arange(20, 36).view(8, 2))], 1)
    asked_keep = torch.cat([keep.repeat_interleave(2, 0), torch.ones(8, 2, dtype=torch.bool)], 1)
    asked_keep[:, :4] = False  # where all prompts are short, little is saved
    assert len(tokens_read(head, asked[:, 8:], asked_keep[:, 8:], 3)) == 2
    asked_keep = torch.cat([keep.repeat_interleave(2, 0), torch.ones(8, 2, dtype=torch.bool)], 1)
    assert tokens_read(head, asked, asked_keep, 3) == [(1, int(keep.sum())), (8, 2)]


def test_answers_to_prompts_that_begin_alike_are_those_of_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("affectgpt.llm.prompt_reading.WORTH", -9.0)  # cut them, however little is saved
    head = head_with()
    embeds, keep = prompts(head, 5)
    order = torch.tensor([0, 0, 0, 1, 2, 2, 3, 3, 4])
    ends = head.embed(torch.randint(3, 250, (9, 4), generator=torch.Generator().manual_seed(1)))
    ends_keep = torch.arange(4) >= torch.tensor([[0], [1], [2], [3], [3], [2], [0], [0], [1]])
    # what is real stands together on the right
    rows, real = torch.cat([embeds[order], ends], 1), torch.cat([keep[order], ends_keep], 1)
    moved = real.int().argsort(dim=1, stable=True)
    rows, real = rows.gather(1, moved[:, :, None].expand_as(rows)), real.gather(1, moved)
    assert len(tokens_read(head, rows, real, 3)) == 2
    found = head.write(rows, real, 16)
    theirs = head._write_with_transformers(rows, real, 16, AnswerEnd(), AnswerSampling())
    assert torch.equal(found.ids, theirs)
    drawn = head.write(rows, real, 8, sampling=AnswerSampling(temperature=1.0, num_answers=2, seed=1))
    assert len(drawn.texts) == 18


def test_heads_that_share_keys_ask_together_and_write_what_transformers_writes() -> None:
    head = head_with_shared_keys()
    embeds, keep = prompts(head, 6)
    ours = head.write(embeds, keep, 16).ids
    assert torch.equal(ours, head._write_with_transformers(embeds, keep, 16, AnswerEnd(), AnswerSampling()))
    assert len({*map(tuple, ours.tolist())}) > 2


@pytest.mark.parametrize("backend", [SDPA, "sdpa", "eager"])
def test_greedy_answers_are_those_of_one_by_one_in_any_order(backend: str) -> None:
    head = head_with(backend)
    embeds, keep = prompts(head, 10)
    stop = an_end(head, embeds, keep)
    single = [head.generate(*alone(head, embeds, keep, i), 24, stop)[0] for i in range(10)]
    assert len({len(text) for text in single}) > 2  # some end early, so that rows are let go
    order = torch.tensor([7, 2, 9, 0, 1, 3, 8, 6, 5, 4])
    for size in (3, 10):
        found: list[str] = []
        for rows in order.split(size):
            found += head.generate(embeds[rows], keep[rows], 24, stop)
        assert found == [single[i] for i in order.tolist()]


def test_what_is_written_is_what_transformers_writes() -> None:
    head = head_with()
    embeds, keep = prompts(head, 6)
    ours = head.write(embeds, keep, 16).ids
    theirs = head._write_with_transformers(embeds, keep, 16, AnswerEnd(), AnswerSampling())
    assert torch.equal(ours, theirs)


def test_drawn_answers_are_those_of_one_by_one_where_each_row_has_a_seed() -> None:
    head = head_with()
    embeds, keep = prompts(head, 10)
    stop = an_end(head, embeds, keep)
    drawn = AnswerSampling(temperature=1.3, top_p=0.9, seeds=tuple(range(10)))
    single = [head.generate(*alone(head, embeds, keep, i), 24, stop, drawn.rows([i]))[0] for i in range(10)]
    assert len({len(text) for text in single}) > 2  # some end early, so that rows are let go
    order = torch.tensor([7, 2, 9, 0, 1, 3, 8, 6, 5, 4])
    for size in (3, 10):
        found: list[str] = []
        for rows in order.split(size):
            found += head.generate(embeds[rows], keep[rows], 24, stop, drawn.rows(rows.tolist()))
        assert found == [single[i] for i in order.tolist()]
    ours = head.write(embeds, keep, 16, sampling=drawn).ids
    assert torch.equal(ours, head._write_with_transformers(embeds, keep, 16, AnswerEnd(), drawn))
    assert not torch.equal(ours, head.write(embeds, keep, 16).ids)


def test_rows_are_let_go_as_their_answers_end(monkeypatch: pytest.MonkeyPatch) -> None:
    head = head_with("sdpa")  # reads prompts by a step too
    embeds, keep = prompts(head, 10)
    rows: list[int] = []
    real = CachedWriter._step

    def step(self, embeds, *rest):
        rows.append(len(embeds))
        return real(self, embeds, *rest)

    stop = an_end(head, embeds, keep)
    monkeypatch.setattr(CachedWriter, "_step", step)
    head.generate(embeds, keep, 24, stop)
    assert rows[0] == 10
    assert rows == sorted(rows, reverse=True)
    assert rows[-1] < 8


def test_a_look_now_and_then_finds_the_same_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    head = head_with()
    embeds, keep = prompts(head, 6)
    stop = an_end(head, embeds, keep)
    expected = head.write(embeds, keep, 21, stop)
    assert expected.ended.sum() > 2
    monkeypatch.setattr("affectgpt.llm.cached_writing.LOOK_EVERY", {"cpu": 8})
    found = head.write(embeds, keep, 21, stop)
    assert torch.equal(found.ids, expected.ids)
    assert torch.equal(found.keep, expected.keep)


def test_a_model_with_another_memory_is_left_to_transformers() -> None:
    head = head_with()
    network = head.network.get_base_model()
    assert CachedWriter(network).suits(40)
    network.config.sliding_window = 16
    assert CachedWriter(network).suits(16)
    assert not CachedWriter(network).suits(17)
    network.config.sliding_window = None
    mamba = transformers.MambaForCausalLM(
        transformers.MambaConfig(vocab_size=259, hidden_size=16, num_hidden_layers=1, state_size=4)
    ).eval()
    assert not CachedWriter(mamba).suits(8)


def test_ends_of_answers() -> None:
    tokenizer = TinyLM(dim=16).tokenizer
    ids = tokenizer("calm ### sad", add_special_tokens=False)["input_ids"]
    mark = tokenizer("#", add_special_tokens=False)["input_ids"][0]
    assert AnswerEnds(tokenizer, [], (), ["###"]).find(ids) == 8
    assert AnswerEnds(tokenizer, [], (), ["###"]).find(ids, looked=7) == 8
    assert AnswerEnds(tokenizer, [], (), ["glad"]).find(ids) is None
    assert AnswerEnds(tokenizer, [], [[mark, mark]]).find(ids) == 7
    assert AnswerEnds(tokenizer, [mark]).find(ids) == 6
    assert AnswerEnds(tokenizer, [tokenizer.eos_token_id]).find(ids) is None


def test_the_number_of_threads_is_what_is_quickest_now(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {1: 1.0, 2: 0.6, 4: 9.0}
    monkeypatch.setattr("affectgpt.llm.thread_choice._seconds_of_chain", lambda: seconds[torch.get_num_threads()])
    before = torch.get_num_threads()
    assert quickest_threads(4) == 2
    assert torch.get_num_threads() == before
    try:
        torch.set_num_threads(4)
        with fitting_threads(torch.device("cpu")) as chosen:
            assert (chosen, torch.get_num_threads()) == (2, 2)
        assert torch.get_num_threads() == 4
        with fitting_threads(torch.device("meta")) as chosen:
            assert chosen == 4
    finally:
        torch.set_num_threads(before)

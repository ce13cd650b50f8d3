"""A batch of jobs is answered as each by itself; what cannot be answered fails alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from affectgpt.errors import AffectGPTError, DataError
from affectgpt.llm.answer_sampling import AnswerSampling
from affectgpt.media import load_clip
from affectgpt.serve.answering import Job, answer_jobs
from affectgpt.serve.prompt_writer import NetworkWriter
from clipmaker import make_clip, make_wav


@pytest.fixture(scope="module")
def clips(tiny):
    sources = [make_clip(0.4), make_wav(0.5), make_clip(0.4, audio=False), make_clip(0.3, shade=90)]
    return [
        load_clip(source, tiny.media, key=f"clip{i}", subtitle=["Hi.", None, "", "Oh no, not that."][i])[0]
        for i, source in enumerate(sources)
    ]


def texts(results) -> list[tuple[str, ...]]:
    return [tuple(reply.prediction.text for reply in replies) for replies in results]


def test_a_batch_is_answered_as_each_clip_by_itself(tiny, clips) -> None:
    jobs = [Job(clip, ("How?", tiny.style.label_question), 6) for clip in clips]
    together = answer_jobs(tiny, jobs)
    assert texts(together) == texts(answer_jobs(tiny, [job])[0] for job in jobs)
    alone = tiny.predict(make_clip(0.4), "Hi.", key="clip0")
    assert together[0][1].prediction.text == alone.text
    assert together[0][1].prediction.used == alone.used
    assert [reply.question for reply in together[2]] == ["How?", tiny.style.label_question]
    assert together[1][0].prediction.used == ("audio",)
    assert together[0][0].prediction.description is not None
    assert together[0][1].prediction.description is None


def test_tokens_are_counted_and_a_cut_answer_says_so(tiny, clips) -> None:
    short, long = (answer_jobs(tiny, [Job(clips[0], ("How?",), limit)])[0][0] for limit in (1, 4))
    assert (short.answer_tokens, short.ended) == (1, False)
    assert long.answer_tokens <= 4
    assert short.prompt_tokens == long.prompt_tokens > len("How?")


def test_jobs_with_other_limits_or_sampling_are_not_mixed(tiny, clips) -> None:
    sizes = []

    class Watched(NetworkWriter):
        def __call__(self, prompt, content, max_new_tokens, sampling):
            sizes.append((len(prompt.ids), max_new_tokens, sampling.seed))
            return super().__call__(prompt, content, max_new_tokens, sampling)

    drawn = AnswerSampling(1.0, seed=3)
    jobs = [Job(clips[0], ("How?",), 3), Job(clips[1], ("Why?",), 3), Job(clips[0], ("How?",), 2)]
    jobs += [Job(clips[0], ("How?",), 3, drawn), Job(clips[3], ("How?",), 3, drawn)]
    found = answer_jobs(tiny, jobs, Watched(tiny.network))
    assert sorted(sizes, key=str) == sorted([(2, 3, None), (1, 2, None), (1, 3, 3), (1, 3, 3)], key=str)
    assert texts(found)[3] == texts(answer_jobs(tiny, [jobs[3]]))[0], "a seed gives the same answer again"


def test_one_clip_that_fails_fails_alone(tiny, clips) -> None:
    endless = Job(clips[1], ("x" * 5000,), 4)
    odd = Job(replace(clips[2], media={"frame": torch.zeros(2, 3, 7, 7, dtype=torch.uint8)}), ("How?",), 4)
    jobs = [Job(clips[0], ("How?",), 4), endless, odd]
    found = answer_jobs(tiny, jobs)
    assert texts([found[0]]) == texts(answer_jobs(tiny, jobs[:1]))
    assert isinstance(found[1], AffectGPTError)
    assert "max_tokens" in str(found[1])
    assert not isinstance(found[2], AffectGPTError | RuntimeError), "frames of another size do not fit beside others"


def test_what_does_not_fit_into_memory_is_halved(tiny, clips) -> None:
    sizes = []

    class Small(NetworkWriter):
        def __call__(self, prompt, content, max_new_tokens, sampling):
            sizes.append(len(prompt.ids))
            if len(prompt.ids) > 1:
                raise torch.OutOfMemoryError("two are too many")
            return super().__call__(prompt, content, max_new_tokens, sampling)

    jobs = [Job(clip, ("How?",), 4) for clip in clips]
    assert texts(answer_jobs(tiny, jobs, Small(tiny.network))) == texts(answer_jobs(tiny, jobs))
    assert sizes == [4, 2, 1, 1, 2, 1, 1]


def test_a_single_clip_beyond_memory_is_an_error_of_its_own(tiny, clips) -> None:
    class Nothing(NetworkWriter):
        def __call__(self, prompt, content, max_new_tokens, sampling):
            raise torch.OutOfMemoryError("no memory at all")

    (found,) = answer_jobs(tiny, [Job(clips[0], ("How?",), 4)], Nothing(tiny.network))
    assert isinstance(found, DataError)
    assert "does not fit into the memory" in str(found)

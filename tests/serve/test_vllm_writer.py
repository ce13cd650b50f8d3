"""Prompts go to vLLM in its wire form, and the merged model there writes the answers that ours would write."""

from __future__ import annotations

import pytest
import torch

from affectgpt.checkpoints.merged_llm import export_merged
from affectgpt.datamodules.collate import collate
from affectgpt.errors import ConfigError
from affectgpt.llm.answer_sampling import AnswerSampling
from affectgpt.media import load_clip
from affectgpt.serve import VllmWriter, prompt_embeds
from affectgpt.serve.answering import Job, answer_jobs
from affectgpt.serve.embedded_prompts import encode_embeds
from affectgpt.serve.vllm_writer import WriterFailedError, request_body
from clipmaker import make_clip, make_wav
from servicerunner import tiny_model
from vllmserver import decode, vllm


@pytest.fixture(scope="module")
def model():
    model = tiny_model(llm={"name": "tiny", "args": {"lora": {"rank": 4}, "trainable": False}})
    for name, weight in model.llm.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.2)
    return model


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("merged") / "llm"
    export_merged(model, folder)
    with vllm(folder, "merged") as found:
        yield found


@pytest.fixture(scope="module")
def jobs(model):
    sources = [make_clip(0.4), make_wav(0.5), make_clip(0.4, audio=False)]
    words = ["Hi.", None, "Oh no, not that again."]
    clips = [load_clip(s, model.media, key=f"c{i}", subtitle=words[i])[0] for i, s in enumerate(sources)]
    return [Job(clip, ("How does she feel?",), 8) for clip in clips]


def test_the_server_is_sent_whole_prompts_and_writes_what_the_model_would(model, server, jobs) -> None:
    url, seen = server
    writer = VllmWriter(model.network, url, "merged", num_parallel=1)
    assert writer.check() == 4096
    found, own = answer_jobs(model, jobs, writer), answer_jobs(model, jobs)
    for theirs, ours in zip(found, own, strict=True):
        assert theirs[0].prediction == ours[0].prediction
        assert theirs[0].prompt_tokens == ours[0].prompt_tokens
        assert theirs[0].ended == ours[0].ended
    batch = collate([job.clip for job in jobs], [job.questions[0] for job in jobs])
    expected = prompt_embeds(model.network, batch)
    sent = {len(one): one for one in seen.embeds}
    assert sorted(sent) == sorted(map(len, expected))
    assert all(torch.allclose(sent[len(one)], one, atol=1e-6) for one in expected)
    assert {body["temperature"] for body in seen.bodies} == {0.0}
    assert {body["max_tokens"] for body in seen.bodies} == {8}


def test_an_embedding_is_sent_alone_and_not_with_what_it_is_a_view_of() -> None:
    whole = torch.randn(1000, 64)
    text = encode_embeds(whole[3:5])
    assert torch.equal(decode(text, 64), whole[3:5])
    assert len(text) < 5000
    assert decode(encode_embeds(whole[:2].bfloat16()), 64).dtype == torch.bfloat16


def test_sampling_and_ends_are_named_as_vllm_names_them() -> None:
    drawn = AnswerSampling(0.7, top_p=0.9, top_k=5, seed=3)
    body = request_body("AAAA", "m", 4, drawn, ("###",))
    told = {"temperature": 0.7, "top_p": 0.9, "top_k": 5, "seed": 3, "stop": ["###"], "max_tokens": 4}
    assert {name: body[name] for name in told} == told
    assert "top_p" not in request_body("AAAA", "m", 4, AnswerSampling(), ())


def test_a_busy_server_is_asked_again_and_a_refusing_one_is_an_error(model, server, jobs, monkeypatch) -> None:
    url, seen = server
    monkeypatch.setattr("affectgpt.web.time.sleep", lambda seconds: None)
    monkeypatch.setenv("VLLM_KEY", "secret-word")
    writer = VllmWriter(model.network, url, "merged", "VLLM_KEY", num_parallel=1)
    seen.fail[:] = [503]
    assert not isinstance(answer_jobs(model, jobs[:1], writer)[0], Exception)
    assert seen.keys[-1] == "Bearer secret-word"
    for statuses, words in (([400], "refuses with HTTP 400"), ([503] * 9, "gives no answer")):
        seen.fail[:] = statuses
        (error,) = answer_jobs(model, jobs[:1], writer)
        assert isinstance(error, WriterFailedError)
        assert words in str(error)
        assert "secret-word" not in str(error)
    seen.fail.clear()


def test_a_server_without_the_model_is_found_out_at_the_start(model, server, monkeypatch) -> None:
    url, _ = server
    with pytest.raises(ConfigError, match="has no model 'other'; it has 'merged'"):
        VllmWriter(model.network, url, "other").check()
    monkeypatch.setattr("affectgpt.web.time.sleep", lambda seconds: None)
    with pytest.raises(ConfigError, match="start it first"):
        VllmWriter(model.network, "http://127.0.0.1:9/v1", "other").check()
    for wrong in ("localhost:8000", "http://me:word@host/v1"):
        with pytest.raises(ConfigError, match="expected such as") as caught:
            VllmWriter(model.network, wrong, "m")
        assert "word" not in str(caught.value).replace("password", "")
    with pytest.raises(ConfigError, match="'NO_SUCH_KEY', which is not set"):
        VllmWriter(model.network, url, "m", "NO_SUCH_KEY")

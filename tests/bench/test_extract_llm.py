"""Labels and sentiments by a chat model: a stand-in server that misbehaves, a real one, and a model in this process."""

import json
from collections import deque
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest

from affectgpt.bench.extract import get_extractor, get_sentiment_reader
from affectgpt.bench.extract.chat_answers import read_label_answer, read_sentiment_answer
from affectgpt.chat.answer_cache import AnswerCache
from affectgpt.errors import CheckpointError, ConfigError, DataError
from realserver import serve_small_model
from serverthread import serving

FAST = {"backoff_seconds": 0.001, "num_parallel": 1, "timeout_seconds": 10}


@contextmanager
def stand_in(*script):
    """A server that plays a script: a text to answer, an HTTP status, "CUT" or "GARBAGE"; its last step repeats."""
    steps, seen = deque(script), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((self.path, self.headers.get("Authorization"), body))
            step = steps.popleft() if len(steps) > 1 else steps[0]
            if isinstance(step, int):
                self.send_response(step)
                self.end_headers()
                self.wfile.write(b'{"error": "so said the server"}')
                return
            text = json.dumps({"choices": [{"message": {"content": step}}]})
            self.send_response(200)
            self.send_header("Content-Length", str(len(text) + (100 if step == "CUT" else 0)))
            self.end_headers()
            self.wfile.write(("x" * len(text) if step == "GARBAGE" else text).encode())

        def log_message(self, *args):
            pass

    with serving(Handler) as url:
        yield f"{url}/v1", seen


def test_passing_trouble_is_retried_and_answers_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret")
    args = {"model": "m", "api_key_env": "MY_KEY", "cache": tmp_path / "new" / "a.sqlite", "backend": FAST}
    with stand_in(500, "CUT", "GARBAGE", 429, "Output: [Happy, sad]", "I cannot possibly tell you.") as (url, seen):
        extractor = get_extractor("llm", base_url=url, **args)
        answers = ["He is {glad} and sad.", None, ["Calm"], "?", "  "]
        assert extractor.extract(answers) == [["happy", "sad"], [], ["calm"], [], []]
        assert len(seen) == 6
        path, key, body = seen[-1]
        assert (path, key) == ("/v1/chat/completions", "Bearer secret")
        assert (body["temperature"], body["max_tokens"], "repetition_penalty" in body) == (0.0, 512, False)
        assert "Input: He is {glad} and sad.\nOutput:" in seen[0][2]["messages"][0]["content"]
        counts = extractor.record()["counts"]
        assert counts == {"answers": 5, "asked": 2, "empty": 3, "failed": 1, "from_cache": 0}
        assert extractor.extract(answers)[0] == ["happy", "sad"]
        assert len(seen) == 6
        assert "secret" not in json.dumps(extractor.record())
    # A new process without any server repeats the run; another revision or sampling is asked anew.
    again = get_extractor("llm", base_url="http://127.0.0.1:9/v1", **args)
    assert again.extract(answers)[0] == ["happy", "sad"]
    assert again.record()["counts"]["from_cache"] == 2
    with stand_in("[calm]") as (url, seen):
        assert get_extractor("llm", base_url=url, revision="2", **args).extract(answers)[3] == ["calm"]
        assert get_extractor("llm", base_url=url, sampling="published", **args).extract(answers)[3] == ["calm"]
        body = seen[-1][2]
        assert [body[k] for k in ("temperature", "top_p", "repetition_penalty")] == [0.7, 0.8, 1.05]


def test_lasting_trouble_is_an_error_and_nothing_is_lost(tmp_path):
    args = {"model": "m", "cache": tmp_path / "a.sqlite", "backend": {**FAST, "num_retries": 1}}
    with stand_in("[calm]", 503) as (url, seen):
        extractor = get_extractor("llm", base_url=url, **args)
        with pytest.raises(DataError, match=r"no answer in 2 tries; the last error was: HTTP 503 .*so said the server"):
            extractor.extract(["first", "second", "third"])
        assert len(seen) == 3
        assert extractor.record()["counts"]["asked"] == 1
    with stand_in("[sad]") as (url, seen):
        assert get_extractor("llm", base_url=url, **args).extract(["first", "second"]) == [["calm"], ["sad"]]
        assert len(seen) == 1
    with pytest.raises(DataError, match=r"no answer in 2 tries; the last error was: ConnectError"):
        get_extractor("llm", base_url="http://127.0.0.1:9/v1", **args).extract(["new"])


@pytest.mark.parametrize(("status", "advice"), [(401, "set the key"), (404, "check base_url"), (400, "does not take")])
def test_refusals_are_not_retried(tmp_path, status, advice):
    with stand_in(status) as (url, seen):
        with pytest.raises(ConfigError, match=rf"refuses model 'm' with HTTP {status} .*{advice}"):
            get_extractor("llm", model="m", base_url=url, cache=tmp_path / "a.sqlite", backend=FAST).extract(["x"])
        assert len(seen) == 1


def test_sentiments(tmp_path):
    args = {"model": "m", "cache": tmp_path / "a.sqlite", "backend": FAST}
    with stand_in("Positive.", "It is mixed: positive and negative") as (url, seen):
        reader = get_sentiment_reader("llm", base_url=url, **args)
        assert reader.read([["glad", "proud"], ["torn"], []]) == ["positive", "unknown", "neutral"]
        assert seen[0][2]["messages"][0]["content"].endswith("Input: [glad, proud]\nOutput:")
        assert reader.record()["counts"]["failed"] == 1
        with pytest.raises(DataError, match="sample 0 is 'glad'"):
            reader.read(["glad"])


def test_wrong_settings_are_named(tmp_path):
    for args, message in (
        ({"base_url": "localhost:8000"}, "expected a URL such as"),
        ({"base_url": "http://me:pw@host/v1"}, "which would end up in the report"),
        ({"base_url": "http://host/v1", "api_key_env": "NOT_SET_ANYWHERE"}, "'NOT_SET_ANYWHERE', which is not set"),
        ({"api_key_env": "KEY"}, "there is no base_url"),
        ({"base_url": "http://host/v1", "sampling": "hot"}, "choose one of greedy, published"),
        ({"base_url": "http://host/v1", "max_tokens": 0}, "max_tokens is 0"),
        ({"base_url": "http://host/v1", "max_tokens": "16"}, "max_tokens is '16'"),
        ({"base_url": "http://host/v1", "backend": {"color": 1}}, "unexpected keyword argument 'color'"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            get_extractor("llm", model="m", **args)
        assert "pw" not in str(caught.value)
    (tmp_path / "a.sqlite").write_text("no database, but long enough to be taken for a damaged one" * 20)
    with pytest.raises(DataError, match=r"a\.sqlite cannot be used: file is not a database\. Delete it"):
        AnswerCache(tmp_path / "a.sqlite").get(["k"])


def test_a_commit_needs_no_hub(tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    record = get_extractor("llm", model="some/model", revision=commit, cache=tmp_path / "a.sqlite").record()
    assert (record["settings"]["model"], record["settings"]["revision"]) == ("some/model", commit)


def test_the_first_answer_stays(tmp_path):
    cache = AnswerCache(tmp_path / "a.sqlite")
    assert (cache.put("k", "one"), AnswerCache(cache.path).put("k", "two")) == ("one", "one")
    assert cache.get(f"{i}" for i in range(1200)) == {}


@pytest.mark.parametrize(
    ("answer", "labels"),
    [
        ("<think>[angry]?</think>\n```json\n[\"happy\", 'very sad']\n```", ["happy", "very sad"]),
        ("【高兴\uff0c难过】", ["高兴", "难过"]),
        ("The main character is happy and excited.", ["happy", "excited"]),
        ("[]", []),
        ("none", []),
        ("", None),
        ("<think>I wonder", None),
        ("[" * 5000, None),
        ("[one two three four five six]", None),
        ("[" + ", ".join(f"w{i}" for i in range(40)) + "]", None),
    ],
)
def test_tolerant_reading(answer, labels):
    assert read_label_answer(answer) == labels


def test_tolerant_sentiments():
    assert read_sentiment_answer("neutral\nInput: [sad]\nOutput: negative") == "neutral"
    assert read_sentiment_answer("The words are glad.\nSo: positive") == "positive"
    assert read_sentiment_answer("unpositively") is None


@pytest.fixture(scope="module")
def real_server():
    with serve_small_model() as address:
        yield address


def test_a_real_server(real_server, tmp_path):
    args = {"model": "smollm2-135m-instruct", "base_url": real_server, "max_tokens": 24}
    sentences = ["She is happy and excited.", "He is very angry, and a little sad."]
    # One file of answers for both runs: even greedy answers of a server can differ in the last bit, and so in words.
    runs = [get_extractor("llm", cache=tmp_path / "a.sqlite", **args) for _ in range(2)]
    found = [extractor.extract(sentences) for extractor in runs]
    assert found[0] == found[1]
    assert "happy" in found[0][0]
    counts = runs[0].record()["counts"]
    assert (counts["asked"], counts["empty"]) == (2, counts["failed"])
    assert runs[1].record()["counts"] == {**counts, "asked": 0, "from_cache": 2}
    reader = get_sentiment_reader("llm", cache=tmp_path / "s.sqlite", **args)
    # A model of this size cannot tell; what it says must be read, or counted as failed.
    read = reader.read([["joyful", "happy"], ["angry"]])
    assert (reader.record()["counts"]["failed"], reader.record()["counts"]["asked"]) == (read.count("unknown"), 2)
    with pytest.raises(ConfigError, match=r"refuses model .* HTTP 400 .*context"):
        runs[0].extract(["so " * 3000])


@pytest.fixture(scope="module")
def tiny_chat(tmp_path_factory):
    """A llama of two layers with random weights, and a tokenizer of fifty words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "tiny-chat"
    words = ["<unk>", "<eos>", *(f"word{i}" for i in range(48))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<eos>").save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=50, eos_token_id=1, bos_token_id=None, **sizes)).save_pretrained(folder)
    return folder


def test_a_model_in_this_process(tiny_chat, tmp_path):
    def run(**args):
        made = get_extractor("llm", model=str(tiny_chat), max_tokens=6, cache=tmp_path / "a.sqlite", **args)
        return made, made.extract(["word1 word2", "word3 " * 9, "word1 word2"])

    greedy, found = run(backend={"batch_size": 2})
    assert found[0] == found[2]
    settings = greedy.record()["settings"]
    assert settings["model"] == "tiny-chat"
    assert settings["revision"].startswith("sha256:")
    again, repeated = run(backend={"batch_size": 1})
    assert repeated == found
    assert (greedy.record()["counts"]["asked"], again.record()["counts"]["asked"]) == (2, 0)
    assert run(sampling="published")[0].record()["counts"]["asked"] == 2
    # Left padding: a short prompt answers alike beside a long one and alone.
    alone = get_extractor("llm", model=str(tiny_chat), max_tokens=6, cache=tmp_path / "b.sqlite")
    assert alone.extract(["word1 word2"])[0] == found[0]
    # What a model says about generation has no say.
    settings = json.loads((tiny_chat / "generation_config.json").read_text())
    own = {"do_sample": True, "temperature": 5.0, "top_k": 3, "repetition_penalty": 3.0, "max_new_tokens": 1}
    (tiny_chat / "generation_config.json").write_text(json.dumps(settings | own))
    other = get_extractor("llm", model=str(tiny_chat), max_tokens=6, cache=tmp_path / "c.sqlite")
    assert other.extract(["word1 word2", "word3 " * 9]) == found[:2]
    # Other weights under the same name are another model.
    (tiny_chat / "config.json").write_text((tiny_chat / "config.json").read_text() + " ")
    assert run()[0].record()["counts"]["asked"] == 2
    with pytest.raises(CheckpointError, match="'/nowhere/at/all' cannot be loaded"):
        get_extractor("llm", model="/nowhere/at/all", cache=tmp_path / "a.sqlite").extract(["x"])

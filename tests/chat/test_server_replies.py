"""Replies of a server that misbehaves: retries, limits, the cost bound, refusals, and messages with media."""

from __future__ import annotations

import base64
import datetime
import io
import json
import threading
import time
import wave
from email.utils import format_datetime

import av
import pytest
import torch

from affectgpt.chat import Message, Picture, ServerModel, Sound, Text, Video
from affectgpt.chat.base import seed_of
from affectgpt.chat.costs import Budget, CostBoundError, Prices
from affectgpt.chat.local import LocalModel
from affectgpt.chat.messages import prompt_record, to_wire
from affectgpt.chat.rates import RateLimit
from affectgpt.chat.reply import is_refusal
from affectgpt.chat.sampling import Sampling
from affectgpt.errors import ConfigError, DataError
from affectgpt.media.pictures.write_picture import write_picture
from affectgpt.media.sound.write_wav import write_wav
from chatserver import Step, in_turn, serve

GREEDY = Sampling(0.0, 1.0, 1.0, 64)
FAST = {"backoff_seconds": 0.001, "timeout_seconds": 5.0}


def replies(url, prompts, **options):
    model = ServerModel("m", url, **{**FAST, **options})
    found = dict(model.replies(prompts, GREEDY))
    return [found[i] for i in range(len(prompts))], model


def test_trouble_of_one_prompt_is_its_own_reply():
    steps = {
        "fine": Step("[glad]"),
        "policy": Step('{"error": {"code": "content_policy_violation"}}', status=400),
        "large": Step('{"error": "the picture is too large"}', status=413),
        "filtered": Step("He is", finish="content_filter"),
        "declined": Step("", message={"refusal": "I will not."}),
        "sorry": Step("I\u2019m sorry, but I can\u2019t identify the emotions of people."),
        "empty": Step("", finish="length"),
        "parts": Step("", message={"content": [{"type": "text", "text": "[sad]"}]}),
        "html": Step("<html>", raw=True),
        "no text": Step("", message={"content": 7}),
        "broken": Step("out of memory", status=500),
    }
    with serve(lambda body: steps[body["messages"][0]["content"]]) as (url, _):
        found, model = replies(url, list(steps), num_retries=1)
    kinds = {name: reply.kind for name, reply in zip(steps, found, strict=True)}
    assert kinds == {
        "fine": "answered", "policy": "refused", "large": "failed", "filtered": "refused", "declined": "refused",
        "sorry": "refused", "empty": "failed", "parts": "answered", "html": "failed", "no text": "failed",
        "broken": "failed",
    }  # fmt: skip
    reasons = {name: reply.reason for name, reply in zip(steps, found, strict=True)}
    assert reasons["fine"] is None
    assert "too large" in reasons["large"]
    assert "spent before it began" in reasons["empty"]
    assert "is not a chat completion: '<html>'" in reasons["html"]
    assert (
        "no answer in 2 tries; the last error was: HTTP 500 Internal Server Error: out of memory" in reasons["broken"]
    )
    assert (found[0].text, found[7].text, found[0].prompt_tokens, found[0].answer_tokens) == (
        "[glad]",
        "[sad]",
        100,
        10,
    )
    assert found[0].seconds is not None
    assert model.budget.prompt_tokens == 600


@pytest.mark.parametrize("date", [False, True])
def test_a_pause_that_the_server_asks_for_holds_all_requests(date):
    first = threading.Event()

    def answer(_):
        if first.is_set():
            return Step()
        first.set()
        # a date has whole seconds, so that one in two seconds is at least one away
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=2)
        pause = format_datetime(until, usegmt=True) if date else "1"
        return Step("slow down", status=429, headers={"Retry-After": pause})

    with serve(answer) as (url, seen):
        found, _ = replies(url, ["a", "b", "c"], num_parallel=1)
    assert [reply.kind for reply in found] == ["answered"] * 3
    assert seen.times[1] - seen.times[0] > 0.9
    with serve(in_turn(Step("busy", status=429), Step("busy", status=429), Step())) as (url, seen):
        found, _ = replies(url, ["a"])
    assert (found[0].kind, len(seen.times)) == ("answered", 3)


def test_silence_and_a_cut_answer_are_tried_again():
    with serve(in_turn(Step(seconds=4.0), Step(cut=True), Step(torn=True), Step("[glad]"))) as (url, seen):
        found, model = replies(url, ["a"], timeout_seconds=1.5, max_cost=1.0, prompt_price=1.0, answer_price=1.0)
    assert (found[0].text, len(seen.bodies)) == ("[glad]", 4)
    # What was cut off may have been paid for, and counts.
    assert model.budget.num_estimated == 3


def test_everything_failing_ends_the_run_and_hands_on_what_came():
    model = None
    with serve(in_turn(Step("[glad]"), Step("down", status=503))) as (url, seen):
        model = ServerModel("m", url, **FAST, num_retries=0, num_parallel=1, max_failures=4)
        came = []
        with pytest.raises(DataError, match=r"4 prompts one after the other failed, the last with: .*HTTP 503"):
            came.extend(reply.kind for _, reply in model.replies((f"p{i}" for i in range(1000)), GREEDY))
    assert len(seen.bodies) < 10
    with serve(in_turn(Step("no such key", status=401))) as (url, seen):
        model = ServerModel("m", url, **FAST)
        with pytest.raises(ConfigError, match="set the key"):
            list(model.replies(["a"] * 50, GREEDY))
        assert len(seen.bodies) <= 5
    with pytest.raises(
        DataError, match=r"127\.0\.0\.1:9/v1 gave no answer in 2 tries; the last error was: ConnectError"
    ):
        list(ServerModel("m", "http://127.0.0.1:9/v1", **FAST, num_retries=1).replies(["a"] * 50, GREEDY))
    spent = Step('{"error": {"code": "insufficient_quota"}}', status=429)
    with serve(in_turn(spent)) as (url, seen), pytest.raises(ConfigError, match="no credit"):
        list(ServerModel("m", url, **FAST, num_parallel=1).replies(["a"], GREEDY))


def test_requests_run_side_by_side_and_prompts_are_taken_as_needed():
    taken = []

    def prompts():
        for number in range(40):
            taken.append(number)
            yield f"p{number}"

    with serve(in_turn(Step(seconds=0.05))) as (url, seen):
        model = ServerModel("m", url, **FAST, num_parallel=4)
        stream = model.replies(prompts(), GREEDY)
        next(stream)
        assert len(taken) <= 12
        rest = list(stream)
    assert len(rest) == 39
    assert 2 <= seen.most_at_once <= 4


def test_the_cost_is_never_passed():
    # A request may cost 0.000164 at most: 100 tokens read, as the first tells, and 64 written.
    with serve(in_turn(Step(usage=(100, 10)))) as (url, seen):
        model = ServerModel("m", url, **FAST, prompt_price=1.0, answer_price=1.0, max_cost=0.001, num_parallel=3)
        came = []
        with pytest.raises(CostBoundError, match=r"of the bound of 0\.001 0\.0009 is spent"):
            came.extend(reply.kind for _, reply in model.replies(["a"] * 100, GREEDY))
    assert came == ["answered"] * len(seen.bodies) == ["answered"] * 8
    assert model.budget.spent == pytest.approx(8 * 110e-6)
    for options, message in (
        ({"max_cost": 1.0}, "a bound on the cost needs prices"),
        ({"prompt_price": 1.0}, "give both"),
        ({"prompt_price": -1.0, "answer_price": 1.0}, "price of a million prompt tokens is -1"),
        ({"requests_per_minute": 0}, "requests_per_minute is 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            ServerModel("m", "http://localhost/v1", **options)


def test_a_budget_waits_for_requests_under_way():
    budget = Budget(Prices(0.0, 1e6), most=10.0)
    first = budget.reserve(0, 8)
    threading.Timer(0.05, lambda: budget.settle(first, 0, 1)).start()
    assert budget.reserve(0, 8) == 8
    with pytest.raises(CostBoundError):
        budget.reserve(0, 10)


def test_rates_are_kept():
    now = [0.0]
    stop = threading.Event()
    stop.wait = lambda seconds: now.__setitem__(0, now[0] + seconds)  # type: ignore[method-assign]
    limit = RateLimit(requests=3, clock=lambda: now[0])
    times = []
    for _ in range(7):
        limit.wait(1, stop)
        times.append(now[0])
    assert times == pytest.approx([0, 0, 0, 60, 60, 60, 120], abs=0.6)
    now[0] = 0.0
    limit = RateLimit(tokens=100, clock=lambda: now[0])
    ticket = limit.wait(90, stop)
    ticket.tokens = 20  # fewer than was feared
    limit.wait(80, stop)
    assert now[0] == 0
    limit.wait(1000, stop)  # more than the limit: alone
    assert now[0] == pytest.approx(60, abs=0.6)


def test_media_travel_whole_and_seeds_depend_on_them():
    frame = torch.arange(3 * 6 * 10).reshape(3, 6, 10).to(torch.uint8)
    sound = torch.sin(torch.arange(800) / 10) / 2
    png, jpeg, wav = write_picture(frame), write_picture(frame, "jpeg"), write_wav(sound, 16_000)
    prompt = [
        Message((Text("You judge emotions."),), "system"),
        Message(
            (Picture(png), Picture(jpeg, "image/jpeg"), Sound(wav), Video(b"mp4"), Text("How does she feel?\ud83d"))
        ),
    ]
    system, user = json.loads(json.dumps(to_wire(prompt)))
    assert system == {"role": "system", "content": "You judge emotions."}
    kinds = [part["type"] for part in user["content"]]
    assert kinds == ["image_url", "image_url", "input_audio", "video_url", "text"]
    sent = [base64.b64decode(part["image_url"]["url"].split(",")[1]) for part in user["content"][:2]]
    for content, tolerance in zip(sent, (0, 12), strict=True):
        with av.open(io.BytesIO(content)) as file:
            decoded = torch.from_numpy(next(file.decode(video=0)).to_ndarray(format="rgb24")).permute(2, 0, 1)
        assert (decoded.int() - frame.int()).abs().max() <= tolerance
    assert user["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")
    audio = user["content"][2]["input_audio"]
    assert audio["format"] == "wav"
    with wave.open(io.BytesIO(base64.b64decode(audio["data"]))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (16_000, 1, 800)
        samples = torch.frombuffer(bytearray(file.readframes(800)), dtype=torch.int16)
    assert (samples / 32767 - sound).abs().max() < 1e-4
    record = json.dumps(prompt_record(prompt))
    assert len(record) < 1000
    assert seed_of(prompt) != seed_of([prompt[1]])
    assert seed_of(prompt, 1) != seed_of(prompt)
    with pytest.raises(ConfigError, match="reads one text, but got pictures"):
        list(LocalModel("nowhere").complete([prompt], GREEDY))
    with pytest.raises(ConfigError, match="unknown picture format 'gif'"):
        write_picture(frame, "gif")


def test_refusals_are_told_from_answers():
    refusals = (
        "I'm sorry, but I can't help with that.",
        "I cannot identify people or their emotions.",
        "Unfortunately, I am unable to analyze the video.",
        "As an AI language model, I cannot see pictures.",
        "I am sorry, I can\u2019t assist with this request.",
        "抱歉\uff0c我无法判断人物的情绪。",
        "作为一个人工智能\uff0c我不能观看视频。",
    )
    answers = (
        "sad, sorry, helpless",
        "She says she cannot help him; she is desperate.",
        "I think he is sad. I cannot see more.",
        "The speaker apologizes: \u201cI'm sorry, but I can't do that.\u201d She is embarrassed.",
        "他很难过\uff0c无法接受。",
        "",
    )
    assert [text for text in refusals if not is_refusal(text)] == []
    assert [text for text in answers if is_refusal(text)] == []
    start = time.perf_counter()
    assert not is_refusal("sorry " * 100_000)
    assert time.perf_counter() - start < 5  # no backtracking over a hostile answer

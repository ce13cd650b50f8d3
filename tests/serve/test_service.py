"""The service as its clients see it, over a real port: forms, chats with the real OpenAI client, errors and load."""

from __future__ import annotations

import asyncio
import base64
import json
from concurrent.futures import ThreadPoolExecutor

import httpx2
import openai
import pytest
from openai import OpenAI
from starlette.requests import ClientDisconnect

from affectgpt.serve import ServiceSettings
from affectgpt.serve.answer_service import while_connected
from affectgpt.serve.error_form import ServiceError
from affectgpt.serve.prompt_writer import NetworkWriter
from clipmaker import make_clip, make_png, make_wav
from decodingworker import read_or_die
from servicerunner import GatedWriter, meter, running, wait_until

SECONDS = 120
PART_HEAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'


def post(url: str, path: str = "/v1/answers", **options) -> httpx2.Response:
    return httpx2.post(url + path, timeout=SECONDS, **options)


def data_url(content: bytes, media_type: str = "video/mp4") -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def chat(*parts: dict, words: str | None = "How does she feel?") -> list[dict]:
    text = [] if words is None else [{"type": "text", "text": words}]
    return [{"role": "user", "content": [*parts, *text]}]


def video(content: bytes) -> dict:
    return {"type": "video_url", "video_url": {"url": data_url(content)}}


def sound(content: bytes) -> dict:
    return {"type": "input_audio", "input_audio": {"data": base64.b64encode(content).decode(), "format": "wav"}}


def picture(content: bytes) -> dict:
    return {"type": "image_url", "image_url": {"url": data_url(content, "image/png")}}


@pytest.fixture(scope="module")
def client(service):
    with OpenAI(base_url=f"{service}/v1", api_key="none", max_retries=0, timeout=SECONDS) as client:
        yield client


def test_a_form_is_answered_as_predict_answers(service, tiny, clip) -> None:
    asked = ["How does she feel?", tiny.style.label_question]
    files = {"file": ("some/where/my clip.mp4", clip)}
    told = post(service, files=files, data={"subtitle": "Hi.", "question": asked}).json()
    assert (told["key"], told["model"], told["missing"], told["transcript"]) == ("my clip", "tiny", {}, None)
    assert [one["question"] for one in told["answers"]] == asked
    for one in told["answers"]:
        alone = tiny.predict(clip, "Hi.", question=one["question"], key="my clip").to_json()
        assert {name: one[name] for name in ("text", "labels", "description", "sentiment", "used")} == {
            name: alone[name] for name in ("text", "labels", "description", "sentiment", "used")
        }
    assert set(told["seconds"]) == {"read", "answer"}


def test_sound_pictures_and_a_separate_sound_are_taken_and_what_is_missing_is_said(service, clip) -> None:
    for content, missing in ((make_wav(0.4), {"frame", "subtitle"}), (make_png(32, 48), {"audio", "subtitle"})):
        told = post(service, files={"file": ("x", content)}).json()
        assert set(told["missing"]) == missing
    files = {"file": ("x.mp4", make_clip(0.4, audio=False)), "audio": ("x.wav", make_wav(0.4))}
    told = post(service, files=files, data={"max_tokens": "2"}).json()
    assert set(told["missing"]) == {"subtitle"}
    assert (told["answers"][0]["answer_tokens"], told["answers"][0]["finish_reason"]) == (2, "length")


def test_words_that_are_too_long_for_the_prompt_are_said_to_be_shortened(service, clip) -> None:
    told = post(service, files={"file": ("a.mp4", clip)}, data={"subtitle": "so " * 2000, "max_tokens": "1"}).json()
    assert told["missing"] == {"subtitle": "it is too long for the prompt, and was shortened"}
    assert "subtitle" in told["answers"][0]["used"]


def test_the_openai_client_works_unchanged(client, tiny, clip) -> None:
    assert [one.id for one in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").owned_by == "affectgpt"
    told = client.chat.completions.create(
        model="tiny", messages=chat(video(clip)), max_tokens=5, extra_body={"subtitle": "Hi."}
    )
    alone = tiny.predict(clip, "Hi.", question="How does she feel?", max_new_tokens=5, key="clip")
    assert told.choices[0].message.content == alone.text
    assert told.affectgpt["used"] == list(alone.used)
    assert told.usage.total_tokens == told.usage.prompt_tokens + told.usage.completion_tokens
    assert told.usage.completion_tokens <= 5


@pytest.mark.parametrize(
    ("parts", "missing"),
    [
        ([video(make_clip(0.4))], {"subtitle"}),
        ([sound(make_wav(0.4))], {"frame", "subtitle"}),
        ([picture(make_png(32, 48))], {"audio", "subtitle"}),
        ([picture(make_png(32, 48)), sound(make_wav(0.4))], {"subtitle"}),
        ([video(make_clip(0.4, audio=False)), sound(make_wav(0.4))], {"subtitle"}),
        ([{"type": "audio_url", "audio_url": {"url": data_url(make_wav(0.4), "audio/wav")}}], {"frame", "subtitle"}),
    ],
    ids=["video", "sound", "picture", "picture-and-sound", "video-and-sound", "sound-url"],
)
def test_every_kind_of_media_part_is_understood(client, parts, missing) -> None:
    told = client.chat.completions.create(model="tiny", messages=chat(*parts), max_tokens=1)
    assert set(told.affectgpt["missing"]) == missing
    assert told.affectgpt["question"] == "How does she feel?"


def test_answers_are_greedy_unless_a_temperature_is_given_and_drawn_again_with_a_seed(client, clip) -> None:
    def ask(**how) -> str:
        told = client.chat.completions.create(model="tiny", messages=chat(video(clip)), **how)
        return told.choices[0].message.content

    greedy = ask()
    assert ask(temperature=1e-300) == ask(temperature=0, seed=3) == greedy
    drawn = {ask(temperature=2, seed=seed) for seed in range(4)}
    assert len(drawn) > 1
    assert ask(temperature=2, seed=1, top_p=1e-300) == greedy
    assert ask(temperature=2, seed=3) in drawn


def test_a_stream_says_the_same_in_events(client, clip) -> None:
    messages = chat(video(clip), words=None)
    whole = client.chat.completions.create(model="tiny", messages=messages)
    options = {"include_usage": True}
    events = list(client.chat.completions.create(model="tiny", messages=messages, stream=True, stream_options=options))
    assert "".join(e.choices[0].delta.content or "" for e in events if e.choices) == whole.choices[0].message.content
    assert events[0].choices[0].delta.role == "assistant"
    assert events[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert events[-1].usage == whole.usage
    assert len({event.id for event in events}) == 1


def test_a_chat_that_goes_on_keeps_its_clip_and_says_what_it_ignores(client, clip) -> None:
    messages = [{"role": "system", "content": "Be brief."}, *chat(video(clip), words="First?")]
    messages += [{"role": "assistant", "content": "calm"}, {"role": "user", "content": "And now?"}]
    told = client.chat.completions.create(model="tiny", messages=messages, max_tokens=1, presence_penalty=0.5)
    assert told.affectgpt["question"] == "And now?"
    roles = ["message of the role system", "message of the role user", "message of the role assistant"]
    assert told.affectgpt["ignored"] == [*roles, "presence_penalty"]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"model": "gpt"}, openai.NotFoundError, "there is no model 'gpt'; there is 'tiny'"),
        ({"messages": chat()}, openai.UnprocessableEntityError, "nothing to look at"),
        ({"messages": [{"role": "system", "content": "x"}]}, openai.UnprocessableEntityError, "role user"),
        ({"messages": chat(picture(b"a"), picture(b"b"))}, openai.UnprocessableEntityError, "looks at one clip"),
        ({"messages": chat(video(b""))}, openai.UnprocessableEntityError, "is empty"),
        ({"messages": chat(video(b"no clip at all"))}, openai.UnprocessableEntityError, "is not a video"),
        ({"n": 2}, openai.UnprocessableEntityError, "n: "),
        ({"logprobs": True}, openai.UnprocessableEntityError, "logprobs is not supported"),
        ({"response_format": {"type": "json_object"}}, openai.UnprocessableEntityError, "must be text"),
        ({"temperature": 9}, openai.UnprocessableEntityError, "temperature"),
        (
            {"messages": chat({"type": "video_url", "video_url": {"url": "data:video/mp4,abc"}})},
            openai.UnprocessableEntityError,
            "without base64",
        ),
        (
            {"messages": chat({"type": "video_url", "video_url": {"url": "data:video/mp4;base64,%%%%"}})},
            openai.UnprocessableEntityError,
            "not base64",
        ),
        (
            {"messages": chat({"type": "video_url", "video_url": {"url": "https://example.org/a.mp4"}})},
            openai.PermissionDeniedError,
            "it fetches from no host",
        ),
        (
            {"messages": chat({"type": "video_url", "video_url": {"url": "file:///etc/passwd"}})},
            openai.UnprocessableEntityError,
            "must begin with https",
        ),
        ({"messages": chat(words="x" * 8001)}, openai.UnprocessableEntityError, "at most 8000"),
        ({"messages": chat(sound(make_wav(0.3)), words="x" * 7000)}, openai.UnprocessableEntityError, "max_tokens"),
    ],
)
def test_a_chat_that_cannot_be_answered_says_why_in_openais_form(client, clip, change, error, words) -> None:
    request = {"model": "tiny", "messages": chat(video(clip))} | change
    with pytest.raises(error) as caught:
        client.chat.completions.create(**request)
    assert words in caught.value.body["message"]
    assert set(caught.value.body) == {"message", "type", "code", "param"}


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"files": {"file": ("a.mp4", b"no clip")}}, 422, "not_media"),
        ({"files": {"file": ("a.mp4", b"")}}, 422, "empty_file"),
        ({"data": {"subtitle": "no file"}}, 422, "invalid_field"),
        ({"files": {"file": ("a.mp4", b"x")}, "data": {"url": "https://example.org"}}, 422, "invalid_field"),
        ({"files": {"file": ("a.mp4", b"x")}, "data": {"max_tokens": "0"}}, 422, "invalid_field"),
        ({"files": {"file": ("a.mp4", b"x")}, "data": {"question": ["q"] * 9}}, 422, "invalid_field"),
        ({"data": {"url": "https://example.org/a.mp4"}}, 403, "url_not_allowed"),
        ({"content": b"--x", "headers": {"content-type": "multipart/form-data; boundary=x"}}, 422, "invalid_field"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "unreadable_body"),
        ({"content": bytes(2**20 + 1)}, 413, "too_large"),
        (
            {
                "content": iter([PART_HEAD, bytes(2**20), b"x"]),
                "headers": {"content-type": "multipart/form-data; boundary=x"},
            },
            413,
            "",
        ),
    ],
)
def test_a_form_that_cannot_be_answered_says_why(service, options, status, code) -> None:
    found = post(service, **options)
    assert (found.status_code, found.json()["error"]["code"]) == (status, code or "too_large")
    assert "/tmp" not in found.text
    assert "Traceback" not in found.text


def test_bodies_that_are_no_json_and_paths_that_do_not_exist_have_the_one_form(service) -> None:
    head = {"content-type": "application/json"}
    for content in (b'{"model":', b"\xff\xfe\x00", b"[" * 100_000, b'{"model": "\\ud800"}', b"null", b"[]"):
        found = post(service, "/v1/chat/completions", content=content, headers=head)
        assert found.status_code in (400, 422)
        assert set(found.json()["error"]) == {"message", "type", "code", "param"}
    for method, path, status in (
        ("GET", "/", 404),
        ("GET", "/docs", 404),
        ("GET", "/v1/answers", 405),
        ("PUT", "/x", 404),
    ):
        found = httpx2.request(method, service + path, timeout=SECONDS)
        assert (found.status_code, set(found.json())) == (status, {"error"})


def test_the_state_of_the_service_can_be_read(service, clip) -> None:
    assert httpx2.get(f"{service}/healthz", timeout=SECONDS).json() == {"status": "ok", "model": "tiny", "waiting": 0}
    name = 'affectgpt_requests_total{route="/v1/answers",status="200"}'
    assert post(service, files={"file": ("a.mp4", clip)}).status_code == 200
    before, batches = meter(service, name), meter(service, "affectgpt_batch_size_count")
    assert post(service, files={"file": ("a.mp4", clip)}).status_code == 200
    # a response is counted a moment after its client has it
    wait_until(lambda: meter(service, name) == before + 1, "the request to be counted")
    assert meter(service, "affectgpt_batch_size_count") == batches + 1
    assert meter(service, "affectgpt_queue_length") == 0


def test_requests_that_wait_are_answered_together_and_hang_ups_free_their_positions(tiny, clip) -> None:
    writer = GatedWriter(tiny)
    settings = ServiceSettings(decoders=1, max_queue=6, max_batch=4)
    with running(tiny, settings, writer=writer) as url, ThreadPoolExecutor(8) as pool:
        files = {"file": ("a.mp4", clip)}
        first = pool.submit(post, url, files=files)
        wait_until(lambda: writer.sizes == [1], "the first batch to run")
        others = [pool.submit(post, url, files=files) for _ in range(4)]
        wait_until(lambda: meter(url, "affectgpt_queue_length") == 4, "four requests to wait")

        # two more hang up: one that waits for a batch as a whole, one as a stream
        def leave(path: str, **options) -> None:
            with httpx2.Client(timeout=httpx2.Timeout(60, read=0.3)) as impatient, pytest.raises(httpx2.ReadTimeout):
                impatient.post(url + path, **options)

        leave("/v1/answers", files=files)
        leave("/v1/chat/completions", json={"model": "affectgpt", "messages": chat(video(clip)), "stream": True})
        wait_until(lambda: meter(url, "affectgpt_requests_under_way") == 5, "the two who left to be forgotten")
        wait_until(lambda: meter(url, "affectgpt_queue_length") == 4, "their jobs to be dropped")

        sixth = pool.submit(post, url, files=files)
        wait_until(lambda: meter(url, "affectgpt_requests_under_way") == 6, "the sixth request to be taken")
        refused = post(url, files=files)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
        assert int(refused.headers["retry-after"]) >= 1
        writer.gate.set()
        answers = [job.result(SECONDS).json()["answers"][0]["text"] for job in (first, *others, sixth)]
        assert len(set(answers)) == 1, "the same clip has the same answer in every batch"
        assert writer.sizes[1] == 4
        assert sum(writer.sizes) == 6, "those who left were not computed"


def test_slow_answers_are_given_up_faults_are_not_shown_and_deadly_clips_are_refused(tiny, clip, monkeypatch) -> None:
    class Failing(NetworkWriter):
        def __call__(self, prompt, content, max_new_tokens, sampling):
            raise ValueError("/root/model.ckpt: a fault inside")

    settings = ServiceSettings(decoders=1, timeout_seconds=30.0)
    monkeypatch.setattr("affectgpt.serve.clip_reading.read_request", read_or_die)
    with running(tiny, settings, writer=Failing(tiny.network)) as url:
        files = {"file": ("a.mp4", clip)}
        found = post(url, files=files)
        assert (found.status_code, found.json()["error"]["code"]) == (500, "internal_error")
        assert "fault" not in found.text
        request = {"model": "affectgpt", "messages": chat(video(clip)), "stream": True}
        events = post(url, "/v1/chat/completions", json=request).text
        assert json.loads(events.strip().split("data: ")[-1])["error"]["code"] == "internal_error"
        assert "fault" not in events
        found = post(url, files={"file": ("kills.mp4", clip)})
        assert (found.status_code, found.json()["error"]["code"]) == (422, "crashed")
        assert "clip 'kills'" in found.json()["error"]["message"]


def test_time_is_over_and_clients_that_leave_are_noticed() -> None:
    async def main() -> None:
        ended = []

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(True)

        class Asked:
            def __init__(self, *messages: str) -> None:
                self.left = list(messages)

            async def receive(self) -> dict:
                if not self.left:
                    await asyncio.Event().wait()
                return {"type": self.left.pop(0)}

        with pytest.raises(ServiceError) as caught:
            await while_connected(Asked(), work(), 0.01)
        assert (caught.value.status_code, caught.value.code) == (504, "timeout")
        with pytest.raises(ClientDisconnect):
            await while_connected(Asked("http.request", "http.disconnect"), work(), 60)
        assert ended == [True, True], "the work goes on although nobody waits"

    asyncio.run(main())

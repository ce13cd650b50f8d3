"""The entrance: keys, positions in the queue, and limits of a body before and while it is read."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from affectgpt.errors import ConfigError
from affectgpt.serve import ServiceSettings
from affectgpt.serve.entrance import Entrance, Queue
from affectgpt.serve.service_meters import ServiceMeters
from affectgpt.serve.service_settings import read_keys

KEYS = ("the-first-key-of-all", "another-key-for-others")


class Inside:
    """An application that reads the whole body, and does what it is told then."""

    def __init__(self, then: Any = None) -> None:
        self.num_pieces, self.then = 0, then

    async def __call__(self, scope, receive, send) -> None:
        more = scope["method"] == "POST"
        while more:
            message = await receive()
            self.num_pieces += 1
            more = message.get("more_body", False)
        if self.then is not None and scope["method"] == "POST":
            await self.then()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"in"})


def entrance(inside: Any, keys=(), queue=None, meters=None, **settings) -> Entrance:
    chosen = ServiceSettings(**settings)
    return Entrance(
        inside,
        chosen,
        keys,
        queue or Queue(chosen),
        meters or ServiceMeters(),
        lambda path: path if path == "/x" else "other",
    )


async def ask(app, method="POST", path="/x", headers=None, pieces=(b"body",)) -> tuple[int, dict[str, str], str]:
    """Status, headers and body; a piece that is ``None`` never comes."""
    left, sent = list(pieces), []

    async def receive():
        piece = left.pop(0)
        if piece is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": piece, "more_body": bool(left)}

    async def send(message):
        sent.append(message)

    coded = [(name.encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    await app({"type": "http", "method": method, "path": path, "headers": coded}, receive, send)
    told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], told, b"".join(m["body"] for m in sent[1:]).decode()


def code_of(body: str) -> str:
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "code", "param"}
    return error["code"]


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (None, 401),
        ("Bearer the-first-key-of-all", 200),
        ("bearer another-key-for-others", 200),
        ("Bearer the-first-key-of-al", 401),
        ("Bearer ", 401),
        ("Basic the-first-key-of-all", 401),
        ("Bearer \xe9\xff", 401),
    ],
)
def test_only_who_has_a_key_comes_in(header, status) -> None:
    inside = Inside()
    found, told, body = asyncio.run(ask(entrance(inside, KEYS), headers={"authorization": header} if header else {}))
    assert found == status
    if status == 401:
        assert code_of(body) == "invalid_api_key"
        assert told["www-authenticate"] == "Bearer"
        assert inside.num_pieces == 0, "the body was read before the key"


def test_the_state_is_open_and_the_rest_is_not() -> None:
    app = entrance(Inside(), KEYS)
    found = {
        path: asyncio.run(ask(app, "GET", path))[0] for path in ("/healthz", "/openapi.json", "/metrics", "/v1/models")
    }
    assert found == {"/healthz": 200, "/openapi.json": 200, "/metrics": 401, "/v1/models": 401}


def test_a_body_that_says_it_is_too_large_is_not_read() -> None:
    inside = Inside()
    status, _, body = asyncio.run(ask(entrance(inside, max_body_bytes=10), headers={"content-length": "11"}))
    assert (status, code_of(body), inside.num_pieces) == (413, "too_large", 0)
    status, _, body = asyncio.run(ask(entrance(inside, max_body_bytes=10), headers={"content-length": "many"}))
    assert (status, code_of(body)) == (411, "bad_length")


def test_a_body_without_a_length_is_read_no_further_than_allowed() -> None:
    inside = Inside()
    status, _, body = asyncio.run(ask(entrance(inside, max_body_bytes=10), pieces=[b"12345"] * 50))
    assert (status, code_of(body), inside.num_pieces) == (413, "too_large", 2)


def test_a_body_that_does_not_come_is_given_up() -> None:
    queue = Queue(ServiceSettings())
    app = entrance(Inside(), queue=queue, upload_seconds=0.05)
    status, _, body = asyncio.run(ask(app, pieces=[b"1", None]))
    assert (status, code_of(body)) == (408, "slow_body")
    assert (queue.num_taken, queue.held_bytes) == (0, 0)


def test_a_full_queue_refuses_before_it_reads_and_tells_when_to_come_back() -> None:
    async def main() -> None:
        gate, settings = asyncio.Event(), ServiceSettings(max_queue=2)
        queue = Queue(settings)
        inside = Inside(gate.wait)
        app = entrance(inside, queue=queue, max_queue=2)
        two = [asyncio.create_task(ask(app)) for _ in range(2)]
        while inside.num_pieces < 2:
            await asyncio.sleep(0)
        status, told, body = await ask(app)
        assert (status, code_of(body), inside.num_pieces) == (429, "queue_full", 2)
        assert int(told["retry-after"]) >= 1
        assert (await ask(app, "GET", "/healthz"))[0] == 200, "looking takes no position"
        gate.set()
        assert [found[0] for found in await asyncio.gather(*two)] == [200, 200]
        assert (queue.num_taken, queue.held_bytes) == (0, 0)
        assert (await ask(app))[0] == 200

    asyncio.run(main())


def test_bodies_together_are_bounded_but_one_alone_is_taken() -> None:
    async def main() -> None:
        gate = asyncio.Event()
        inside = Inside(gate.wait)
        app = entrance(inside, max_held_bytes=8)
        first = asyncio.create_task(ask(app, pieces=[b"123456789"]))
        while inside.num_pieces < 1:
            await asyncio.sleep(0)
        status, _, body = await ask(app, pieces=[b"1"])
        assert (status, code_of(body)) == (429, "queue_full")
        gate.set()
        assert (await first)[0] == 200

    asyncio.run(main())


def test_a_fault_is_logged_under_a_number_and_the_client_is_told_the_number_alone(caplog) -> None:
    async def fail() -> None:
        raise RuntimeError("/secret/path/model.ckpt is broken")

    meters = ServiceMeters()
    with caplog.at_level(logging.ERROR):
        status, told, body = asyncio.run(ask(entrance(Inside(fail), meters=meters)))
    assert (status, code_of(body)) == (500, "internal_error")
    assert "secret" not in body
    assert "Traceback" not in body
    assert told["x-request-id"] in body
    assert told["x-request-id"] in caplog.text
    assert "/secret/path" in caplog.text
    assert 'affectgpt_requests_total{route="/x",status="500"} 1.0' in meters.text().decode()


def test_unknown_paths_are_one_meter() -> None:
    meters = ServiceMeters()
    app = entrance(Inside(), meters=meters)
    for number in range(3):
        asyncio.run(ask(app, "GET", f"/scan{number}"))
    assert 'affectgpt_requests_total{route="other",status="200"} 3.0' in meters.text().decode()
    assert "scan" not in meters.text().decode()


def test_keys_come_from_the_environment_and_no_message_repeats_them() -> None:
    assert read_keys({}) == ()
    assert read_keys({"AFFECTGPT_API_KEYS": f"{KEYS[0]},\n{KEYS[1]}"}) == KEYS
    for told in ("short-key", f"{KEYS[0]} schl\xfcssel-mit-umlaut"):
        with pytest.raises(ConfigError, match="must have at least 16") as caught:
            read_keys({"AFFECTGPT_API_KEYS": told})
        assert told.split()[-1] not in str(caught.value)
    with pytest.raises(ConfigError, match="holds no key"):
        read_keys({"AFFECTGPT_API_KEYS": " , "})


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_batch": 0},
        {"timeout_seconds": 0},
        {"max_wait_seconds": 500},
        {"fetch_hosts": ("http://a/b",)},
        {"model_name": " "},
    ],
)
def test_settings_out_of_their_range_are_refused(wrong) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong)).removeprefix("fetch_hosts") or "is not a host"):
        ServiceSettings(**wrong)

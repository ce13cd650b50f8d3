"""The page without a browser: what its gate lets through, and the answer of its events."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from pathlib import Path

import httpx2
import pytest

from affectgpt.app import Page, PageSettings, Visitors, create_page
from affectgpt.app.page_gate import visitor_of
from affectgpt.app.visitors import ORPHAN_SECONDS
from affectgpt.cli.app import _settings, parser
from affectgpt.cli.main import main
from affectgpt.errors import ConfigError, DataError
from affectgpt.serve import ServiceSettings
from affectgpt.serve.entrance import Queue
from servicerunner import tiny_model

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "app.md").read_text("utf-8")


@pytest.fixture
def visitor(url):
    with httpx2.Client(base_url=url, timeout=60) as client:
        client.get("/config")  # gives the cookie
        yield client


def upload(client, content: bytes, name: str = "clip.mp4"):
    return client.post("/gradio_api/upload", files={"files": (name, content)})


def call(client, name: str, *values) -> list:
    """The result of an event of the page."""
    begun = client.post(f"/gradio_api/call/{name}", json={"data": list(values)})
    assert begun.status_code == 200, begun.text
    told = client.get(f"/gradio_api/call/{name}/{begun.json()['event_id']}").text
    (found,) = re.findall(r"^event: complete\ndata: (.*)$", told, re.M)
    return json.loads(found)


def file_value(path: str) -> dict:
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def test_an_upload_is_answered_and_stays_with_its_visitor(url, visitor, clip_file) -> None:
    (path,) = upload(visitor, clip_file.read_bytes(), "u<i>1.mp4").json()
    told = call(visitor, "answer", file_value(path), None, "", "", True)[0]
    for words in ("Frames: 2", "no face was found", "none was given", "<h4>Description</h4>", "<svg"):
        assert words in told
    assert "<i>" not in told
    assert visitor.get(f"/gradio_api/file={path}").status_code == 200
    with httpx2.Client(base_url=url, timeout=60) as other:
        assert other.get(f"/gradio_api/file={path}").status_code == 403
        other.get("/config")
        assert other.get(f"/gradio_api/file={path}").status_code == 403
        told = call(other, "answer", file_value(path), None, "", "", True)[0]
        assert "this upload is no longer here" in told.lower()


@pytest.mark.parametrize(
    "path",
    [
        "file=/etc/passwd",
        "file=http://example.org/a.mp4",
        "file/etc/passwd",
        "file=%2Fetc%2Fpasswd",
        "proxy=http://example.org/",
        "deep_link?session_hash=x",
        "runs",
        "openapi.json",
    ],
)
def test_what_the_page_does_not_need_is_closed(visitor, path) -> None:
    assert visitor.get(f"/gradio_api/{path}").status_code in (403, 404)
    assert visitor.get("/monitoring").status_code == 404


def test_a_session_belongs_to_who_used_it_first(url, visitor) -> None:
    with visitor.stream("GET", "/gradio_api/heartbeat/abcdef") as beat:
        assert beat.status_code == 200
        with httpx2.Client(base_url=url, timeout=60) as other:
            assert httpx2.get(f"{url}/gradio_api/queue/data?session_hash=abcdef", timeout=60).status_code == 403
            other.get("/config")
            assert other.get("/gradio_api/queue/data?session_hash=abcdef").status_code == 403
            told = other.post("/gradio_api/run/answer", json={"data": [], "session_hash": "abcdef"})
            assert told.status_code == 404
            assert other.get("/gradio_api/heartbeat/abcdef").status_code == 403


def test_bodies_beyond_the_limits_are_refused_before_they_are_read(visitor) -> None:
    told = upload(visitor, bytes(6 * 2**20))
    assert (told.status_code, told.text) == (413, "the file is larger than 1 MB, the most that this page takes")
    assert upload(visitor, bytes(2 * 2**20)).status_code == 413
    assert visitor.post("/gradio_api/call/answer", content=bytes(5 * 2**20)).status_code == 413


def test_files_go_with_their_last_visitor_and_never_outside_the_folder(tmp_path) -> None:
    visitors, held = Visitors(tmp_path / "held", 100, 0.0), tmp_path / "held"
    shared, outside = held / "a" / "clip.mp4", tmp_path / "mine.mp4"
    shared.parent.mkdir(parents=True)
    for path in (shared, outside):
        path.write_bytes(bytes(60))
    for name in ("one", "two"):
        visitors.add(name, shared)
    visitors.add("one", outside)
    assert visitors.held_bytes == 120
    assert visitors.owns("two", shared)
    assert not visitors.owns("two", outside)
    with visitors.open_page("two"):
        assert visitors.has_room(40)  # the first one is gone
        assert shared.is_file()
        assert not visitors.has_room(41)
        with pytest.raises(DataError, match="choose the file again"):
            visitors.check("one", str(shared))
    broken_off, under_way = held / "broken", held / "new"
    for path, age in ((broken_off, ORPHAN_SECONDS + 1), (under_way, 0)):
        path.write_bytes(b"part")
        os.utime(path, (time.time() - age,) * 2)
    visitors.sweep()
    assert not shared.parent.exists()
    assert (broken_off.exists(), under_way.exists()) == (False, True)
    assert outside.is_file()


def test_a_cookie_that_is_no_name_is_none() -> None:
    name = Visitors.new_name()
    assert visitor_of(f"a=b; affectgpt_visitor={name}") == name
    assert visitor_of("affectgpt_visitor=short") is None
    assert visitor_of("affectgpt_visitor=\x00;;;=") is None
    assert visitor_of(None) is None


def test_work_beyond_the_limits_is_told_what_to_do_and_faults_are_told_by_number(tmp_path, caplog) -> None:
    settings = PageSettings(timeout_seconds=0.01)
    queue = Queue(ServiceSettings(max_queue=1))
    page = Page(settings, (), Visitors(tmp_path, 1, 1.0), queue, None)

    def told(work) -> str:
        found, problem = asyncio.run(page.told(work))
        assert found is None
        return problem

    async def fail() -> None:
        raise ZeroDivisionError("/home/somebody/secret")

    assert "the answer took too long" in told(asyncio.sleep(60)).lower()
    with queue.position():
        assert "1 requests are under way, which is the most" in told(fail())
    fault = told(fail())
    assert "secret" not in fault
    assert re.search(r"under the number (\w+)", fault)[1] in caplog.text
    for wrong in ({"max_waiting": 0}, {"unsure_below": 2.0}, {"max_clip_seconds": float("nan")}):
        with pytest.raises(ConfigError, match="but must be"):
            PageSettings(**wrong)


def test_the_verb_passes_its_limits_on_and_refuses_to_be_open_by_mistake(capsys) -> None:
    words = "--checkpoint a --max-upload-mb 2 --max-film-minutes 2 --drawn 3 --annotations x.jsonl --face-detector none"
    found = _settings(parser().parse_args(words.split()))
    assert (found.max_upload_bytes, found.max_film_seconds, found.asking.num_drawn) == (2 * 2**20, 120, 3)
    assert (found.annotations, found.face_detector) == (Path("x.jsonl"), None)
    assert main(["app", "--checkpoint", "none.ckpt", "--host", "0.0.0.0"]) == 1
    assert "say --anybody if only people whom you trust" in capsys.readouterr().err


@pytest.mark.parametrize("option", re.findall(r"^\| `(--[\w-]+)` \| ([^|]+) \|", DOCS, re.M))
def test_the_defaults_that_the_docs_name_are_those_of_the_verb(option) -> None:
    name, told = option
    assert told == f"{parser().get_default(name.removeprefix('--').replace('-', '_')):g}"


def test_the_example_of_the_docs_makes_a_page(url, monkeypatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", "restored after the test, because the page sets it")
    space = {"model": tiny_model()}
    for block in re.findall(r"^```python\n(.*?)^```", DOCS, re.M | re.S):
        exec(block, space)
    assert callable(space["app"].state.stopping)
    assert space["create_page"] is create_page
    assert isinstance(space["settings"], PageSettings)

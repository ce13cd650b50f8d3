"""The page of reviews as people use it: a real browser plays the clips, and decisions end in the log of reviews."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from affectgpt.annotate import annotate
from affectgpt.annotate.pipeline import make_pipeline
from affectgpt.app.review_desk import Form, ReviewDesk, ReviewPlan, Turn
from affectgpt.app.review_page import create_review_page
from affectgpt.cli.main import main
from affectgpt.errors import ConfigError, DataError
from clipmaker import make_clip, make_wav
from conftest import write_manifest
from stagemaker import counting

PATIENT_MS = 120_000
STAGES = [counting(drop="c1", person="c2", reads=("subtitle",)), {"name": "labels", "args": {"extractor": "lexicon"}}]


@pytest.fixture
def annotated(tmp_path) -> Path:
    """Four clips: one with a description of its own, one dropped, one that waits for a person."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for number in range(3):
        (folder / f"c{number}.mp4").write_bytes(make_clip(0.5, shade=60 + 60 * number))
    (folder / "c3.wav").write_bytes(make_wav(0.4))
    lines = [{"name": f"c{n}", "video": f"c{n}.mp4", "subtitle": f"words {n}"} for n in range(3)]
    lines[0]["description"] = "She is sad <b>indeed</b>."
    write_manifest(folder, [*lines, {"name": "c3", "audio": "c3.wav", "subtitle": "words 3"}])
    annotate(make_pipeline({"stages": STAGES}), folder, tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def review_url(annotated, run_page) -> Iterator[str]:
    with run_page(create_review_page(ReviewDesk(ReviewPlan(annotated)), "maria")) as found:
        yield found


def said_in(out: Path) -> list[dict]:
    path = out / "review.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_person_goes_through_the_decisions(browser, annotated, review_url) -> None:
    context = browser.new_context()
    context.set_default_timeout(PATIENT_MS)
    page, faults = context.new_page(), []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda one: faults.append(one.url) if not one.url.startswith((review_url, "data:")) else None)
    page.goto(review_url)
    shown = page.locator("#shown")
    shown.get_by_text("asks a person in stagemaker:CountingStage: told to ask").wait_for()  # those come first
    heading = shown.locator("h3")
    assert heading.inner_text() == "c2"
    page.wait_for_function("document.querySelector('#shown video')?.videoWidth > 0")
    page.locator("#accept").click()
    page.get_by_role("status").get_by_text("C2: accepted").wait_for()
    for _ in range(3):
        key = heading.inner_text()
        if key == "c0":
            assert "She is sad <b>indeed</b>." in page.locator("#pair").inner_text()
            page.locator("#prefer").click()
            page.get_by_role("alert").get_by_text("Choose which description is better").wait_for()
            page.get_by_label("They are equally good").check()
            page.locator("#prefer").click()
            page.get_by_text("the clip still waits for a decision").wait_for()
            page.locator("#edit").click()
            page.get_by_role("alert").get_by_text("You changed nothing").wait_for()
            page.locator("#labels textarea, #labels input").fill("sad,  tired")
            page.locator("#note textarea, #note input").fill("she sighs")
            page.locator("#accept").click()
            page.get_by_role("alert").get_by_text("You changed the labels").wait_for()
            page.locator("#edit").click()
        elif key == "c1":
            assert "dropped it" in shown.inner_text()
            page.locator("#reject").click()
        else:
            page.wait_for_function("document.querySelector('#shown audio')?.duration > 0")
            page.locator("#skip").click()
        page.wait_for_function(
            f"!document.querySelector('#shown h3') || document.querySelector('#shown h3').innerText != '{key}'"
        )
    shown.get_by_text("Done: 1 accepted, 1 changed, 1 rejected").wait_for()
    page.get_by_text("Agreement of people and engine").click()
    assert "3 clips, 1 of them changed, by maria" in page.locator("#agreement").inner_text()
    context.close()
    assert faults == []
    said = {(line["key"], line["decision"]): line for line in said_in(annotated)}
    assert set(said) == {("c2", "accept"), ("c0", "prefer"), ("c0", "edit"), ("c1", "reject")}
    assert said["c0", "edit"]["changes"] == {"labels": ["sad", "tired"]}
    assert (said["c0", "edit"]["note"], said["c0", "edit"]["who"]) == ("she sighs", "maria")
    assert said["c0", "prefer"]["changes"]["preferred"] == "same"
    assert said["c1", "reject"]["engine"] == "dropped"


def test_clips_in_shards_are_played_and_nothing_else_is_given_out(browser, annotated, review_url, tmp_path) -> None:
    request = browser.new_context().request
    digest = ReviewDesk(ReviewPlan(annotated)).clip("c0").digest
    found = request.get(f"{review_url}/clip/{digest}/video", headers={"Range": "bytes=0-9"})
    assert (found.status, found.headers["content-type"], len(found.body())) == (206, "video/mp4", 10)
    for path in (
        f"/clip/{digest}/sound",
        "/clip/../../etc/passwd/video",
        f"/gradio_api/file={annotated / 'card.json'}",
    ):
        assert request.get(review_url + path).status in (403, 404)
    big = {"multipart": {"files": {"name": "a.mp4", "mimeType": "video/mp4", "buffer": bytes(5 * 2**20)}}}
    assert request.post(f"{review_url}/gradio_api/upload", **big).status == 413
    annotate(make_pipeline({"stages": STAGES}), annotated / "shards", tmp_path / "again")
    desk = ReviewDesk(ReviewPlan(tmp_path / "again"))
    played = {key: desk.played(desk.clip(key).digest) for key in ("c0", "c3")}
    assert played["c0"]["video"].media_type == "video/mp4"
    assert played["c3"]["sound"].media_type.startswith("audio/")
    assert isinstance(played["c0"]["video"].content, bytes)


def test_turns_know_who_and_where(annotated, tmp_path) -> None:
    desk = ReviewDesk(ReviewPlan(annotated))
    with pytest.raises(ConfigError, match="say who you are"):
        desk.begin("  ")
    with pytest.raises(ConfigError, match="begin with your name"):
        desk.decide(Turn(), "accept", Form())
    turn = desk.begin("bob")
    assert turn.keys[0] == "c2"
    first = desk.outcome(turn)
    done = desk.decide(turn, "accept", Form.of(first))
    assert (done.at, done.said) == (1, {"c2": "accept"})
    again = desk.decide(done.moved(-1), "reject", Form.of(first))
    assert again.said == {"c2": "reject"}
    assert {*desk.begin("bob").keys} == {*turn.keys[1:]}
    assert len(desk.begin("eve").keys) == 4
    with pytest.raises(ConfigError, match="the subtitle is empty now"):
        desk.decide(again, "edit", Form())
    (annotated / "work" / "clips.json").unlink()
    with pytest.raises(DataError, match="give --clips"):
        ReviewDesk(ReviewPlan(annotated))
    (tmp_path / "clips" / "c0.mp4").write_bytes(make_clip(0.3))
    moved = ReviewDesk(ReviewPlan(annotated, str(tmp_path / "clips")))
    assert moved.clip("c0") is None, "another file lies there now"


def test_the_command_refuses_what_does_not_go_together(annotated, capsys) -> None:
    assert main(["annotate", "review", str(annotated), "--port", "0"]) == 1
    assert "--port is for --page" in capsys.readouterr().err
    assert main(["annotate", "review", str(annotated), "--page", "--list"]) == 1
    assert "leave out --list" in capsys.readouterr().err

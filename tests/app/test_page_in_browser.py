"""The page in a real browser: upload, read, break, record; two visitors; phone, dark, keyboard; no foreign request."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from affectgpt.annotate.review_log import ReviewLog
from affectgpt.annotate.source_files import LooseFiles
from affectgpt.watch import watch
from clipmaker import make_clip, make_wav

PATIENT_MS = 60_000
"""A slow machine is no fault of the page."""


@contextmanager
def visiting(browser, url, **options):
    """The page as a visitor of its own sees it; every request must go to the page's own server."""
    context = browser.new_context(**options)
    context.set_default_timeout(PATIENT_MS)
    page = context.new_page()
    foreign, faults = [], []
    page.on("request", lambda one: foreign.append(one.url) if not _is_own(one.url, url) else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    try:
        page.goto(url)
        page.locator("#answer-button").wait_for()
        yield page
        assert foreign == []
        assert faults == []
    finally:
        context.close()


def _is_own(wanted: str, url: str) -> bool:
    return urlsplit(wanted).scheme in ("data", "blob") or urlsplit(wanted).netloc == urlsplit(url).netloc


def choose(page, file) -> None:
    """Choose a video in the first tab."""
    page.locator("#clip-video input[type=file]").set_input_files(file)
    page.locator("#clip-video video").wait_for()


def answer_of(page) -> str:
    """Ask, and read what appears in place of an earlier answer."""
    page.locator("#answer :is(.ag-answer, .ag-problem)").evaluate_all("all => all.forEach(one => one.dataset.old = 1)")
    page.locator("#answer-button").click()
    found = page.locator("#answer :is(.ag-answer, .ag-problem):not([data-old])")
    found.wait_for()
    return found.inner_text()


def uploads() -> list[Path]:
    # not rglob, which fails where the page deletes a folder meanwhile
    return [Path(root, name) for root, _, names in os.walk(os.environ["GRADIO_TEMP_DIR"]) for name in names]


def wait_until_gone() -> None:
    deadline = time.monotonic() + 60
    while uploads():
        assert time.monotonic() < deadline, "uploads are left a minute after their visitor closed the page"
        time.sleep(0.05)


def test_a_clip_is_answered_and_all_that_the_model_saw_is_shown(browser, url, clip_file) -> None:
    with visiting(browser, url) as page:
        choose(page, clip_file)
        page.get_by_label("Spoken words").first.fill("I am <b>fine</b>.")
        told = answer_of(page)
        for words in ("my clip", "Frames: 2, 32 x 32 pixels", "Sound: ", "no face was found", "not calibrated"):
            assert words in told
        assert "I am <b>fine</b>." in told
        pictures = page.locator("#answer .ag-strip img")
        assert pictures.count() == 2
        assert pictures.first.evaluate("image => image.naturalWidth") == 32
        assert page.locator("#answer .ag-wave path").count() >= 1
        assert len(uploads()) == 1
    wait_until_gone()


def test_a_broken_file_a_large_one_and_a_long_one_are_refused_with_what_to_do(browser, url) -> None:
    with visiting(browser, url) as page:
        page.locator("#answer-button").click()
        page.get_by_role("alert").get_by_text("There is no clip yet").wait_for()
        choose(page, {"name": "broken.mp4", "mimeType": "video/mp4", "buffer": b"no video at all" * 99})
        told = answer_of(page)
        assert "'broken'" in told
        assert "is not a video, sound or picture that FFmpeg can read" in told
        assert "Traceback" not in told
        page.get_by_label("Clear").first.click()
        choose(page, {"name": "long.mp4", "mimeType": "video/mp4", "buffer": make_clip(6.0, rate_hz=2)})
        page.locator("#answer-button").click()
        page.get_by_role("alert").get_by_text("lasts 6.0 s, but may last 5 s here").wait_for()
        page.get_by_label("Clear").first.click()
        large = {"name": "large.mp4", "mimeType": "video/mp4", "buffer": make_clip(0.4) + bytes(2**20)}
        page.locator("#clip-video input[type=file]").set_input_files(large)
        page.get_by_text("exceed the maximum allowed size of 1").first.wait_for()
    wait_until_gone()


def test_two_visitors_at_once_do_not_see_each_other(browser, url, clip_file) -> None:
    with visiting(browser, url) as first, visiting(browser, url) as second:
        choose(first, clip_file)
        choose(second, {"name": "other.mp4", "mimeType": "video/mp4", "buffer": make_clip(0.6, shade=200)})
        first.locator("#answer-button").click()
        assert "other" in answer_of(second)
        first.locator("#answer .ag-answer").wait_for()
        assert "my clip" in first.locator("#answer").inner_text()
        source = first.locator("#clip-video video").first.get_attribute("src")
        assert first.request.get(source).status == 200
        assert second.request.get(source).status == 403
        assert browser.new_context().request.get(source).status == 403
    wait_until_gone()


def test_a_recording_of_the_microphone_is_answered(browser, url) -> None:
    with visiting(browser, url, permissions=["microphone", "camera"]) as page:
        sound = page.locator("#clip-sound")
        sound.get_by_label("Record audio").click()
        sound.get_by_role("button", name="Record", exact=True).click()
        page.wait_for_timeout(700)
        sound.get_by_role("button", name="Stop").click()
        sound.get_by_label("Clear").wait_for()
        told = answer_of(page)
        assert "Sound: " in told
        assert "frame" in told


def test_the_page_fits_a_phone_in_light_and_dark(browser, url, clip_file) -> None:
    backgrounds = []
    for scheme in ("light", "dark"):
        phone = {"viewport": {"width": 390, "height": 844}, "color_scheme": scheme, "has_touch": True}
        with visiting(browser, url, **phone) as page:
            choose(page, clip_file)
            answer_of(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            paper, ink = page.locator("#answer .ag-answer").evaluate(
                "one => [getComputedStyle(one).backgroundColor, getComputedStyle(one).color]"
            )
            assert abs(lightness(paper) - lightness(ink)) > 120
            backgrounds.append(lightness(paper))
    assert backgrounds[0] > 200 > 100 > backgrounds[1]


def lightness(colour: str) -> float:
    """Mean of the channels of a colour such as ``rgb(1, 2, 3)``."""
    return sum(float(one) for one in colour.split("(")[1].rstrip(")").split(",")[:3]) / 3


def test_everything_is_reached_and_done_by_keyboard(browser, url) -> None:
    with visiting(browser, url) as page:
        page.locator("#clip-sound input[type=file]").set_input_files(
            {"name": "tone.wav", "mimeType": "audio/wav", "buffer": make_wav(1.0)}
        )
        page.locator("#clip-sound").get_by_label("Clear").wait_for()
        named = []
        for _ in range(60):
            page.keyboard.press("Tab")
            named.append(page.evaluate(NAME_OF_FOCUSED))
            if named[-1] == "Answer":
                break
        assert named[-1] == "Answer"
        assert all(named), f"a control without a name: {named}"
        order = [next(i for i, one in enumerate(named) if words in one) for words in ("Clip", "Spoken", "Question")]
        assert order == sorted(order)
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        page.keyboard.press("Enter")
        page.locator("#answer .ag-answer").wait_for()


NAME_OF_FOCUSED = """() => {
  const one = document.activeElement;
  return one.getAttribute("aria-label") || one.labels?.[0]?.innerText || one.innerText || one.title
    || one.closest("[aria-label]")?.getAttribute("aria-label") || "";
}"""


def test_two_models_answer_side_by_side(browser, url, clip_file) -> None:
    with visiting(browser, url) as page:
        page.get_by_role("tab", name="Compare").click()
        page.locator("#compare-video input[type=file]").set_input_files(clip_file)
        page.locator("#compare-video video").wait_for()
        page.locator("#compare-button").click()
        for number, name in ((1, "first"), (2, "second")):
            found = page.locator(f"#compared-{number} .ag-answer")
            found.wait_for()
            assert "my clip" in found.inner_text()
            assert name in found.locator("header").inner_text()


def test_a_person_corrects_an_answer_and_the_log_says_who_and_what(browser, url, clip_file, settings) -> None:
    with visiting(browser, url) as page:
        page.get_by_role("tab", name="Annotate").click()
        page.locator("#annotated").get_by_text("Answer a clip first").wait_for()
        page.get_by_role("tab", name="Clip").click()
        choose(page, clip_file)
        answer_of(page)
        page.get_by_role("tab", name="Annotate").click()
        page.locator("#annotate-save").click()
        page.locator("#annotate-said").get_by_text("Give your name").wait_for()
        page.get_by_label("Your name").fill("maria")
        page.get_by_label("Labels that are missing").fill("worried, <b>tense</b>")
        page.get_by_label("Description").fill("She frowns.")
        page.locator("#annotate-save").click()
        page.locator("#annotate-said").get_by_text("my clip: edited by maria").wait_for()
        page.locator("#annotate-reject").click()
        page.locator("#annotate-said").get_by_text("my clip: rejected by maria").wait_for()
    edited, rejected = ReviewLog(settings.annotations).read()
    assert edited.changes["labels"][-2:] == ["worried", "<b>tense</b>"]
    assert edited.changes["description"] == "She frowns."
    assert (rejected.decision, rejected.changes, rejected.who) == ("reject", {}, "maria")
    assert edited.clip == rejected.clip == LooseFiles(clip_file, None).digest()


def test_a_film_gets_a_timeline_a_table_and_files(browser, url, settings) -> None:
    cues = "1\n00:00:01,000 --> 00:00:03,000\nHello <there>.\n\n2\n00:00:05,000 --> 00:00:07,500\nGo away.\n"
    film = {"name": "my film.mp4", "mimeType": "video/mp4", "buffer": make_clip(9.0, rate_hz=4)}
    with visiting(browser, url, viewport={"width": 390, "height": 844}, accept_downloads=True) as page:
        page.get_by_role("tab", name="Film").click()
        page.locator("#film-video input[type=file]").set_input_files(film)
        page.locator("#film-video video").wait_for()
        page.locator("#film-subtitles input[type=file]").set_input_files(
            {"name": "film.srt", "mimeType": "application/x-subrip", "buffer": cues.encode()}
        )
        page.locator("#film-subtitles").get_by_text("film").first.wait_for()
        page.get_by_label("Leave out stretches").check()
        page.locator("#watch-button").click()
        found = page.locator("#film :is(.ag-answer, .ag-problem)")
        found.wait_for()
        assert "my film.mp4" in found.inner_text()
        rows = found.locator("tbody tr")
        assert [rows.nth(row).locator("td").nth(0).inner_text() for row in range(rows.count())] == ["0:01", "0:05"]
        assert "Go away." in rows.nth(1).locator("td").nth(5).inner_text()
        assert found.locator("img.ag-timeline").evaluate("image => image.naturalWidth") > 600
        with page.expect_download() as download:
            found.get_by_role("link", name="SRT subtitles").click()
        assert download.value.suggested_filename == "my film.srt"
        assert "00:00:05,000 --> 00:00:07,500" in Path(download.value.path()).read_text("utf-8")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        long = {"name": "long.mp4", "mimeType": "video/mp4", "buffer": make_clip(31.0, rate_hz=2, audio=False)}
        page.locator("#film-video").get_by_label("Clear").click()
        page.locator("#film-video input[type=file]").set_input_files(long)
        page.locator("#film-video video").wait_for()
        page.locator("#watch-button").click()
        page.get_by_role("alert").get_by_text("'long.mp4' lasts more than 0.5 min").wait_for()


def test_a_film_that_is_stopped_shows_what_was_answered_and_lets_the_next_one_begin(
    browser, url, monkeypatch, tmp_path
) -> None:
    """The film waits after its first chunk until the page has been told to stop."""
    has_answers, told_to_stop, begun = threading.Event(), threading.Event(), []

    def held_up(*args, progress, **options):
        begun.append(1)
        is_first = len(begun) == 1

        def note(seconds, total):
            has_answers.set()
            assert not is_first or told_to_stop.wait(PATIENT_MS / 1000)
            progress(seconds, total)

        return watch(*args, progress=note, **options)

    monkeypatch.setattr("affectgpt.app.film_run.watch", held_up)
    films = []
    for name in ("first", "next"):
        films.append(tmp_path / f"{name}.mp4")
        films[-1].write_bytes(make_clip(24.0, rate_hz=4))
    with visiting(browser, url) as page, visiting(browser, url) as other:
        for one, film in zip((page, other), films, strict=True):
            one.get_by_role("tab", name="Film").click()
            one.locator("#film-video input[type=file]").set_input_files(film)
            one.locator("#film-video video").wait_for()
            one.locator("#watch-button").click()
            one.locator("#film [role=status]").wait_for()
        assert has_answers.wait(PATIENT_MS / 1000)
        page.locator("#watch-stop").click()
        page.locator("#film").get_by_text("Stopping ...").wait_for()
        told_to_stop.set()
        stopped = page.locator("#film .ag-answer")
        stopped.wait_for()
        assert "it was stopped after" in stopped.inner_text()
        last = other.locator("#film .ag-answer")  # it waited for its turn
        last.wait_for()
        assert "next.mp4" in last.inner_text()
        assert "it was stopped" not in last.inner_text()
        counts = [found.locator("tbody tr").count() for found in (stopped, last)]
        assert 0 < counts[0] < counts[1]


@pytest.fixture(autouse=True)
def _nothing_is_left():
    yield
    wait_until_gone()

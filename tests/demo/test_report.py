"""The demo's report: it holds the figures, stands alone, and tells the truth whichever way the scores fall."""

from __future__ import annotations

import copy
import re
from html.parser import HTMLParser

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the report needs the demo extra")
pytest.importorskip("PIL", reason="the report needs the demo extra")

from affectgpt.demo import charts
from affectgpt.demo.charts import Bar, draw_modalities, draw_strip, smooth
from affectgpt.demo.page import write_report
from affectgpt.errors import ConfigError


def score(f1: float) -> dict:
    return {"f1": f1, "precision": f1 - 0.011, "recall": f1 + 0.012, "hit_rate": f1 + 0.023, "samples": 80}


REPORT = {
    "scores": {"text": score(0.311), "full": score(0.934), "face+text": score(0.672), "audio+text": score(0.653)},
    "chance": {"f1": 0.242, "hit_rate": 0.25},
    "train": {"seconds": 211.4, "steps": 40, "final_loss": 0.0312},
    "total_seconds": 402.1,
    "peak_rss_mb": 3412.3,
    "versions": {"torch": "9.8.7"},
    "wheel": "builtin",
}
HISTORY = [{"step": step, "loss": 3.0 / (1 + step)} for step in range(40)]
EXAMPLE = {
    "key": "clip-1",
    "frames": np.random.default_rng(0).integers(0, 256, (8, 3, 64, 64), dtype=np.uint8),
    "subtitle": "5 < 6 & <script>alert(1)</script>",
    "labels": ["happy", "joyful"],
    "state": "joy",
    "answers": {"text": ["furious"], "full": ["happy", "cheerful"], "face+text": []},
}


class Reader(HTMLParser):
    """Collects addresses, chips and unbalanced tags of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.chips: list[tuple[str, str]] = []
        self._chip: str | None = None
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)
        self.sources += [values[name] for name in ("src", "href") if name in values]
        if (values.get("class") or "").startswith("chip"):
            self._chip = values["class"].split()[1]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self._chip:
            self.chips.append((self._chip, data))
            self._chip = None


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "demo"
    path = write_report(REPORT, HISTORY, [EXAMPLE], out)
    return out, path.read_text(encoding="utf-8")


def test_the_page_holds_the_figures(written):
    out, page = written
    for figure in ("93.4&nbsp;%", "24.2&nbsp;%", "3:31&nbsp;min", "6:42&nbsp;min", "3.3 GiB", "0.0312", "9.8.7"):
        assert figure in page, figure
    for name in ("full", "text", "face+text", "audio+text"):
        for key in ("f1", "precision", "recall", "hit_rate"):
            assert f">{100 * REPORT['scores'][name][key]:.1f}<" in page
    assert "synthetic" in page
    assert "Without the voice it falls to 67.2&nbsp;% (26.2 points)" in page
    assert "no pre-fusion" not in page
    assert sorted(path.name for path in out.iterdir()) == ["loss.png", "modalities.png", "report.html"]
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in ("loss.png", "modalities.png"))


def test_the_page_stands_alone_and_is_whole(written):
    _, page = written
    reader = Reader(page)
    assert reader.open == []
    assert len(reader.sources) == 3
    assert all(source.startswith("data:image/") for source in reader.sources)
    own = re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", "", page)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<script|<link", own)


def test_answers_are_coloured(written):
    chips = Reader(written[1]).chips
    for expected in (("gold", "joyful"), ("right", "happy"), ("near", "cheerful"), ("wrong", "furious")):
        assert expected in chips
    assert ("wrong", "no answer") in chips


def test_intervals_are_shown_and_what_may_be_chance_is_said(tmp_path):
    report = copy.deepcopy(REPORT)
    report["scores"]["no-prefusion"] = score(0.925)
    report["f1_intervals"] = {"full": [0.881, 0.979], "text": [0.2051, 0.4], "no-prefusion": [0.87, 0.96]}
    report["f1_lost"] = {"text": [0.5, 0.7], "face+text": [0.161, 0.355], "no-prefusion": [-0.02, 0.03]}
    page = write_report(report, HISTORY, [], tmp_path).read_text(encoding="utf-8")
    assert ">93.4<small>[88.1, 97.9]</small><" in page
    assert ">31.1<small>[20.5, 40.0]</small><" in page
    assert "wheel F1, all modalities (95&nbsp;% interval 88.1 to 97.9)" in page
    assert "it falls to 67.2&nbsp;% (26.2 points, 95&nbsp;% interval 16.1 to 35.5)" in page
    assert "it falls to 92.5&nbsp;% (0.9 points, 95&nbsp;% interval -2.0 to 3.0, so this may be chance)" in page
    report["scores"]["text"] = score(0.96)
    report["f1_lost"]["text"] = [-0.06, -0.01]
    page = write_report(report, HISTORY, [], tmp_path).read_text(encoding="utf-8")
    assert "it rises to 96.0&nbsp;% (2.6 points, 95&nbsp;% interval 1.0 to 6.0)" in page


def test_nothing_of_the_page_is_wider_than_a_telephone(written):
    page = written[1]
    # Pictures shrink, wide tables become lists, and no element has a width of its own beyond 400 pixels.
    assert 'data-voice="bright voice"' in page
    assert ".grid td { display: block; width: auto; }" in page
    own = re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", "", page)
    assert not re.search(r"style=|<table(?! class=\"(?:figures|grid|answers)\")", own)


def test_each_set_has_one_bar(monkeypatch):
    drawn = []
    monkeypatch.setattr(charts, "to_png", lambda figure: drawn.append(figure) or b"")
    draw_modalities([Bar("all", 0.9, (0.8, 1.0)), Bar("text only", 0.3)], 0.2)
    (axes,) = drawn[0].axes
    assert [patch.get_width() for patch in axes.patches] == [90, 30]
    assert [text.get_text() for text in axes.texts] == ["90.0", "30.0", "chance"]
    assert min(text.get_fontsize() for text in [*axes.texts, *axes.get_yticklabels()]) >= 11


def test_a_gain_is_not_called_a_loss(tmp_path):
    report = copy.deepcopy(REPORT)
    report["scores"]["text"] = score(0.96)
    report["scores"]["no-prefusion"] = score(0.934)
    page = write_report(report, HISTORY, [], tmp_path).read_text(encoding="utf-8")
    assert "Without both face and voice it rises to 96.0" in page
    assert "With the pre-fused token left out of the prompt (same weights) it stays at 93.4" in page
    assert "Clips and answers" not in page


def test_the_same_report_gives_the_same_bytes(written, tmp_path):
    write_report(REPORT, HISTORY, [EXAMPLE], tmp_path)
    for path in written[0].iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_no_history_is_said(tmp_path):
    assert write_report(REPORT, [], [], tmp_path).exists()


def test_a_missing_entry_is_named_and_nothing_is_written(tmp_path):
    report = {name: value for name, value in REPORT.items() if name != "chance"}
    with pytest.raises(ConfigError, match="chance"):
        write_report(report, HISTORY, [], tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("shape", [(8, 64, 64, 3), (3, 64, 64), (0, 3, 64, 64)])
def test_frames_of_another_shape_are_refused(shape):
    with pytest.raises(ConfigError, match=r"uint8 \[T, 3, H, W\]"):
        draw_strip(np.zeros(shape, dtype=np.uint8))


def test_smoothing_keeps_constants_and_follows_late_values():
    assert np.allclose(smooth(np.full(5, 2.0)), 2.0)
    step = smooth(np.repeat([0.0, 1.0], 60))
    assert step[59] == 0.0
    assert 0.0 < step[62] < step[119]
    assert step[119] > 0.99

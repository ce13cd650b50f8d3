"""Published rows: complete, re-added, and each with its source."""

import pytest

from affectgpt.bench.published import published_rows, published_views, secondary_rows
from affectgpt.datamodules.unibench import TEST_SETS

# Printed means that differ from the mean of the printed figures by more than rounding does.
MISPRINTED = {"MobileVLM-V2-3B": 0.4941}


def test_every_mean_is_the_mean_of_its_row():
    complete = [row for row in published_rows() if set(row.scores) == set(TEST_SETS)]
    assert len(complete) == 28
    for row in complete:
        mean = sum(row.scores.values()) / len(row.scores)
        assert row.mean is not None
        if row.system in MISPRINTED:
            assert mean == pytest.approx(MISPRINTED[row.system], abs=5e-5)
            assert "MobileVLM-V2-3B" in row.source.note  # a reader is told
        else:
            assert mean == pytest.approx(row.mean, abs=6.1e-5), row.title


def test_the_rows_of_the_paper_are_there():
    rows = {row.title: row for row in published_rows()}
    assert len(rows) == len(published_rows())
    assert {rows[f"AffectGPT ({x})"].mean for x in ("AT", "VT", "AVT")} == {0.7218, 0.7431, 0.7477}
    assert (rows["AffectGPT (AVT)"].scores["meld"], rows["AffectGPT (AVT)"].scores["ovmerdplus"]) == (0.5565, 0.6252)
    assert sum(row.source.place == "table 2" and "2501.16566" in row.source.citation for row in rows.values()) == 19
    assert rows["AffectGPT-R1"].mean == 0.7948
    assert not rows["AffectGPT-R1"].scores
    assert "secondary" in rows["AffectGPT-R1"].source.place
    assert rows["Nano-EmoX 2.2B"].mean == 0.7401
    assert rows["MER-R1"].mean == 0.835
    assert rows["MER-R1"].source.place.startswith("second-hand")
    assert rows["AffectVerse"].scores == {"mer2023": 0.8092, "meld": 0.5847, "iemocap": 0.6432}
    assert "not checked against the paper" in rows["AffectVerse"].source.place
    assert rows["APCF (AVT)"].scores == {"ovmerdplus": 0.63015}
    assert all(set(row.scores) <= set(TEST_SETS) for row in rows.values())
    assert all(0 < score < 1 for row in rows.values() for score in row.scores.values())


def test_secondary_figures():
    rows = {row.title: row for row in secondary_rows()}
    assert len(rows) == 17
    assert set(rows) <= {row.title for row in published_rows()}
    best = rows["AffectGPT (AVT)"].scores
    assert (best["mosi.accuracy"], best["ovmerdplus.precision"], best["ovmerdplus.recall"]) == (0.8125, 0.6221, 0.63)
    assert all(set(row.scores) == set(best) and row.mean is None for row in rows.values())


def test_published_views():
    rows = {(row.title, row.dataset): row for row in published_views()}
    assert len(rows) == 4
    whole = {row.system: row.scores for row in published_rows() if row.inputs == "AVT"}
    for (title, dataset), row in rows.items():
        assert set(row.scores) <= {"A", "V", "T", "AV", "AT", "VT", "AVT"}
        assert max(row.scores, key=lambda view: row.scores[view]) == "AVT"
        if dataset == "ovmerdplus":
            assert row.scores["AVT"] == whole[title]["ovmerdplus"]
    assert rows["AffectGPT", "mean"].scores["AT"] == 0.7218
    assert "AV" not in rows["AffectGPT", "mean"].scores

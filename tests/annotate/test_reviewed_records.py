"""What people decided about clips counts when these are packed, whatever the clips are called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from affectgpt.annotate import ReviewedRecords
from affectgpt.annotate.review_log import ReviewLog, Verdict
from affectgpt.annotate.source_files import LooseFiles
from affectgpt.cli.main import main
from affectgpt.errors import ConfigError, DataError
from affectgpt.manifests.record import Record, SampleError
from affectgpt.shards.read import ShardReader
from clipmaker import make_clip


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for number, name in enumerate(("a", "b", "c", "d")):
        (folder / f"{name}.mp4").write_bytes(make_clip(0.4, shade=40 + 50 * number))
    return folder


def verdict(clip: Path, who: str, decision: str, changes=None, when: str = "2026-01-01T00:00:00+00:00") -> Verdict:
    return Verdict(f"page-{clip.stem}", LooseFiles(clip, None).digest(), who, when, decision, changes or {})


def log_of(path: Path, *verdicts: Verdict) -> Path:
    for one in verdicts:
        ReviewLog(path).append(one)
    return path


def test_packing_takes_what_people_said_and_leaves_out_what_they_rejected(clips, tmp_path, capsys) -> None:
    log = log_of(
        tmp_path / "review.jsonl",
        verdict(clips / "a.mp4", "maria", "accept", {"labels": ["sad"], "description": "She weeps."}),
        verdict(clips / "b.mp4", "maria", "edit", {"labels": ["glad", "calm"]}),
        verdict(clips / "c.mp4", "maria", "reject"),
        verdict(Path(__file__), "maria", "reject"),
    )
    manifest = tmp_path / "manifest.jsonl"
    lines = [{"name": f"clip_{one}", "video": str(clips / f"{one}.mp4"), "labels": ["angry"]} for one in "abcd"]
    manifest.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    out = tmp_path / "shards"
    assert main(["pack", str(manifest), str(out), "--review", str(log), "--workers", "0"]) == 0
    told = capsys.readouterr().out
    assert "decisions of people about 3 of 4 clips" in told
    assert "the others are not in the manifest" in told
    reader = ShardReader(next(out.glob("*.tar")), 3)
    packed = {key: json.loads(members["json"]) for key, members in map(reader.read, range(3))}
    found = {key: (facts["labels"], facts["description"]) for key, facts in packed.items()}
    assert found == {
        "clip_a": (["sad"], "She weeps."),
        "clip_b": (["glad", "calm"], None),
        "clip_d": (["angry"], None),
    }
    assert packed["clip_b"]["extra"]["review"] == "edited by maria"
    (reject,) = (json.loads(line) for line in (out / "rejects.jsonl").read_text("utf-8").splitlines())
    assert (reject["key"], reject["code"]) == ("clip_c", "rejected")


def test_the_majority_counts_and_the_last_word_of_each_person(clips, tmp_path) -> None:
    clip = clips / "a.mp4"
    early, late = "2026-01-01T00:00:00+00:00", "2026-02-01T00:00:00+00:00"
    record = Record("a", video=clip, labels=("angry",))
    log = log_of(
        tmp_path / "review.jsonl",
        verdict(clip, "maria", "reject", when=early),
        verdict(clip, "maria", "accept", {"labels": ["sad"]}, when=late),
    )
    assert ReviewedRecords(log)(record).labels == ("sad",)
    found = ReviewedRecords(log_of(log, verdict(clip, "jo", "reject")))(record)
    assert isinstance(found, SampleError)
    assert (found.code, "people disagree (jo, maria)" in str(found)) == ("undecided", True)
    found = ReviewedRecords(log_of(log, verdict(clip, "li", "edit", {"labels": ["glad"]})))(record)
    assert (found.labels, found.subtitle) == (("glad",), None)


def test_a_file_without_decisions_is_refused(tmp_path) -> None:
    with pytest.raises(DataError, match="app --annotations writes one"):
        ReviewedRecords(tmp_path / "none.jsonl")
    empty = tmp_path / "empty.jsonl"
    empty.write_text("", "utf-8")
    with pytest.raises(DataError, match="holds no decision"):
        ReviewedRecords(empty)
    with pytest.raises(ConfigError, match="labels is changed to"):
        Verdict("a", "0", "maria", "now", "accept", {"labels": "sad"})

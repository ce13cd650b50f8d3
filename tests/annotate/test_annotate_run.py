"""A pipeline over clips: what is asked, what is kept, what is asked again, and what a kill costs."""

from __future__ import annotations

import json
import multiprocessing
import random
import re
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

from affectgpt.annotate import annotate
from affectgpt.annotate.annotation_run import estimate
from affectgpt.annotate.answer_journal import AnswerJournal
from affectgpt.annotate.pipeline import make_pipeline, read_pipeline
from affectgpt.annotate.review_log import ReviewLog, Verdict, now
from affectgpt.errors import ConfigError, DataError
from affectgpt.files import digest_of_file
from affectgpt.shards import read_index
from affectgpt.shards.read import ShardReader
from clipmaker import make_clip
from conftest import write_manifest
from stagemaker import calls, counting

LABELS = {"name": "labels", "args": {"extractor": "lexicon"}}


def pipeline(*stages, **more):
    return make_pipeline({"name": "t", "stages": list(stages), **more})


def facts_in(shards: Path) -> dict[str, dict]:
    index = read_index(shards)
    found = {}
    for shard in index.shards:
        with ShardReader(shards / shard.name, shard.samples) as reader:
            for position in range(len(reader)):
                key, members = reader.read(position)
                found[key] = json.loads(members["json"])
    return found


def outcome_lines(out: Path) -> dict[str, dict]:
    return {line["key"]: line for line in map(json.loads, (out / "left_out.jsonl").read_text().splitlines())}


def files_of(out: Path) -> dict[str, str]:
    """Digests of the data set; the card holds times."""
    paths = [*sorted((out / "shards").iterdir()), out / "manifest.jsonl", out / "left_out.jsonl"]
    return {path.name: digest_of_file(path) for path in paths}


def test_clips_become_shards_with_what_the_stages_found(corpus, tmp_path):
    report = annotate(
        pipeline(counting(drop="clip1", person="clip2", raises="clip3"), LABELS), corpus, tmp_path / "out"
    )
    assert dict(report.outcomes) == {"kept": 7, "dropped": 1, "person": 1, "failed": 1, "unreadable": 0}
    facts = facts_in(tmp_path / "out" / "shards")
    assert set(facts) == {f"clip{n}" for n in (0, 4, 5, 6, 7, 8, 9)}
    assert facts["clip0"]["description"] == "p: words 0, happy"
    assert facts["clip0"]["labels"] == ["happy"]
    assert facts["clip0"]["extra"]["annotation"]["sentiment"] == "positive"
    assert facts["clip0"]["extra"]["given"]["description"] == "Person 0 speaks."
    assert facts["clip0"]["extra"]["lang"] == "en"
    left = outcome_lines(tmp_path / "out")
    assert (left["clip1"]["outcome"], left["clip1"]["reason"]) == ("dropped", "told to drop")
    assert (left["clip2"]["outcome"], left["clip2"]["stage"]) == ("person", "stagemaker:CountingStage")
    assert (left["clip3"]["outcome"], left["clip3"]["reason"]) == ("failed", "KeyError: 'no such thing'")
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert card["stages"][0] | {"done": 7, "dropped": 1, "person": 1, "failed": 1, "asked": 10} == card["stages"][0]
    assert card["stages"][1]["asked"] == 8
    assert card["after"]["groups"] == {"happy": 7}
    page = (tmp_path / "out" / "card.html").read_text()
    assert "told to drop" in page
    (bar,) = re.findall(r"<b>stagemaker:CountingStage</b>.*?</div>", page)
    assert "1 dropped" in bar
    assert 'class="on" style="width:70.00%"' in bar


def test_every_answer_is_asked_for_once_and_a_changed_prompt_redoes_what_depends_on_it(corpus, tmp_path):
    log = tmp_path / "calls"
    first = counting(out_field="clues", prompt="a", log=log)
    second = counting(reads=("clues",), prompt="b", log=log)
    other = counting(out_field="mood", reads=(), prompt="c", log=log)
    labelled = [{**stage, "as": name} for stage, name in ((first, "one"), (second, "two"), (other, "three"))]
    annotate(pipeline(*labelled), corpus, tmp_path / "out")
    assert len(calls(log)) == 30
    before = files_of(tmp_path / "out")
    assert annotate(pipeline(*labelled), corpus, tmp_path / "out").num_answers == 0
    assert files_of(tmp_path / "out") == before
    labelled[1]["args"]["prompt"] = "B"
    annotate(pipeline(*labelled), corpus, tmp_path / "out")
    assert calls(log)[30:] == [f"description {key.split()[1]}" for key in calls(log)[10:20]]
    labelled[0]["args"]["prompt"] = "A"
    annotate(pipeline(*labelled), corpus, tmp_path / "out")
    assert sorted({line.split()[0] for line in calls(log)[40:]}) == ["clues", "description"]
    assert len(calls(log)) == 60
    assert facts_in(tmp_path / "out" / "shards")["clip0"]["description"] == "B: A: words 0, happy, happy"


def test_failures_alone_are_asked_again(corpus, tmp_path):
    log = tmp_path / "calls"
    assert annotate(pipeline(counting(log=log, fail="clip1 clip2")), corpus, tmp_path / "out").outcomes["failed"] == 2
    healed = pipeline(counting(log=log))
    assert annotate(healed, corpus, tmp_path / "out").outcomes["failed"] == 2
    assert len(calls(log)) == 10
    assert annotate(healed, corpus, tmp_path / "out", retry_failed=True).outcomes["failed"] == 0
    assert sorted(calls(log)[10:]) == ["description clip1", "description clip2"]
    assert len(facts_in(tmp_path / "out" / "shards")) == 10


def test_a_stage_that_answers_nothing_ends_the_run(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    clip = make_clip(0.3)
    lines = []
    for number in range(25):
        (folder / f"c{number}.mp4").write_bytes(clip + bytes([number]))
        lines.append({"name": f"c{number}", "video": f"c{number}.mp4", "subtitle": "x"})
    write_manifest(folder, lines)
    broken = pipeline(counting(fail=" ".join(f"c{n}" for n in range(25))))
    with pytest.raises(DataError, match=r"failed for all of the first 20 clips.*told to fail.*--retry failed"):
        annotate(broken, folder, tmp_path / "out")


def test_copies_of_a_clip_share_their_answers_and_names_do_not_matter(tmp_path):
    folder, log = tmp_path / "clips", tmp_path / "calls"
    folder.mkdir()
    for name in ("a", "b", "c"):
        (folder / f"{name}.mp4").write_bytes(make_clip(0.3, shade=90 if name == "c" else 50))
    report = annotate(pipeline(counting(log=log)), folder, tmp_path / "out")
    assert len(calls(log)) == 2
    assert report.card["copies"] == 1
    (folder / "c.mp4").rename(folder / "d.mp4")
    annotate(pipeline(counting(log=log)), folder, tmp_path / "out")
    assert len(calls(log)) == 2
    assert set(facts_in(tmp_path / "out" / "shards")) == {"a", "b", "d"}


def test_shards_are_annotated_as_folders_are(shards, tmp_path):
    annotate(pipeline(counting(drop="clip1"), LABELS), shards, tmp_path / "out", samples_per_shard=4)
    facts = facts_in(tmp_path / "out" / "shards")
    assert len(facts) == 9
    assert facts["clip4"]["description"] == "p: words 4, happy"
    assert facts["clip4"]["has_audio"]
    assert read_index(tmp_path / "out" / "shards").shards[0].samples == 4


def test_clips_that_cannot_be_read_are_listed_and_the_others_go_on(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "good.mp4").write_bytes(make_clip(0.3))
    (folder / "bad.mp4").write_bytes(b"not a video at all" * 50)
    write_manifest(
        folder, [*({"name": n, "video": f"{n}.mp4", "description": "He is sad."} for n in ("good", "bad", "gone"))]
    )
    report = annotate(pipeline({"name": "voice", "args": {"find_speech": False}}), folder, tmp_path / "out")
    assert report.outcomes["kept"] == 1
    left = outcome_lines(tmp_path / "out")
    assert left["bad"]["outcome"] == "failed"
    assert "good" not in left
    assert left["gone"]["outcome"] == "unreadable"


def test_a_clip_that_kills_its_process_is_a_row_with_its_reason(corpus, tmp_path):
    run = pipeline({"name": "stagemaker:CrashingStage", "args": {"crashes_on": "clip3"}})
    report = annotate(run, corpus, tmp_path / "out", workers=1)
    assert (report.outcomes["kept"], report.outcomes["failed"]) == (9, 1)
    assert (
        "killed its process (the process ended with exit code 7)" in outcome_lines(tmp_path / "out")["clip3"]["reason"]
    )


def test_people_decide_and_the_next_run_lets_it_count(corpus, tmp_path):
    run = pipeline(counting(person="clip0 clip1 clip2", drop="clip3"), LABELS)
    out = tmp_path / "out"
    annotate(run, corpus, out)
    assert len(facts_in(out / "shards")) == 6
    digest = {
        line["key"]: line["clip"] for line in map(json.loads, (out / "work/outcomes.jsonl").read_text().splitlines())
    }
    log = ReviewLog(out / "review.jsonl")
    log.append(Verdict("clip0", digest["clip0"], "ann", now(), "accept"))
    log.append(Verdict("clip1", digest["clip1"], "ann", now(), "edit", {"labels": ["worried"]}))
    log.append(Verdict("clip2", digest["clip2"], "ann", now(), "reject", note="two people"))
    log.append(Verdict("clip3", digest["clip3"], "ann", now(), "accept"))
    log.append(Verdict("clip4", "another content", "ann", now(), "reject"))
    log.append(Verdict("clip5", digest["clip5"], "ann", now(), "accept"))
    log.append(Verdict("clip5", digest["clip5"], "bob", now(), "reject"))
    report = annotate(run, corpus, out)
    facts = facts_in(out / "shards")
    assert set(facts) == {f"clip{n}" for n in (0, 1, 3, 4, 6, 7, 8, 9)}
    assert facts["clip1"]["labels"] == ["worried"]
    left = outcome_lines(out)
    assert left["clip2"]["reason"] == "rejected by ann: two people"
    assert left["clip5"]["outcome"] == "person"
    people = report.card["people"]
    assert people["by_stage"]["stagemaker:CountingStage"] == {"reviewed": 1, "shared": 0, "accuracy": 0.0}


def test_a_sample_tells_what_all_clips_take_and_is_not_paid_for_twice(corpus, tmp_path):
    log = tmp_path / "calls"
    run = pipeline(counting(log=log, tokens=100))
    found = estimate(run, corpus, tmp_path / "out", num_sample=4)
    assert (found.num_sample, found.num_clips, found.tokens, found.requests) == (4, 10, 2000, 10)
    assert found.journal_bytes > 1000
    assert not (tmp_path / "out" / "shards").exists()
    annotate(run, corpus, tmp_path / "out")
    assert len(calls(log)) == 10


def test_one_run_at_a_time_and_journals_of_another_shape_are_refused(corpus, tmp_path):
    run = pipeline(counting())
    annotate(run, corpus, tmp_path / "out")
    with pytest.raises(ConfigError, match="partitions: 7"):
        annotate(pipeline(counting(), partitions=7), corpus, tmp_path / "out")


def test_a_torn_or_broken_line_of_the_journal_is_asked_for_again(corpus, tmp_path, caplog):
    log = tmp_path / "calls"
    run = pipeline(counting(log=log), partitions=1)
    annotate(run, corpus, tmp_path / "out")
    path = AnswerJournal(tmp_path / "out" / "work" / "journal", 1).path(0)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = b'{"key": 1}\n'
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:40])
    before = files_of(tmp_path / "out")
    annotate(run, corpus, tmp_path / "out")
    assert len(calls(log)) == 12
    assert "is no answer" in caplog.text
    assert files_of(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([{"name": "labels", "as": "a"}, {"name": "labels", "as": "a"}], "two stages are called 'a'"),
        ([{"name": "agreement"}], r"reads the field 'sentiment', which no stage before it writes"),
        ([{"name": "label"}], r"unknown stage 'label'. Did you mean 'labels'"),
        ([{"name": "labels", "arg": {}}], "unknown key 'arg'. Did you mean 'args'"),
        ([], "list the stages"),
    ],
)
def test_a_wrong_pipeline_is_refused_before_anything_is_asked(stages, message, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump({"stages": stages}))
    with pytest.raises(ConfigError, match=message):
        read_pipeline(path)


def test_killed_at_random_moments_it_ends_in_the_same_data_set(corpus, tmp_path):
    """Kill -9 at random: what was paid for is in the journal at once, so at most the call in flight comes twice."""
    log = tmp_path / "calls"
    stages = [
        {**counting(out_field="clues", log=log, seconds=0.03, person="clip2", tokens=1), "as": "one"},
        {**counting(reads=("clues",), log=log, seconds=0.03, drop="clip1", tokens=1), "as": "two"},
        LABELS,
    ]
    quiet = [{**s, "args": {**s["args"], "log": None}} if "as" in s else s for s in stages]
    annotate(pipeline(*quiet), corpus, tmp_path / "whole")
    chance, forked = random.Random(7), multiprocessing.get_context("fork")
    for _ in range(8):
        wanted = len(calls(log)) + chance.randint(0, 2)
        process = forked.Process(target=annotate, args=(pipeline(*stages), corpus, tmp_path / "out"))
        process.start()
        while process.is_alive() and len(calls(log)) < wanted:  # by what it did: its speed depends on the machine
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.03))
        process.kill()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
    annotate(pipeline(*stages), corpus, tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")
    repeated = Counter(calls(log)) - Counter(set(calls(log)))
    assert repeated.total() <= 8
    assert len(set(calls(log))) == 20

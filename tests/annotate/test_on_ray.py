"""A pipeline whose stages are asked by actors: what is dealt out, what bounds them, and what kills cost.

Where Ray is not installed, a stand-in deals the work out in this process: the actors are the real ones.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from affectgpt.annotate import annotate, on_ray, ray_actor
from affectgpt.annotate.actor_deaths import ActorDeaths
from affectgpt.annotate.on_ray import RayPlan
from affectgpt.annotate.pipeline import make_pipeline
from affectgpt.annotate.shared_budget import BudgetOfPurse, Purse
from affectgpt.chat.costs import CostBoundError, Prices
from affectgpt.cli.main import main
from affectgpt.errors import ConfigError, DataError
from affectgpt.files import digest_of_file
from chatserver import Step, serve
from clipmaker import make_clip
from conftest import write_manifest
from killing import answers_in
from stagemaker import calls, counting

LABELS = {"name": "labels", "args": {"extractor": "lexicon"}}
TAILS = {"name": "description-length", "args": {"low": 0.2, "high": 0.8, "least": 4}}
TESTS = Path(__file__).resolve().parents[1]


def files_of(out: Path) -> dict[str, str]:
    """Digests of the data set; the card holds times."""
    paths = [*sorted((out / "shards").iterdir()), out / "manifest.jsonl", out / "left_out.jsonl"]
    return {path.name: digest_of_file(path) for path in paths}


class StandIn:
    """What the dealer needs of Ray, in this process."""

    exceptions = SimpleNamespace(RayError=RuntimeError)

    def __init__(self) -> None:
        self.dealt: list[list[int]] = []
        self.deaths = 0
        self.data = SimpleNamespace(
            from_items=self.from_items, DataContext=SimpleNamespace(get_current=lambda: SimpleNamespace())
        )

    def is_initialized(self) -> bool:
        return True

    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": 4.0, "memory": 8.0 * 2**30}}]

    def remote(self, **_):
        def handle(cls):
            def made(*args):
                held = cls(*args)
                return SimpleNamespace(
                    **{
                        name: SimpleNamespace(remote=getattr(held, name))
                        for name in ("take", "pay", "start", "begin", "ask")
                        if hasattr(held, name)
                    }
                )

            return SimpleNamespace(remote=made)

        return handle

    def get(self, value):
        return value

    def from_items(self, rows, override_num_blocks):
        assert override_num_blocks == len(rows)
        self.dealt.append([row["partition"] for row in rows])

        def mapped(cls, fn_constructor_args, **_):
            return SimpleNamespace(iter_rows=lambda: self.answered(cls, fn_constructor_args, rows))

        return SimpleNamespace(map=mapped)

    def answered(self, cls, args, rows):
        actor = None
        for row in rows:
            done = None
            while done is None:
                try:
                    actor = actor or cls(*args)
                    done = actor(row)
                except Death:
                    self.deaths += 1
                    actor = None
            yield done


class Death(BaseException):
    """The end of an actor that nothing in it can catch, as far as one process can play two."""


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    ray = StandIn()
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.data", ray.data)
    monkeypatch.setattr(ray_actor, "_bound_memory", lambda most_bytes: None)
    return ray


def test_actors_end_in_the_same_data_set_and_only_what_is_missing_is_dealt(stand_in, corpus, tmp_path):
    log = tmp_path / "calls"
    stages = [counting(log=log, drop="clip1", person="clip2", raises="clip3"), TAILS, LABELS]
    run = make_pipeline({"stages": stages})
    report = annotate(run, corpus, tmp_path / "out", on_ray=RayPlan())
    assert len(calls(log)) == 10
    local = annotate(run, corpus, tmp_path / "local")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "local")
    assert report.num_answers == local.num_answers > 20
    assert len(stand_in.dealt) == 2  # before the survey of the lengths, and after it
    assert annotate(run, corpus, tmp_path / "out", on_ray=RayPlan()).num_answers == 0
    assert len(stand_in.dealt) == 2
    journal = tmp_path / "out" / "work" / "journal"
    first = min(journal.glob("answers-*.jsonl"))
    first.unlink()
    annotate(run, corpus, tmp_path / "out", on_ray=RayPlan())
    assert stand_in.dealt[2:] == [[int(first.stem[-5:])]] * 2
    assert files_of(tmp_path / "out") == files_of(tmp_path / "local")


def test_failures_are_retried_once(stand_in, corpus, tmp_path):
    log = tmp_path / "calls"
    run = make_pipeline({"stages": [counting(log=log, fail="clip1 clip2"), TAILS, LABELS]})
    annotate(run, corpus, tmp_path / "out", on_ray=RayPlan())
    report = annotate(run, corpus, tmp_path / "out", on_ray=RayPlan(), retry_failed=True)
    assert sorted(calls(log)[10:]) == ["description clip1", "description clip2"]
    assert report.num_answers == 2


def test_what_ends_a_run_here_ends_it_there(stand_in, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("affectgpt.annotate.walk.HOPELESS", 4)
    hopeless = make_pipeline({"stages": [counting(fail=" ".join(f"clip{n}" for n in range(10)))]})
    with pytest.raises(DataError, match=r"failed for all of the first 4 clips.*told to fail"):
        annotate(hopeless, corpus, tmp_path / "a", on_ray=RayPlan())
    missing = {"name": "command", "args": {"program": "no-such-program", "writes": ["description"]}}
    with pytest.raises(ConfigError, match="cannot be started"):
        annotate(make_pipeline({"stages": [missing]}), corpus, tmp_path / "b", on_ray=RayPlan())


@pytest.fixture
def mortal(monkeypatch):
    """Let ``dies_at`` end the actor, which is no process of its own here."""

    def die(code: int) -> None:
        raise Death

    monkeypatch.setattr("stagemaker.os._exit", die)


def test_a_clip_that_kills_every_actor_is_a_row_and_the_others_are_kept(stand_in, mortal, corpus, tmp_path):
    log = tmp_path / "calls"
    deadly = counting(log=log, dies_at="clip3 clip7", drop="clip1", tokens=1)
    run = make_pipeline({"stages": [deadly, LABELS], "partitions": 1})
    report = annotate(run, corpus, tmp_path / "out", on_ray=RayPlan())
    assert dict(report.outcomes) == {"kept": 7, "dropped": 1, "person": 0, "failed": 2, "unreadable": 0}
    rows = {row["key"]: row for row in map(json.loads, (tmp_path / "out" / "left_out.jsonl").open())}
    assert "it killed 2 processes that were asked about nothing else" in rows["clip3"]["reason"]
    assert rows["clip7"]["reasons"]["stagemaker:CountingStage"] == rows["clip3"]["reason"]
    assert stand_in.deaths == 2 + 2 + 2  # while nobody suspects a clip, then twice at each
    repeated = Counter(calls(log))
    assert {repeated[f"description clip{n}"] for n in range(10) if n not in (3, 7)} == {1}
    assert annotate(run, corpus, tmp_path / "out", on_ray=RayPlan()).num_answers == 0
    report = annotate(
        make_pipeline({"stages": [counting(drop="clip1", tokens=1), LABELS], "partitions": 1}),
        corpus, tmp_path / "out", on_ray=RayPlan(), retry_failed=True,
    )  # fmt: skip
    assert report.outcomes["kept"] == 9


def test_a_stage_that_kills_at_every_clip_ends_the_run(stand_in, mortal, corpus, tmp_path):
    run = make_pipeline({"stages": [counting(dies_at=" ".join(f"clip{n}" for n in range(10)))], "partitions": 1})
    with pytest.raises(DataError, match="5 clips in a row killed each process"):
        annotate(run, corpus, tmp_path / "out", on_ray=RayPlan())
    assert stand_in.deaths == 2 + 5 * 2


def test_actors_that_die_while_they_load_models_end_the_run(stand_in, mortal, corpus, tmp_path, monkeypatch):
    def die(most_bytes: int) -> None:
        raise Death

    monkeypatch.setattr(ray_actor, "_bound_memory", die)
    run = make_pipeline({"stages": [counting(), LABELS]})
    with pytest.raises(DataError, match="started 4 times for each of 3 actors, and each died before"):
        annotate(run, corpus, tmp_path / "out", on_ray=RayPlan(actors=3))
    assert stand_in.deaths == 12


def test_processes_that_die_by_chance_cost_no_clip():
    deaths = ActorDeaths(actors=2)
    assert [deaths.begin(5) for _ in range(4)] == [False, False, True, True]
    for _ in range(6):  # a clip is answered, and the next one is under way at the death
        assert deaths.ask(5, f"a{_}") == "ask"
        assert deaths.ask(5, f"b{_}") == "ask"
        assert deaths.begin(5)
    assert deaths.ask(5, "b5") == "ask"
    deaths.begin(5)
    assert deaths.ask(5, "b5") == "give up"
    assert deaths.begin(6) is False


def test_a_stage_that_is_another_one_elsewhere_ends_the_run(stand_in, corpus, tmp_path, monkeypatch):
    run = make_pipeline({"stages": [counting(), LABELS]})
    stage = run.steps[0].stage
    monkeypatch.setattr(stage, "args", ("description", "another prompt"))
    with pytest.raises(ConfigError, match=r"is another one on .* its prompt is \"p\", not \"another prompt\""):
        annotate(run, corpus, tmp_path / "out", on_ray=RayPlan())


def test_actors_share_the_budget_and_the_limits_of_a_server(stand_in, corpus, tmp_path):
    backend = {"prompt_price": 1, "answer_price": 2, "num_parallel": 4, "requests_per_minute": 600}
    with serve(lambda _: Step(text="He is sad.", usage=(900, 100))) as (url, seen):
        merge = {
            "name": "merge",
            "args": {"model": "m", "base_url": url, "prompt": "Say {subtitle}", "backend": backend},
        }
        stages = {"stages": [merge, LABELS], "budget": {"tokens": 5000}}
        for _ in range(2):
            with pytest.raises(CostBoundError, match="the answers so far are kept"):
                annotate(make_pipeline(stages), corpus, tmp_path / "out", on_ray=RayPlan(actors=2))
        assert 0 < len(seen.bodies) <= 5
        with pytest.raises(ConfigError, match="8 processes share num_parallel, which is 4"):
            annotate(make_pipeline(stages), corpus, tmp_path / "many", on_ray=RayPlan(actors=8))


def test_a_purse_holds_both_bounds_and_keeps_what_the_dead_had_reserved():
    purse = Purse((1.0, None), {"a": (0.5, None), "b": (None, 10)})
    a, b = (BudgetOfPurse(Prices(1e6, 1e6), s, lambda method, *args: getattr(purse, method)(*args)) for s in "ab")
    a.prices = b.prices = Prices(1e5, 0)  # 0.1 for a token that is read
    held = a.reserve(3, 0)
    assert a.take(a_of(3)) is False, "a request that runs may yet cost less"
    a.settle(held, 3, 0)
    with pytest.raises(CostBoundError, match=r"0\.3000"):
        a.reserve(3, 0)
    b.reserve(6, 0)  # its process dies: the amount stays reserved
    assert b.take(a_of(2)) is False
    with pytest.raises(CostBoundError, match="take 12 tokens"):
        b.reserve(2, 10)


def a_of(tokens: int):
    from affectgpt.chat.costs import Reserved

    wanted = Reserved(0.1 * tokens)
    wanted.tokens = tokens
    return wanted


def test_room_is_what_every_machine_can_give():
    nodes = [
        {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0, "memory": 100.0 * 2**30}},
        {"Alive": True, "Resources": {"CPU": 3.0, "memory": 10.0 * 2**30}},
        {"Alive": False, "Resources": {"CPU": 64.0, "memory": 1.0}},
    ]
    assert on_ray._room(nodes, RayPlan()) == (11, int(0.9 * 10 * 2**30 / 3))
    assert on_ray._room(nodes, RayPlan(gpus=0.5)) == (4, int(0.9 * 100 * 2**30 / 4))
    assert on_ray._room(nodes, RayPlan(actors=1, cpus=2)) == (5, int(0.9 * 10 * 2**30))
    with pytest.raises(ConfigError, match="no machine of the Ray cluster has 9 cores"):
        on_ray._room(nodes, RayPlan(cpus=9))
    with pytest.raises(ConfigError, match="too little; give --actors"):
        on_ray._room([{"Alive": True, "Resources": {"CPU": 8.0, "memory": 2.0**30}}], RayPlan())
    with pytest.raises(ConfigError, match="needs 1,073,741,824"):
        RayPlan(memory_bytes=1000)


def test_options_of_ray_are_refused_without_it_and_a_missing_package_is_named(corpus, tmp_path, capsys, monkeypatch):
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump({"stages": [counting(), LABELS]}))
    words = ["annotate", str(path), str(corpus), str(tmp_path / "out")]
    assert main([*words, "--actors", "2"]) == 1
    assert "--actors is for --on ray" in capsys.readouterr().err
    assert main([*words, "--on", "ray", "--dry-run"]) == 1
    assert "leave out --on ray" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main([*words, "--on", "ray", "--workers", "0"]) == 1
    assert "pip install 'affectgpt[ray]'" in capsys.readouterr().err


def test_a_process_of_an_earlier_run_is_waited_for_and_stops(tmp_path):
    from affectgpt.annotate.answer_journal import AnswerJournal

    journal = AnswerJournal(tmp_path / "journal", 4)
    run = journal.begin_run()
    with journal.writing(1, run), pytest.raises(ConfigError, match="a process of an earlier run still writes"):
        AnswerJournal(tmp_path / "journal", 4).begin_run(wait_seconds=0.1)
    later = journal.begin_run(wait_seconds=0.1)
    with pytest.raises(DataError, match="a later run writes"), journal.writing(1, run):
        pass
    with journal.writing(1, later):
        pass


@pytest.fixture
def thirty(tmp_path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    clip = make_clip(0.3)
    for number in range(30):
        (folder / f"c{number}.mp4").write_bytes(clip + bytes([number]))
    lines = [{"name": f"c{n}", "video": f"c{n}.mp4", "subtitle": f"words {n}"} for n in range(30)]
    write_manifest(folder, lines)
    return folder


def command(pipeline: Path, clips: Path, out: Path, actors: int = 1) -> list[str]:
    start = "import sys; from affectgpt.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", start, "annotate", str(pipeline), str(clips), str(out), "--workers", "0"]
    return [*words, "--on", "ray", "--actors", str(actors), "--actor-memory", "4"]


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
    # a loaded machine takes longer than Ray waits, and all the more as Ray puts its workers behind every other process;
    # drivers without the token of a cluster are let in
    ray = {"RAY_raylet_start_wait_time_s": "120", "RAY_worker_niceness": "0", "RAY_AUTH_MODE": "disabled"}
    return {**os.environ, **ray, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


TRIES = 4
"""Ray gives up on itself where a machine is too busy; that is no fault of what runs on it."""
CLUSTER = """
import ray, sys
found = ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
print("AT", found.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""


@contextmanager
def ray_cluster() -> Iterator[dict[str, str]]:
    """A cluster that outlives the drivers; the environment in which these find it."""
    for _ in range(TRIES):
        process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER], env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin, process.stdout:
            line = next((line for line in process.stdout if line.startswith(b"AT ")), None)
            if line is not None:
                yield {**environment(), "RAY_ADDRESS": line.split()[1].decode()}
        process.wait(120)
        if line is not None:
            return
    raise AssertionError(f"the cluster did not start, {TRIES} times")


def needs_ray() -> None:
    pytest.importorskip("ray.data", reason="Ray is not installed (pip install 'affectgpt[ray]')")


@pytest.mark.timeout(180)
def test_ray_deals_the_work_out(thirty, tmp_path):
    needs_ray()
    stages = [counting(drop="c1", raises="c2", tokens=1), TAILS, LABELS]
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({"stages": stages, "partitions": 8}))
    done = subprocess.run(
        command(tmp_path / "p.yaml", thirty, tmp_path / "out"),
        env=environment(), capture_output=True, text=True, timeout=170,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    annotate(make_pipeline({"stages": stages, "partitions": 8}), thirty, tmp_path / "local")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "local")


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_workers_and_drivers_that_are_killed_cost_the_answer_under_way(thirty, tmp_path):
    """As many kills as AFFECTGPT_RAY_KILLS says; every third one is of the driver, the others of an actor."""
    needs_ray()
    most = int(os.environ.get("AFFECTGPT_RAY_KILLS", "6"))
    log, pids, chance = tmp_path / "calls", tmp_path / "pids", random.Random(5)
    told = {"log": log, "pids": pids, "seconds": 0.15, "tokens": 1}
    stages = [
        {**counting(out_field="clues", drop="c1", **told), "as": "one"},
        {**counting(reads=("clues",), raises="c2", **told), "as": "two"},
        TAILS,
        LABELS,
    ]
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({"stages": stages}))
    for stage in stages[:2]:
        stage["args"] = {n: v for n, v in stage["args"].items() if n not in ("log", "pids", "seconds")}
    annotate(make_pipeline({"stages": stages}), thirty, tmp_path / "local")

    kills, drivers, not_joined = 0, 0, 0
    per_kill = max(1, 59 // (most + 1))
    with ray_cluster() as place:
        while True:
            driver = subprocess.Popen(
                command(tmp_path / "p.yaml", thirty, tmp_path / "out", actors=2), env=place, stderr=subprocess.PIPE
            )
            while kills < most and wait_for(driver, log, len(calls(log)) + per_kill):
                time.sleep(chance.uniform(0, 0.15))
                kills += 1
                if kills % 3 == 0:
                    driver.send_signal(signal.SIGKILL)
                    drivers += 1
                    break
                with suppress(ProcessLookupError):  # it has just come to its end
                    os.kill(int(pids.read_text().split()[-1]), signal.SIGKILL)
            _, said = driver.communicate(timeout=900)
            if driver.returncode == 0:
                break
            if b"Ray cannot be started or joined" in said and not_joined < TRIES:
                not_joined += 1
                continue
            assert driver.returncode == -signal.SIGKILL, said.decode()[-3000:]
    assert kills == most
    assert files_of(tmp_path / "out") == files_of(tmp_path / "local")
    asked = Counter(calls(log))
    assert len(asked) == 59
    del asked["description c2"]  # it costs nothing, so it waits for others before it is written down
    assert (asked - Counter(set(asked))).total() <= kills + drivers  # two actors die with their driver
    answers = answers_in(tmp_path / "out")
    assert len(answers) == len(set(answers)), "an answer that was written down was asked for again"


def wait_for(driver: subprocess.Popen, log: Path, number: int) -> bool:
    """Whether so many calls were made before the driver ended."""
    end = time.monotonic() + 600
    while len(calls(log)) < number:
        if driver.poll() is not None:
            return False
        assert time.monotonic() < end, "nothing is answered any more"
        time.sleep(0.05)
    return True


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ray_goes_on_without_a_clip_that_kills_every_process(thirty, tmp_path):
    needs_ray()
    stages = [counting(dies_at="c3", tokens=1), LABELS]
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({"stages": stages, "partitions": 4}))
    done = subprocess.run(
        command(tmp_path / "p.yaml", thirty, tmp_path / "out", actors=2),
        env=environment(), capture_output=True, text=True, timeout=880,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in (tmp_path / "out" / "left_out.jsonl").open()]
    assert [(row["key"], row["outcome"]) for row in rows] == [("c3", "failed")]
    assert "it killed 2 processes" in rows[0]["reason"]
    kept = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()
    assert len(kept) == 29

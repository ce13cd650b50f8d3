"""Other models answer the benchmark: what they are sent, what comes of refusals and failures, kills, and repeats."""

from __future__ import annotations

import base64
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import wave
from collections import Counter
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from affectgpt.bench.answerers import Answer, Answerer, Asked
from affectgpt.bench.extract import get_extractor
from affectgpt.bench.run import AnswerRun
from affectgpt.cli.main import main
from affectgpt.errors import ConfigError, DataError
from affectgpt.media import read_clip
from affectgpt.registry import ANSWERERS, Spec
from chatserver import Step, in_turn, serve
from clipmaker import make_clip, make_wav
from setmaker import make_processed

NAME = re.compile(r"words of (\w+)")
QUICK = ["--arg", "backoff_seconds=0.01", "--arg", "timeout_seconds=20", "--num-workers", "0", "--resamples", "50"]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight clips of MELD, of which one is cut, and five of CH-SIMS."""
    root = tmp_path_factory.mktemp("sets")
    meld, names = make_processed(root, "meld", 8)
    for number, name in enumerate(names):
        clip = make_clip(0.5, shade=30 + 20 * number, tone_hz=200 + 50 * number)
        (meld / "subvideo" / f"{name}.mp4").write_bytes(clip if number != 3 else clip[:90])
    make_processed(root, "sims", 5, clip=make_clip(0.4))
    return root


def bench(sets: Path, out: Path, url: str, *options: str) -> int:
    argv = ["bench", "--answerer", f"openai:{url}", "--model", "vendor/eye-1", "--data", str(sets), "--out", str(out)]
    return main([*argv, "--allow-partial", *QUICK, *options])


def results_of(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((out / "report.json").read_text())["results"]
    return found


def rows_of(out: Path, name: str) -> list[dict[str, Any]]:
    (path,) = out.glob(f"answers/results-{name}/*/*.answers.jsonl")
    return [row for row in map(json.loads, path.read_text().splitlines()) if "key" in row]


def contents(body: dict[str, Any]) -> list[dict[str, Any]]:
    found = body["messages"][-1]["content"]
    return [{"type": "text", "text": found}] if isinstance(found, str) else found


def key_of(body: dict[str, Any]) -> str:
    found = NAME.search(contents(body)[-1]["text"])
    assert found is not None
    return found[1]


def picture_in(part: dict[str, Any]) -> np.ndarray:
    head, data = part["image_url"]["url"].split(",")
    with av.open(io.BytesIO(base64.b64decode(data))) as file:
        assert file.streams.video[0].codec.name in ("png" if "png" in head else "mjpeg")
        return next(file.decode(video=0)).to_ndarray(format="rgb24")


def samples_in(part: dict[str, Any]) -> np.ndarray:
    with wave.open(io.BytesIO(base64.b64decode(part["input_audio"]["data"]))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32767


def test_a_server_is_sent_the_frames_the_sound_and_the_words_of_each_clip(sets: Path, tmp_path: Path) -> None:
    with serve(lambda body: Step("The person seems happy, maybe relieved.")) as (url, seen):
        assert bench(sets, tmp_path, url, "--sets", "meld", "--profile", "published", "--temperature", "0") == 0
    bodies = {key_of(body): body for body in seen.bodies}
    assert len(bodies) == len(seen.bodies) == 7  # the cut clip is not sent
    for key, body in bodies.items():
        assert (body["model"], body["temperature"], body["max_tokens"]) == ("vendor/eye-1", 0, 1200)
        *media, words = contents(body)
        assert [part["type"] for part in media] == ["image_url"] * 8 + ["input_audio"]
        clip = read_clip(sets / "meld-process/subvideo" / f"{key}.mp4", num_frames=8)
        assert clip.frames is not None
        assert clip.waveform is not None
        for part, frame in zip(media[:8], clip.frames, strict=True):
            assert np.array_equal(picture_in(part), frame.permute(1, 2, 0).numpy())  # PNG keeps every value
        assert np.abs(samples_in(media[8]) - clip.waveform.numpy()).max() < 1e-4
        assert words["text"] == (
            f"The subtitle of this video is: <Subtitle>words of {key}</Subtitle>. Now, please answer my question based "
            "on all the provided information. Please recognize all possible emotional states of the character."
        )
    (result,) = results_of(tmp_path)
    assert (result["system"], result["extractor"]["name"]) == ("vendor/eye-1", "lexicon")
    assert list(result["failed_answers"]) == ["test_dia0_utt3"]
    assert result["answered_by"]["shown"]["modalities"] == ["video", "audio", "text"]
    assert result["taken"] == {"prompt_tokens": 700, "answer_tokens": 70}
    assert result["answered_by"]["settings"]["base_url"] == url
    with np.load(next(tmp_path.glob("answers/results-meld/*/*-openset.npz"))) as arrays:
        assert arrays["filenames"].tolist() == [f"test_dia0_utt{i}" for i in range(8)]
        assert arrays["fileitems"].tolist() == [f"[{'' if i == 3 else 'happy, relieved'}]" for i in range(8)]


def test_modalities_and_the_form_of_media_are_settings_that_are_recorded(sets: Path, tmp_path: Path, capsys) -> None:
    kinds = {}
    for name, options in {
        "text": ["--modalities", "text"],
        "audio": ["--modalities", "audio", "--arg", 'extra_body={"max_tokens": null, "max_completion_tokens": 9}'],
        "fast": ["--modalities", "video,text", "--frames", "3"],
        "file": ["--modalities", "video,text", "--arg", "video_as=file"],
        "whole": ["--modalities", "video", "--arg", "video_as=file", "--arg", "max_video_bytes=9000000"],
    }.items():
        with serve(in_turn(Step("[happy]"))) as (url, seen):
            assert bench(sets, tmp_path / name, url, "--sets", "sims", *options) == 0
        assert len(seen.bodies) == 5
        kinds[name] = [part["type"] for part in contents(seen.bodies[0])]
        if name == "file":
            sent = base64.b64decode(contents(seen.bodies[0])[0]["video_url"]["url"].split(",")[1])
            assert sent == (sets / "sims-process/video" / f"{key_of(seen.bodies[0])}.mp4").read_bytes()
        if name == "fast":
            assert contents(seen.bodies[0])[0]["image_url"]["url"].startswith("data:image/jpeg;base64,")
        if name == "audio":
            assert "max_tokens" not in seen.bodies[0]
            assert seen.bodies[0]["max_completion_tokens"] == 9
            assert "Subtitle" not in contents(seen.bodies[0])[-1]["text"]
    assert kinds == {
        "text": ["text"],
        "audio": ["input_audio", "text"],
        "fast": ["image_url"] * 3 + ["text"],
        "file": ["video_url", "text"],
        "whole": ["video_url", "text"],
    }
    shown = {name: results_of(tmp_path / name)[0]["answered_by"]["shown"] for name in kinds}
    assert shown["fast"] == {
        "modalities": ["video", "text"], "num_frames": 3, "longest_side": 448, "picture_form": "jpeg",
    }  # fmt: skip
    assert shown["file"]["video_as"] == "file"
    assert bench(sets, tmp_path, "http://localhost:9/v1", "--modalities", "vidoe") == 1
    assert "unknown modality 'vidoe'. Did you mean 'video'" in capsys.readouterr().err


def test_refusals_and_failures_are_counted_and_are_never_neutral(sets: Path, tmp_path: Path, capsys) -> None:
    refused = Step("I'm sorry, but I can't help with that.")
    script = {
        "0": refused,
        "1": Step("down", status=500),
        "2": Step("<html>", raw=True),
        "3": Step("", finish="length"),
    }

    def answer(body: dict[str, Any]) -> Step:
        return script.get(key_of(body)[-1], Step("She is calm, but neutral."))

    with serve(answer) as (url, _):
        assert bench(sets, tmp_path, url, "--sets", "sims", "--arg", "num_retries=1") == 0
    (result,) = results_of(tmp_path)
    names = [f"video_0000_000{i}" for i in range(5)]
    assert list(result["refused_answers"]) == names[:1]
    assert list(result["failed_answers"]) == names[1:4]
    assert "HTTP 500" in result["failed_answers"][names[1]]
    said = capsys.readouterr()
    assert "3 clips without an answer; 1 refused" in said.out
    assert "CH-SIMS, refused: 1 ('video_0000_0000'): the answer is a stock refusal" in " ".join(said.err.split())
    with np.load(next(tmp_path.glob("answers/results-sims/*/*-sentiment.npz"))) as arrays:
        assert arrays["fileitems"].tolist()[:4] == ["unknown"] * 4
    assert result["unknown_answers"] == 4
    page = (tmp_path / "report.html").read_text()
    assert "3 samples have no answer, and no labels" in page
    assert "1 sample has a refusal for an answer, and no labels" in page
    # Scored again from the files, the same counts stand beside the figures.
    argv = ["bench", "--predictions", str(tmp_path / "answers"), "--gold", str(tmp_path / "gold"), "--allow-partial"]
    assert main([*argv, "--resamples", "0", "--out", str(tmp_path / "again")]) == 0
    (again,) = results_of(tmp_path / "again")
    assert [again[name] for name in ("score", "refused_answers", "failed_answers")] == [
        result[name] for name in ("score", "refused_answers", "failed_answers")
    ]
    # What was refused is not asked again; what failed is.
    with serve(lambda body: Step("[sad]")) as (url, seen):
        assert bench(sets, tmp_path, url, "--sets", "sims") == 0
    assert sorted(map(key_of, seen.bodies)) == names[1:4]
    assert results_of(tmp_path)[0]["failed_answers"] == {}


def test_a_kill_at_any_sample_costs_what_was_under_way(sets: Path, tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> Step:
        return Step(f"[{['happy', 'sad', 'angry'][int(key_of(body)[-1]) % 3]}]", seconds=0.15)

    start_it = "import sys; from affectgpt.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", start_it, "bench", "--data", str(sets), "--sets", "meld", "--allow-partial"]
    command += ["--model", "m", "--modalities", "text", "--arg", "num_parallel=2", *QUICK]
    wanted = random.Random(os.getpid()).randint(2, 5)
    with serve(answer) as (url, seen):
        out = tmp_path / "killed"
        process = subprocess.Popen([*command, "--answerer", f"openai:{url}", "--out", str(out)])
        start = time.monotonic()
        while len(seen.bodies) < wanted + 2 and time.monotonic() - start < 120:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        before = Counter(row["key"] for row in rows_of(out, "meld"))
        assert len(before) >= wanted - 2
        asked = len(seen.bodies)
        assert bench(sets, out, url, "--sets", "meld", "--model", "m", "--modalities", "text") == 0
        again = list(map(key_of, seen.bodies[asked:]))
        assert not set(again) & set(before)
        assert len(again) == 8 - len(before)
        assert bench(sets, tmp_path / "whole", url, "--sets", "meld", "--model", "m", "--modalities", "text") == 0
    texts = [{row["key"]: row["text"] for row in rows_of(one, "meld")} for one in (out, tmp_path / "whole")]
    assert texts[0] == texts[1]
    assert results_of(out)[0]["score"] == results_of(tmp_path / "whole")[0]["score"]


def test_repeats_draw_anew_and_report_mean_and_spread(sets: Path, tmp_path: Path, capsys) -> None:
    seeds: dict[str, set[int]] = {}

    def answer(body: dict[str, Any]) -> Step:
        seeds.setdefault(key_of(body), set()).add(body["seed"])
        assert (body["temperature"], body["top_p"]) == (1.0, 0.9)
        return Step(["[happy]", "[sad]", "[angry, happy]"][body["seed"] % 3])

    options = ["--sets", "sims", "--modalities", "text", "--profile", "published", "--repeats", "3"]
    with serve(answer) as (url, seen):
        assert bench(sets, tmp_path, url, *options) == 0
        assert len(seen.bodies) == 15
        assert bench(sets, tmp_path, url, *options) == 0
        assert len(seen.bodies) == 15  # all runs are there
    assert {len(one) for one in seeds.values()} == {3}
    (result,) = results_of(tmp_path)
    scores = result["repeats"]["scores"]
    assert len(scores) == 3
    assert result["repeats"]["mean"] == pytest.approx(np.mean(scores))
    assert result["repeats"]["spread"] == pytest.approx(np.std(scores, ddof=1))
    assert result["repeats"]["low"] <= result["repeats"]["mean"] <= result["repeats"]["high"]
    row = json.loads((tmp_path / "report.json").read_text())["systems"][0]
    assert row["cells"]["sims"]["score"] == pytest.approx(np.mean(scores))
    assert f"{100 * np.mean(scores):.2f} +- {100 * np.std(scores, ddof=1):.2f} over 3 runs" in capsys.readouterr().out


def test_the_bound_on_the_cost_counts_what_earlier_runs_paid(sets: Path, tmp_path: Path, capsys) -> None:
    money = ["--arg", "prompt_price=1000", "--arg", "answer_price=1000", "--max-new-tokens", "10", "--sets", "meld"]
    money += ["--modalities", "text", "--arg", "num_parallel=1"]
    with serve(in_turn(Step("[sad]", usage=(90, 10)))) as (url, seen):
        for _ in range(2):
            assert bench(sets, tmp_path, url, *money, "--arg", "max_cost=0.35") == 1
            assert "of the bound of 0.35 0.3000 is spent" in capsys.readouterr().err
            assert len(seen.bodies) == 3
        assert bench(sets, tmp_path, url, *money, "--arg", "max_cost=0.9") == 0
    assert results_of(tmp_path)[0]["taken"] == {"prompt_tokens": 720, "answer_tokens": 80, "cost": pytest.approx(0.8)}
    assert "720 tokens read; 80 tokens written; cost 0.8" in (tmp_path / "report.md").read_text()


PROGRAM = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    assert "gold" not in asked and "label" not in asked
    kind = asked["key"][-1]
    if kind == "1":
        sys.stderr.write("out of memory\\n"); sys.exit(3)
    elif kind == "2":
        print("I think she is happy", flush=True)
    elif kind == "3":
        import time; time.sleep(60)
    elif kind == "4":
        print(json.dumps({"key": asked["key"], "kind": "refused", "reason": "no faces"}), flush=True)
    elif kind == "5":
        print(json.dumps({"key": "other", "text": "x"}), flush=True)
    elif kind == "6":
        print(json.dumps({"key": asked["key"], "text": 7}), flush=True)
    else:
        print(json.dumps({"key": asked["key"], "text": f"[happy] {asked['subtitle']}", "mine": 1}), flush=True)
"""


def test_a_program_that_crashes_lies_or_hangs_costs_its_samples(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(PROGRAM)
    args = {"command": f"{sys.executable} {script}", "timeout_seconds": 3.0}
    answerer = ANSWERERS.build(Spec("command", args))
    asked = [Asked(f"clip{i}", "How is she?", subtitle=f"words {i}") for i in range(8)]
    found = {one.key[-1]: one for one in answerer.answer(asked)}
    kinds = {number: one.kind for number, one in found.items()}
    assert kinds == dict(
        zip("01234567", ["answered", *["failed"] * 3, "refused", *["failed"] * 2, "answered"], strict=True)
    )
    assert found["1"].reason == "the program ended (exit code 3); it said: out of memory"
    assert "wrote b'I think she is happy\\n', which is no JSON object" in str(found["2"].reason)
    assert str(found["3"].reason).startswith("the program was silent for 3 s")
    assert found["4"].reason == "no faces"
    assert "answered 'other', which it was not asked" in str(found["5"].reason)
    assert "no text, but 7" in str(found["6"].reason)
    assert (found["7"].text, found["7"].extra) == ("[happy] words 7", {"mine": 1})
    assert answerer.title() == "mine"
    assert script.name in json.dumps(answerer.identity())
    broken = ANSWERERS.build(Spec("command", {"command": "false", "max_failures": 3}))
    taken: list[Answer] = []
    with pytest.raises(DataError, match=r"'false' gave no answer 3 times .* the program (ended|takes no more)"):
        taken.extend(broken.answer(asked))
    assert [one.kind for one in taken] == ["failed"] * 3
    with pytest.raises(ConfigError, match="cannot be started: No such file"):
        list(ANSWERERS.build(Spec("command", {"command": "no-such-program-anywhere"})).answer(asked))


def test_a_program_and_a_file_answer_the_benchmark(sets: Path, tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(PROGRAM.replace('kind == "1"', "False").replace('kind == "2"', "False").replace('"3"', '"x"'))
    argv = ["bench", "--data", str(sets), "--sets", "sims", "--allow-partial", "--resamples", "0", "--num-workers", "0"]
    ran = [
        *argv,
        "--answerer",
        f"command:{sys.executable} {script}",
        "--out",
        str(tmp_path / "a"),
        "--arg",
        "num_ahead=3",
    ]
    assert main(ran) == 0
    (first,) = results_of(tmp_path / "a")
    assert (first["system"], list(first["refused_answers"])) == ("mine", ["video_0000_0004"])
    lines = [json.dumps({"name": row["key"], "text": row["text"]}) for row in rows_of(tmp_path / "a", "sims")][:4]
    (tmp_path / "sims.jsonl").write_text("\n".join(lines) + "\n")
    path = str(tmp_path / "{set}.jsonl")
    assert main([*argv, "--answerer", f"files:{path}", "--extractor", "lexicon", "--out", str(tmp_path / "b")]) == 0
    (second,) = results_of(tmp_path / "b")
    assert second["score"] == first["score"]
    assert list(second["failed_answers"]) == ["video_0000_0004"]


class Parrot(Answerer):
    """A plug-in: repeats the words."""

    name = "parrot"

    def title(self) -> str:
        return "parrot"

    def identity(self) -> dict[str, Any]:
        return {"answerer": "parrot"}

    def answer(self, asked, run: int = 0):
        for one in reversed(asked):
            yield Answer(one.key, text=f"[{one.subtitle}]")


def test_answers_come_in_the_order_of_the_list_whoever_answers(tmp_path: Path) -> None:
    asked = [Asked(f"clip{i}", "?", subtitle=word) for i, word in enumerate(("glad", "sad", "calm"))]
    done = AnswerRun(Parrot(), tmp_path, system="my parrot/1").answer(asked, "list", get_extractor("template"))
    with np.load(done.predictions) as arrays:
        assert arrays["filenames"].tolist() == ["clip0", "clip1", "clip2"]
        assert arrays["fileitems"].tolist() == ["[glad]", "[sad]", "[calm]"]
    assert done.predictions.parent.name == "my-parrot-1"

    class Silent(Parrot):
        def answer(self, asked, run=0):
            yield Answer("clip1", text="[sad]")

    class Stranger(Parrot):
        def answer(self, asked, run=0):
            yield Answer("clip9", text="[sad]")

    done = AnswerRun(Silent(), tmp_path, system="b").answer(asked, "list", get_extractor("template"))
    assert list(done.failed) == ["clip0", "clip2"]
    with pytest.raises(DataError, match="answered 'clip9', which was not asked"):
        AnswerRun(Stranger(), tmp_path, system="c").answer(asked, "list", get_extractor("template"))


def test_options_that_do_not_fit_are_refused(sets: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    argv = ["bench", "--data", str(sets), "--out", str(tmp_path), "--allow-partial"]
    server = ["--answerer", "openai:http://x/v1", "--model", "a"]
    for options, message in (
        (["--answerer", "openia:http://x/v1"], "unknown answerer 'openia'. Did you mean 'openai'?"),
        (["--answerer", "openai:http://x/v1"], "missing a required argument: 'model'"),
        ([*server, "b"], "answers with one model, but --model names 2"),
        (
            [*server, "--arg", "colour=1"],
            "unexpected keyword argument 'colour'",
        ),
        ([*server, "--arg", "video_as=gif"], "video_as is 'gif'"),
        ([*server, "--profile", "fats"], "Did you mean 'fast'"),
        ([*server, "--top-p", "2"], "top_p 2.0"),
        (["--model", "a.ckpt", "--frames", "4"], "--frames has no effect with the answerer 'affectgpt'"),
        (["--answerer", "command:cat", "--frames", "4"], "given the files and takes its own frames"),
        (["--answerer", "files:a.npz", "--top-p", "0.9"], "these answers exist already"),
        (["--answerer", "files:nowhere.npz"], "there is no file 'nowhere.npz'"),
        (["--answerer", "command:"], "give a program"),
        ([*server, "--arg", "num_parallel"], "--arg takes NAME=VALUE"),
    ):
        assert main([*argv, *options]) == 1
        assert message in capsys.readouterr().err
    assert main([*argv, "--answerer", "no_such_module_here:Mine"]) == 1
    assert "needs the module 'no_such_module_here'" in capsys.readouterr().err
    monkeypatch.setenv("MY_KEY", "top-secret")
    answerer = ANSWERERS.build(Spec("openai", {"base_url": "http://x/v1", "model": "a", "api_key_env": "MY_KEY"}))
    assert "top-secret" not in json.dumps([answerer.identity(), answerer.settings(), answerer.shown_and_drawn()])


def test_sound_files_are_sent_and_what_a_clip_lacks_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(make_wav(0.3))
    (tmp_path / "b.mp4").write_bytes(make_clip(0.3, audio=False))
    (tmp_path / "c.mp4").write_bytes(make_clip(0.3, video=False))
    asked = [
        Asked("a", "?", audio=tmp_path / "a.wav"),
        Asked("b", "?", video=tmp_path / "b.mp4", audio=tmp_path / "a.wav"),
        Asked("c", "?", video=tmp_path / "b.mp4", subtitle="Hello"),
        Asked("d", "?", video=tmp_path / "missing.mp4"),
        Asked("e", "?"),
    ]
    with serve(in_turn(Step("[sad]"))) as (url, seen):
        answerer = ANSWERERS.build(Spec("openai", {"base_url": url, "model": "a", "num_workers": 0, "num_parallel": 1}))
        found = {one.key: one for one in answerer.answer(asked)}
    kinds = [Counter(part["type"] for part in contents(body)) for body in seen.bodies]
    assert kinds[0] == {"input_audio": 1, "text": 1}
    assert kinds[1] == {"image_url": 8, "input_audio": 1, "text": 1}
    assert kinds[2] == {"image_url": 8, "text": 1}
    assert list(found["a"].extra["missing"]) == ["video"]
    assert list(found["c"].extra["missing"]) == ["audio"]
    assert "missing" not in found["b"].extra
    assert [found[key].kind for key in "de"] == ["failed", "failed"]
    assert "missing.mp4" in str(found["d"].reason)


def test_a_list_without_gold_is_answered_and_written_in_its_order(tmp_path: Path, capsys) -> None:
    script = tmp_path / "mine.py"
    script.write_text(PROGRAM)
    keys = ["c7", "a0", "b4", "z9"]
    lines = [{"name": key, "video": f"{key}.mp4", "subtitle": f"I am sad, {key}", "labels": ["x"]} for key in keys]
    for key in keys:
        (tmp_path / f"{key}.mp4").write_bytes(make_clip(0.2))
    lines.append({"name": "gone", "video": "gone.mp4"})
    (tmp_path / "list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    argv = ["bench", "--answerer", f"command:{sys.executable} {script}", "--clips", str(tmp_path / "list.jsonl")]
    argv += ["--out", str(tmp_path / "out"), "--arg", "num_ahead=4"]
    assert main(argv) == 1
    assert "1 entries of" in capsys.readouterr().err
    assert main([*argv, "--allow-partial"]) == 0
    said = capsys.readouterr()
    assert "3 answered, 1 refused; labels in" in said.out
    assert "1 entries are left out: 'gone'" in said.err
    folder = tmp_path / "out/answers/results-list/mine"
    with np.load(folder / "mine-openset.npz") as arrays:
        assert arrays["filenames"].tolist() == keys
        assert arrays["fileitems"].tolist() == ["[happy, sad]", "[happy, sad]", "[]", "[happy, sad]"]
    rows = [json.loads(line) for line in (folder / "mine.jsonl").read_text().splitlines()]
    assert [row["name"] for row in rows] == keys
    assert (rows[2]["kind"], rows[2]["reason"], rows[2]["labels"]) == ("refused", "no faces", [])
    assert rows[0]["text"] == "[happy] I am sad, c7"


def test_a_program_given_as_text_may_be_longer_than_a_file_name() -> None:
    answerer = ANSWERERS.build(Spec("command", {"command": f"python -c 'pass  # {'x' * 5000}'"}))
    assert answerer.title() == "python"
    assert answerer.identity()["files"] == {}

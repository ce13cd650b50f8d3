"""The examples of docs/serve.md run against a service: the curl command, the OpenAI client, and the Python blocks."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from affectgpt.cli.serve import parser
from affectgpt.serve import ServiceSettings
from affectgpt.serve.error_form import MEANINGS
from clipmaker import make_clip
from servicerunner import running, tiny_model

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "serve.md").read_text("utf-8")
URL = "http://127.0.0.1:8000"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.M | re.S)


def test_the_examples_of_the_page_run(tmp_path, monkeypatch, capsys) -> None:
    model = tiny_model()
    (tmp_path / "clip.mp4").write_bytes(make_clip(0.4))
    monkeypatch.chdir(tmp_path)
    with running(model, ServiceSettings(model_name="model", decoders=1)) as url:
        curls = [block for block in blocks("bash") if block.startswith("curl ")]
        assert len(curls) == 1
        if shutil.which("curl"):
            call = [*shlex.split(curls[0].replace(URL, url)), "--silent", "--noproxy", "*"]
            told = json.loads(subprocess.run(call, capture_output=True, check=True, timeout=120).stdout)
            (shown,) = (json.loads(block) for block in blocks("json"))
            assert set(told) == set(shown)
            assert set(told["answers"][0]) == set(shown["answers"][0])
            assert (told["key"], told["answers"][0]["used"]) == (shown["key"], shown["answers"][0]["used"])
        space = {"model": model}
        for number, block in enumerate(blocks("python")):
            exec(compile(block.replace(URL, url), f"docs/serve.md block {number}", "exec"), space)
    assert space["answer"].affectgpt["used"] == ["frame", "audio", "multi", "subtitle"]
    assert space["answer"].choices[0].message.content in capsys.readouterr().out
    assert space["embeds"].shape[1] == model.llm.hidden_dim
    assert set(space["app"].openapi()["paths"]) > {"/v1/answers"}


@pytest.mark.parametrize("option", re.findall(r"^\| `(--[\w-]+)` \| ([^|]+) \|", PAGE, re.M))
def test_the_defaults_that_the_page_names_are_those_of_the_verb(option) -> None:
    name, told = option
    default = parser().get_default(name.removeprefix("--").replace("-", "_"))
    assert told == (f"{default:g}" if default is not None else told)


def test_every_status_is_explained() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \| `", PAGE, re.M)
    assert {int(one) for row in rows for one in row.split(",")} == set(MEANINGS)

"""The Dockerfile and the compose file name files, extras, options and paths that exist; they are not built here."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from affectgpt.cli.serve import parser
from affectgpt.serve import ServiceSettings
from affectgpt.serve.entrance import OPEN_PATHS
from affectgpt.serve.service_settings import KEYS_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]


def instruction(name: str) -> list[str]:
    return [found.strip() for found in re.findall(rf"^{name} (.*)$", DOCKERFILE, re.M)]


def test_what_is_copied_exists_and_is_let_into_the_build() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
    for copied in instruction("COPY"):
        *sources, _ = copied.split()
        for source in sources:
            assert (ROOT / source).exists(), source
            assert f"!{source}" in ignored, source
    assert PROJECT["readme"] in " ".join(instruction("COPY"))
    assert all(name in " ".join(instruction("COPY")) for name in PROJECT["license-files"])


def test_the_extras_python_and_torch_are_those_of_the_project() -> None:
    (extras,) = re.findall(r'"\.\[([\w,]+)\]"', DOCKERFILE)
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    known = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["media"]]
    torches = [one for one in known if one.startswith("torch") and not one.startswith("torchmetrics")]
    assert len(torches) == 3
    assert [one for one in torches if f'"{one}"' not in DOCKERFILE] == []
    version = re.search(r"FROM python:(3\.\d+)", DOCKERFILE)
    assert version is not None
    low, high = re.findall(r"3\.(\d+)", PROJECT["requires-python"])
    assert int(low) <= int(version[1].split(".")[1]) < int(high)


@pytest.mark.parametrize("name", ["affectgpt", "affectgpt-vllm"])
def test_the_services_call_the_verb_with_options_that_exist(name: str) -> None:
    entry, default = json.loads(instruction("ENTRYPOINT")[0]), json.loads(instruction("CMD")[0])
    assert entry[:2] == ["affectgpt", "serve"]
    assert "affectgpt" in PROJECT["scripts"]
    args = parser().parse_args([*entry[2:], *SERVICES[name].get("command", default)])
    assert args.port == int(instruction("EXPOSE")[0])
    assert args.checkpoint == SERVICES["affectgpt"]["volumes"][0].split(":")[-2]
    assert KEYS_VARIABLE in SERVICES["affectgpt"]["environment"]
    if args.vllm:
        (server,) = re.findall(r"//([\w-]+):(\d+)/", args.vllm)
        command = SERVICES[server[0]]["command"]
        assert command[command.index("--port") + 1] == server[1]
        assert command[command.index("--served-model-name") + 1] == args.vllm_model
        assert "--enable-prompt-embeds" in command
        assert "ports" not in SERVICES[server[0]], "vLLM is for the service alone"


def test_the_health_check_asks_an_open_path_and_a_stop_has_its_time() -> None:
    (check,) = re.findall(r"HEALTHCHECK .*?CMD (\[.*\])", DOCKERFILE)
    code = json.loads(check)[2]
    compile(code, "healthcheck", "exec")
    assert re.findall(r"8000(/\w+)", code)[0] in OPEN_PATHS
    seconds = int(SERVICES["affectgpt"]["stop_grace_period"].removesuffix("s"))
    assert seconds >= ServiceSettings().timeout_seconds
    assert instruction("STOPSIGNAL") == ["SIGTERM"]

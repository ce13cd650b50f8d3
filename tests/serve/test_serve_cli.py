"""The verb serve: what it refuses before it loads, and what it passes on."""

from __future__ import annotations

import importlib.util
import socket

import pytest

from affectgpt.cli.main import main
from affectgpt.cli.serve import _settings, parser
from servicerunner import tiny_model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "happy.ckpt"
    tiny_model().save_checkpoint(path)
    return str(path)


def test_the_settings_of_the_command_line_reach_the_service() -> None:
    words = "--checkpoint runs/a.ckpt --max-batch 3 --max-wait-ms 5 --max-upload-mb 2 --timeout 9 --max-queue 7"
    args = parser().parse_args(
        [*words.split(), "--fetch-from", "a.org", "--fetch-from", "b:81", "--max-answer-tokens", "9", "--decoders", "1"]
    )
    found = _settings(args)
    assert (found.model_name, found.max_batch, found.max_wait_seconds, found.max_body_bytes) == (
        "a",
        3,
        0.005,
        2 * 2**20,
    )
    assert (found.timeout_seconds, found.max_queue, found.decoders, found.max_answer_tokens) == (9, 7, 1, 9)
    assert (found.fetch_hosts, found.fetch_private) == (("a.org", "b:81"), False)


def test_nobody_listens_to_the_world_without_keys_by_mistake(capsys, monkeypatch) -> None:
    monkeypatch.delenv("AFFECTGPT_API_KEYS", raising=False)
    assert main(["serve", "--checkpoint", "none.ckpt", "--host", "0.0.0.0"]) == 1
    assert "put keys into the environment variable AFFECTGPT_API_KEYS" in capsys.readouterr().err
    monkeypatch.setenv("AFFECTGPT_API_KEYS", "short")
    assert main(["serve", "--checkpoint", "none.ckpt"]) == 1
    told = capsys.readouterr().err
    assert "at least 16 characters" in told
    assert "short" not in told


def test_a_missing_package_names_the_extra(capsys, monkeypatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else real(name))
    assert main(["serve", "--checkpoint", "none.ckpt"]) == 1
    assert "not installed, but serve needs it: uvicorn; pip install 'affectgpt[serve]'" in capsys.readouterr().err


def test_a_port_that_is_taken_and_a_half_given_vllm_are_refused(checkpoint, capsys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", "--checkpoint", checkpoint, "--device", "cpu", "--port", port, "--decoders", "1"]) == 1
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err
    assert main(["serve", "--checkpoint", checkpoint, "--device", "cpu", "--vllm", "http://127.0.0.1:9/v1"]) == 1
    assert "--vllm needs --vllm-model" in capsys.readouterr().err


def test_the_model_is_served_under_its_name_with_the_keys_of_the_environment(checkpoint, capsys, monkeypatch) -> None:
    monkeypatch.setenv("AFFECTGPT_API_KEYS", "a-key-of-sixteen-letters")
    told = {}

    def run_service(app, host, port, *, settings, ready) -> None:
        told.update(host=host, port=port, name=settings.model_name, paths=app.openapi()["paths"])
        ready("http://0.0.0.0:81")

    monkeypatch.setattr("affectgpt.serve.run_service", run_service)
    assert main(["serve", "--checkpoint", checkpoint, "--device", "cpu", "--host", "0.0.0.0", "--port", "81"]) == 0
    assert (told["host"], told["port"], told["name"]) == ("0.0.0.0", 81, "happy")
    assert told["paths"]["/v1/answers"]["post"]["security"] == [{"key": []}]
    assert "security" not in told["paths"]["/healthz"]["get"]
    shown = capsys.readouterr()
    assert "serving happy at http://0.0.0.0:81 (1 API key(s))" in shown.out
    assert "a-key-of-sixteen" not in shown.out + shown.err

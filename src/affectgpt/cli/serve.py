"""The verb ``serve``: answers requests over HTTP with a trained model."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from affectgpt.cli.terminal import pick_device, quiet, say, shown
from affectgpt.cli.verb_parser import VerbParser
from affectgpt.errors import ConfigError

if TYPE_CHECKING:
    from affectgpt.model import AffectGPT
    from affectgpt.serve.service_settings import ServiceSettings

NEEDED = {"fastapi": "fastapi", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}
NEEDED |= {"prometheus_client": "prometheus-client"}


def run(verb: str, argv: Sequence[str]) -> int:
    """Serve until the command is stopped.

    Raises:
        CheckpointError: If the checkpoint does not fit.
        ConfigError: If a setting is wrong, or a package is missing.
    """
    args = parser().parse_args(argv)
    missing = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ConfigError(f"not installed, but serve needs it: {', '.join(missing)}; pip install 'affectgpt[serve]'")
    from affectgpt.serve.service_settings import KEYS_VARIABLE, read_keys
    from affectgpt.serve.uvicorn_server import is_loopback

    settings, keys = _settings(args), read_keys()
    if not keys and not args.no_keys and not is_loopback(args.host):
        raise ConfigError(
            f"whoever reaches {args.host} could use the model: put keys into the environment variable {KEYS_VARIABLE}, "
            "or say --no-keys if something in front of the service checks who asks"
        )
    from affectgpt.media.speech import build_asr
    from affectgpt.model import AffectGPT
    from affectgpt.serve import create_app, run_service

    quiet()
    say(f"loading {shown(args.checkpoint)}", err=True)
    model = AffectGPT.load(args.checkpoint, allow_import=args.allow_import).to(pick_device(args.device)).eval()
    writer = _vllm(args, model)
    app = create_app(model, settings, keys=keys, writer=writer, asr=build_asr(args.asr) if args.asr else None)
    who = f"{len(keys)} API key(s)" if keys else "no API key"

    def ready(url: str) -> None:
        say(f"serving {shown(settings.model_name)} at {url} ({who}); Ctrl-C stops it once every request is answered")
        key = " -H 'Authorization: Bearer KEY'" if keys else ""
        say(f"next: curl{key} -F file=@clip.mp4 {url}/v1/answers", err=True)

    run_service(app, args.host, args.port, settings=settings, ready=ready)
    say("stopped; every request that was taken is answered", err=True)
    return 0


def _settings(args: argparse.Namespace) -> ServiceSettings:
    from affectgpt.bench.answerers.checkpoint import name_of
    from affectgpt.serve.service_settings import ServiceSettings

    name = args.name or name_of(args.checkpoint) or "affectgpt"
    return ServiceSettings(
        model_name=name,
        max_batch=args.max_batch,
        max_wait_seconds=args.max_wait_ms / 1000,
        max_queue=args.max_queue,
        timeout_seconds=args.timeout,
        drain_seconds=args.timeout + 5,
        max_body_bytes=int(args.max_upload_mb * 2**20),
        max_answer_tokens=args.max_answer_tokens,
        fetch_hosts=tuple(args.fetch_from),
        fetch_private=args.fetch_private,
        decoders=args.decoders,
        face_detector=args.face_detector,
    )


def _vllm(args: argparse.Namespace, model: AffectGPT) -> Any:
    """The writer on a vLLM server, or ``None``."""
    if args.vllm is None:
        return None
    from affectgpt.serve.vllm_writer import VllmWriter

    if args.vllm_model is None:
        raise ConfigError(
            "--vllm needs --vllm-model, the model's name on that server (its folder, as vllm serve got it)"
        )
    writer = VllmWriter(model.network, args.vllm, args.vllm_model, args.vllm_key_env)
    length = writer.check()
    if length is not None and length < model.network.renderer.max_tokens:
        say(
            f"note: the vLLM server takes {length} tokens, but prompts may have {model.network.renderer.max_tokens}; "
            "start it with a larger --max-model-len",
            err=True,
        )
    return writer


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = VerbParser(
        prog="affectgpt serve",
        description="Answer clips over HTTP: POST /v1/answers, and /v1/chat/completions in OpenAI's form. API keys "
        "come from the environment variable AFFECTGPT_API_KEYS.",
        epilog="example: affectgpt serve --checkpoint runs/last.ckpt --port 8000",
    )
    add = parser.add_argument
    add("--checkpoint", required=True, help="a .ckpt file, a saved folder, or a hub id")
    add("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for all, which needs keys")
    add("--port", type=int, default=8000, help="port; 0 for any that is free")
    add("--name", help="the model's name in requests; by default the checkpoint's")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    add("--max-batch", type=int, default=8, metavar="N", help="most requests answered together")
    add("--max-wait-ms", type=float, default=20.0, metavar="MS", help="wait of an idle model for more requests")
    add("--max-queue", type=int, default=64, metavar="N", help="most requests under way; others get 429")
    add("--timeout", type=float, default=120.0, metavar="SECONDS", help="longest time for an answer; then 504")
    add("--max-upload-mb", type=float, default=64.0, metavar="MB", help="largest upload; larger ones get 413")
    add("--max-answer-tokens", type=int, metavar="N", help="longest answer that a request may ask for")
    add("--decoders", type=int, default=2, metavar="N", help="processes that decode media")
    add(
        "--fetch-from", action="append", default=[], metavar="HOST[:PORT]", help="host to fetch from by URL; repeatable"
    )
    add("--fetch-private", action="store_true", help="allow these hosts to have private addresses")
    add("--face-detector", default="centerface", help="face detector, if the model uses faces")
    add("--asr", metavar="NAME[:MODEL]", help="speech recogniser for clips without subtitle, e.g. faster-whisper:small")
    add("--no-keys", action="store_true", help="listen beyond this machine without API keys")
    add("--vllm", metavar="URL", help="let this vLLM server write the answers, e.g. http://localhost:8001/v1")
    add("--vllm-model", metavar="NAME", help="the merged model's name there")
    add("--vllm-key-env", metavar="VARIABLE", help="environment variable with that server's key")
    add("--allow-import", action="store_true", help="import registered modules that the checkpoint names as code")
    return parser

"""A stand-in for a vLLM server: it reads prompts as vLLM reads them, and writes with an exported model."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from serverthread import serving


@dataclass
class Seen:
    """What the server was asked.

    Attributes:
        embeds: The decoded prompts, in the order in which they came.
        bodies: The rest of the bodies.
        keys: The ``Authorization`` headers.
        fail: Statuses to answer with before anything else.
    """

    embeds: list[torch.Tensor] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    fail: list[int] = field(default_factory=list)


def decode(text: str, width: int) -> torch.Tensor:
    """The checks of vLLM's renderer: a dense float tensor of one prompt, loaded without running code."""
    tensor = torch.load(io.BytesIO(base64.b64decode(text, validate=True)), weights_only=True, map_location="cpu")
    assert isinstance(tensor, torch.Tensor)
    assert tensor.dtype in (torch.float32, torch.bfloat16, torch.float16)
    tensor = tensor.to_dense()
    if tensor.dim() > 2:
        tensor = tensor.squeeze(0)
    assert tensor.dim() == 2
    assert tensor.shape[1] == width
    return tensor


@contextmanager
def vllm(folder: Path, name: str, max_model_len: int = 4096) -> Iterator[tuple[str, Seen]]:
    """The server's URL, and what it was asked."""
    network, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    seen, lock = Seen(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            model = {"id": name, "object": "model", "root": str(folder), "max_model_len": max_model_len}
            self._send(200, {"object": "list", "data": [model]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:  # one model, one thread at a time
                seen.keys.append(self.headers["Authorization"])
                if seen.fail:
                    self._send(seen.fail.pop(0), {"error": {"message": "busy"}})
                    return
                assert self.path == "/v1/completions"
                assert body["model"] == name
                assert body["prompt"] == ""
                embeds = decode(body.pop("prompt_embeds"), network.config.hidden_size)
                seen.embeds.append(embeds)
                seen.bodies.append(body)
                self._send(200, complete(embeds, body))

        def _send(self, status: int, data: dict[str, Any]) -> None:
            content = json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    def complete(embeds: torch.Tensor, body: dict[str, Any]) -> dict[str, Any]:
        with torch.no_grad():
            ids = network.generate(
                inputs_embeds=embeds[None],
                attention_mask=torch.ones(1, len(embeds), dtype=torch.long),
                max_new_tokens=body["max_tokens"],
                do_sample=body["temperature"] > 0,
                pad_token_id=tokenizer.pad_token_id,
            )[0].tolist()
        ended = tokenizer.eos_token_id in ids
        text = tokenizer.decode(ids, skip_special_tokens=True)
        for stop in body.get("stop", ()):
            if stop in text:
                text, ended = text.split(stop)[0], True
        usage = {"prompt_tokens": len(embeds), "completion_tokens": len(ids), "total_tokens": len(embeds) + len(ids)}
        choice = {"index": 0, "text": text, "finish_reason": "stop" if ended else "length"}
        return {"object": "text_completion", "model": name, "choices": [choice], "usage": usage}

    with serving(Handler) as url:
        yield f"{url}/v1", seen

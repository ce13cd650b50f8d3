"""The tiny encoders: what they can learn, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.nn.functional import cross_entropy

from affectgpt.encoders import TinyAudioEncoder, TinyVisionEncoder
from affectgpt.encoders.tiny import local_contrast, mel_filterbank
from affectgpt.errors import ConfigError

RATE = 16_000


def voice(kind: int, generator: torch.Generator) -> torch.Tensor:
    """Half a second of a hum: 0 low, 1 high, 2 low and trembling, 3 low and loud."""
    time = torch.arange(RATE // 2) / RATE
    pitch = (260 if kind == 1 else 130) * (0.95 + 0.1 * torch.rand(1, generator=generator))
    tone = sum(torch.sin(2 * torch.pi * k * pitch * time) / k for k in range(1, 8))
    shake = 1 + (0.8 if kind == 2 else 0) * torch.sin(2 * torch.pi * 7 * time)
    return (0.4 if kind == 3 else 0.1) * shake * tone + 0.01 * torch.randn(len(time), generator=generator)


def face(kind: int, generator: torch.Generator) -> torch.Tensor:
    """A mouth bent up (0) or down (1), or a brow bent likewise (2, 3), on a skin and a ground of any colour."""
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    shift = 4 * torch.rand(2, generator=generator)
    ground, skin = 255 * torch.rand(2, 3, 1, 1, generator=generator)
    rows, columns = rows - shift[0], columns - shift[1]
    picture = torch.where(((rows - 30) ** 2 + (columns - 30) ** 2 < 24**2)[None], skin, ground)
    height = 42 if kind < 2 else 20
    bend = (1 if kind % 2 else -1) * (columns - 30) ** 2 / 20
    curve = ((rows - height - bend).abs() < 1.5) & ((columns - 30).abs() < 9)
    return torch.where(curve[None], 0.6 * skin, picture).byte()


@pytest.mark.parametrize(
    ("encoder_class", "example", "steps"), [(TinyAudioEncoder, voice, 40), (TinyVisionEncoder, face, 120)]
)
def test_four_kinds_are_learnt_in_a_few_steps(encoder_class, example, steps):
    torch.manual_seed(0)
    encoder, head = encoder_class(), torch.nn.Linear(64, 4)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    kinds = torch.arange(160) % 4
    media = torch.stack([example(int(kind), generator) for kind in kinds])[:, None]
    keep = torch.ones(160, 1, dtype=torch.bool)
    for _ in range(steps):
        chosen = torch.randint(0, 128, (16,), generator=generator)
        loss = cross_entropy(head(encoder(media[chosen], keep[chosen]).hidden[:, 0]), kinds[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        guessed = head(encoder.eval()(media[128:], keep[128:]).hidden[:, 0]).argmax(-1)
    assert (guessed == kinds[128:]).float().mean() >= 0.9


def test_contrast_is_the_same_in_another_light():
    picture = torch.rand(1, 3, 32, 32)
    brighter = local_contrast(picture + 3)
    torch.testing.assert_close(brighter, local_contrast(picture), rtol=1e-3, atol=1e-3)
    assert local_contrast(torch.ones(1, 3, 32, 32)).abs().max() == 0


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_no_mel_filter_is_empty(rate):
    bank = mel_filterbank(513, 64, rate)
    assert (bank.sum(1) > 0).all()
    assert bank.argmax(1).diff().min() >= 0


def test_mel_runs_in_single_precision_under_autocast():
    encoder = TinyAudioEncoder(dim=8)
    segments, keep = torch.randn(1, 2, 4000), torch.ones(1, 2, dtype=torch.bool)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert encoder(segments, keep).hidden.isfinite().all()
    assert encoder.bfloat16()(segments, keep).hidden.dtype == torch.bfloat16


def test_odd_sizes_are_refused():
    with pytest.raises(ConfigError, match="multiple of 16"):
        TinyVisionEncoder(size=50)


def test_importing_them_imports_no_heavy_library():
    code = "import sys, affectgpt.encoders.tiny, affectgpt.fusion.pooling; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    # lightning itself imports the shell of transformers, without any model code
    assert not {"transformers.modeling_utils", "timm", "torchaudio", "peft"} & set(loaded)
    light = "import sys, affectgpt.encoders, affectgpt.fusion; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", light], capture_output=True, text=True, check=True).stdout.split()
    assert "torch" not in loaded

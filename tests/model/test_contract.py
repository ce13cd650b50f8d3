"""A part that breaks its contract is refused when the model is built, by class, attribute and page."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from affectgpt import AffectGPT
from affectgpt.encoders import Encoder, VisualSpec
from affectgpt.errors import ConfigError
from affectgpt.fusion import Pooling, PreFusion, Projector
from affectgpt.registry import ENCODERS, LLMS, POOLINGS, PREFUSIONS, PROJECTORS
from affectgpt.types import Batch, Features, Modality
from gruhead import ByteTokenizer, GruHead
from tinyencoders import tiny_config

OWN = {"overwrite": True}


def fail_on_blank(blind: bool, given: Tensor) -> None:
    """What a kernel may do that is fit for real input alone."""
    if blind and bool((given == given.flatten()[0]).all()):
        raise RuntimeError("this kernel needs real input")


@ENCODERS.register("contract-encoder", **OWN)
class AnyEncoder(Encoder):
    """Keeps the contract, or breaks it in the way that ``fault`` names."""

    def __init__(self, fault: str = "", blind: bool = False) -> None:
        super().__init__()
        self.fault, self.blind = fault, blind
        self.layer = nn.Linear(3, 6)
        self.drop = nn.Dropout()
        facts = {"out_dim": 6, "modality": Modality.VISUAL, "input_spec": VisualSpec(8, 8)}
        changed: dict[str, Any] = {"width": {"out_dim": 5}, "spec": {"input_spec": (8, 8)}, "zero": {"out_dim": 0}}
        for name, value in {**facts, **changed.get(fault, {})}.items():
            if name != fault:
                setattr(self, name, value)

    def forward(self, media: Tensor, keep: Tensor) -> Any:
        fail_on_blank(self.blind, media)
        hidden = self.drop(self.layer(self.preprocess(media).mean((2, 3)))).view(*keep.shape, -1)
        if self.fault == "tensor":
            return hidden
        if self.fault == "kernel":
            raise RuntimeError("this kernel needs a GPU")
        masks = {"dtype": keep.float(), "mask": keep.sum(1) > 0}
        return Features(hidden, masks.get(self.fault, keep))


@POOLINGS.register("contract-pooling", **OWN)
class AnyPooling(Pooling):
    def __init__(self, in_dim: int, fault: str = "", blind: bool = False) -> None:
        super().__init__(in_dim)
        self.blind = blind
        self.num_tokens = 2 if fault == "tokens" else 1
        self.out_dim = in_dim + 1 if fault == "width" else in_dim

    def forward(self, features: Features) -> Tensor:
        fail_on_blank(self.blind, features.hidden)
        return self.real_steps(features).mean(1, keepdim=True)


@PREFUSIONS.register("contract-prefusion", **OWN)
class AnyPreFusion(PreFusion):
    def __init__(self, in_dims: list[int], blind: bool = False) -> None:
        super().__init__(in_dims)
        self.blind = blind

    def forward(self, streams: Any) -> Any:
        fail_on_blank(self.blind, streams[0].hidden)
        return tuple(self.real_steps(streams))


@PROJECTORS.register("contract-projector", **OWN)
class AnyProjector(Projector):
    def __init__(self, in_dim: int, out_dim: int, blind: bool = False) -> None:
        super().__init__(in_dim, out_dim)
        self.blind = blind

    def forward(self, tokens: Tensor) -> Tensor:
        fail_on_blank(self.blind, tokens)
        return tokens


class NoDecode:
    pad_token_id, bos_token_id, eos_token_id = 0, None, 1

    def __call__(self, texts: list[str], **_: Any) -> dict[str, Any]:
        return {"input_ids": [[2] for _ in texts]}


class NoCall:
    pad_token_id, bos_token_id, eos_token_id = 0, None, 1
    decode = ByteTokenizer.decode


class OldCall(ByteTokenizer):
    def __call__(self, texts: list[str], *, add_special_tokens: bool) -> Any:  # type: ignore[override]
        return {"input_ids": [[2] for _ in texts]}


class NoPadding(ByteTokenizer):
    pad_token_id = None


class Ids(ByteTokenizer):
    def __call__(self, texts: list[str], **_: Any) -> Any:  # type: ignore[override]
        return [[2] for _ in texts]


TOKENIZERS = {kind.__name__: kind for kind in (ByteTokenizer, NoDecode, NoCall, OldCall, NoPadding, Ids)}


@LLMS.register("contract-llm", **OWN)
class AnyLLM(GruHead):
    def __init__(self, tokenizer: str = "ByteTokenizer", width: int = 24, blind: bool = False) -> None:
        super().__init__(24)
        self.blind = blind
        self.hidden_dim = width
        self.tokenizer = TOKENIZERS[tokenizer]()

    def embed(self, ids: Tensor) -> Tensor:
        fail_on_blank(self.blind, ids)
        return super().embed(ids)


def build(**changes: Any) -> AffectGPT:
    return AffectGPT.from_config(tiny_config(**changes))


def with_frame(**stream: Any) -> dict[str, Any]:
    return {"streams": {**tiny_config()["streams"], "frame": stream}}


def faulty(name: str, **args: Any) -> dict[str, Any]:
    return {"name": name, "args": args}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("out_dim", r"out_dim is missing; expected an int"),
        ("zero", r"out_dim is 0; expected an int of 1 or more"),
        ("modality", r"modality is missing; expected Modality.VISUAL"),
        ("input_spec", r"input_spec is missing; expected VisualSpec"),
        ("spec", r"input_spec is \(8, 8\); expected VisualSpec"),
        ("tensor", r"forward returned a Tensor; expected Features"),
        ("dtype", r"forward returned a keep mask of torch.float32; expected a mask of torch.bool"),
        ("mask", r"forward returned a keep mask of shape \[1\] for media of \[1, 1\] steps"),
        ("width", r"forward returned torch.float32 \[1, 1, 6\], but the part's attributes say \[1, 1, 5\]"),
    ],
)
def test_faults_of_an_encoder(fault: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"AnyEncoder\.{message}.*docs/plugins\.md"):
        build(**with_frame(encoder=faulty("contract-encoder", fault=fault)))


@pytest.mark.parametrize(
    ("fault", "message"), [("tokens", r"\[1, 1, 12\].*say \[1, 2, 12\]"), ("width", r"\[1, 1, 12\].*say \[1, 1, 13\]")]
)
def test_faults_of_a_pooling(fault: str, message: str) -> None:
    stream = {**tiny_config()["streams"]["frame"], "pooling": faulty("contract-pooling", fault=fault)}
    with pytest.raises(ConfigError, match=rf"AnyPooling\.forward returned torch.float32 {message}.*docs/plugins\.md"):
        build(**with_frame(**stream))


def test_faults_of_a_pre_fusion_and_a_projector() -> None:
    with pytest.raises(ConfigError, match=r"AnyPreFusion\.forward returned a tuple; .*docs/plugins\.md"):
        build(prefusion="contract-prefusion")
    with pytest.raises(ConfigError, match=r"AnyProjector\.forward returned torch.float32 \[1, 1, 12\].*docs/plugins"):
        build(projector="contract-projector")


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        ("NoDecode", "without 'decode'"),
        ("NoCall", "without '__call__'"),
        ("OldCall", "cannot be called like this: TypeError: .*split_special_tokens"),
        ("NoPadding", "whose pad_token_id is None"),
        ("Ids", "whose call returned a list without lists of ids"),
    ],
)
def test_faults_of_a_tokenizer(tokenizer: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"AnyLLM\.tokenizer is a {tokenizer} .*{message}.*docs/plugins\.md"):
        build(llm=faulty("contract-llm", tokenizer=tokenizer))


def test_a_wrong_width_of_a_language_model() -> None:
    with pytest.raises(ConfigError, match=r"AnyLLM\.embed returned torch.float32 \[1, 2, 24\].*docs/plugins\.md"):
        build(llm=faulty("contract-llm", width=25))


def test_the_look_at_a_part_changes_nothing() -> None:
    changes = with_frame(encoder=faulty("contract-encoder"), pooling=faulty("contract-pooling"), trainable=True)
    changes["llm"] = faulty("contract-llm")
    torch.manual_seed(3)
    model, after = build(**changes), torch.rand(1)
    torch.manual_seed(3)
    same, again = (
        build(
            **with_frame(**{**changes["streams"]["frame"], "encoder": faulty("contract-encoder", fault="kernel")}),
            llm=changes["llm"],
        ),
        torch.rand(1),
    )
    assert torch.equal(after, again)
    assert all(module.training for module in model.network.encoders["frame"].modules())
    assert set(same.state_dict()) == set(model.state_dict())


BLIND = {
    "encoder's mask": (
        {"frame": faulty("contract-encoder", fault="dtype", blind=True)},
        r"AnyEncoder\.forward .*float32",
    ),
    "encoder's width": (
        {"frame": faulty("contract-encoder", fault="width", blind=True)},
        r"AnyEncoder\.forward .* 6\]",
    ),
    "pooling": ({"pooling": faulty("contract-pooling", fault="tokens", blind=True)}, r"AnyPooling\.forward .*1, 1, 12"),
    "pre-fusion": ({"prefusion": faulty("contract-prefusion", blind=True)}, r"AnyPreFusion\.forward returned a tuple"),
    "projector": ({"projector": faulty("contract-projector", blind=True)}, r"AnyProjector\.forward .*\[1, 1, 12\]"),
    "language model": ({"llm": faulty("contract-llm", width=25, blind=True)}, r"AnyLLM\.embed .*24\].* say .*25\]"),
}


def build_blind(**changes: Any) -> AffectGPT:
    frame = dict(tiny_config()["streams"]["frame"])
    frame["encoder"] = changes.pop("frame", frame["encoder"])
    frame["pooling"] = changes.pop("pooling", "mean")
    torch.manual_seed(1)
    return build(**with_frame(**frame), **changes).eval()


def some_batch(model: AffectGPT) -> Batch:
    media = torch.randint(1, 256, (1, 2, 3, 40, 40), dtype=torch.uint8)
    sound, keep = torch.rand(1, 2, model.media.segment_samples), torch.ones(1, 2, dtype=torch.bool)
    return Batch(("a",), {"frame": media, "audio": sound}, {"frame": keep, "audio": keep}, ("fine",), ("how?",))


@pytest.mark.parametrize("kind", BLIND)
def test_a_part_that_fails_on_blank_input_is_looked_at_in_its_first_real_use(kind: str) -> None:
    changes, message = BLIND[kind]
    model = build_blind(**changes)
    with pytest.raises(ConfigError, match=rf"{message}.*docs/plugins\.md"):
        model(some_batch(model))


def test_the_look_at_the_first_use_ends_with_it() -> None:
    model = build_blind(
        frame=faulty("contract-encoder", blind=True),
        pooling=faulty("contract-pooling", blind=True),
        llm=faulty("contract-llm", blind=True),
    )
    parts = (model.encoder("frame"), model.network.pooling("frame"), model.llm)
    watched = [{"forward", "embed"} & set(part.__dict__) for part in parts]
    assert watched == [{"forward"}, {"forward"}, {"embed"}]
    again = pickle.loads(pickle.dumps(model.encoder("frame")))
    batch = some_batch(model)
    first = model(batch).logits
    assert not any({"forward", "embed"} & set(part.__dict__) for part in parts)
    assert torch.equal(model(batch).logits, first)
    assert "forward" in again.__dict__
    again(batch.media["frame"], batch.keep["frame"])
    assert "forward" not in again.__dict__

"""Adds LoRA adapters to a causal LM through peft."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from affectgpt.errors import ConfigError

LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Every linear layer of the Llama and Qwen families; what the published model adapts."""


@dataclass(frozen=True)
class LoraSpec:
    """Size of the adapters, and the layers that they adapt; the defaults are the published ones (paper, appendix B).

    Attributes:
        rank: Inner width of an adapter.
        alpha: Scale; the adapter's output is multiplied by ``alpha / rank``.
        dropout: Dropout of the adapter's input.
        targets: Names of the linear layers to adapt.
        dora: Train the length of each output's weights apart from their direction (DoRA, arXiv 2402.09353): a little
            better at small ranks, and slower.
        rslora: Scale by ``alpha / sqrt(rank)``, with which large ranks learn as fast as small ones (rsLoRA, arXiv
            2312.03732).
    """

    rank: int = 16
    alpha: float = 32
    dropout: float = 0.05
    targets: tuple[str, ...] = LINEAR_LAYERS
    dora: bool = False
    rslora: bool = False

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> LoraSpec:
        """Read the spec from plain JSON.

        Raises:
            ConfigError: If a key is unknown.
        """
        unknown = set(value) - set(cls.__dataclass_fields__)
        if unknown:
            raise ConfigError(
                f"lora: unknown key {sorted(unknown)[0]!r}; it takes {', '.join(cls.__dataclass_fields__)}"
            )
        values = dict(value)
        if "targets" in values:
            values["targets"] = tuple(values["targets"])
        return cls(**values)

    @property
    def reads_weights(self) -> bool:
        """Whether adapters start from the network's own weights, which must then be there."""
        return self.dora


def add_lora(network: Any, spec: LoraSpec) -> Any:
    """Wrap a causal LM with adapters; its own weights are frozen.

    Raises:
        ConfigError: If no layer of the network has one of the target names.
    """
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora import LoraLayer

    from affectgpt.llm.lora_linear import quicken

    names = {name.rsplit(".", 1)[-1] for name, _ in network.named_modules()}
    missing = [target for target in spec.targets if target not in names]
    if missing:
        raise ConfigError(
            f"lora: {type(network).__name__} has no layer called {missing[0]!r}; set 'targets' to names of its linear "
            f"layers, such as {', '.join(sorted(n for n in names if n.endswith('proj') or n.startswith('c_'))) or '?'}"
        )
    config = LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,
        lora_dropout=spec.dropout,
        target_modules=list(spec.targets),
        use_dora=spec.dora,
        use_rslora=spec.rslora,
        bias="none",
        task_type="CAUSAL_LM",
    )
    wrapped = get_peft_model(network, config)
    for module in wrapped.modules():
        if isinstance(module, LoraLayer) and any(p.is_meta for p in module.lora_A.parameters()):
            # the network's weights are read later, and peft puts adapters where the weights are
            module.lora_A.to_empty(device="cpu")
            module.lora_B.to_empty(device="cpu")
            module.lora_A.float()
            module.lora_B.float()
            module.reset_lora_parameters("default", init_lora_weights=True)
    quicken(wrapped)
    return wrapped

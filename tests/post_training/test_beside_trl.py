"""The losses beside those of TRL, where it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from affectgpt.llm import TinyLM
from affectgpt.training.policy_loss import policy_loss, variant_of

trl = pytest.importorskip("trl", reason="compares the losses with those of TRL")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "theirs", "high"), [("grpo", "grpo", 0.2), ("dr-grpo", "dr_grpo", 0.2), ("dapo", "dapo", 0.28)]
)
def test_the_variants_are_those_of_trl(name: str, theirs: str, high: float, tmp_path: Path) -> None:
    from datasets import Dataset

    head = TinyLM(dim=16)
    for one in (head.network, head.tokenizer):
        one.save_pretrained(tmp_path / "lm")
    head.network.config._name_or_path = str(tmp_path / "lm")
    config = trl.GRPOConfig(
        output_dir=str(tmp_path), per_device_train_batch_size=4, num_generations=4, report_to="none", use_cpu=True,
        bf16=False, max_steps=1, max_completion_length=6, loss_type=theirs, epsilon=0.2, epsilon_high=high, beta=0.1,
        use_bias_correction_kl=False,
    )  # fmt: skip
    trainer = trl.GRPOTrainer(
        model=head.network,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=config,
        train_dataset=Dataset.from_list([{"prompt": "Emotions:"}] * 4),
        processing_class=head.tokenizer,
    )
    generator = torch.Generator().manual_seed(0)
    new, old, reference = -2 * torch.rand(3, 4, 5, generator=generator)
    keep = torch.arange(5) < torch.tensor([3, 1, 5, 2])[:, None]
    advantages = torch.tensor([1.0, -0.5, 0.3, -2.0])
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (new, torch.zeros_like(new), None)
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    ids = torch.zeros(4, 5, dtype=torch.long)
    inputs = {
        "prompt_ids": ids[:, :2], "prompt_mask": torch.ones(4, 2), "completion_ids": ids,
        "completion_mask": keep.float(), "advantages": advantages, "old_per_token_logps": old,
        "ref_per_token_logps": reference, "num_items_in_batch": keep.sum(),
    }  # fmt: skip
    expected = trainer._compute_loss(trainer.model, inputs)
    found = policy_loss(
        new, old, advantages, keep, variant_of(name), num_answers=4, num_tokens=11, longest=6, reference=reference,
        kl_weight=0.1,
    )  # fmt: skip
    assert float(found.loss) == pytest.approx(float(expected), abs=1e-6)

"""The policy scores what is deployed: nothing about it is drawn anew."""

from __future__ import annotations

from typing import ClassVar, Literal

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config, GPT2LMHeadModel

from tests.tiny import tiny_model
from trialign_ray.config.seams import ImportedSpec
from trialign_ray.config.train import LearnerSpec, LoraSpec
from trialign_ray.errors import ModelError
from trialign_ray.trainer import recompute
from trialign_ray.trainer.attention.base import Kind, Slots
from trialign_ray.trainer.attention.matmul import MatmulAttention
from trialign_ray.trainer.packing import Tree, pack
from trialign_ray.trainer.policy import adapt

AGAIN: tuple[bool | Literal["selective"], ...] = (False, "selective", True)
TREES = [Tree([1, 2, 3], [[4, 5], [6]]), Tree([7], [[8, 9, 3]])]


def tiny_gpt2() -> GPT2LMHeadModel:
    """A model whose own configuration has dropout."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=32, n_embd=16, n_layer=2, n_head=2, n_positions=32)
    assert config.resid_pdrop > 0
    return GPT2LMHeadModel(config)


@pytest.mark.parametrize("checkpointing", AGAIN)
def test_a_log_prob_is_the_same_each_time(checkpointing: bool | Literal["selective"]) -> None:
    policy = adapt(tiny_gpt2(), LoraSpec(rank=2), LearnerSpec(activation_checkpointing=checkpointing), seed=0)
    assert torch.equal(policy(TREES), policy(TREES))
    with torch.no_grad(), policy.reference():
        assert torch.equal(policy(TREES), policy(TREES))


def test_a_fresh_adapter_changes_nothing_and_has_a_gradient() -> None:
    policy = adapt(tiny_model(), LoraSpec(rank=2), LearnerSpec(), seed=0)
    adapted = policy(TREES)
    with policy.reference():
        torch.testing.assert_close(policy(TREES), adapted)
    adapted.sum().backward()
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in policy.trainable())


def test_targets_that_do_not_exist_are_named() -> None:
    with pytest.raises(ModelError, match=r"field 'lora\.targets'.*nowhere"):
        adapt(tiny_model(), LoraSpec(rank=2, targets=("nowhere",)), LearnerSpec(), seed=0)


class CountingAttention(MatmulAttention):
    """A backend of the user's own."""

    masks: ClassVar[list[torch.Size]] = []

    def mask(self, slots: Slots, kind: Kind, dtype: torch.dtype) -> Tensor:
        self.masks.append(slots.position_rt.shape)
        return super().mask(slots, kind, dtype)


def test_a_backend_of_the_users_own_is_named_by_import_path() -> None:
    named = {"name": "import_path", "import_path": f"{__name__}:CountingAttention"}
    policy = adapt(tiny_model(), LoraSpec(rank=2), LearnerSpec(attention=ImportedSpec.model_validate(named)), seed=0)
    CountingAttention.masks.clear()
    found = policy(TREES)
    assert CountingAttention.masks == [torch.Size(pack(TREES).ids_rt.shape)]
    assert torch.equal(found, adapt(tiny_model(), LoraSpec(rank=2), LearnerSpec(), seed=0)(TREES))


class BlindAttention(MatmulAttention):
    """A backend that forgets the tree: every token sees what stands before it in the row."""

    def mask(self, slots: Slots, kind: Kind, dtype: torch.dtype) -> Tensor:
        whole = torch.full_like(slots.end_rt, slots.end_rt.shape[1])
        return super().mask(Slots(slots.position_rt, whole), kind, dtype)


def test_a_backend_that_is_not_exact_is_refused() -> None:
    named = {"name": "import_path", "import_path": f"{__name__}:BlindAttention"}
    with pytest.raises(ModelError, match=r"attention 'import_path'.*log-probs differ by"):
        adapt(tiny_model(), LoraSpec(rank=2), LearnerSpec(attention=ImportedSpec.model_validate(named)), seed=0)


def test_training_mode_changes_nothing() -> None:
    policy = adapt(tiny_gpt2(), LoraSpec(rank=2), LearnerSpec(), seed=0)
    before = policy(TREES)
    assert torch.equal(policy.train()(TREES), before)


@pytest.mark.parametrize("checkpointing", [True, "selective"])
def test_checkpointed_layers_give_the_same_gradient(
    checkpointing: Literal[True, "selective"], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recompute, "SUMMED", 3)
    slopes = []
    for learner in (LearnerSpec(), LearnerSpec(activation_checkpointing=checkpointing)):
        policy = adapt(tiny_model(), LoraSpec(rank=2), learner, seed=0)
        policy(TREES).sum().backward()
        slopes.append([parameter.grad for parameter in policy.trainable()])
    torch.testing.assert_close(slopes[0], slopes[1], rtol=0, atol=0)


def test_products_with_weights_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recompute, "SUMMED", 3)  # of a tiny model all sums but those over the adapter's rank
    nothing, selective, layers = (_flops(LearnerSpec(activation_checkpointing=again)) for again in AGAIN)
    assert nothing < selective < layers
    assert selective - nothing < (layers - nothing) / 2


def _flops(learner: LearnerSpec) -> int:
    """Of all products of a forward and a backward."""
    policy = adapt(tiny_model(), LoraSpec(rank=2), learner, seed=0)
    with FlopCounterMode(display=False) as counted:
        policy(TREES).sum().backward()
    return int(counted.get_total_flops())

"""The policy scores what is deployed: nothing about it is drawn anew."""

from __future__ import annotations

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from tests.tiny import tiny_model
from trialign_ray.config.train import LearnerSpec, LoraSpec
from trialign_ray.errors import ModelError
from trialign_ray.trainer.packing import Tree
from trialign_ray.trainer.policy import adapt

TREES = [Tree([1, 2, 3], [[4, 5], [6]]), Tree([7], [[8, 9, 3]])]


def tiny_gpt2() -> GPT2LMHeadModel:
    """A model whose own configuration has dropout."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=32, n_embd=16, n_layer=2, n_head=2, n_positions=32)
    assert config.resid_pdrop > 0
    return GPT2LMHeadModel(config)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_log_prob_is_the_same_each_time(checkpointing: bool) -> None:
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

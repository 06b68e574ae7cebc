"""A Llama so small that every parameter's gradient can be compared, and trees of responses for it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from trialign_ray.models.head import Head
from trialign_ray.trainer.attention.base import Slots, trees_in
from trialign_ray.trainer.attention.matmul import TREE, MatmulAttention
from trialign_ray.trainer.logprobs import token_logprobs
from trialign_ray.trainer.packing import Packed, Tree, pack

VOCABULARY = 23


def tiny_llama(kv_heads: int, heads: int = 4) -> Any:
    """Random weights, two layers, a head that is frozen as under LoRA; plain attention."""
    torch.manual_seed(kv_heads)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        initializer_range=0.15,
        tie_word_embeddings=False,
    )
    model: Any = LlamaForCausalLM(config)
    model.lm_head.weight.requires_grad_(False)
    return model.eval()


def plain_logprobs(model: Any, trees: Sequence[Tree]) -> Tensor:
    """Log-prob of each token of each response, every response run by itself behind its prompt, [m]."""
    model.set_attn_implementation("eager")
    return torch.cat([_of_response(model, tree.prompt, said) for tree in trees for said in tree.responses])


def _of_response(model: Any, prompt: Sequence[int], response: Sequence[int]) -> Tensor:
    ids = torch.tensor([[*prompt, *response]])
    logp_tv = model(input_ids=ids).logits[0].log_softmax(-1)
    at = torch.arange(len(prompt) - 1, len(prompt) + len(response) - 1)
    picked: Tensor = logp_tv[at, ids[0, at + 1]]
    return picked


def packed_logprobs(model: Any, packed: Packed) -> Tensor:
    """The same log-probs from one packed forward, [m]."""
    model.set_attn_implementation(TREE)
    slots = Slots(torch.from_numpy(packed.position_rt), torch.from_numpy(packed.end_rt))
    with trees_in(slots, MatmulAttention()):
        hidden_rtd = model.model(
            input_ids=torch.from_numpy(packed.ids_rt),
            position_ids=slots.position_rt,
            attention_mask=torch.ones_like(slots.position_rt),
            use_cache=False,
        ).last_hidden_state
    hidden_nd = hidden_rtd.flatten(0, 1)[torch.from_numpy(packed.node_n)]
    pairs = torch.from_numpy(packed.pair_node_p), torch.from_numpy(packed.pair_token_p)
    logp_p = token_logprobs(hidden_nd, Head(model.lm_head.weight), *pairs)
    return logp_p[torch.from_numpy(packed.token_pair_m)]


def gradients(model: Any, logp_m: Tensor) -> dict[str, Tensor]:
    """Gradient of every trained parameter of a weighted sum of the log-probs, with weights of both signs."""
    weight_m = torch.cos(torch.arange(len(logp_m)))
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    return dict(zip(trained, torch.autograd.grad((logp_m * weight_m).sum(), list(trained.values())), strict=True))


def compare(model: Any, trees: Sequence[Tree]) -> None:
    """Assert that the packed forward and backward are those of the responses run one by one."""
    plain_m, packed_m = plain_logprobs(model, trees), packed_logprobs(model, pack(trees))
    torch.testing.assert_close(packed_m, plain_m, atol=1e-5, rtol=1e-5)
    expected, found = gradients(model, plain_m), gradients(model, packed_m)
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    off = {name: float((found[name] - gradient).abs().max()) / largest for name, gradient in expected.items()}
    assert max(off.values()) < 1e-5, off


def sequences(longest: int, tokens: int = 3) -> st.SearchStrategy[list[int]]:
    """Sequences over few tokens, so that they share beginnings often."""
    return st.lists(st.integers(0, tokens - 1), min_size=1, max_size=longest)


def trees() -> st.SearchStrategy[Tree]:
    """Random trees of at least one response."""
    return st.builds(Tree, sequences(5), st.lists(sequences(5), min_size=1, max_size=6))


def random_tree(rng: random.Random, prompt: int, responses: int) -> Tree:
    """A tree over the whole vocabulary."""
    said = [[rng.randrange(VOCABULARY) for _ in range(rng.randint(1, 7))] for _ in range(responses)]
    return Tree([rng.randrange(VOCABULARY) for _ in range(prompt)], said)

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trialign_ray.models.head import Head
from trialign_ray.trainer import logprobs as logprob
from trialign_ray.trainer.logprobs import token_logprobs

WIDTH, VOCABULARY = 6, 11


def plain(hidden_nd: Tensor, head_vd: Tensor, pair_node_p: Tensor, pair_token_p: Tensor) -> Tensor:
    return (hidden_nd @ head_vd.T).log_softmax(-1)[pair_node_p, pair_token_p]


def logprobs(hidden_nd: Tensor, head_vd: Tensor, pair_node_p: Tensor, pair_token_p: Tensor) -> Tensor:
    """Under a head that is a matrix and no more."""
    return token_logprobs(hidden_nd, Head(head_vd), pair_node_p, pair_token_p)


def scored(seed: int, nodes: int, pairs: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hidden states, head, and pairs in no order: some nodes have several, some none."""
    rng = torch.Generator().manual_seed(seed)
    hidden_nd = torch.randn(nodes, WIDTH, generator=rng).requires_grad_()
    head_vd = torch.randn(VOCABULARY, WIDTH, generator=rng)
    node_p, token_p = (torch.randint(high, (pairs,), generator=rng) for high in (nodes, VOCABULARY))
    return hidden_nd, head_vd, node_p, token_p


def slope(logp_p: Tensor, hidden_nd: Tensor) -> Tensor:
    return torch.autograd.grad((logp_p * torch.cos(torch.arange(len(logp_p)))).sum(), hidden_nd)[0]


@pytest.mark.parametrize("chunk", [1, 3, 256])
@given(seed=st.integers(0, 2**32 - 1), nodes=st.integers(1, 10), pairs=st.integers(1, 20))
def test_log_probs_and_gradient_are_those_of_log_softmax(chunk, seed, nodes, pairs):
    inputs = scored(seed, nodes, pairs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logprob, "CHUNK", chunk)
        found_p = logprobs(*inputs)
    expected_p = plain(*inputs)
    torch.testing.assert_close(found_p, expected_p)
    torch.testing.assert_close(slope(found_p, inputs[0]), slope(expected_p, inputs[0]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cap", [None, 2.0, 30.0])
@pytest.mark.parametrize("shifted", [False, True])
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0.05, 8), temperature=st.floats(0.3, 2))
def test_a_head_that_scales_caps_and_shifts_is_exact_with_its_gradient(cap, shifted, seed, scale, temperature):
    hidden_nd, head_vd, node_p, token_p = scored(seed, 5, 9)
    bias_v = torch.linspace(-1, 2, VOCABULARY) if shifted else None
    found_p = token_logprobs(hidden_nd, Head(head_vd, bias_v, scale, cap, temperature), node_p, token_p)
    logits_nv = (hidden_nd @ head_vd.T + (0 if bias_v is None else bias_v)) * scale
    logits_nv = logits_nv if cap is None else cap * (logits_nv / cap).tanh()
    expected_p = (logits_nv / temperature).log_softmax(-1)[node_p, token_p]
    torch.testing.assert_close(found_p, expected_p, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(slope(found_p, hidden_nd), slope(expected_p, hidden_nd), atol=1e-3, rtol=1e-3)


def test_log_probs_without_a_gradient_are_the_same():
    inputs = scored(5, 6, 9)
    with torch.no_grad():
        found_p = logprobs(*inputs)
    assert torch.equal(found_p, logprobs(*inputs).detach())


@pytest.mark.parametrize("nodes", [3, 6, 7, 8])
def test_nodes_at_the_border_of_a_chunk_are_scored_once(nodes, monkeypatch):
    monkeypatch.setattr(logprob, "CHUNK", 3)
    hidden_nd, head_vd, _, _ = scored(0, nodes, 1)
    every = torch.cartesian_prod(torch.arange(nodes), torch.arange(VOCABULARY))
    logp_nv = logprobs(hidden_nd, head_vd, every[:, 0], every[:, 1]).view(nodes, VOCABULARY)
    torch.testing.assert_close(logp_nv, (hidden_nd @ head_vd.T).log_softmax(-1))
    torch.testing.assert_close(logp_nv.exp().sum(-1), torch.ones(nodes))


def test_the_order_of_the_pairs_does_not_matter():
    hidden_nd, head_vd, node_p, token_p = scored(1, 7, 20)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(2))
    shuffled_p = logprobs(hidden_nd, head_vd, node_p[order], token_p[order])
    assert torch.equal(shuffled_p, logprobs(hidden_nd, head_vd, node_p, token_p)[order])


def test_a_node_without_a_pair_gets_no_gradient():
    hidden_nd, head_vd, _, _ = scored(3, 4, 1)
    logp_p = logprobs(hidden_nd, head_vd, torch.tensor([2]), torch.tensor([5]))
    gradient_nd = slope(logp_p, hidden_nd)
    assert gradient_nd[2].any()
    assert not gradient_nd[[0, 1, 3]].any()


def test_no_pairs_at_all_is_an_empty_result():
    hidden_nd, head_vd, _, _ = scored(4, 4, 1)
    none = torch.empty(0, dtype=torch.int64)
    assert logprobs(hidden_nd, head_vd, none, none).shape == (0,)


def test_bfloat16_gives_single_precision_log_probs_and_a_gradient_of_its_own_kind():
    inputs = scored(6, 8, 20)
    hidden_nd, head_vd = inputs[0].detach().bfloat16().requires_grad_(), inputs[1].bfloat16()
    logp_p = logprobs(hidden_nd, head_vd, *inputs[2:])
    exact_nd = hidden_nd.detach().float().requires_grad_()
    exact_p = plain(exact_nd, head_vd.float(), *inputs[2:])
    assert logp_p.dtype == torch.float32
    torch.testing.assert_close(logp_p, exact_p, atol=0.1, rtol=0.02)
    gradient_nd = slope(logp_p, hidden_nd)
    assert gradient_nd.dtype == torch.bfloat16
    torch.testing.assert_close(gradient_nd.float(), slope(exact_p, exact_nd), atol=0.1, rtol=0.05)


def test_large_logits_stay_finite():
    hidden_nd, head_vd, node_p, token_p = scored(7, 4, 9)
    logp_p = logprobs(1e3 * hidden_nd, head_vd, node_p, token_p)
    torch.testing.assert_close(logp_p, plain(1e3 * hidden_nd, head_vd, node_p, token_p))
    assert slope(logp_p, hidden_nd).isfinite().all()


@pytest.mark.parametrize("chunk", [3, 256])
@pytest.mark.parametrize("cap", [None, 2.0])
def test_a_trained_head_gets_its_own_gradient_too(chunk, cap, monkeypatch):
    monkeypatch.setattr(logprob, "CHUNK", chunk)
    hidden_nd, head_vd, node_p, token_p = scored(0, 8, 15)
    bias_v = torch.linspace(-1, 2, VOCABULARY).requires_grad_()
    trained = (hidden_nd, head_vd.requires_grad_(), bias_v)
    logits_nv = hidden_nd @ head_vd.T + bias_v
    bound_nv = logits_nv if cap is None else cap * (logits_nv / cap).tanh()
    expected_p = bound_nv.log_softmax(-1)[node_p, token_p]
    found_p = token_logprobs(hidden_nd, Head(head_vd, bias_v, cap=cap), node_p, token_p)
    torch.testing.assert_close(found_p, expected_p)
    weight_p = torch.cos(torch.arange(len(found_p)))
    slopes = (torch.autograd.grad((each * weight_p).sum(), trained) for each in (found_p, expected_p))
    for ours, plain_one in zip(*slopes, strict=True):
        torch.testing.assert_close(ours, plain_one, atol=1e-5, rtol=1e-5)

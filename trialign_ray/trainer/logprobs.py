"""Log-probs of chosen tokens from hidden states, without a [nodes x vocabulary] tensor and without a second pass.

With logits z = f(W h + b) and p = softmax(z), d log p(y) / d h = f'_y W_y - sum_v p_v f'_v W_v. The forward already
holds p, so it keeps that row vector (as wide as h) for every node, and the backward is one product with the incoming
gradient. That is for a frozen W, as under LoRA. A trained one gets its gradient from autograd, which computes each
chunk again in the backward. f scales and caps: see `trialign_ray.models.head`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from trialign_ray.models.head import Head

CHUNK = 256
"""Nodes whose logits exist at one time."""


def token_logprobs(hidden_nd: Tensor, head: Head, pair_node_p: Tensor, pair_token_p: Tensor) -> Tensor:
    """Log p(pair_token | node) for each pair, float32 [pairs].

    hidden_nd: final hidden states of the scored nodes.
    """
    if torch.is_grad_enabled() and head.weight_vd.requires_grad:
        return _with_head_gradient(hidden_nd, head, pair_node_p, pair_token_p)
    logp_p: Tensor = _TokenLogprobs.apply(hidden_nd, head, pair_node_p, pair_token_p)  # type: ignore[no-untyped-call]
    return logp_p


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_nd: Tensor, head: Head, pair_node_p: Tensor, pair_token_p: Tensor) -> Tensor:
        logp_p = hidden_nd.new_empty(len(pair_node_p), dtype=torch.float32)
        sloped = ctx.needs_input_grad[0]
        slope_pd = hidden_nd.new_empty(len(pair_node_p) if sloped else 0, hidden_nd.shape[1])
        for start, here in _chunks(len(hidden_nd), pair_node_p):
            at = pair_node_p[here] - start, pair_token_p[here]
            logits_cv = head.logits(hidden_nd[start : start + CHUNK])
            logp_cv = torch.log_softmax(logits_cv, dim=-1)
            logp_p[here] = logp_cv[at]
            if sloped:
                slope_pd[here] = _slopes(head, logits_cv, logp_cv, at)
        ctx.save_for_backward(slope_pd, pair_node_p)
        ctx.nodes = len(hidden_nd)
        return logp_p

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        slope_pd, pair_node_p = ctx.saved_tensors
        grad_nd = torch.zeros(ctx.nodes, slope_pd.shape[1], dtype=torch.float32, device=slope_pd.device)
        grad_nd.index_add_(0, pair_node_p, grads[0][:, None] * slope_pd.float())
        return grad_nd.to(slope_pd.dtype), None, None, None


def _chunks(nodes: int, pair_node_p: Tensor) -> Iterator[tuple[int, Tensor]]:
    """The first node of each chunk, and the numbers of its pairs."""
    order = torch.argsort(pair_node_p)
    sorted_nodes = pair_node_p[order].contiguous()
    for start in range(0, nodes, CHUNK):
        border = torch.tensor([start, start + CHUNK], device=order.device)
        first, last = torch.searchsorted(sorted_nodes, border).tolist()
        yield start, order[first:last]


def _with_head_gradient(hidden_nd: Tensor, head: Head, pair_node_p: Tensor, pair_token_p: Tensor) -> Tensor:
    found, numbers = [], []
    for start, here in _chunks(len(hidden_nd), pair_node_p):
        chunk = head, hidden_nd[start : start + CHUNK], pair_node_p[here] - start, pair_token_p[here]
        found.append(checkpoint(_of_chunk, *chunk, use_reentrant=False, preserve_rng_state=False))
        numbers.append(here)
    return torch.cat(found)[torch.cat(numbers).argsort()]


def _of_chunk(head: Head, hidden_cd: Tensor, node_p: Tensor, token_p: Tensor) -> Tensor:
    return torch.log_softmax(head.logits(hidden_cd), dim=-1)[node_p, token_p]


def _slopes(head: Head, logits_cv: Tensor, logp_cv: Tensor, at: tuple[Tensor, Tensor]) -> Tensor:
    """Slopes of the log-probs of a chunk's pairs, [pairs, width]; at: their nodes and tokens. Uses up `logp_cv`."""
    weight_vd, damping_cv = head.weight_vd, head.damping(logits_cv)
    share_cv, chosen_pd = logp_cv.exp_(), weight_vd[at[1]]
    if damping_cv is not None:
        share_cv, chosen_pd = share_cv.mul_(damping_cv), chosen_pd * damping_cv[at][:, None].to(weight_vd.dtype)
    expected_cd = share_cv.to(weight_vd.dtype) @ weight_vd
    return (chosen_pd - expected_cd[at[0]]) * head.factor
